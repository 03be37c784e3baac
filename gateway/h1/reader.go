package h1

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// reader is a buffer in front of a connection. It is a bufio.Reader that can
// give its buffer away while it waits, and grow it for a large head.
type reader struct {
	src  net.Conn
	buf  []byte // nil while nothing is buffered
	r, w int
	one  [1]byte
}

const readSize = 4 << 10

var readBuffers = sync.Pool{New: func() any { return new([readSize]byte) }}

func (b *reader) buffered() int { return b.w - b.r }

func (b *reader) acquire() {
	if b.buf == nil {
		b.buf = readBuffers.Get().(*[readSize]byte)[:]
		b.r, b.w = 0, 0
	}
}

// release gives the buffer back if nothing is in it.
func (b *reader) release() {
	if b.buf == nil || b.r != b.w {
		return
	}
	if len(b.buf) == readSize {
		readBuffers.Put((*[readSize]byte)(b.buf))
	}
	b.buf, b.r, b.w = nil, 0, 0
}

// firstByte waits for a byte with nothing but one byte of memory, and then
// takes what else has come.
func (b *reader) firstByte() error {
	n, err := b.src.Read(b.one[:])
	if n == 0 {
		if err == nil {
			err = io.ErrNoProgress
		}
		return err
	}
	b.acquire()
	b.buf[0] = b.one[0]
	b.r, b.w = 0, 1
	return nil
}

// fill reads more into the buffer, which grows up to limit bytes.
func (b *reader) fill(limit int) error {
	b.acquire()
	if b.w == len(b.buf) {
		if b.r > 0 {
			b.w = copy(b.buf, b.buf[b.r:b.w])
			b.r = 0
		} else if len(b.buf) < limit {
			grown := make([]byte, min(2*len(b.buf), limit))
			b.w = copy(grown, b.buf[:b.w])
			if len(b.buf) == readSize {
				readBuffers.Put((*[readSize]byte)(b.buf))
			}
			b.buf = grown
		} else {
			return io.ErrShortBuffer
		}
	}
	n, err := b.src.Read(b.buf[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Read reads what is buffered first; large reads past that go around the buffer.
func (b *reader) Read(p []byte) (int, error) {
	if b.r < b.w {
		n := copy(p, b.buf[b.r:b.w])
		b.r += n
		return n, nil
	}
	if len(p) >= readSize {
		return b.src.Read(p)
	}
	b.r, b.w = 0, 0
	if err := b.fill(readSize); err != nil {
		return 0, err
	}
	n := copy(p, b.buf[b.r:b.w])
	b.r += n
	return n, nil
}

// hasChunk reports whether the end of a chunk and the size of another one are in
// the buffer. The last chunk is none: its trailers may have to be waited for.
func (b *reader) hasChunk() bool {
	p := b.buf[b.r:b.w]
	return len(p) > 3 && p[2] != '0' && bytes.IndexByte(p[2:min(len(p), maxChunkLine)], '\n') > 0
}

// line reads up to and including a CRLF, of at most limit bytes, and returns it
// without the CRLF; valid until the next read.
func (b *reader) line(limit int) ([]byte, error) {
	for scanned := 0; ; {
		for i := b.r + scanned; i < b.w; i++ {
			if b.buf[i] != '\n' {
				continue
			}
			l := b.buf[b.r:i]
			if len(l) == 0 || l[len(l)-1] != '\r' {
				return nil, errBareLF
			}
			if len(l)-1 > limit {
				return nil, errLineTooLong
			}
			b.r = i + 1
			return l[:len(l)-1], nil
		}
		scanned = b.w - b.r
		if scanned >= limit {
			return nil, errLineTooLong
		}
		if err := b.fill(max(limit+2, readSize)); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}
