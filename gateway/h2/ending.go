package h2

import (
	"errors"
	"time"
)

// errEnded is what the server gets from a connection that the guard ended.
var errEnded = errors.New("h2: connection ended by the guard")

// fail ends the connection with a GOAWAY. It belongs to the goroutine that reads.
func (c *Conn) fail(code uint32, why string) error {
	c.out, c.after, c.left = nil, nil, 0
	c.goAway(code, why)
	return errEnded
}

// goAway ends the connection for why, and tells the client if it can.
func (c *Conn) goAway(code uint32, why string) {
	c.end(why)
	c.w.Lock()
	c.lastWords(code)
	c.w.Unlock()
}

// end notes why the connection ends.
func (c *Conn) end(why string) {
	c.mu.Lock()
	first := c.err == nil
	c.err = errEnded
	c.mu.Unlock()
	if first && c.server.o.Ended != nil {
		c.server.o.Ended(c.ctx, why)
	}
}

// silent reports whether requests were read, nobody has ended the connection
// and the server has not said that it will.
func (c *Conn) silent() bool {
	c.w.Lock()
	defer c.w.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known.Load() > 0 && c.err == nil && !c.closed && !c.w.goAway
}

// Close closes the connection. After a GOAWAY of the guard's own, the client
// gets a moment to read it: closing with unread input would reset the
// connection, and with it take back what was sent.
func (c *Conn) Close() error {
	c.mu.Lock()
	linger := (c.err != nil || c.gone.waiting()) && !c.closed
	c.closed = true
	if c.gone != nil && c.gone.timer != nil {
		c.gone.timer.Stop()
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	c.finish()
	if linger {
		c.linger()
	}
	return c.transport.Close()
}

func (c *Conn) linger() {
	if c.CloseWrite() != nil {
		return
	}
	raw := c.NetConn()
	raw.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	var b [4 << 10]byte
	for range 64 {
		if _, err := raw.Read(b[:]); err != nil {
			return
		}
	}
}

// Starved reports whether the client's windows are so small that the end of a
// short response may not fit. To be asked while a handler runs.
func (c *Conn) Starved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first < maxFrame || c.window < maxFrame
}
