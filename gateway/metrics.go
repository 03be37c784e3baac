package gateway

import (
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
)

// metrics are those of the process and its configuration; requests has those
// of requests and connections.
type metrics struct {
	requests     *middleware.Metrics
	acceptErrors *prometheus.CounterVec

	reloads       *prometheus.CounterVec
	lastSuccess   prometheus.Gauge
	lastSuccessAt prometheus.Gauge
	objects       *prometheus.GaugeVec
	fileValid     *prometheus.GaugeVec
	aborted       *prometheus.CounterVec
	withdrawn     *prometheus.CounterVec

	withdrawnRequests *prometheus.CounterVec

	info    *configInfo
	version string

	mu               sync.Mutex
	applied, refused time.Time // last configurations
}

// lastReload is when the configuration in force was applied, and when a later one
// was refused, if one was.
func (m *metrics) lastReload() (applied, refused time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied, m.refused
}

// configInfo is vazel_config_info: exactly one series, of the configuration in force.
type configInfo struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	hash string
}

func (i *configInfo) Describe(ch chan<- *prometheus.Desc) { ch <- i.desc }

func (i *configInfo) Collect(ch chan<- prometheus.Metric) {
	i.mu.Lock()
	hash := i.hash
	i.mu.Unlock()
	if hash != "" {
		ch <- prometheus.MustNewConstMetric(i.desc, prometheus.GaugeValue, 1, hash)
	}
}

func newMetrics(reg prometheus.Registerer, version string) *metrics {
	m := &metrics{
		version:  version,
		requests: middleware.NewMetrics(reg),
		acceptErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_accept_errors_total", Help: "Times that a connection could not be accepted, for want of file descriptors or for another reason of the system.",
		}, []string{"listener"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_config_reloads_total", Help: "Configurations that were applied (success) or refused (failure), the first one included.",
		}, []string{"result"}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vazel_config_last_reload_successful", Help: "1 if the last configuration that was tried is in force, 0 if it was refused.",
		}),
		lastSuccessAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vazel_config_last_reload_success_timestamp_seconds", Help: "When the configuration in force was applied.",
		}),
		objects: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vazel_config_objects", Help: "Number of configured objects by kind.",
		}, []string{"kind"}),
		fileValid: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vazel_config_file_valid", Help: "1 if the configuration file is in force as it is on disk, 0 if its last good version is.",
		}, []string{"file"}),
		withdrawn: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_connections_withdrawn_total", Help: "Connections that were ended because their organization lost its right.",
		}, []string{"organization", "reason"}),
		aborted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_connections_aborted_total", Help: "Client connections that were ended for what the client sent. Reason: reset_flood, frame_flood, continuation_flood, stream_flood, header_too_large, protocol_error.",
		}, []string{"listener", "protocol", "reason"}),
		withdrawnRequests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_http_requests_withdrawn_total", Help: "Requests that were ended on connections that stayed, because their organization lost its right to the route.",
		}, []string{"organization", "reason"}),
		info: &configInfo{desc: prometheus.NewDesc("vazel_config_info", "Hash of the configuration in force; equal on nodes with equal configuration.", []string{"hash"}, nil)},
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "vazel_build_info", Help: "The running program.",
		ConstLabels: prometheus.Labels{"version": version, "revision": buildRevision(), "goversion": runtime.Version(), "fips": fipsMode()},
	})
	build.Set(1)
	reg.MustRegister(m.acceptErrors, m.reloads, m.lastSuccess, m.lastSuccessAt, m.objects, m.fileValid, m.withdrawn, m.withdrawnRequests, m.aborted, m.info, build)
	for _, result := range []string{"success", "failure"} {
		m.reloads.WithLabelValues(result)
	}
	return m
}

// reloaded notes how an attempt to apply a configuration ended; c is nil if it
// could not even be loaded.
func (m *metrics) reloaded(c *config.Config, err error) {
	m.mu.Lock()
	if now := time.Now(); err != nil {
		m.refused = now
	} else {
		m.applied, m.refused = now, time.Time{}
	}
	m.mu.Unlock()
	if err != nil {
		m.reloads.WithLabelValues("failure").Inc()
		m.lastSuccess.Set(0)
		return
	}
	m.reloads.WithLabelValues("success").Inc()
	m.lastSuccess.Set(1)
	m.lastSuccessAt.Set(float64(time.Now().UnixNano()) / 1e9)
	routes, upstreams := 0, 0
	for _, s := range c.Services {
		routes += len(s.Routes)
		upstreams += len(s.Upstreams)
	}
	for kind, n := range map[string]int{"services": len(c.Services), "routes": routes, "upstreams": upstreams, "organizations": len(c.Callers)} {
		m.objects.WithLabelValues(kind).Set(float64(n))
	}
	m.fileValid.Reset()
	for _, f := range c.Files {
		v := 0.0
		if f.Valid {
			v = 1
		}
		m.fileValid.WithLabelValues(f.Path).Set(v)
	}
	m.info.mu.Lock()
	m.info.hash = c.Hash
	m.info.mu.Unlock()
}

// fit makes room for the series of what is configured.
func (m *metrics) fit(c *config.Config) {
	routes := 0
	for _, s := range c.Services {
		routes += len(s.Routes)
	}
	m.requests.Fit(routes, len(c.Callers))
	m.requests.Promise(objectives(c))
}

// objectives are what services promise; each stands in it once.
func objectives(c *config.Config) (l []middleware.Objective) {
	seen := map[[3]string]bool{}
	for _, s := range c.Services {
		for _, r := range s.Routes {
			promised, err := r.Policy.SLO.Objectives(s.Name)
			if err != nil {
				continue // the snapshot was not built
			}
			for _, o := range promised {
				if key := [3]string{o.Service, o.Profile, o.Operation}; !seen[key] {
					seen[key] = true
					l = append(l, o)
				}
			}
		}
	}
	return l
}
