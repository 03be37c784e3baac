package middleware

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
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
	// collectEvery is how often garbage is collected while memory is short: what is
	// in use is known only after a collection, and few come where little is served.
	collectEvery = 2 * time.Second
)

// Load is how hard the process is pressed: by requests under way, by work that
// waits for a processor, by memory. 1 is all that it can bear.
type Load struct {
	underWay atomic.Int64
	most     atomic.Int64  // requests under way that are allowed; 0: not set yet
	measured atomic.Uint64 // math.Float64bits: of processors and memory
	memory   atomic.Uint64 // math.Float64bits
	log      *zap.Logger
	shed     *prometheus.CounterVec
	classes  [classes]prometheus.Counter
}

func newLoad(reg prometheus.Registerer, log *zap.Logger) *Load {
	l := &Load{log: log, shed: prometheus.NewCounterVec(prometheus.CounterOpts{
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

// MemoryFull reports whether more memory is in use than may be, so that not even
// new connections can be taken.
func (l *Load) MemoryFull() bool { return math.Float64frombits(l.memory.Load()) >= 1 }

// Run measures until ctx ends.
func (l *Load) Run(ctx context.Context) {
	tick := time.NewTicker(loadEvery)
	defer tick.Stop()
	q, m := newQueue(), newMemory()
	var told telling
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		processors, memory := q.pressure(), m.pressure()
		if memory >= shedFrom[classLow] {
			m.collect()
			memory = m.pressure()
		}
		l.memory.Store(math.Float64bits(memory))
		l.measured.Store(math.Float64bits(max(processors, memory)))
		told.of(l.log, l.pressure(), processors, memory)
	}
}

// telling writes to the log when overload begins and when it is over.
type telling struct {
	overloaded bool
	calm       time.Time // since when it may be over
}

// calmAfter is how long nothing is shed until an overload is over, so that the log
// does not tell of each of many short ones.
const calmAfter = 10 * time.Second

func (t *telling) of(log *zap.Logger, all, processors, memory float64) {
	switch now := time.Now(); {
	case all >= shedFrom[classLow]:
		t.calm = time.Time{}
		if !t.overloaded {
			t.overloaded = true
			log.Warn("overload: requests are refused, those of low priority first", zap.Float64("pressure", all), zap.Float64("of_processors", processors), zap.Float64("of_memory", memory))
		}
	case !t.overloaded:
	case t.calm.IsZero():
		t.calm = now
	case now.Sub(t.calm) >= calmAfter:
		t.overloaded = false
		log.Info("the overload is over", zap.Float64("pressure", all))
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

// memory measures what is in use, as a share of what may be.
type memory struct {
	sample    []metrics.Sample
	cycles    uint64
	collected time.Time // when it last was
}

func newMemory() *memory {
	return &memory{sample: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}}
}

func (m *memory) pressure() float64 {
	limit := debug.SetMemoryLimit(-1)
	if limit == math.MaxInt64 {
		return 0
	}
	metrics.Read(m.sample)
	if n := m.sample[2].Value.Uint64(); n != m.cycles {
		m.cycles, m.collected = n, time.Now()
	}
	return float64(m.sample[0].Value.Uint64()+m.sample[1].Value.Uint64()) / (liveShare * float64(limit))
}

// collect collects garbage if nobody did so for a while.
func (m *memory) collect() {
	if time.Since(m.collected) >= collectEvery {
		runtime.GC()
	}
}
