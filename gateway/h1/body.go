package h1

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"syscall"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

// Bounds of chunked bodies.
const (
	maxChunkLine   = 256      // size and extensions of one chunk
	maxExtensions  = 16 << 10 // of all chunks of a body
	maxTrailers    = 8 << 10  // bytes of the trailer section
	maxChunkDigits = 15       // hexadecimal digits of a size
)

var (
	errBareLF      = errors.New("h1: a line ends in a bare line feed")
	errLineTooLong = errors.New("h1: line too long")
)

// badBody is the error of a body whose framing is wrong. Nothing more is read
// from its connection.
func badBody(detail string) error {
	return &middleware.BodyRefusal{
		Status: http.StatusBadRequest,
		Denial: middleware.Denial{By: "http", Reason: "ambiguous_framing", Detail: detail, Close: true},
	}
}

// body is a request body, by Content-Length or chunked.
type body struct {
	c       *conn
	r       *http.Request
	chunked bool
	left    int64 // of the body, or of the current chunk
	inChunk bool  // a chunk has been begun, and its CRLF is due at its end
	ext     int   // bytes of extensions so far
	expect  bool  // 100 Continue is due before the first read
	err     error // sticky; io.EOF at the end
	closed  bool
}

// withBody gives r its body.
func (c *conn) withBody(r *http.Request, f framing) *http.Request {
	r.Close = f.close
	if !f.chunked && f.length <= 0 {
		r.Body = http.NoBody
		return r.WithContext(c.ctx)
	}
	r = r.WithContext(c.ctx)
	r.Body = &body{c: c, r: r, chunked: f.chunked, left: max(f.length, 0), expect: f.expect && !f.http10}
	// The time-outs of bodies are the handler's, by http.ResponseController.
	c.setReadDeadline(time.Time{})
	return r
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.expect {
		b.expect = false
		if err := b.c.res.writeContinue(); err != nil {
			b.err = err
			return 0, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.chunked {
		n, err = b.readChunked(p)
	} else {
		n, err = b.readLength(p)
	}
	if err != nil {
		b.err = err
		if err == io.EOF {
			b.c.watch.start()
		}
	}
	return n, err
}

func (b *body) readLength(p []byte) (int, error) {
	p = p[:min(int64(len(p)), b.left)]
	n, err := b.c.in.Read(p)
	// TLS gives one record at a time. What else has come goes with it: half as
	// many writes to the upstream are a tenth of what an upload costs.
	for err == nil && n >= record/2 && len(p)-n >= record/2 && b.c.hasRecord() {
		var m int
		m, err = b.c.in.Read(p[n:])
		n += m
	}
	b.left -= int64(n)
	if b.left == 0 {
		return n, io.EOF
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// record is the largest content of a TLS record.
const record = 16 << 10

// hasRecord reports whether a read would not have to wait for the network,
// because a whole record has arrived.
func (c *conn) hasRecord() bool {
	if c.tls == nil {
		return false
	}
	if c.socket == nil {
		sc, ok := below(c.net).(syscall.Conn)
		if !ok {
			return false
		}
		raw, err := sc.SyscallConn()
		if err != nil {
			return false
		}
		c.socket = raw
	}
	n := 0
	c.socket.Control(func(fd uintptr) { n = unread(fd) })
	return n >= record+512 // of overhead there are 22 bytes in TLS 1.3 and at most 325 in TLS 1.2
}

func (b *body) readChunked(p []byte) (int, error) {
	if b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
	}
	n, err := b.c.in.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	// Small chunks that came together go on together: each by itself would cost a
	// write to the upstream.
	for err == nil && b.left == 0 && n < len(p) && b.c.in.hasChunk() {
		if err = b.nextChunk(); err != nil || b.c.in.buffered() == 0 {
			break
		}
		var m int
		m, err = b.c.in.Read(p[n:min(int64(len(p)), int64(n)+b.left)])
		n += m
		b.left -= int64(m)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// nextChunk reads what stands between two chunks; io.EOF after the last.
func (b *body) nextChunk() error {
	if b.inChunk {
		l, err := b.c.in.line(2)
		if err != nil || len(l) > 0 {
			return framingError(err, "a chunk does not end in CRLF")
		}
		b.inChunk = false
	}
	l, err := b.c.in.line(maxChunkLine)
	if err != nil {
		return framingError(err, "a chunk size line is too long or malformed")
	}
	size, ext, ok := chunkSize(l)
	if b.ext += ext; !ok || b.ext > maxExtensions {
		return badBody("a chunk size is malformed, or extensions are too long")
	}
	if size > 0 {
		b.left, b.inChunk = size, true
		return nil
	}
	return b.readTrailers()
}

// chunkSize reads "1a2b" or "1a2b;name=value"; RFC 9112 7.1 allows no other
// spelling, and no white space before the extension in ours.
func chunkSize(l []byte) (size int64, ext int, ok bool) {
	i := 0
	for ; i < len(l) && i <= maxChunkDigits; i++ {
		c := l[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			goto end
		}
		size = size<<4 | int64(c)
	}
end:
	if i == 0 || i > maxChunkDigits {
		return 0, 0, false
	}
	if i == len(l) {
		return size, 0, true
	}
	if l[i] != ';' {
		return 0, 0, false
	}
	for _, c := range l[i:] {
		if c < ' ' && c != '\t' || c >= 0x7f {
			return 0, 0, false
		}
	}
	return size, len(l) - i, true
}

// forbiddenTrailers frame, route, authenticate or modify a request: RFC 9110
// 6.5.1 keeps them out of trailers.
var forbiddenTrailers = map[string]bool{
	"Transfer-Encoding": true, "Content-Length": true, "Host": true, "Trailer": true, "Te": true, "Connection": true, "Upgrade": true,
	"Keep-Alive": true, "Proxy-Connection": true, "Content-Encoding": true, "Content-Type": true, "Content-Range": true, "Range": true,
	"Authorization": true, "Proxy-Authorization": true, "Cookie": true, "Set-Cookie": true, "Cache-Control": true, "Expect": true,
	"Max-Forwards": true, "Pragma": true, "If-Match": true, "If-None-Match": true, "If-Modified-Since": true, "If-Unmodified-Since": true, "If-Range": true,
	"Www-Authenticate": true, "Location": true, "Origin": true, "Referer": true,
}

func (b *body) readTrailers() error {
	var trailer http.Header
	bytes := 0
	for n := 0; ; n++ {
		l, err := b.c.in.line(maxTrailers)
		if err != nil {
			return framingError(err, "a trailer line is too long or malformed")
		}
		if len(l) == 0 {
			break
		}
		if bytes += len(l); bytes > maxTrailers || n >= b.c.server.Limits.MaxHeaders {
			return badBody("the trailer section is too large")
		}
		name, value, bad := splitField(l)
		if bad != nil {
			return badBody("in a trailer: " + bad.Detail)
		}
		key := textproto.CanonicalMIMEHeaderKey(string(name))
		if forbiddenTrailers[key] {
			return badBody("a trailer names a field that must stand in the head")
		}
		if middleware.Reserved(key) {
			continue // as from the head, and in HTTP/2: what a client says of itself goes no further
		}
		if trailer == nil {
			trailer = http.Header{}
		}
		trailer[key] = append(trailer[key], string(value))
	}
	if trailer != nil {
		// The handler has a copy of the request that shares this map if the head
		// announced trailers.
		if b.r.Trailer == nil {
			b.r.Trailer = http.Header{}
		}
		for k, v := range trailer {
			b.r.Trailer[k] = v
		}
	}
	return io.EOF
}

// framingError keeps errors of the connection apart from errors of framing.
func framingError(err error, detail string) error {
	if err == nil || err == errBareLF || err == errLineTooLong || err == io.ErrShortBuffer {
		return badBody(detail)
	}
	return err
}

// Close implements io.Closer. What is left is read after the handler.
func (b *body) Close() error {
	b.closed = true
	return nil
}

// drain reads the rest of the body, up to limit, and reports whether the next
// request can be read.
func (b *body) drain(limit int64) bool {
	if b.err != nil {
		return b.err == io.EOF
	}
	if b.expect || !b.chunked && b.left > limit {
		return false // the client waits for a 100 that never came, or has much to say
	}
	b.c.setReadDeadline(time.Now().Add(time.Second))
	var scratch [2 << 10]byte
	for limit >= 0 {
		n, err := b.read(scratch[:])
		limit -= int64(n)
		if err != nil {
			b.c.watch.stop()
			return err == io.EOF
		}
	}
	return false
}
