package h2

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// transport is a *tls.Conn.
type transport interface {
	net.Conn
	NetConn() net.Conn
	CloseWrite() error
	ConnectionState() tls.ConnectionState
}

// Conn is a TLS connection between the client and the server. It follows the
// frames that the server reads and writes, and looks into few of them. Read
// belongs to one goroutine, as the server uses it.
type Conn struct {
	transport
	server *Server
	ctx    context.Context

	// Of the goroutine that reads.
	small   [headLen + 8]byte // a frame's head, and the payload of the shortest ones
	buf     *[bufLen]byte     // a frame that is looked into; nil most of the time
	out     []byte            // what the server gets next
	left    int               // bytes to pass on after out
	after   []byte            // what the server gets after them
	block   *block
	started bool   // timer runs
	max     uint32 // highest stream of the client

	known atomic.Uint32 // highest stream that the server knows of

	mu     sync.Mutex
	resets Budget
	frames Budget
	bodies map[uint32]int64 // of open streams: bytes that are due; -1 if not known
	gone   *gone            // nil: no stream is
	window int64            // that the client opened for the connection
	first  int64            // that it opens for each stream
	err    error            // what the server gets once the guard has ended the connection
	closed bool
	timer  *time.Timer // of HeaderTimeout

	w outgoing
}

// poison is a field that no request can have: a literal with the name "A".
// Added to a header block, it makes the server treat the request as malformed
// (RFC 9113 8.1.1) and keeps its HPACK table as it has to be.
var poison = [...]byte{0x00, 0x01, 'A', 0x00}

const bufLen = headLen + maxFrame + len(poison)

var buffers = sync.Pool{New: func() any { return new([bufLen]byte) }}

// prefaceLen is the length of what a client sends before its first frame.
const prefaceLen = len(http2.ClientPreface)

// Conn makes a connection of s. tc has shaken hands.
func (s *Server) Conn(tc *tls.Conn) *Conn { return newConn(s, tc, time.Now()) }

func newConn(s *Server, t transport, now time.Time) *Conn {
	c := &Conn{
		transport: t, server: s, ctx: context.Background(), left: prefaceLen,
		resets: newBudget(resetsAtOnce, resetsPerSecond, now),
		frames: newBudget(framesAtOnce, framesPerSecond, now),
		window: 65535, first: 65535,
	}
	c.w.room = sync.NewCond(&c.w)
	return c
}

// Read hands the server what the client sent, frame by frame.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		switch {
		case len(c.out) > 0:
			n := copy(p, c.out)
			c.out = c.out[n:]
			return n, nil
		case c.left > 0:
			n, err := c.transport.Read(p[:min(len(p), c.left)])
			c.left -= n
			return n, err
		case len(c.after) > 0:
			c.out, c.after = c.after, nil
			continue
		}
		if c.buf != nil {
			buffers.Put(c.buf)
			c.buf = nil
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
}

// next reads the head of a frame and decides what the server gets.
func (c *Conn) next() error {
	head := c.small[:headLen]
	if err := c.readSlow(head); err != nil {
		return err
	}
	f := parseFrame((*[headLen]byte)(head))
	if f.length > maxFrame {
		return c.fail(codeFrameSize, "protocol_error")
	}
	if c.block != nil && c.block.open && (f.kind != frameContinuation || f.stream != c.block.stream) {
		return c.fail(codeProtocol, "protocol_error")
	}
	switch f.kind {
	case frameData:
		return c.data(f)
	case frameHeaders, frameContinuation:
		return c.headers(f)
	case frameSettings:
		return c.settings(f)
	}
	return c.control(f)
}

// readSlow fills p. If that takes more than one read, and once the block is
// open, HeaderTimeout is counted.
func (c *Conn) readSlow(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := c.transport.Read(p)
	if err != nil {
		return err
	}
	if n < len(p) {
		c.startTimer()
		if _, err = io.ReadFull(c.transport, p[n:]); err != nil {
			return err
		}
	}
	if c.started && (c.block == nil || !c.block.open) {
		c.stopTimer()
	}
	return nil
}

// whole reads a frame into the buffer: its head, and behind that the payload.
func (c *Conn) whole(f frame) (buf, payload []byte, err error) {
	if c.buf == nil {
		c.buf = buffers.Get().(*[bufLen]byte)
	}
	buf = c.buf[:]
	copy(buf, c.small[:headLen])
	payload = buf[headLen : headLen+f.length]
	return buf, payload, c.readSlow(payload)
}

func (c *Conn) startTimer() {
	if c.started {
		return
	}
	c.started = true
	limit := c.server.o.Limits.HeaderTimeout
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer == nil {
		c.timer = time.AfterFunc(limit, func() { c.transport.SetReadDeadline(time.Unix(1, 0)) })
		return
	}
	c.timer.Reset(limit)
}

// stopTimer is called after a read that succeeded. If the time is up just now,
// the next read fails.
func (c *Conn) stopTimer() {
	c.started = false
	c.timer.Stop()
}

// pass hands f and its payload on as they are.
func (c *Conn) pass(f frame) {
	c.out, c.left = c.small[:headLen], f.length
}

// refused reports whether f is of a stream that the server knows nothing of,
// because its request was malformed.
func (c *Conn) refused(f frame) bool { return f.stream > c.known.Load() && f.stream <= c.max }

// ignored reports whether the server is done with the stream of f, and notes when
// the client is, too.
func (c *Conn) ignored(f frame) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, open := c.bodies[f.stream]; open {
		return false
	}
	s := c.gone.find(f.stream)
	if s != nil && (f.kind == frameRSTStream || f.has(flagEndStream)) {
		s.reset = true // it need not be told
	}
	return s != nil
}

// maxSettings is how many settings the server takes in one frame.
const maxSettings = 100

// settings collapses repeated parameters to their last value, which is what
// processing them in order comes to (RFC 9113 6.5.3).
func (c *Conn) settings(f frame) error {
	if f.has(flagAck) {
		c.pass(f)
		return c.pay(1)
	}
	if f.length%6 != 0 || f.length > 6*maxSettings || f.stream != 0 {
		c.pass(f) // the server ends the connection for it
		return c.pay(costSettings)
	}
	buf, payload, err := c.whole(f)
	if err != nil {
		return err
	}
	var kept []http2.Setting
	for p := payload; len(p) > 0; p = p[6:] {
		s := http2.Setting{ID: http2.SettingID(binary.BigEndian.Uint16(p)), Val: binary.BigEndian.Uint32(p[2:])}
		if s.Valid() != nil {
			c.out = buf[:headLen+f.length] // as it is: the server says what is wrong
			return c.pay(costSettings)
		}
		kept = append(slices.DeleteFunc(kept, func(k http2.Setting) bool { return k.ID == s.ID }), s)
	}
	f.length = 6 * len(kept)
	f.put(buf)
	for i, s := range kept {
		binary.BigEndian.PutUint16(payload[6*i:], uint16(s.ID))
		binary.BigEndian.PutUint32(payload[6*i+2:], s.Val)
		if s.ID == http2.SettingInitialWindowSize {
			c.mu.Lock()
			c.first = int64(s.Val)
			c.mu.Unlock()
		}
	}
	c.out = buf[:headLen+f.length]
	return c.pay(costSettings)
}

// control lets frames through that are of no use by themselves.
func (c *Conn) control(f frame) error {
	if f.length > 8 {
		c.pass(f)
		return c.pay(1)
	}
	payload := c.small[headLen : headLen+f.length]
	if err := c.readSlow(payload); err != nil {
		return err
	}
	c.out = c.small[:headLen+f.length]
	switch f.kind {
	case frameRSTStream:
		if c.refused(f) || c.ignored(f) {
			c.out = nil
		}
		c.mu.Lock()
		delete(c.bodies, f.stream)
		ok := c.resets.Take(1)
		c.mu.Unlock()
		if !ok {
			return c.fail(codeEnhanceYourCalm, "reset_flood")
		}
	case frameWindowUpdate:
		if c.refused(f) {
			c.out = nil
		}
		if f.stream == 0 && f.length == 4 {
			c.mu.Lock()
			c.window += int64(binary.BigEndian.Uint32(payload) & (1<<31 - 1))
			c.mu.Unlock()
		}
	}
	return c.pay(1)
}

// pay takes n frames from the budget.
func (c *Conn) pay(n int) error {
	c.mu.Lock()
	ok := c.frames.Take(n)
	c.mu.Unlock()
	if !ok {
		return c.fail(codeEnhanceYourCalm, "frame_flood")
	}
	return nil
}
