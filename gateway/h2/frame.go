package h2

import "encoding/binary"

// Frames of RFC 9113 6.
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameRSTStream    = 0x3
	frameSettings     = 0x4
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9

	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20

	headLen  = 9
	maxFrame = 16 << 10 // what the server advertises: the default of RFC 9113 6.5.2
)

// Error codes of RFC 9113 7.
const (
	codeNo              = 0x0
	codeProtocol        = 0x1
	codeInternal        = 0x2
	codeFrameSize       = 0x6
	codeCancel          = 0x8
	codeCompression     = 0x9
	codeEnhanceYourCalm = 0xb
)

// frame is the head of a frame.
type frame struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func parseFrame(b *[headLen]byte) frame {
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   b[3], flags: b[4],
		stream: binary.BigEndian.Uint32(b[5:]) & (1<<31 - 1),
	}
}

func (f frame) has(flag byte) bool { return f.flags&flag != 0 }

// put writes f as the head of a frame.
func (f frame) put(b []byte) {
	b[0], b[1], b[2] = byte(f.length>>16), byte(f.length>>8), byte(f.length)
	b[3], b[4] = f.kind, f.flags
	binary.BigEndian.PutUint32(b[5:], f.stream)
}

// fragment is the part of a HEADERS or CONTINUATION payload that belongs to
// the header block.
func (f frame) fragment(p []byte) (fragment []byte, ok bool) {
	if f.kind == frameContinuation {
		return p, true
	}
	pad := 0
	if f.has(flagPadded) {
		if len(p) < 1 {
			return nil, false
		}
		pad, p = int(p[0]), p[1:]
	}
	if f.has(flagPriority) {
		if len(p) < 5 {
			return nil, false
		}
		p = p[5:]
	}
	if pad > len(p) {
		return nil, false
	}
	return p[:len(p)-pad], true
}

// goAway is a GOAWAY frame.
func goAway(last uint32, code uint32) []byte {
	b := make([]byte, headLen+8)
	frame{length: 8, kind: frameGoAway}.put(b)
	binary.BigEndian.PutUint32(b[headLen:], last)
	binary.BigEndian.PutUint32(b[headLen+4:], code)
	return b
}

// rstStream is a RST_STREAM frame.
func rstStream(stream, code uint32) []byte {
	b := make([]byte, headLen+4)
	frame{length: 4, kind: frameRSTStream, stream: stream}.put(b)
	binary.BigEndian.PutUint32(b[headLen:], code)
	return b
}

// windowUpdate is a WINDOW_UPDATE frame for the connection.
func windowUpdate(n int) []byte {
	b := make([]byte, headLen+4)
	frame{length: 4, kind: frameWindowUpdate}.put(b)
	binary.BigEndian.PutUint32(b[headLen:], uint32(n))
	return b
}
