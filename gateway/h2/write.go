package h2

import "encoding/binary"

// Write follows what the server sends. Errors that the client causes cost it
// the same as its own resets: the server works for both alike.
func (c *Conn) Write(p []byte) (int, error) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.mu.Lock()
	err := c.err
	ok := err != nil || c.follow(p)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	c.spoken = true
	n, err := c.transport.Write(p)
	if err != nil {
		return n, err
	}
	between := c.whave == 0 && c.wleft == 0
	if !ok {
		c.end("reset_flood")
		if between {
			c.lastWords(codeEnhanceYourCalm)
		}
		return n, errEnded
	}
	if between && len(c.pending) > 0 {
		_, err = c.transport.Write(c.pending)
		c.pending = nil
	}
	return n, err
}

// inject sends a frame of the guard's own between two of the server's.
func (c *Conn) inject(b []byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.whave == 0 && c.wleft == 0 {
		c.transport.Write(b)
		return
	}
	c.pending = append(c.pending, b...)
}

// follow notes the frames in p. It reports false once the client's errors are
// too many. wmu and mu must be held.
func (c *Conn) follow(p []byte) bool {
	ok := true
	for len(p) > 0 {
		if c.whave < headLen && c.wleft == 0 {
			n := copy(c.whead[c.whave:], p)
			c.whave, p = c.whave+n, p[n:]
			if c.whave < headLen {
				return ok
			}
			c.wframe = parseFrame(&c.whead)
			c.wleft = c.wframe.length
			c.began()
		}
		n := min(len(p), c.wleft)
		if c.wframe.kind == frameRSTStream {
			copy(c.wcode[4-min(4, c.wleft):], p[:n])
		}
		p = p[n:]
		if c.wleft -= n; c.wleft > 0 {
			return ok
		}
		c.whave = 0
		if c.wframe.kind == frameRSTStream {
			delete(c.bodies, c.wframe.stream)
			switch binary.BigEndian.Uint32(c.wcode[:]) {
			case codeNo, codeInternal, codeCancel: // not the client's fault
			default:
				ok = c.resets.Take(1) && ok
			}
		}
	}
	return ok
}

// began notes a frame that the server begins to send.
func (c *Conn) began() {
	f := c.wframe
	switch f.kind {
	case frameData:
		c.window -= int64(f.length)
		if f.length > 0 {
			c.frames.Earn(earnSent)
		}
	case frameHeaders:
	default:
		return
	}
	if f.has(flagEndStream) {
		c.frames.Earn(earnResponse)
		c.resets.Earn(1)
	}
}
