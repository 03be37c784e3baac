package h1

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// watchAfter is how long a request must take before its connection is watched.
const watchAfter = 50 * time.Millisecond

// watcher notices that the client has gone while a handler works, and ends the
// request's context. Most handlers are done before it would be worth a
// goroutine, so it begins only after a while.
type watcher struct {
	c     *conn
	timer *time.Timer

	mu      sync.Mutex
	armed   bool
	stopped bool
	reading chan struct{} // closed when the background read has ended; nil if none
}

// start arms the watch. The request's body must have been read to its end.
func (w *watcher) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.armed {
		return
	}
	w.armed, w.stopped = true, false
	if w.timer == nil {
		w.timer = time.AfterFunc(watchAfter, w.begin)
		return
	}
	w.timer.Reset(watchAfter)
}

func (w *watcher) begin() {
	w.mu.Lock()
	if !w.armed || w.stopped || w.reading != nil || w.c.in.buffered() > 0 {
		w.mu.Unlock()
		return
	}
	done := make(chan struct{})
	w.reading = done
	w.c.setReadDeadline(time.Time{})
	w.mu.Unlock()
	defer close(done)
	err := w.c.in.firstByte()
	if err == nil {
		return // the next request has begun: it stays in the buffer
	}
	var ne net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &ne) && ne.Timeout() {
		return // stop ended the read
	}
	w.c.cancel()
}

// stop ends the watch and waits for it.
func (w *watcher) stop() {
	w.mu.Lock()
	if !w.armed {
		w.mu.Unlock()
		return
	}
	w.armed, w.stopped = false, true
	w.timer.Stop()
	reading := w.reading
	w.reading = nil
	w.mu.Unlock()
	if reading == nil {
		return
	}
	w.c.net.SetReadDeadline(past)
	<-reading
	w.c.setReadDeadline(time.Time{})
}
