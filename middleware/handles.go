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
// It also bounds the metric: beyond maxSeries label sets, further ones share the
// set of the overflow key, and vazel_metric_overflow_total says so.
type handles[K comparable, V any] struct {
	known atomic.Pointer[map[K]V]
	make  func(K) V
	over  func() V
	lost  func() prometheus.Counter

	mu sync.Mutex // serializes writers of known
}

func newHandles[K comparable, V any](m *Metrics, metric string, overflow K, mk func(K) V) *handles[K, V] {
	h := &handles[K, V]{
		make: mk,
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

func (h *handles[K, V]) add(k K) V {
	if len(*h.known.Load()) >= maxSeries {
		h.lost().Inc()
		return h.over()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	known := *h.known.Load()
	if v, ok := known[k]; ok {
		return v
	}
	if len(known) >= maxSeries { // another request took the last place
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
