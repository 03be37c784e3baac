package h2

import (
	"errors"

	"golang.org/x/net/http2/hpack"
)

func (c *Conn) data(f frame) error {
	if c.refused(f) || c.ignored(f) {
		return c.ignoreData(f) // the client may have sent it before it learned of that
	}
	c.pass(f)
	n := f.length
	if f.has(flagPadded) {
		if n == 0 {
			return c.fail(codeFrameSize, "protocol_error")
		}
		if err := c.readSlow(c.small[headLen : headLen+1]); err != nil {
			return err
		}
		c.out, c.left = c.small[:headLen+1], f.length-1
		if n -= 1 + int(c.small[headLen]); n < 0 {
			return c.fail(codeProtocol, "protocol_error")
		}
	}
	end := f.has(flagEndStream)
	c.mu.Lock()
	if n > 0 {
		c.frames.Earn(earnReceived)
	}
	due, open := c.bodies[f.stream]
	if open && due >= 0 {
		due -= int64(n)
		c.bodies[f.stream] = due // the server resets streams that are longer than announced
	}
	if open && end {
		delete(c.bodies, f.stream)
	}
	c.mu.Unlock()
	if open && due > 0 && f.has(flagEndStream) {
		// Shorter than announced (RFC 9113 8.1.1). To the server this looks like
		// trailers that do not end the stream, which is a stream error too.
		f.flags &^= flagEndStream
		f.put(c.small[:])
		c.after = make([]byte, headLen)
		frame{kind: frameHeaders, flags: flagEndHeaders, stream: f.stream}.put(c.after)
	}
	if n == 0 && !end {
		return c.pay(1)
	}
	return nil
}

// headers looks into a part of a header block.
func (c *Conn) headers(f frame) error {
	if f.stream == 0 || f.stream%2 == 0 {
		return c.fail(codeProtocol, "protocol_error")
	}
	if c.block == nil {
		c.block = newBlock(listSize(c.server.o.Limits))
	}
	b := c.block
	if f.kind == frameHeaders {
		b.begin(f)
	} else if !b.open {
		return c.fail(codeProtocol, "protocol_error")
	}
	b.open = !f.has(flagEndHeaders)
	if b.open {
		c.startTimer()
	}
	buf, payload, err := c.whole(f)
	if err != nil {
		return err
	}
	fragment, ok := f.fragment(payload)
	if !ok {
		return c.fail(codeProtocol, "protocol_error")
	}
	if f.kind == frameContinuation {
		// Twice what a list of the largest size needs, in frames of at least 1 KiB
		// on the average, is more than any client sends (CVE-2023-45288).
		if b.frames++; b.frames > 8+b.most>>10 {
			return c.fail(codeEnhanceYourCalm, "continuation_flood")
		}
	}
	if b.bytes += len(fragment); b.bytes > 2*b.most {
		return c.fail(codeEnhanceYourCalm, "continuation_flood")
	}
	switch _, err := b.decoder.Write(fragment); {
	case errors.Is(err, hpack.ErrStringLength): // the table is lost with it
		c.tell(431, "header_too_large", "a field is too large")
		return c.fail(codeEnhanceYourCalm, "header_too_large")
	case err != nil:
		return c.fail(codeCompression, "protocol_error")
	}
	c.out = buf[:headLen+f.length]
	if b.open {
		return nil
	}
	if c.started {
		c.stopTimer()
	}
	if b.decoder.Close() != nil {
		return c.fail(codeCompression, "protocol_error")
	}
	if !c.judge() {
		return nil
	}
	// The frame anew: without padding and priority, and with a field that makes
	// the server see what the guard saw.
	n := copy(payload, fragment)
	n += copy(buf[headLen+n:], poison[:])
	if n > maxFrame {
		return c.fail(codeProtocol, "protocol_error")
	}
	f.flags &^= flagPadded | flagPriority
	f.length = n
	f.put(buf)
	c.out = buf[:headLen+n]
	return nil
}

// judge decides on a whole header block, and reports whether it is malformed.
func (c *Conn) judge() (malformed bool) {
	b := c.block
	if b.stream > c.max {
		c.max = b.stream
		bad := b.request()
		if bad != nil {
			c.tell(400, bad.reason, bad.detail)
			return true
		}
		c.known.Store(b.stream)
		if b.tooLarge {
			c.tell(431, "header_too_large", "the header list is too large")
		}
		if !b.ended {
			c.mu.Lock()
			if c.bodies == nil {
				c.bodies = map[uint32]int64{}
			}
			c.bodies[b.stream] = b.length
			c.mu.Unlock()
		}
		return false
	}
	if b.stream > c.known.Load() || c.ignored(frame{kind: frameHeaders, flags: flagEndStream, stream: b.stream}) {
		return true // of a request that was malformed, or answered: the server must not take them for the trailers of another
	}
	c.mu.Lock()
	due, open := c.bodies[b.stream]
	if b.ended {
		delete(c.bodies, b.stream)
	}
	c.mu.Unlock()
	return open && (b.trailers() != nil || due > 0)
}

func (c *Conn) tell(status int, reason, detail string) {
	if c.server.o.Refused != nil {
		cs := c.ConnectionState()
		c.server.o.Refused(c.ctx, Refusal{Method: c.block.method, Status: status, Reason: reason, Detail: detail, TLS: &cs})
	}
}
