// Package h1 serves HTTP/1.1 (RFC 9112) on connections that are already open.
// In front of net/http's parser stands a strict check of the raw head, so that
// nothing reaches a handler that two readers could read differently. It owns
// framing, keep-alive and time-outs; it decides nothing about requests that are
// well-formed.
//
// It takes the place of net/http's server for HTTP/1.1 because that one hides
// the raw bytes, accepts Transfer-Encoding beside Content-Length and bare line
// feeds, and costs a goroutine and several buffers for each connection.
package h1

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limits bound what a connection may take. All must be set.
type Limits struct {
	HeaderTimeout time.Duration // for a head, from its first byte
	IdleTimeout   time.Duration // until the first byte of the next head
	WriteTimeout  time.Duration // for the client to take one piece of a response
	DrainBytes    int64         // of an unread body that are read to keep a connection
	MaxHeader     int           // bytes of a head
	MaxHeaders    int           // fields of a head or of trailers
	MaxURI        int           // bytes of a request target
}

// Server serves connections. It must not be copied.
type Server struct {
	Handler http.Handler
	Limits  Limits
	// Panicked is told of a handler's panic other than http.ErrAbortHandler.
	Panicked func(v any)

	stopping atomic.Bool
	retiring atomic.Bool
	mu       sync.Mutex
	conns    map[*conn]struct{}
	empty    chan struct{} // closed when the last connection is gone, while stopping
}

// Malformed says why a head could not be read. Handlers find it in the context
// of a request that stands for the unreadable one, and answer it.
type Malformed struct {
	Status int
	Reason string // stable
	Detail string // for the log
}

func (m *Malformed) Error() string { return m.Detail }

type malformedKey struct{}

// MalformedOf is the mistake that ctx's request stands for, or nil.
func MalformedOf(ctx context.Context) *Malformed {
	m, _ := ctx.Value(malformedKey{}).(*Malformed)
	return m
}

// WithMalformed returns a context for a request that stands for an unreadable
// one, of any protocol.
func WithMalformed(ctx context.Context, m *Malformed) context.Context {
	return context.WithValue(ctx, malformedKey{}, m)
}

// errShutdown ends connections that wait for a request.
var errShutdown = errors.New("h1: server is shutting down")

// conn is one connection. Everything in it belongs to the goroutine of Serve,
// but for what says otherwise.
type conn struct {
	server *Server
	net    net.Conn
	tls    *tls.ConnectionState
	ctx    context.Context
	cancel context.CancelFunc

	in   reader
	head struct { // for http.ReadRequest
		bytes bytes.Reader
		buf   *bufio.Reader
	}
	res      response
	writing  *time.Timer // ends a write that stands still
	deadline time.Time   // read deadline that is set
	idle     atomic.Bool
	watch    watcher
	socket   syscall.RawConn // below TLS; nil until it is asked
}

// Serve serves c until it ends and closes it. cs is nil without TLS.
func (s *Server) Serve(ctx context.Context, nc net.Conn, cs *tls.ConnectionState) {
	c := &conn{server: s, net: nc, tls: cs}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.in.src = nc
	c.watch.c = c
	defer c.cancel()
	if !s.add(c) {
		nc.Close()
		return
	}
	defer s.remove(c)
	hijacked := c.serve()
	c.release()
	if !hijacked {
		nc.Close()
	}
}

func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return false
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// End ends connections that wait for a request, and the others after the
// response under way, which says so. It does not wait for that. Connections that
// come later are closed.
func (s *Server) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	for c := range s.conns {
		if c.idle.Load() {
			c.net.SetReadDeadline(past)
		}
	}
}

// Retire ends each connection after its next response, which says so. One that
// waits for a request goes on waiting: a client that sends one at the moment
// would take the end of its connection for a failure.
func (s *Server) Retire() { s.retiring.Store(true) }

// Shutdown is End, but waits for the connections until ctx ends, and closes the
// rest.
func (s *Server) Shutdown(ctx context.Context) {
	s.End()
	s.mu.Lock()
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	s.empty = empty
	s.mu.Unlock()
	select {
	case <-empty:
		return
	case <-ctx.Done():
	}
	s.mu.Lock()
	for c := range s.conns {
		c.net.Close()
	}
	s.mu.Unlock()
	<-empty
}

// past is a deadline that has been missed.
var past = time.Unix(1, 0)

// serve reads and answers requests until the connection is done. It reports
// whether the handler took the connection over.
func (c *conn) serve() (hijacked bool) {
	for first := true; ; first = false {
		if err := c.wait(first); err != nil {
			return false
		}
		r, bad := c.readRequest()
		if r == nil {
			if bad != nil {
				c.refuse(bad)
			}
			return false
		}
		keep, hijacked := c.handle(r)
		if hijacked {
			return true
		}
		if !keep {
			c.linger()
			return false
		}
		if c.server.stopping.Load() {
			return false
		}
	}
}

// last reports whether no request may follow the one that is answered.
func (s *Server) last() bool { return s.retiring.Load() || s.stopping.Load() }

// wait waits for the first byte of a request. While nothing is buffered, the
// connection holds no buffers.
func (c *conn) wait(first bool) error {
	if c.in.buffered() > 0 {
		return nil
	}
	c.release()
	limit := c.server.Limits.IdleTimeout
	if first {
		limit = c.server.Limits.HeaderTimeout
	}
	// A deadline costs more than the rest of this function; one that is off by a
	// quarter serves as well.
	now := time.Now()
	if left := c.deadline.Sub(now); left < limit*3/4 || left > limit {
		c.setReadDeadline(now.Add(limit))
	}
	c.idle.Store(true)
	if c.server.stopping.Load() && !first { // Shutdown may have looked before idle was set
		return errShutdown
	}
	err := c.in.firstByte()
	c.idle.Store(false)
	return err
}

func (c *conn) setReadDeadline(t time.Time) {
	c.deadline = t
	c.net.SetReadDeadline(t)
}

// readRequest reads a head and makes its request. If it returns neither a
// request nor a mistake, the connection is gone.
func (c *conn) readRequest() (*http.Request, *Malformed) {
	n, bad, err := c.readHead()
	if bad != nil || err != nil {
		return nil, bad
	}
	info, bad := checkHead(c.in.buf[c.in.r:c.in.r+n], &c.server.Limits)
	if bad != nil {
		return nil, bad
	}
	c.head.bytes.Reset(c.in.buf[c.in.r : c.in.r+n])
	if c.head.buf == nil {
		c.head.buf = headReaders.Get().(*bufio.Reader)
	}
	c.head.buf.Reset(&c.head.bytes)
	r, err := http.ReadRequest(c.head.buf)
	c.in.r += n
	if err != nil {
		return nil, &Malformed{http.StatusBadRequest, "bad_request", "the request head can't be parsed"}
	}
	if bad := crossCheck(r, info); bad != nil {
		return nil, bad
	}
	r.TLS = c.tls
	r.RemoteAddr = "" // the handler knows the connection; formatting the address for nobody costs
	return c.withBody(r, info), nil
}

var headReaders = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 2<<10) }}

// readHead reads until a whole head is buffered and returns its length.
func (c *conn) readHead() (n int, bad *Malformed, err error) {
	scanned, lineChecked := 0, false
	timed := false
	for {
		b := c.in.buf[c.in.r:c.in.w]
		// RFC 9112 2.2: one empty line before the request line is forgiven.
		if scanned == 0 && len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
			c.in.r += 2
			b = b[2:]
			if len(b) >= 2 && b[0] == '\r' && b[1] == '\n' {
				return 0, &Malformed{http.StatusBadRequest, "bad_request", "empty lines instead of a request"}, nil
			}
		}
		end, bare := headEnd(b, scanned)
		if bare {
			return 0, &Malformed{http.StatusBadRequest, "bad_line_ending", "a line ends in a bare line feed"}, nil
		}
		if end > 0 {
			if end > c.server.Limits.MaxHeader {
				return 0, tooLarge, nil
			}
			return end, nil, nil
		}
		if !lineChecked {
			if i := bytes.IndexByte(b, '\n'); i > 0 {
				lineChecked = true
				if _, _, bad := checkLine(b[:i+1], &c.server.Limits); bad != nil {
					return 0, bad, nil
				}
			} else if len(b) > c.server.Limits.MaxURI+64 {
				return 0, &Malformed{http.StatusRequestURITooLong, "uri_too_long", "the request line is too long"}, nil
			}
		}
		if len(b) >= c.server.Limits.MaxHeader {
			return 0, tooLarge, nil
		}
		scanned = max(0, len(b)-3)
		if !timed {
			// Only heads that come in pieces need a deadline of their own.
			timed = true
			c.setReadDeadline(time.Now().Add(c.server.Limits.HeaderTimeout))
		}
		if err := c.in.fill(c.server.Limits.MaxHeader + 4096); err != nil {
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() && !c.server.stopping.Load() {
				return 0, &Malformed{http.StatusRequestTimeout, "header_timeout", "the request head took too long"}, err
			}
			return 0, nil, err
		}
	}
}

var tooLarge = &Malformed{http.StatusRequestHeaderFieldsTooLarge, "header_too_large", "the request head is too large"}

// headEnd finds the end of a head in b, looking from b[from] on. bare reports a
// line feed without a carriage return before it.
func headEnd(b []byte, from int) (end int, bare bool) {
	for i := from; ; i++ {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0, false
		}
		i += j
		if i == 0 || b[i-1] != '\r' {
			return 0, true
		}
		if i >= 3 && b[i-2] == '\n' {
			return i + 1, false
		}
	}
}

// refuse has the handler answer a head that could not be read, and ends the
// connection: what follows can't be trusted to be a request.
func (c *conn) refuse(bad *Malformed) {
	r := &http.Request{
		Method: http.MethodGet, URL: &rootURL, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Close: true, TLS: c.tls, RequestURI: "/",
	}
	r = r.WithContext(WithMalformed(c.ctx, bad))
	c.handle(r)
	c.linger()
}

// handle runs the handler and finishes the response.
func (c *conn) handle(r *http.Request) (keep, hijacked bool) {
	b, _ := r.Body.(*body)
	c.res.reset(c, r, b)
	w := &c.res
	if b == nil {
		c.watch.start()
	}
	aborted := c.runHandler(w, r)
	c.watch.stop()
	if w.hijacked {
		return false, true
	}
	if aborted {
		c.breakOff()
		return false, false
	}
	if err := w.finish(); err != nil {
		if err != io.ErrUnexpectedEOF {
			c.breakOff() // what can't be written can't be ended in order either: TLS would try for seconds
		}
		return false, false
	}
	if w.close || MalformedOf(r.Context()) != nil {
		return false, false
	}
	if b != nil && !b.drain(c.server.Limits.DrainBytes) {
		return false, false
	}
	return true, false
}

func (c *conn) runHandler(w *response, r *http.Request) (aborted bool) {
	defer func() {
		if v := recover(); v != nil {
			aborted = true
			if v != http.ErrAbortHandler && c.server.Panicked != nil {
				c.server.Panicked(v)
			}
		}
	}()
	c.server.Handler.ServeHTTP(w, r)
	return false
}

const (
	lingerTime  = 2 * time.Second        // in all
	lingerPause = 500 * time.Millisecond // without anything coming
	lingerBytes = 16 << 20
)

// linger gives the client time to read the last response before the
// connection closes: closing with unread input resets it, and with the reset
// the response may be lost (RFC 9112 9.6). A client in the middle of an upload
// has megabytes on their way; they are thrown away without being decrypted.
func (c *conn) linger() {
	if tc, ok := c.net.(interface{ CloseWrite() error }); ok && tc.CloseWrite() != nil {
		return
	}
	raw := below(c.net)
	end := time.Now().Add(lingerTime)
	var b [8 << 10]byte
	for n := 0; n < lingerBytes; {
		deadline := time.Now().Add(lingerPause)
		if deadline.After(end) {
			deadline = end
		}
		raw.SetReadDeadline(deadline)
		m, err := raw.Read(b[:])
		if err != nil {
			return
		}
		n += m
	}
}

// breakOff ends a connection in the middle of a response. It must not look like
// an end: where the end of the connection is that of the body, only an error
// tells a part from a whole. Not all clients miss TLS's close_notify, but all see
// a reset.
func (c *conn) breakOff() {
	raw := below(c.net)
	if t, ok := raw.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
	raw.Close()
}

// below is the connection that TLS stands on.
func below(c net.Conn) net.Conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return c
}

// release returns the buffers of a connection that waits.
func (c *conn) release() {
	c.in.release()
	c.res.release()
	if c.head.buf != nil {
		c.head.buf.Reset(nil)
		headReaders.Put(c.head.buf)
		c.head.buf = nil
	}
}
