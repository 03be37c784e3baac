package middleware

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// inspectedHead is how much of a body is inspected that is too large to be
// inspected whole, where the route takes such bodies.
const inspectedHead = 128 << 10

// heldBody is what was read of a body, to be inspected and then passed on.
type heldBody struct {
	bytes   []byte
	head    bool // more follows, which is not inspected
	skipped bool // detect mode: it is too large, or did not come whole
}

// body reads the request's body, and puts what was read back in its place. stop
// reports that the request has been refused. A body whose length says that it is
// too large is not read for nothing.
func (i *inspection) body(w http.ResponseWriter, r *http.Request, held *lease) (out heldBody, stop bool) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return out, false
	}
	announced := r.ContentLength > waf.MaxBody
	switch {
	case announced && i.block && !i.head:
		return out, i.tooLarge(w, r)
	case announced && !i.head:
		return heldBody{skipped: true}, false
	}
	var b []byte
	var over bool
	var err error
	if announced {
		b, over, err = held.read(io.LimitReader(r.Body, inspectedHead), inspectedHead)
		over = err == nil
	} else {
		b, over, err = held.read(r.Body, waf.MaxBody)
	}
	var refusal *BodyRefusal
	switch {
	case errors.As(err, &refusal) && !(refusal == errNoBuffer && !i.block):
		Deny(w, r, refusal.Status, refusal.Denial) // of another policy, or for want of memory
		return out, true
	case err != nil && refusal == nil:
		Deny(w, r, http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true})
		return out, true
	case over && i.block && !i.head:
		return out, i.tooLarge(w, r)
	case over || err != nil:
		r.Body = &passing{head: b, rest: r.Body, held: held}
		if over && i.head {
			return heldBody{bytes: b[:min(len(b), inspectedHead)], head: true}, false
		}
		return heldBody{skipped: true}, false
	}
	r.Body = replay{bytes.NewReader(b), r.Body} // r is Observe's copy
	if r.ContentLength < 0 && r.Trailer == nil {
		r.ContentLength = int64(len(b))
	}
	return heldBody{bytes: b}, false
}

// tooLarge refuses a body that can't be inspected whole.
func (i *inspection) tooLarge(w http.ResponseWriter, r *http.Request) bool {
	i.manager.Observe(i.route, "error", i.rules, waf.Verdict{})
	Deny(w, r, http.StatusRequestEntityTooLarge, Denial{By: "waf", Reason: "inspection_too_large", Close: true, Members: map[string]any{"limit": waf.MaxBody}})
	return true
}

// replay reads what was inspected and closes the original.
type replay struct {
	io.Reader
	io.Closer
}

// passing is a body of which the beginning was held, and whose rest comes straight
// from the client. The memory of the beginning is given back when it has gone on,
// not only when the upload ends.
type passing struct {
	rest io.ReadCloser
	held *lease

	mu   sync.Mutex // Close may come while a Read waits
	head []byte
}

// Read implements io.Reader.
func (b *passing) Read(p []byte) (int, error) {
	b.mu.Lock()
	if len(b.head) > 0 {
		n := copy(p, b.head)
		if b.head = b.head[n:]; len(b.head) == 0 {
			b.head = nil
			b.held.end()
		}
		b.mu.Unlock()
		return n, nil
	}
	b.mu.Unlock()
	return b.rest.Read(p)
}

// Close implements io.Closer.
func (b *passing) Close() error { return b.rest.Close() }
