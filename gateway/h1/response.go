package h1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
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

// head puts the head in front of what is buffered. last says that the body is
// complete.
func (w *response) head(last bool) {
	body := w.buf
	if len(body) > 0 {
		w.buf = writeBuffer()
	}
	w.headSent = true
	w.statusLine(w.status)
	h := w.header
	w.announceTrailers(h)
	_, encoded := h["Transfer-Encoding"]
	if encoded {
		delete(h, "Transfer-Encoding") // framing is ours
	}
	switch {
	case w.noBody:
		if w.status == http.StatusNoContent || w.status == http.StatusSwitchingProtocols {
			delete(h, "Content-Length") // RFC 9110 8.6
		}
	case w.length >= 0:
	case last && w.trailers == nil:
		w.length = int64(len(body))
		w.buf = append(w.buf, "Content-Length: "...)
		w.buf = strconv.AppendInt(w.buf, w.length, 10)
		w.buf = append(w.buf, '\r', '\n')
	case w.r.ProtoMinor == 0:
		w.close = true
	default:
		w.chunked = true
		w.buf = append(w.buf, "Transfer-Encoding: chunked\r\n"...)
	}
	if v, ok := h["Connection"]; ok && w.status != http.StatusSwitchingProtocols {
		for _, token := range v {
			if strings.EqualFold(token, "close") {
				w.close = true
			}
		}
		delete(h, "Connection")
	}
	w.requestLeft()
	w.close = w.close || w.c.server.last()
	if w.close {
		w.buf = append(w.buf, "Connection: close\r\n"...)
	} else if w.r.ProtoMinor == 0 {
		w.buf = append(w.buf, "Connection: keep-alive\r\n"...)
	}
	if _, ok := h["Date"]; !ok {
		w.buf = append(w.buf, "Date: "...)
		w.buf = append(w.buf, date()...)
		w.buf = append(w.buf, '\r', '\n')
	}
	w.fields(h)
	w.buf = append(w.buf, '\r', '\n')
	if len(body) == 0 {
		return
	}
	w.append(body)
	freeWriteBuffer(body)
}

// requestLeft closes the connection after a response that came before the end
// of a request body which is too long to be read to its end.
func (w *response) requestLeft() {
	b := w.body
	if b == nil || b.err == io.EOF {
		return
	}
	if b.err != nil || b.expect || !b.chunked && b.left > w.c.server.Limits.DrainBytes {
		w.close = true
	}
}

func (w *response) statusLine(status int) {
	w.buf = append(w.buf, "HTTP/1.1 "...)
	w.buf = strconv.AppendInt(w.buf, int64(status), 10)
	w.buf = append(w.buf, ' ')
	w.buf = append(w.buf, http.StatusText(status)...)
	w.buf = append(w.buf, '\r', '\n')
}

// fields writes header fields. What could end a line early is never written.
func (w *response) fields(h http.Header) {
	for name, values := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) || !isTokenString(name) || w.trailer(name) {
			continue
		}
		for _, v := range values {
			w.buf = append(w.buf, name...)
			w.buf = append(w.buf, ':', ' ')
			w.value(v)
			w.buf = append(w.buf, '\r', '\n')
		}
	}
}

func (w *response) value(v string) {
	n := len(w.buf)
	w.buf = append(w.buf, v...)
	for i := n; i < len(w.buf); i++ {
		if c := w.buf[i]; c == '\r' || c == '\n' || c == 0 {
			w.buf[i] = ' '
		}
	}
}

func isTokenString(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// announceTrailers notes the trailers that the handler announced with the
// Trailer field; they are written at the end.
func (w *response) announceTrailers(h http.Header) {
	for _, v := range h["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			key := textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if isTokenString(key) && !forbiddenTrailers[key] {
				w.trailers = append(w.trailers, key)
			}
		}
	}
}

func (w *response) trailer(name string) bool {
	for _, t := range w.trailers {
		if t == name {
			return true
		}
	}
	return false
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

// trailersPromised reports whether trailers were announced or set.
func (w *response) trailersPromised() bool {
	if _, ok := w.header["Trailer"]; ok {
		return true
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

func (w *response) writeTrailers() {
	for _, name := range w.trailers {
		for _, v := range w.header[name] {
			w.trailerLine(name, v)
		}
	}
	for name, values := range w.header {
		if key, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && isTokenString(key) && !forbiddenTrailers[textproto.CanonicalMIMEHeaderKey(key)] {
			for _, v := range values {
				w.trailerLine(key, v)
			}
		}
	}
}

func (w *response) trailerLine(name, v string) {
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, ':', ' ')
	w.value(v)
	w.buf = append(w.buf, '\r', '\n')
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

// clock is the Date of the current second.
type clock struct {
	second int64
	text   string
}

var dates atomic.Pointer[clock]

// date is the current time as RFC 9110 5.6.7 writes it.
func date() string {
	now := time.Now()
	if d := dates.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &clock{now.Unix(), now.UTC().Format(http.TimeFormat)}
	dates.Store(d)
	return d.text
}
