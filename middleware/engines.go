package middleware

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/audit"
	"github.com/vazel-gateway/vazel/middleware/cache"
	"github.com/vazel-gateway/vazel/middleware/limit"
	"github.com/vazel-gateway/vazel/middleware/openapi"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// EnginesOptions is what the engines need from the process.
type EnginesOptions struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	Metrics    *Metrics
	StateDir   string // where quotas are kept across restarts; "" keeps none
	Share      bool   // files of logs with the process that is taken over from
}

// Engines are the state behind the policies. They live as long as the process
// and are lent to each configuration's handlers.
type Engines struct {
	Limits  *limit.Store
	WAF     *waf.Manager
	Audit   *audit.Log
	Load    *Load
	Buffers *Buffers
	Spool   *Spool
	Cache   *cache.Store

	scans      *scanMetrics
	documents  openapi.Cache
	leaked     *prometheus.CounterVec
	inspection *inspectionBudget

	cached *prometheus.CounterVec
	log    *zap.Logger
	lent   *storeMetrics

	quotas string // file of what is used of them; "" for none
	hash   hasher // of what limits count by and must not be kept

	crowds   crowds       // requests under way
	encoders atomic.Int64 // of compress, in use

	mu       sync.Mutex
	bands    map[string]*pacers   // by bandwidth and direction
	refusals map[string]*refusals // by organization
}

// NewEngines makes the engines.
func NewEngines(o EnginesOptions) (*Engines, error) {
	e := &Engines{
		Limits:  limit.New(limit.Options{}),
		WAF:     waf.NewManager(waf.Options{Log: o.Log.Named("waf"), Registerer: o.Registerer}),
		Audit:   audit.New(audit.Options{Log: o.Log.Named("audit"), Registerer: o.Registerer, Share: o.Share}),
		Load:    newLoad(o.Registerer, o.Log),
		Buffers: newBuffers(o.Registerer),
		Cache:   cache.New(0),
		cached: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_cache_requests_total", Help: "Requests of routes with a cache. Result: hit, miss (and kept), revalidated, stale (the upstream failed), coalesced, pass (can't be kept).",
		}, []string{"route", "result"}),
		leaked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_leaks_total", Help: "Personal numbers, account and card numbers and stack traces found in responses, and what became of them.",
		}, []string{"service", "kind", "action"}),
		crowds: crowds{byName: map[string]*crowd{}}, bands: map[string]*pacers{}, refusals: map[string]*refusals{},
		log: o.Log.Named("limits"),
	}
	e.Spool, e.scans = newSpool(e.Buffers, o.Registerer), newScanMetrics(o.Registerer)
	rand.Read(e.hash.key[:])
	if o.StateDir != "" {
		e.quotas = filepath.Join(o.StateDir, "quotas.json")
	}
	if !o.Share { // otherwise the other process still counts; Run reads what it has left
		e.loadQuotas()
	}
	e.inspection = newInspectionBudget(e.Limits, &e.hash, o.Registerer)
	e.lent = newStoreMetrics(e.Limits, o.Registerer)
	o.Registerer.MustRegister(NewLimitCollector(e.Limits, e.crowds.usages), e.cached, e.leaked)
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

// LimitsInUse is how much of each limit somebody has in use: rate limits, quotas
// and bounds on concurrency.
func (e *Engines) LimitsInUse() []limit.Usage {
	return append(e.Limits.Usages(), e.crowds.usages()...)
}

// Inspection bounds the CPU time that inspection may use; 0 is the default.
func (e *Engines) Inspection(perClient time.Duration, atOnce int) {
	e.inspection.Set(perClient, atOnce)
}

// Reopen opens files anew, after they were moved away.
func (e *Engines) Reopen() error { return errors.Join(e.Audit.Reopen()) }

// pacers are those of a bandwidth.
func (e *Engines) pacers(name string) *pacers {
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.bands[name]
	if p == nil {
		p = &pacers{named: map[string]*pacer{}, networks: map[netip.Addr]*pacer{}}
		e.bands[name] = p
	}
	return p
}

func (e *Engines) loadQuotas() {
	if e.quotas == "" {
		return
	}
	if err := e.Limits.LoadQuotas(e.quotas); err != nil {
		e.log.Error("the file of quotas can't be used", zap.Error(err))
	}
	e.quotas = ""
}

// Bequeath leaves what is used of quotas to the process that takes over. What
// connections that stay here for a while still use is counted here only.
func (e *Engines) Bequeath() {
	if err := e.Limits.LeaveQuotas(); err != nil {
		e.log.Error("the use of quotas could not be written; the next process will not know the last of it", zap.Error(err))
	}
}

// quotaSave is how often the use of quotas goes to the disk.
const quotaSave = time.Second

// Run does the engines' background work until ctx ends.
func (e *Engines) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { e.Load.Run(ctx) })
	e.loadQuotas()
	wg.Go(func() { e.Limits.NoteQuotas(ctx) })
	wg.Go(func() { e.Limits.Run(ctx, e.log, e.lent) })
	tick := time.NewTicker(quotaSave)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if jump, followed := e.Limits.KeepTime(); followed {
			e.log.Warn("quotas follow the clock, which differs since an hour ago", zap.Duration("by", jump))
		} else if jump != 0 {
			e.log.Warn("the clock jumped; quotas follow when that has lasted for an hour", zap.Duration("by", jump))
		}
		err := e.Limits.SaveQuotas()
		if err != nil && !failing {
			e.log.Error("the use of quotas can't be written; a restart would forget it", zap.Error(err))
		}
		failing = err != nil
	}
}

// Close writes out what the engines hold.
func (e *Engines) Close() {
	if err := e.Limits.SaveQuotas(); err != nil {
		e.log.Error("the use of quotas could not be written; the next start will not know the last of it", zap.Error(err))
	}
	e.Audit.Close()
}
