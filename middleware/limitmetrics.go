package middleware

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// limitCollector reads the state of the rate limits when it is asked: nothing
// of it costs a request anything, and no series outlives its use.
type limitCollector struct {
	store                     *limit.Store
	crowds                    func() []limit.Usage
	keys, evictions, capacity *prometheus.Desc
	used                      *prometheus.Desc
}

// NewLimitCollector describes the rate limits and quotas of a store to Prometheus,
// and how full the bounds on concurrency are.
func NewLimitCollector(s *limit.Store, crowds func() []limit.Usage) prometheus.Collector {
	return &limitCollector{
		store:     s,
		crowds:    crowds,
		keys:      prometheus.NewDesc("vazel_ratelimit_keys", "Networks, and hashes of values that clients send, that a rate limit counts one by one.", []string{"policy"}, nil),
		capacity:  prometheus.NewDesc("vazel_ratelimit_keys_capacity", "Networks and hashes that all rate limits together can count one by one.", nil, nil),
		evictions: prometheus.NewDesc("vazel_ratelimit_evictions_total", "Networks and hashes that lost their place in a full table while they were in use. They gain nothing by it.", []string{"policy"}, nil),
		used:      prometheus.NewDesc("vazel_ratelimit_quota_used_ratio", "Share that an organization, or all callers together (_all), have in use: of the burst of a rate limit, of a quota, or of a bound on concurrency.", []string{"policy", "organization"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *limitCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.keys
	ch <- c.capacity
	ch <- c.evictions
	ch <- c.used
}

// Collect implements prometheus.Collector.
func (c *limitCollector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(c.capacity, prometheus.GaugeValue, float64(c.store.Capacity()))
	for i, p := range c.store.Policies() {
		if i == maxSets {
			break
		}
		ch <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(p.Networks), p.Name)
		ch <- prometheus.MustNewConstMetric(c.evictions, prometheus.CounterValue, float64(p.Evictions), p.Name)
	}
	for i, u := range c.store.Usages() {
		if i == maxSets {
			break
		}
		ch <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, u.Ratio, u.Policy, u.Name)
	}
	for _, u := range c.crowds() {
		ch <- prometheus.MustNewConstMetric(c.used, prometheus.GaugeValue, u.Ratio, u.Policy, u.Name)
	}
}
