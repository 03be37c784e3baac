package h2

import (
	"encoding/binary"
	"net"
	"sync"
	"time"
)

// What the server sends is collected in a buffer, which a goroutine writes out
// while the server goes on: responses of several streams that end at about the
// same time become one record of TLS and one write, instead of one each.

const outLen = 32 << 10

var outs = sync.Pool{New: func() any { return new([outLen]byte) }}

// lastTime is how long what is left may take to be written to a connection that
// is being closed.
const lastTime = time.Second

// outgoing is what is on its way to the client. Its mutex guards all of it, and
// is never held while the connection is written to.
type outgoing struct {
	sync.Mutex
	room    *sync.Cond
	buf     []byte // of outs; nil if there is nothing to write
	writing bool   // a goroutine writes
	err     error  // of a write: nothing goes out any more
	by      time.Time
	last    bool // nothing more is coming, and lastTime counts
	spoken  bool // the server has written something
	goAway  bool // a GOAWAY was among it

	head    [headLen]byte
	have    int // bytes of head
	split   [headLen]byte
	parts   [][]byte // of what was written last: what goes out
	frame   frame
	left    int     // bytes of frame's payload to come
	code    [4]byte // of RST_STREAM
	pending []byte  // the guard's own frames, until one of the server's ends
}

// between reports whether no frame is half written.
func (w *outgoing) between() bool { return w.have == 0 && w.left == 0 }

// Write follows what the server sends, and takes it over. Errors that the client
// causes cost it the same as its own resets: the server works for both alike.
func (c *Conn) Write(p []byte) (int, error) {
	w := &c.w
	w.Lock()
	defer w.Unlock()
	c.mu.Lock()
	err := c.err
	ok := err != nil || c.follow(p)
	c.mu.Unlock()
	if err != nil {
		return 0, err
	}
	w.spoken = true
	for _, part := range w.parts {
		if err := c.put(part); err != nil {
			return 0, err
		}
	}
	if !ok {
		c.end("reset_flood")
		c.lastWords(codeEnhanceYourCalm)
		return len(p), errEnded
	}
	if w.between() && len(w.pending) > 0 {
		err = c.put(w.pending)
		w.pending = nil
	}
	return len(p), err
}

// put adds p to what goes out. It waits for room, in pieces if need be. w must
// be held.
func (c *Conn) put(p []byte) error {
	w := &c.w
	for len(p) > 0 {
		for w.err == nil && !w.last && len(w.buf) == outLen {
			w.room.Wait()
		}
		switch {
		case w.err != nil:
			return w.err
		case w.last:
			return net.ErrClosed
		case w.buf == nil:
			w.buf = outs.Get().(*[outLen]byte)[:0]
		}
		n := copy(w.buf[len(w.buf):outLen], p)
		w.buf = w.buf[:len(w.buf)+n]
		p = p[n:]
		if !w.writing {
			w.writing = true
			go c.writeOut()
		}
	}
	return nil
}

// writeOut writes until nothing is left.
func (c *Conn) writeOut() {
	w, limit := &c.w, c.server.o.Limits.WriteTimeout
	w.Lock()
	defer w.Unlock()
	for w.buf != nil {
		b := w.buf
		w.buf = nil
		if w.err == nil {
			// A deadline costs as much as encryption; one that is early by a quarter
			// serves as well.
			if now := time.Now(); !w.last && w.by.Sub(now) < limit*3/4 {
				w.by = now.Add(limit)
				c.transport.SetWriteDeadline(w.by)
			}
			w.Unlock()
			_, err := c.transport.Write(b)
			w.Lock()
			if w.err = err; err != nil {
				c.NetConn().Close() // TLS can't go on after a part of a record
			}
		}
		outs.Put((*[outLen]byte)(b[:outLen]))
		w.room.Broadcast()
	}
	w.writing = false
	w.room.Broadcast()
}

// finish waits until all has been written, for lastTime at most; nothing is
// taken after that.
func (c *Conn) finish() {
	w := &c.w
	w.Lock()
	defer w.Unlock()
	c.hurry()
	for w.writing {
		w.room.Wait()
	}
}

// hurry ends the taking of more. w must be held.
func (c *Conn) hurry() {
	if !c.w.last {
		c.w.last = true
		c.transport.SetWriteDeadline(time.Now().Add(lastTime))
		c.w.room.Broadcast()
	}
}

// lastWords sends GOAWAY, unless a frame is half written, and takes nothing
// more. w must be held.
func (c *Conn) lastWords(code uint32) {
	if c.w.last {
		return
	}
	if c.w.between() && len(c.w.buf) < outLen-2*headLen-8 {
		var b []byte
		if !c.w.spoken { // SETTINGS, be they empty, come first (RFC 9113 3.4)
			b = make([]byte, headLen)
			frame{kind: frameSettings}.put(b)
		}
		c.put(append(b, goAway(c.known.Load(), code)...))
	}
	c.hurry()
}

// inject sends a frame of the guard's own between two of the server's.
func (c *Conn) inject(b []byte) {
	w := &c.w
	w.Lock()
	defer w.Unlock()
	if w.between() && len(w.buf)+len(b) <= outLen {
		c.put(b)
		return
	}
	w.pending = append(w.pending, b...)
}

// follow notes the frames in p, and leaves in parts what of them goes out: all
// but RST_STREAM of streams that are gone. It reports false once the client's
// errors are too many. w and mu must be held.
func (c *Conn) follow(p []byte) bool {
	w, ok := &c.w, true
	w.parts = w.parts[:0]
	from := p // what goes out, and is not in parts yet
	upTo := func(rest []byte) {
		if n := len(from) - len(rest); n > 0 {
			w.parts = append(w.parts, from[:n])
		}
	}
	for len(p) > 0 {
		if w.have < headLen && w.left == 0 {
			begin, split := p, w.have > 0
			n := copy(w.head[w.have:], p)
			w.have, p = w.have+n, p[n:]
			if w.have < headLen { // goes out when it is whole
				upTo(begin)
				return ok
			}
			w.frame = parseFrame(&w.head)
			w.left = w.frame.length
			c.began()
			if w.reset() {
				upTo(begin)
			} else if split {
				w.split = w.head
				w.parts, from = append(w.parts, w.split[:]), p
			}
		}
		n := min(len(p), w.left)
		if w.reset() {
			copy(w.code[4-w.left:], p[:n])
			from = p[n:]
		}
		p = p[n:]
		if w.left -= n; w.left > 0 {
			break
		}
		w.have = 0
		if w.reset() {
			ok = c.reset(w.frame.stream, binary.BigEndian.Uint32(w.code[:])) && ok
		}
	}
	upTo(nil)
	return ok
}

// reset reports whether the frame that is being followed is RST_STREAM.
func (w *outgoing) reset() bool { return w.frame.kind == frameRSTStream && w.frame.length == 4 }

// reset notes a RST_STREAM of the server, which goes out unless the stream is
// gone. w and mu must be held.
func (c *Conn) reset(stream, code uint32) (ok bool) {
	if c.gone.find(stream) != nil {
		return true
	}
	c.w.parts = append(c.w.parts, rstStream(stream, code))
	if _, open := c.bodies[stream]; open {
		delete(c.bodies, stream)
		c.parted(stream, true)
	}
	switch code {
	case codeNo, codeInternal, codeCancel: // not the client's fault
		return true
	}
	return c.resets.Take(1)
}

// began notes a frame that the server begins to send.
func (c *Conn) began() {
	f := c.w.frame
	switch f.kind {
	case frameData:
		c.window -= int64(f.length)
		if f.length > 0 {
			c.frames.Earn(earnSent)
		}
	case frameHeaders:
	case frameGoAway:
		c.w.goAway = true
		return
	default:
		return
	}
	if !f.has(flagEndStream) {
		return
	}
	c.frames.Earn(earnResponse)
	c.resets.Earn(1)
	if _, open := c.bodies[f.stream]; open { // an answer before the end of the request
		delete(c.bodies, f.stream)
		c.parted(f.stream, false)
	}
}
