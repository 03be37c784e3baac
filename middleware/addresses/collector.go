package addresses

import "github.com/prometheus/client_golang/prometheus"

// collector tells of the sets in force.
type collector struct{ m *Manager }

var (
	entriesDesc = prometheus.NewDesc("vazel_address_set_entries", "Entries of the list in force.", []string{"set"}, nil)
	successDesc = prometheus.NewDesc("vazel_address_set_last_success_timestamp_seconds", "When the list in force was last got from its URL, or its file written.", []string{"set"}, nil)
	validDesc   = prometheus.NewDesc("vazel_address_set_valid", "1 while the list in force is what its source says and not older than max_age.", []string{"set"}, nil)
	infoDesc    = prometheus.NewDesc("vazel_address_set_info", "Where the list of a set comes from: file or url.", []string{"set", "source"}, nil)
)

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{entriesDesc, successDesc, validDesc, infoDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.m.inForce() {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.name}, labels...)...)
		}
		kind := "file"
		if s.source.URL != "" {
			kind = "url"
		}
		gauge(infoDesc, 1, kind)
		st, valid := s.state.Load(), 0.0
		if st != nil {
			gauge(entriesDesc, float64(st.table.entries))
			gauge(successDesc, float64(st.got.UnixMilli())/1000)
			if !s.failed.Load() && !s.stale.Load() {
				valid = 1
			}
		} else {
			gauge(entriesDesc, 0)
		}
		gauge(validDesc, valid)
	}
}
