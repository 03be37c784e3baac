package middleware

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/audit"
	"github.com/vazel-gateway/vazel/middleware/cache"
	"github.com/vazel-gateway/vazel/middleware/limit"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// EnginesOptions is what the engines need from the process.
type EnginesOptions struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	Metrics    *Metrics
	Share      bool // files of logs with the process that is taken over from
}

// Engines are the state behind the policies. They live as long as the process
// and are lent to each configuration's handlers.
type Engines struct {
	Limits  *limit.Store
	WAF     *waf.Manager
	Audit   *audit.Log
	Load    *Load
	Buffers *Buffers
	Cache   *cache.Store

	cached *prometheus.CounterVec
	log    *zap.Logger
	lent   *storeMetrics

	mu     sync.Mutex
	places map[string]*atomic.Int64 // requests under way, by concurrency scope
}

// NewEngines makes the engines.
func NewEngines(o EnginesOptions) (*Engines, error) {
	e := &Engines{
		Limits:  limit.New(limit.Options{}),
		WAF:     waf.NewManager(waf.Options{Log: o.Log.Named("waf"), Registerer: o.Registerer}),
		Audit:   audit.New(audit.Options{Log: o.Log.Named("audit"), Registerer: o.Registerer, Share: o.Share}),
		Load:    newLoad(o.Registerer),
		Buffers: newBuffers(o.Registerer),
		Cache:   cache.New(0),
		cached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_cache_requests_total", Help: "Requests of routes with a cache. Result: hit, miss (and kept), revalidated, stale (the upstream failed), coalesced, pass (can't be kept).",
		}, []string{"route", "result"}),
		log:    o.Log,
		places: map[string]*atomic.Int64{},
	}
	e.lent = newStoreMetrics(e.Limits, o.Registerer)
	o.Registerer.MustRegister(NewLimitCollector(e.Limits), e.cached)
	for _, g := range []struct {
		name, help string
		value      func(cache.Stats) float64
	}{
		{"vazel_cache_bytes", "Memory that kept responses take.", func(s cache.Stats) float64 { return float64(s.Bytes) }},
		{"vazel_cache_capacity_bytes", "Memory that kept responses may take.", func(s cache.Stats) float64 { return float64(s.Most) }},
		{"vazel_cache_entries", "Kept responses.", func(s cache.Stats) float64 { return float64(s.Entries) }},
	} {
		o.Registerer.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return g.value(e.Cache.Stats()) }))
	}
	o.Registerer.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "vazel_cache_evictions_total", Help: "Kept responses that had to make room."},
		func() float64 { return float64(e.Cache.Stats().Evicted) }))
	return e, nil
}

// cacheResults are the counters of a route's cache.
func (e *Engines) cacheResults(route string) map[string]prometheus.Counter {
	m := map[string]prometheus.Counter{}
	for _, r := range []string{cacheHit, cacheMiss, cacheRevalidated, cacheStale, cacheCoalesced, cachePass} {
		m[r] = e.cached.WithLabelValues(route, r)
	}
	return m
}

// underWay is the count of requests under way in a scope.
func (e *Engines) underWay(scope string) *atomic.Int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.places[scope]
	if n == nil {
		n = new(atomic.Int64)
		e.places[scope] = n
	}
	return n
}

// Run does the background work of the limits until ctx ends.
func (e *Engines) Run(ctx context.Context) { e.Limits.Run(ctx, e.log.Named("limits"), e.lent) }

// Reopen opens files anew, after they were moved away.
func (e *Engines) Reopen() error { return errors.Join(e.Audit.Reopen()) }

// Close writes out what the engines hold.
func (e *Engines) Close() { e.Audit.Close() }
