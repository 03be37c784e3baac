package middleware

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

type sloKey struct{ service, profile, operation, result string }

type sloTimesKey struct {
	service, profile, operation string
	rated                       bool // a rate is promised for large responses
}

// sloTimes are of the answers of an operation for which a time is promised.
type sloTimes struct {
	first          prometheus.Observer
	bytes, sending prometheus.Counter // of large ones; nil where no rate is promised
}

func (m *Metrics) newSLOTimes(k sloTimesKey) *sloTimes {
	t := &sloTimes{first: m.sloFirst.WithLabelValues(k.service, k.profile, k.operation)}
	if k.rated {
		t.bytes, t.sending = m.sloBytes.WithLabelValues(k.service, k.profile, k.operation), m.sloSending.WithLabelValues(k.service, k.profile, k.operation)
	}
	return t
}

// sloBuckets are the bounds of objectives, and what is fast; native histograms have the
// rest.
var sloBuckets = []float64{.1, .25, .5, 1, 3, 5, 10, 30}

// objectives tells the numbers that services promise, so that rules and reports
// need not know them.
type objectives struct {
	desc *prometheus.Desc
	list atomic.Pointer[[]Objective]
}

func newObjectives() *objectives {
	return &objectives{desc: prometheus.NewDesc("vazel_slo_objective",
		"What slo promises. Objective: first_byte_seconds, share and availability (ratios), capacity (requests a second), min_rate (bytes a second of large responses).", []string{"service", "profile", "operation", "objective"}, nil)}
}

// Describe implements prometheus.Collector.
func (o *objectives) Describe(ch chan<- *prometheus.Desc) { ch <- o.desc }

// Collect implements prometheus.Collector.
func (o *objectives) Collect(ch chan<- prometheus.Metric) {
	list := o.list.Load()
	if list == nil {
		return
	}
	for _, e := range *list {
		for _, v := range []struct {
			objective string
			value     float64
		}{{"first_byte_seconds", e.FirstByte.Seconds()}, {"share", e.Share}, {"availability", e.Availability}, {"capacity", e.Capacity}, {"min_rate", e.minRate}} {
			if v.value > 0 && (v.objective != "share" || e.FirstByte > 0) {
				ch <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, v.value, e.Service, e.Profile, e.Operation, v.objective)
			}
		}
	}
}

// Promise makes l the objectives in force; each stands in it once. Their counters
// begin at zero, so that Prometheus sees the first request too.
func (m *Metrics) Promise(l []Objective) {
	m.objectives.list.Store(&l)
	for _, o := range l {
		if o.FirstByte > 0 {
			m.bySLOTimes.get(sloTimesKey{o.Service, o.Profile, o.Operation, o.minRate > 0})
		}
		for _, result := range []string{"ok", "slow", "error"} {
			if result != "slow" || o.FirstByte > 0 {
				m.bySLO.get(sloKey{o.Service, o.Profile, o.Operation, result})
			}
		}
	}
}
