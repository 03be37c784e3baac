package middleware

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// storeMetrics count what the limits ask of the store that nodes share.
type storeMetrics struct {
	limits   *limit.Store
	up       *prometheus.Desc
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

func newStoreMetrics(l *limit.Store, reg prometheus.Registerer) *storeMetrics {
	m := &storeMetrics{
		limits:   l,
		up:       prometheus.NewDesc("vazel_ratelimit_store_up", "Whether the store of shared limits can be used; while it is 0, limits go by on_store_failure. Absent without a store.", nil, nil),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_ratelimit_store_requests_total", Help: "Calls of the store of shared limits, in the background. Result: ok, error, timeout."}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vazel_ratelimit_store_request_duration_seconds", Help: "How long calls of the store of shared limits take. No request waits for one.", Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .02, .05, .1, .25, .5}}),
	}
	for _, result := range []string{"ok", "error", "timeout"} {
		m.requests.WithLabelValues(result)
	}
	reg.MustRegister(m, m.requests, m.duration)
	return m
}

// Asked implements limit.Watcher.
func (m *storeMetrics) Asked(result string, took time.Duration) {
	m.requests.WithLabelValues(result).Inc()
	m.duration.Observe(took.Seconds())
}

// Describe implements prometheus.Collector.
func (m *storeMetrics) Describe(ch chan<- *prometheus.Desc) { ch <- m.up }

// Collect implements prometheus.Collector.
func (m *storeMetrics) Collect(ch chan<- prometheus.Metric) {
	up, configured := m.limits.Up()
	if !configured {
		return
	}
	v := 0.0
	if up {
		v = 1
	}
	ch <- prometheus.MustNewConstMetric(m.up, prometheus.GaugeValue, v)
}
