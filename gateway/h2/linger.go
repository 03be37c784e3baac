package h2

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// An answer may be there before the request has all come: a refused upload. The
// server below ends it with RST_STREAM (NO_ERROR, RFC 9113 8.1) at once, and widely
// used clients then drop the answer with the stream. So they are left a moment to
// read it.
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 1 << 20 // that are read in vain, so that a short rest can come
)

// lingering is h, with that moment.
func lingering(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			h.ServeHTTP(w, r)
			return
		}
		b := &watched{ReadCloser: r.Body, ended: make(chan struct{})}
		r.Body = b
		h.ServeHTTP(w, r) // after a panic there is nothing to be read
		b.linger(w, r)
	})
}

// watched is a body of which is known whether its end was read.
type watched struct {
	io.ReadCloser
	mu    sync.Mutex // an upstream's connection may still read when the answer is there
	once  sync.Once
	ended chan struct{}
}

// Read implements io.Reader.
func (b *watched) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.once.Do(func() { close(b.ended) })
	}
	return n, err
}

// linger sends the answer and waits until the client has ended the request, in
// whatever way.
func (b *watched) linger(w http.ResponseWriter, r *http.Request) {
	select {
	case <-b.ended:
		return
	default:
	}
	if w.Header().Get("Content-Length") == "" {
		return // its end is that of the stream, and perhaps trailers are waited for
	}
	rc := http.NewResponseController(w)
	if rc.SetReadDeadline(time.Now().Add(lingerTime)) != nil || rc.Flush() != nil {
		return
	}
	t := time.NewTimer(lingerTime)
	defer t.Stop()
	if _, err := io.CopyN(io.Discard, b, lingerBytes); err != nil {
		return
	}
	select {
	case <-b.ended:
	case <-r.Context().Done():
	case <-t.C:
	}
}
