package h2

import (
	"io"
	"time"
)

// gone are the streams that the server is done with while the client still sends.
// Its frames were on their way, and are ignored (RFC 9113 5.1): the server
// answers each with another RST_STREAM, and trailers with the end of the
// connection. It also resets a stream together with the last byte of an early
// answer (8.1 allows that), whereupon some clients drop the answer unread
// (curl 7.88); the guard does so only if the client has not ended the stream in a
// while by itself.
type gone struct {
	list  [mostGone]goneStream
	n     int // ever
	timer *time.Timer
	armed bool // timer runs
}

type goneStream struct {
	id    uint32
	reset bool      // the client has been told by RST_STREAM, or need not be
	due   time.Time // when it is, otherwise
}

const (
	// mostGone is how many streams are remembered; of others the server judges.
	mostGone = 64
	// patience is how long a client may send on after an early answer.
	patience = time.Second
)

// find is the stream of that number, nil if the server may still want it.
func (g *gone) find(id uint32) *goneStream {
	if g == nil {
		return nil
	}
	for i := range min(g.n, mostGone) {
		if s := &g.list[i]; s.id == id {
			return s
		}
	}
	return nil
}

// parted notes that the server is done with a stream that the client has not ended:
// with an answer, or by resetting it. w and mu must be held.
func (c *Conn) parted(id uint32, reset bool) {
	if c.gone == nil { // most connections never have one
		c.gone = &gone{}
	}
	g := c.gone
	s := &g.list[g.n%mostGone]
	if g.n >= mostGone && !s.reset { // it is forgotten
		c.w.pending = append(c.w.pending, rstStream(s.id, codeNo)...)
	}
	g.n++
	*s = goneStream{id: id, reset: reset}
	if reset {
		return
	}
	s.due = time.Now().Add(patience)
	switch {
	case g.armed:
	case g.timer == nil:
		g.timer = time.AfterFunc(patience, c.resetLate)
	default:
		g.timer.Reset(patience)
	}
	g.armed = true
}

// resetLate resets the streams whose clients send on.
func (c *Conn) resetLate() {
	c.mu.Lock()
	var frames []byte
	if now := time.Now(); !c.closed && c.err == nil {
		next := time.Duration(0)
		for i := range c.gone.list {
			s := &c.gone.list[i]
			switch wait := s.due.Sub(now); {
			case s.id == 0 || s.reset:
			case wait <= 0:
				s.reset = true
				frames = append(frames, rstStream(s.id, codeNo)...)
			case next == 0 || wait < next:
				next = wait
			}
		}
		if c.gone.armed = next > 0; next > 0 {
			c.gone.timer.Reset(next)
		}
	}
	c.mu.Unlock()
	if len(frames) > 0 {
		c.inject(frames)
	}
}

// waiting reports whether a client may not have read an early answer yet. mu must
// be held.
func (g *gone) waiting() bool {
	if g == nil {
		return false
	}
	for i := range min(g.n, mostGone) {
		if !g.list[i].reset {
			return true
		}
	}
	return false
}

// ignoreData reads DATA of a stream that is gone. The connection's window is given
// back, that of the stream is not: the client can't send for long.
func (c *Conn) ignoreData(f frame) error {
	if _, err := io.CopyN(io.Discard, c.transport, int64(f.length)); err != nil {
		return err
	}
	if f.length > 0 {
		c.inject(windowUpdate(f.length))
	}
	return c.pay(1)
}
