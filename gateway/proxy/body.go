package proxy

import (
	"bytes"
	"io"
	"time"
)

// bodyKind is how a response's body is delimited.
type bodyKind uint8

const (
	bodyNone bodyKind = iota
	bodyLength
	bodyChunked
	bodyUntilClose
)

// body reads a response's body from a conn, without copying it: next returns
// what is in the connection's buffer.
type body struct {
	c       *conn
	kind    bodyKind
	left    int64 // of the length or the chunk
	inChunk bool  // the CRLF after a chunk is due once left is 0
	done    bool  // the body ended as it should
	trailer []field
}

const maxChunkLine = 4 << 10

// next returns the next piece of the body, valid until the next call; io.EOF
// after the last. block is called before it waits for the network.
func (b *body) next(block func() error) ([]byte, error) {
	c := b.c
	for {
		switch b.kind {
		case bodyNone:
			b.done = true
			return nil, io.EOF
		case bodyLength:
			if b.left == 0 {
				b.done = true
				return nil, io.EOF
			}
		case bodyChunked:
			if b.done {
				return nil, io.EOF
			}
			if b.left == 0 {
				ok, err := b.chunkHead()
				if err != nil {
					return nil, err
				}
				if b.done {
					return nil, io.EOF
				}
				if !ok { // more is needed
					if err := b.fill(block); err != nil {
						return nil, err
					}
					continue
				}
			}
		case bodyUntilClose:
			if b.done {
				return nil, io.EOF
			}
		}
		if n := c.w - c.r; n > 0 {
			if b.kind != bodyUntilClose && int64(n) > b.left {
				n = int(b.left)
			}
			p := c.buf[c.r : c.r+n]
			c.r += n
			if b.kind != bodyUntilClose {
				b.left -= int64(n)
			}
			return p, nil
		}
		if err := b.fill(block); err != nil {
			// Without close_notify, anybody on the way may have ended a TLS connection
			// (RFC 9112 9.8).
			if b.kind == bodyUntilClose && c.ended {
				b.done = true
				return nil, io.EOF
			}
			return nil, err
		}
	}
}

// fill waits for more bytes.
func (b *body) fill(block func() error) error {
	c := b.c
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if len(c.buf) < largeBuffer && (b.kind != bodyLength || b.left > smallBuffer) || c.w == len(c.buf) {
		c.compact(true)
		if c.w == len(c.buf) {
			return protocolError("a line of the chunked coding is too long")
		}
	}
	if block != nil {
		if err := block(); err != nil {
			return err
		}
	}
	c.since = time.Now()
	return c.fill()
}

// chunkHead reads the line before a chunk, and after the last one the
// trailers. ok is false if the line is not complete in the buffer.
func (b *body) chunkHead() (ok bool, err error) {
	c := b.c
	p := c.buf[c.r:c.w]
	if b.inChunk {
		if len(p) < 2 {
			if len(p) == 1 && p[0] != '\r' {
				return false, protocolError("a chunk is longer than its size")
			}
			return false, nil
		}
		if p[0] != '\r' || p[1] != '\n' {
			return false, protocolError("a chunk is longer than its size")
		}
		b.inChunk = false
		c.r += 2
		p = p[2:]
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		if len(p) > maxChunkLine {
			return false, protocolError("a chunk's head is too long")
		}
		return false, nil
	}
	if i == 0 || i > maxChunkLine || p[i-1] != '\r' {
		return false, protocolError("a chunk's head is malformed")
	}
	size, err := chunkSize(p[:i-1])
	if err != nil {
		return false, err
	}
	if size > 0 {
		c.r += i + 1
		b.left, b.inChunk = size, true
		return true, nil
	}
	// The last chunk and the trailers are taken together.
	end, _, err := headEnd(p[i+1:], 0)
	if err != nil {
		return false, err
	}
	if end == 0 {
		if len(p) >= largeBuffer-1 {
			return false, protocolError("the trailers are too large")
		}
		return false, nil
	}
	if b.trailer, err = parseFields(nil, string(p[i+1:i+1+end])); err != nil {
		return false, err
	}
	c.r += i + 1 + end
	b.done = true
	return true, nil
}

// chunkSize reads chunk-size [ chunk-ext ] (RFC 9112 7.1). Extensions are
// ignored but must be text.
func chunkSize(line []byte) (int64, error) {
	var n int64
	i := 0
	for ; i < len(line); i++ {
		var d byte
		switch c := line[i]; {
		case c >= '0' && c <= '9':
			d = c - '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = c | 0x20 - 'a' + 10
		default:
			d = 16
		}
		if d == 16 {
			break
		}
		if i == 15 {
			return 0, protocolError("a chunk's size is out of range")
		}
		n = n<<4 | int64(d)
	}
	if i == 0 {
		return 0, protocolError("a chunk's size is malformed")
	}
	if i < len(line) {
		if line[i] != ';' || !validValue(string(line[i:])) {
			return 0, protocolError("a chunk's extension is malformed")
		}
	}
	return n, nil
}
