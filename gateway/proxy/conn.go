package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	smallBuffer = 4 << 10  // of a head and a small body
	largeBuffer = 32 << 10 // of bodies

	// watchAfter is how long an exchange may take before its client is watched.
	// Most are done before it would be worth a registration.
	watchAfter = 50 * time.Millisecond
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

// conn is a connection to a server that speaks HTTP/1.1. One exchange at a time
// uses it, from the goroutine of its handler; only a request body that is not
// at hand is written from another.
//
// Deadlines of the socket are not set for each exchange but left standing from
// one to the next, never later than the deadline of the exchange; when one
// passes early, it is set anew. So a busy connection touches the timers of the
// runtime every 50 ms and not for each request.
type conn struct {
	net  net.Conn
	raw  syscall.RawConn // of the TCP connection, for alive
	srv  *server
	tls  bool
	used bool      // has carried an exchange
	idle time.Time // since when it has been idle

	buf  []byte // from a pool, while an exchange is under way
	r, w int    // what is unread in buf

	ctx      context.Context // of the exchange
	stop     func() bool     // ends the watch of ctx
	limit    time.Duration   // how long nothing may arrive
	upload   *pulse          // of a request body that is being sent, or nil
	since    time.Time       // when something last arrived, or when waiting began
	readBy   time.Time       // deadline of the socket
	writeBy  time.Time
	received bool        // a byte of this exchange's response arrived
	ended    bool        // the server has ended the connection in order: FIN, and close_notify before it in TLS
	broken   atomic.Bool // closed by another goroutine

	peek  func(fd uintptr)
	peekN int
	peekE error
}

func newConn(nc net.Conn, raw syscall.RawConn, srv *server) *conn {
	c := &conn{net: nc, raw: raw, srv: srv}
	_, c.tls = nc.(*tls.Conn)
	c.peek = func(fd uintptr) { c.peekN, c.peekE = peekSocket(fd) }
	return c
}

// alive reports whether a kept connection can be used again: it is open and
// nothing arrived while it was idle. What arrives unasked could be taken for
// the answer to the next request.
func (c *conn) alive() bool {
	if c.raw == nil {
		return true
	}
	if err := c.raw.Control(c.peek); err != nil {
		return false
	}
	return c.peekN < 0 && errors.Is(c.peekE, syscall.EAGAIN)
}

// begin makes c ready for an exchange.
func (c *conn) begin(ctx context.Context, now time.Time, limit time.Duration) {
	c.ctx, c.limit, c.since = ctx, limit, now
	c.received = false
	if c.buf == nil {
		c.buf = smallBuffers.Get().(*[smallBuffer]byte)[:]
	}
	if c.readBy.Sub(now) < time.Millisecond || c.readBy.Sub(now) > limit {
		c.readBy = now.Add(min(watchAfter, limit))
		c.net.SetReadDeadline(c.readBy)
	}
}

// end gives back what an exchange used. It reports whether c may carry another
// one as far as c itself knows.
func (c *conn) end() bool {
	ok := !c.broken.Load()
	if c.stop != nil && !c.stop() {
		ok = false
	}
	if c.r != c.w {
		ok = false // more than the response arrived
	}
	c.stop, c.ctx, c.upload = nil, nil, nil
	c.freeBuf()
	c.r, c.w = 0, 0
	c.used = true
	return ok
}

func (c *conn) freeBuf() {
	switch cap(c.buf) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(c.buf[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(c.buf[:largeBuffer]))
	}
	c.buf = nil
}

// abort closes the connection under whoever uses it.
func (c *conn) abort() {
	c.broken.Store(true)
	c.net.Close()
}

// watch ends the exchange when its client leaves.
func (c *conn) watch() {
	if c.stop == nil {
		c.stop = context.AfterFunc(c.ctx, c.abort)
	}
}

// fill reads once, behind what is unread. There must be room.
func (c *conn) fill() error {
	for {
		n, err := c.net.Read(c.buf[c.w:])
		if n > 0 {
			c.w += n
			c.received = true
			return nil
		}
		if err == nil {
			continue
		}
		if !isTimeout(err) {
			if err == io.EOF {
				c.ended = !c.cut()
				return io.ErrUnexpectedEOF
			}
			return err
		}
		if err := c.late(); err != nil {
			return err
		}
	}
}

// cut reports whether a connection with TLS ended without close_notify.
func (c *conn) cut() bool {
	if t, ok := c.net.(*tls.Conn); ok {
		b, ok := t.NetConn().(*below)
		return ok && b.cut
	}
	return false
}

// late decides what to do when the socket's read deadline has passed.
func (c *conn) late() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	left := c.limit - now.Sub(c.since)
	if c.upload != nil {
		left = max(left, c.limit-now.Sub(c.upload.since(now)))
	}
	if left <= 0 {
		return errIdle
	}
	c.watch()
	c.readBy = now.Add(left)
	return c.net.SetReadDeadline(c.readBy)
}

// compact moves what is unread to the front, and into a large buffer if that is
// what is wanted.
func (c *conn) compact(large bool) {
	if large && len(c.buf) < largeBuffer {
		b := largeBuffers.Get().(*[largeBuffer]byte)[:]
		n := copy(b, c.buf[c.r:c.w])
		c.freeBuf()
		c.buf, c.r, c.w = b, 0, n
		return
	}
	if c.r > 0 {
		n := copy(c.buf, c.buf[c.r:c.w])
		c.r, c.w = 0, n
	}
}

// readHead reads a whole head.
func (c *conn) readHead(h *head) error {
	scanned := c.r
	for {
		end, next, err := headEnd(c.buf[:c.w], scanned)
		if err != nil {
			return err
		}
		if end == 0 && !plausible(c.buf[c.r:c.w]) {
			return protocolError("the response does not begin with a status line of HTTP/1.1")
		}
		if end > 0 {
			if end-c.r > maxHead {
				return errHeadTooLarge
			}
			s := string(c.buf[c.r:end])
			c.r = end
			if c.r == c.w {
				c.r, c.w = 0, 0
			}
			return h.parse(s)
		}
		scanned = next
		if c.w == len(c.buf) {
			shift := c.r
			if err := c.grow(); err != nil {
				return err
			}
			scanned -= shift
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// grow makes room behind what is unread of a head.
func (c *conn) grow() error {
	switch n := c.w - c.r; {
	case c.r > 0:
		c.compact(false)
	case n < largeBuffer:
		c.compact(true)
	case n > maxHead:
		return errHeadTooLarge
	default: // rare enough not to be pooled
		b := make([]byte, 2*n+1)
		n = copy(b, c.buf[c.r:c.w])
		c.freeBuf()
		c.buf, c.r, c.w = b, 0, n
	}
	return nil
}

// plausible reports whether b can be the beginning of a status line.
func plausible(b []byte) bool {
	const version = "HTTP/1."
	n := min(len(b), len(version))
	return string(b[:n]) == version[:n]
}

// write writes all of p; nothing may stand still longer than the limit.
func (c *conn) write(p []byte, limit time.Duration) error {
	now := time.Now()
	if c.tls || c.writeBy.Sub(now) < limit/2 || c.writeBy.Sub(now) > limit {
		// After a time-out nothing can be written to a TLS connection, so its
		// deadline must be exact.
		c.writeBy = now.Add(limit)
		c.net.SetWriteDeadline(c.writeBy)
	}
	for {
		n, err := c.net.Write(p)
		if err == nil {
			return nil
		}
		p = p[n:]
		if c.tls || !isTimeout(err) {
			return err
		}
		last := now
		if now = time.Now(); n == 0 && now.Sub(last) >= limit {
			return err
		}
		c.writeBy = now.Add(limit)
		if n == 0 {
			c.writeBy = last.Add(limit)
			now = last
		}
		if err := c.net.SetWriteDeadline(c.writeBy); err != nil {
			return err
		}
	}
}
