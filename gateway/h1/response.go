package h1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// response is the http.ResponseWriter of a request. Head and body go through
// one buffer, so that a small response is one write on the connection.
type response struct {
	c      *conn
	r      *http.Request
	body   *body // of the request; nil if it has none
	header http.Header

	buf []byte // pooled; what is not written yet

	status    int // 0 until WriteHeader
	headSent  bool
	length    int64 // declared, or -1
	written   int64 // of the body
	chunked   bool
	noBody    bool // HEAD, 204, 304
	close     bool
	hijacked  bool
	continued bool // 100 Continue was sent
	trailers  []string
	err       error
	writeMu   sync.Mutex // guards buf and the connection against writeContinue
}

const (
	writeSize       = 4 << 10
	maxPooledHeader = 64 // fields; clearing a larger map costs more than making one
)

var (
	writeBuffers = sync.Pool{New: func() any { return new([writeSize]byte) }}
	headers      = sync.Pool{New: func() any { return make(http.Header, 16) }}
)

func (w *response) reset(c *conn, r *http.Request, b *body) {
	h, buf := w.header, w.buf
	if h == nil {
		h = headers.Get().(http.Header)
	}
	clear(h)
	w.c, w.r, w.body, w.header = c, r, b, h
	w.status, w.headSent, w.length, w.written = 0, false, -1, 0
	w.chunked, w.noBody, w.hijacked, w.continued = false, r.Method == http.MethodHead, false, false
	w.close = r.Close || c.server.last()
	w.trailers, w.err = nil, nil
	if buf == nil {
		buf = writeBuffer()
	}
	w.buf = buf[:0]
}

func writeBuffer() []byte { return writeBuffers.Get().(*[writeSize]byte)[:0] }

// freeWriteBuffer takes a buffer back, unless it is one that grew.
func freeWriteBuffer(b []byte) {
	if cap(b) == writeSize {
		writeBuffers.Put((*[writeSize]byte)(b[:writeSize]))
	}
}

// release gives the buffers back.
func (w *response) release() {
	freeWriteBuffer(w.buf)
	if w.header != nil && len(w.header) <= maxPooledHeader {
		clear(w.header)
		headers.Put(w.header)
	}
	w.buf, w.header, w.r, w.body = nil, nil, nil, nil
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.hijacked || w.status != 0 {
		return
	}
	if status < 100 || status > 999 {
		panic("h1: invalid status " + strconv.Itoa(status))
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.informational(status)
		return
	}
	w.status = status
	if status == http.StatusNoContent || status == http.StatusNotModified || status == http.StatusSwitchingProtocols {
		w.noBody = true
	}
	if v := w.header["Content-Length"]; len(v) > 0 {
		if n, err := parseLength([]byte(v[0])); err == nil && len(v) == 1 {
			w.length = n
		} else {
			delete(w.header, "Content-Length")
		}
	}
}

// informational sends a 1xx head at once.
func (w *response) informational(status int) {
	if w.r.ProtoMinor == 0 || status == http.StatusContinue && w.continued {
		return
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	w.statusLine(status)
	w.fields(w.header)
	w.buf = append(w.buf, '\r', '\n')
	w.flushLocked()
}

// writeContinue sends 100 Continue when the handler first reads the body.
func (w *response) writeContinue() error {
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if w.headSent || w.status != 0 || w.continued {
		return nil
	}
	w.continued = true
	_, err := io.WriteString(w.c.net, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return 0, w.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if w.noBody {
		if w.r.Method == http.MethodHead {
			return len(p), nil
		}
		return 0, http.ErrBodyNotAllowed
	}
	if w.length >= 0 && w.written+int64(len(p)) > w.length {
		return 0, http.ErrContentLength
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if !w.headSent {
		if w.length < 0 && len(w.buf)+len(p)+headReserve <= cap(w.buf) {
			// The head waits: if the handler ends within the buffer, the length is
			// known and no chunks are needed.
			w.buf = append(w.buf, p...)
			w.written += int64(len(p))
			return len(p), nil
		}
		w.head(false)
	}
	w.written += int64(len(p))
	w.append(p)
	return len(p), w.err
}

// headReserve is what a typical head needs in the buffer beside a small body.
const headReserve = 1 << 10

// append puts body bytes behind what is buffered, in a chunk if the response
// is chunked. Large pieces go around the buffer.
func (w *response) append(p []byte) {
	if w.chunked {
		w.buf = strconv.AppendInt(w.buf, int64(len(p)), 16)
		w.buf = append(w.buf, '\r', '\n')
	}
	if len(w.buf)+len(p)+2 <= cap(w.buf) {
		w.buf = append(w.buf, p...)
	} else if n := cap(w.buf) - len(w.buf); n > 0 && len(p) < 16<<10 {
		// Fill the buffer first: one record of TLS for head and body.
		n = min(n, len(p))
		w.buf = append(w.buf, p[:n]...)
		w.flushLocked()
		if rest := p[n:]; len(rest) < cap(w.buf) {
			w.buf = append(w.buf, rest...)
		} else {
			w.send(rest)
		}
	} else {
		w.flushLocked()
		w.send(p)
	}
	if w.chunked {
		w.buf = append(w.buf, '\r', '\n')
	}
}

// send writes to the connection. A client that asks on and on without reading
// would otherwise hold the write that ends a response for as long as it likes. A
// timer costs a fraction of a deadline.
func (w *response) send(p []byte) {
	if w.err != nil {
		return
	}
	c := w.c
	if c.writing == nil {
		c.writing = time.AfterFunc(c.server.Limits.WriteTimeout, func() { c.net.SetWriteDeadline(past) })
	} else {
		c.writing.Reset(c.server.Limits.WriteTimeout)
	}
	_, w.err = c.net.Write(p)
	c.writing.Stop()
}

func (w *response) flushLocked() {
	if len(w.buf) > 0 {
		w.send(w.buf)
		if cap(w.buf) != writeSize { // grown by a large head
			w.buf = make([]byte, 0, writeSize)
		}
		w.buf = w.buf[:0]
	}
}

// finish ends the response after the handler.
func (w *response) finish() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if !w.headSent {
		w.head(!w.trailersPromised())
	}
	if w.chunked {
		w.buf = append(w.buf, '0', '\r', '\n')
		w.writeTrailers()
		w.buf = append(w.buf, '\r', '\n')
	}
	w.flushLocked()
	if w.err == nil && w.length >= 0 && !w.noBody && w.written != w.length {
		// The client must see that the body is short.
		w.err = io.ErrUnexpectedEOF
	}
	return w.err
}

// FlushError is what http.ResponseController calls.
func (w *response) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.writeMu.Lock()
	defer w.writeMu.Unlock()
	if !w.headSent {
		w.head(false)
	}
	w.flushLocked()
	return w.err
}

// Flush implements http.Flusher.
func (w *response) Flush() { w.FlushError() }

// SetReadDeadline is what http.ResponseController calls.
func (w *response) SetReadDeadline(t time.Time) error { return w.c.net.SetReadDeadline(t) }

// SetWriteDeadline is what http.ResponseController calls.
func (w *response) SetWriteDeadline(t time.Time) error { return w.c.net.SetWriteDeadline(t) }

// EnableFullDuplex is what http.ResponseController calls: bodies can always be
// read and written at the same time here.
func (w *response) EnableFullDuplex() error { return nil }

// Hijack implements http.Hijacker.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	w.c.watch.stop()
	w.hijacked = true
	w.c.setReadDeadline(time.Time{})
	w.c.net.SetWriteDeadline(time.Time{})
	br := bufio.NewReaderSize(&w.c.in, 4<<10)
	if n := w.c.in.buffered(); n > 0 {
		br.Peek(n)
	}
	bw := bufio.NewWriterSize(w.c.net, 4<<10)
	if w.status != 0 && !w.headSent { // 101 by WriteHeader
		w.head(false)
	}
	if len(w.buf) > 0 {
		w.flushLocked()
	}
	return w.c.net, bufio.NewReadWriter(br, bw), w.err
}
