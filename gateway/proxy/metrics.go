package proxy

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of every pool. Gauges are read from the pools when they are
// collected, so that none outlives its server.
type metrics struct {
	requests  *prometheus.CounterVec
	firstByte *prometheus.HistogramVec
	connect   *prometheus.HistogramVec
	errors    *prometheus.CounterVec
	retries   *prometheus.CounterVec
	checks    *prometheus.CounterVec

	healthy, circuit, open, age *prometheus.Desc

	mu    sync.Mutex
	pools []*Pool
}

func newMetrics(reg prometheus.Registerer) *metrics {
	// Classic buckets are few, since each is a series of every upstream; the bounds of
	// the first are those of requests, to be compared with them.
	buckets := []float64{.001, .005, .025, .1, .25, .5, 1, 3, 5, 10, 30}
	connecting := []float64{.001, .005, .025, .1, .5, 3}
	m := &metrics{
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_upstream_requests_total", Help: "Attempts to have a request answered by an upstream, by class of status; error if there was no response."}, []string{"upstream", "code_class"}),
		firstByte: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vazel_upstream_first_byte_duration_seconds", Help: "Time from sending a request until the upstream's response head was there.", Buckets: buckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100}, []string{"upstream"}),
		connect:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vazel_upstream_connect_duration_seconds", Help: "Time to connect to a server of the upstream, TLS included.", Buckets: connecting, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100}, []string{"upstream"}),
		errors:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_upstream_errors_total", Help: "Exchanges with an upstream that failed, by reason."}, []string{"upstream", "reason"}),
		retries:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_upstream_retries_total", Help: "Requests sent again: answered, failed once more, or not sent because the budget was used up."}, []string{"upstream", "result"}),
		checks:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_upstream_health_checks_total", Help: "Active health checks of a server."}, []string{"upstream", "server", "result"}),
		healthy:   prometheus.NewDesc("vazel_upstream_server_healthy", "1 if the server is chosen for requests, 0 if checks fail or it is ejected.", []string{"upstream", "server"}, nil),
		circuit:   prometheus.NewDesc("vazel_upstream_circuit_open", "1 if no server of the upstream can be chosen.", []string{"upstream"}, nil),
		open:      prometheus.NewDesc("vazel_upstream_connections_open", "HTTP/1.1 connections to servers of the upstream, by state.", []string{"upstream", "state"}, nil),
		age:       prometheus.NewDesc("vazel_upstream_addresses_age_seconds", "How long ago the upstream's names were last found, the one that was not for the longest. After 600 the addresses of a name are given up.", []string{"upstream"}, nil),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.firstByte, m.connect, m.errors, m.retries, m.checks, m)
	}
	return m
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.healthy
	ch <- m.circuit
	ch <- m.open
	ch <- m.age
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	pools := m.pools
	m.mu.Unlock()
	for _, p := range pools {
		p.collect(m, ch)
	}
}

func (p *Pool) collect(m *metrics, ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{p.name}, labels...)...)
	}
	l := p.list()
	at := p.now()
	up := map[string]bool{} // by address: two URLs may lead to one
	active, idle, usable := 0, 0, 0
	for _, s := range l {
		a, i := s.connections()
		active, idle = active+a, idle+i
		st := s.health.state(at)
		if st != stateFailing {
			usable++
		}
		if _, ok := up[s.addr]; !ok {
			up[s.addr] = true
		}
		if st == stateFailing || st == stateEjected {
			up[s.addr] = false
		}
	}
	for addr, ok := range up {
		gauge(m.healthy, number(ok), addr)
	}
	gauge(m.circuit, number(usable == 0))
	oldest, named := int64(0), false
	for _, o := range p.origins {
		if known := o.known.Load(); known != 0 {
			oldest, named = max(oldest, at-known), true
		}
	}
	if named {
		gauge(m.age, time.Duration(oldest).Seconds())
	}
	gauge(m.open, float64(active), "active")
	gauge(m.open, float64(idle), "idle")
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// poolMetrics are the handles of one pool.
type poolMetrics struct {
	all       *metrics
	name      string
	classes   [6]prometheus.Counter // by the first digit of the status; 0 for none
	firstByte prometheus.Observer
	connect   prometheus.Observer
	errors    map[string]prometheus.Counter

	retryAnswered, retryFailed, retryRefused prometheus.Counter
}

func (m *metrics) pool(name string) *poolMetrics {
	h := &poolMetrics{
		all: m, name: name,
		firstByte:     m.firstByte.WithLabelValues(name),
		connect:       m.connect.WithLabelValues(name),
		errors:        make(map[string]prometheus.Counter, len(reasons)),
		retryAnswered: m.retries.WithLabelValues(name, "answered"),
		retryFailed:   m.retries.WithLabelValues(name, "failed"),
		retryRefused:  m.retries.WithLabelValues(name, "budget_exhausted"),
	}
	for i, class := range []string{"error", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		h.classes[i] = m.requests.WithLabelValues(name, class)
	}
	for _, r := range reasons {
		h.errors[r] = m.errors.WithLabelValues(name, r)
	}
	return h
}

// dropServer ends the series of a server that is gone.
func (h *poolMetrics) dropServer(addr string) {
	h.all.checks.DeletePartialMatch(prometheus.Labels{"upstream": h.name, "server": addr})
}

// use makes pools the ones whose gauges are shown, and ends the series of
// upstreams that are not among them any more.
func (m *metrics) use(pools []*Pool) {
	m.mu.Lock()
	former := m.pools
	m.pools = pools
	m.mu.Unlock()
	names := map[string]bool{}
	for _, p := range pools {
		names[p.name] = true
	}
	for _, p := range former {
		if names[p.name] {
			continue
		}
		l := prometheus.Labels{"upstream": p.name}
		m.requests.DeletePartialMatch(l)
		m.firstByte.DeletePartialMatch(l)
		m.connect.DeletePartialMatch(l)
		m.errors.DeletePartialMatch(l)
		m.retries.DeletePartialMatch(l)
		m.checks.DeletePartialMatch(l)
	}
}
