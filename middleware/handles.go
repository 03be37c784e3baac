package middleware

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// handles caches what a metric's WithLabelValues returns: looking it up by a
// struct costs a quarter of that and allocates nothing. Reading takes no lock;
// the map is copied for each new key, of which a configuration has few.
//
// It also bounds the metric: when its label sets or the series of all metrics
// are used up, further ones share the set of the overflow key, and
// vazel_metric_overflow_total says so.
type handles[K comparable, V any] struct {
	known  atomic.Pointer[map[K]V]
	room   *room
	weight int // series of one label set
	make   func(K) V
	over   func() V
	lost   func() prometheus.Counter

	mu sync.Mutex // serializes writers of known
}

func newHandles[K comparable, V any](m *Metrics, metric string, weight int, overflow K, mk func(K) V) *handles[K, V] {
	h := &handles[K, V]{
		room: &m.room, weight: weight, make: mk,
		over: sync.OnceValue(func() V { return mk(overflow) }),
		lost: sync.OnceValue(func() prometheus.Counter { return m.overflow.WithLabelValues(metric) }),
	}
	h.known.Store(&map[K]V{})
	return h
}

func (h *handles[K, V]) get(k K) V {
	if v, ok := (*h.known.Load())[k]; ok {
		return v
	}
	return h.add(k)
}

// has reports whether k has a place of its own.
func (h *handles[K, V]) has(k K) bool {
	_, ok := (*h.known.Load())[k]
	return ok
}

func (h *handles[K, V]) add(k K) V {
	if len(*h.known.Load()) >= h.room.sets() || h.room.full() {
		h.lost().Inc()
		return h.over()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := *h.known.Load()
	if v, ok := known[k]; ok {
		return v
	}
	if len(known) >= h.room.sets() || !h.room.take(h.weight) { // another request took the last place
		h.lost().Inc()
		return h.over()
	}
	v := h.make(k)
	next := make(map[K]V, len(known)+1)
	maps.Copy(next, known)
	next[k] = v
	h.known.Store(&next)
	return v
}

// room is how many series all metrics of requests and connections may have
// together. It follows the size of the configuration, never what clients send.
type room struct {
	scale atomic.Int64 // 0 counts as 1
	taken atomic.Int64
}

// For up to 100 routes and 60 organizations. Together with the metrics of
// upstreams, inspection, limits, certificates and the process, which follow the
// configuration, that stays under 10,000 series.
const (
	maxSeries = 5500 // of all metrics
	maxSets   = 1000 // label sets of one metric
)

// fit makes room for what a configuration has.
func (r *room) fit(routes, organizations int) {
	r.scale.Store(int64(max(1, (routes+99)/100, (organizations+59)/60)))
}

func (r *room) times() int  { return max(1, int(r.scale.Load())) }
func (r *room) sets() int   { return maxSets * r.times() }
func (r *room) series() int { return maxSeries * r.times() }
func (r *room) full() bool  { return int(r.taken.Load()) >= r.series() }

// take reports whether n more series fit, and counts them.
func (r *room) take(n int) bool {
	if int(r.taken.Add(int64(n))) > r.series() {
		r.taken.Add(int64(-n))
		return false
	}
	return true
}
