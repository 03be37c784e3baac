package certs

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// jump is the least step of the wall clock that is told of. Corrections by NTP are
// far smaller, or don't step at all.
const jump = time.Second

// clock watches the wall clock, by which certificates are valid, against the
// monotonic one, which nobody can set. What differs is how far the wall clock has
// been set since the start; both follow NTP's gradual corrections alike.
type clock struct {
	start   time.Time
	told    time.Duration // offset at the last jump; of the goroutine that looks
	most    time.Duration // the furthest that the wall clock ever was
	behind  atomic.Bool   // it has been further than it is
	offset  atomic.Int64
	forward prometheus.Counter
	back    prometheus.Counter
	steps   *prometheus.CounterVec
	desc    *prometheus.Desc
}

func newClock() *clock {
	c := &clock{
		start: time.Now(),
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_clock_steps_total", Help: "Times that the wall clock was set by more than a second while the process ran."}, []string{"direction"}),
		desc:  prometheus.NewDesc("vazel_clock_offset_seconds", "How far the wall clock has been set since the process started, by the monotonic clock; negative: back.", nil, nil),
	}
	c.forward, c.back = c.steps.WithLabelValues("forward"), c.steps.WithLabelValues("back")
	return c
}

// look compares the clocks at now, which has both readings. It returns by how much
// the wall clock jumped since the last time that it did.
func (c *clock) look(now time.Time) (jumped time.Duration) {
	return c.compare(now.Round(0).Sub(c.start.Round(0)) - now.Sub(c.start))
}

func (c *clock) compare(offset time.Duration) (jumped time.Duration) {
	c.offset.Store(int64(offset))
	c.most = max(c.most, offset)
	c.behind.Store(offset <= c.most-jump)
	if jumped = offset - c.told; jumped.Abs() < jump {
		return 0
	}
	c.told = offset
	if jumped > 0 {
		c.forward.Inc()
	} else {
		c.back.Inc()
	}
	return jumped
}

// Describe implements prometheus.Collector.
func (c *clock) Describe(ch chan<- *prometheus.Desc) {
	c.steps.Describe(ch)
	ch <- c.desc
}

// Collect implements prometheus.Collector.
func (c *clock) Collect(ch chan<- prometheus.Metric) {
	c.steps.Collect(ch)
	ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, time.Duration(c.offset.Load()).Seconds())
}
