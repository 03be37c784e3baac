package middleware

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// loadEvery is how often the process is looked at.
	loadEvery = 250 * time.Millisecond
	// longQueue is how long one goroutine of ten waits for a processor in a
	// process that has more work than it can do.
	longQueue = 500 * time.Millisecond
	// liveShare of the memory limit is what may be in use after a collection;
	// beyond it the collector would get no rest.
	liveShare = 0.9
)

// Load is how hard the process is pressed: by requests under way, by work that
// waits for a processor, by memory. 1 is all that it can bear.
type Load struct {
	underWay atomic.Int64
	most     atomic.Int64  // requests under way that are allowed; 0: not set yet
	measured atomic.Uint64 // math.Float64bits: of processors and memory
	shed     *prometheus.CounterVec
	classes  [classes]prometheus.Counter
}

func newLoad(reg prometheus.Registerer) *Load {
	l := &Load{shed: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vazel_requests_shed_total", Help: "Requests refused because the process is overloaded. Class: low, normal (anonymous), organization (normal, with a proven organization), high.",
	}, []string{"class"})}
	for c := range classes {
		l.classes[c] = l.shed.WithLabelValues(c.String())
	}
	pressure := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "vazel_load_pressure_ratio", Help: "How hard the process is pressed by requests under way, waiting work and memory; requests are shed by class from 0.7 on, all of them at 1.",
	}, l.pressure)
	reg.MustRegister(l.shed, pressure)
	return l
}

// SetMost sets how many requests may be under way in the process.
func (l *Load) SetMost(n int) { l.most.Store(int64(n)) }

func (l *Load) pressure() float64 {
	p := math.Float64frombits(l.measured.Load())
	if most := l.most.Load(); most > 0 {
		p = max(p, float64(l.underWay.Load())/float64(most))
	}
	return p
}

// Run measures until ctx ends.
func (l *Load) Run(ctx context.Context) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	q := newQueue()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		l.measured.Store(math.Float64bits(max(q.pressure(), memoryPressure())))
	}
}

// queue measures how long goroutines wait for a processor.
type queue struct {
	sample []metrics.Sample
	counts []uint64 // of the histogram, so far
	last   float64
}

func newQueue() *queue {
	return &queue{sample: []metrics.Sample{{Name: "/sched/latencies:seconds"}}}
}

// pressure is the wait of one goroutine in ten since the last call, as a share
// of longQueue. One bad moment is none: the lesser of two measurements counts.
func (q *queue) pressure() float64 {
	metrics.Read(q.sample)
	h := q.sample[0].Value.Float64Histogram()
	now := slowTenth(h, q.counts) / longQueue.Seconds()
	q.counts = append(q.counts[:0], h.Counts...)
	p := min(now, q.last)
	q.last = now
	return p
}

// slowTenth is the 90th percentile of what came into h since it had the former
// counts.
func slowTenth(h *metrics.Float64Histogram, former []uint64) float64 {
	n := uint64(0)
	since := func(i int) uint64 {
		if i < len(former) {
			return h.Counts[i] - former[i]
		}
		return h.Counts[i]
	}
	for i := range h.Counts {
		n += since(i)
	}
	if n < 100 { // next to nothing happens
		return 0
	}
	left := n / 10
	for i := len(h.Counts) - 1; i >= 0; i-- {
		if c := since(i); c <= left {
			left -= c
			continue
		}
		if b := h.Buckets[i]; !math.IsInf(b, 0) {
			return b
		}
		return 0
	}
	return 0
}

// memoryPressure is what is in use, as a share of what may be.
func memoryPressure() float64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(s)
	return float64(s[0].Value.Uint64()+s[1].Value.Uint64()) / (liveShare * float64(limit))
}
