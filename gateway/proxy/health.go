package proxy

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// slowStart is how long a server that returns gets less than its share.
const slowStart = 10 * time.Second

// health is what is known of a server. It is read for each request without a
// lock. Times are those of Pool.clock, which no change of the wall clock moves.
type health struct {
	failing  atomic.Bool  // active checks failed
	out      atomic.Int64 // ejected until; 0 if not
	returned atomic.Int64 // when it came back; 0 if it was never out

	bad atomic.Int32 // failed exchanges in a row

	mu        sync.Mutex
	ejections int // so far, without long rests
	good, ill int // checks in a row
}

// state tells whether a server may be chosen.
type state uint8

const (
	stateUp      state = iota
	stateWarming       // back for a short while
	stateEjected       // by what requests met
	stateFailing       // by active checks
)

// state is evaluated at now.
func (h *health) state(now int64) state {
	if h.failing.Load() {
		return stateFailing
	}
	back := h.returned.Load()
	if out := h.out.Load(); out != 0 {
		if now < out {
			return stateEjected
		}
		if h.out.CompareAndSwap(out, 0) {
			h.returned.Store(out)
		}
		back = out
	}
	if back != 0 {
		age := time.Duration(now - back)
		if age < slowStart {
			// A share that grows from a tenth to the whole.
			if age < 0 || rand.Int64N(int64(slowStart)) >= int64(age)+int64(slowStart)/10 {
				return stateWarming
			}
		}
	}
	return stateUp
}

// succeeded notes a whole response.
func (h *health) succeeded() {
	if h.bad.Load() != 0 {
		h.bad.Store(0)
	}
}

// failed notes a failed exchange and reports whether the server should be
// ejected now.
func (h *health) failed(limit int) bool {
	return int(h.bad.Add(1)) >= limit
}

// eject takes the server out. It stays out longer each time, unless it had been
// well for long.
func (h *health) eject(now int64, d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if back := h.returned.Load(); back != 0 && now-back > int64(10*d) {
		h.ejections = 0
	}
	h.ejections = min(h.ejections+1, 30)
	h.bad.Store(0)
	h.out.Store(now + int64(h.ejections)*int64(d))
}

// checked notes the result of an active check and reports whether it changed
// what is known.
func (h *health) checked(ok bool, unhealthy, healthy int, now int64) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if ok {
		h.good, h.ill = h.good+1, 0
		if h.failing.Load() && h.good >= healthy {
			h.returned.Store(now)
			h.failing.Store(false)
			return true
		}
		return false
	}
	h.good, h.ill = 0, h.ill+1
	if !h.failing.Load() && h.ill >= unhealthy {
		h.failing.Store(true)
		return true
	}
	return false
}
