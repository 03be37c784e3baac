package waf

import (
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// maxRuleLabels bounds how many rules have series of their own.
const maxRuleLabels = 200

// metrics of METRICS.md for inspection.
type metrics struct {
	duration   *prometheus.HistogramVec
	requests   *prometheus.CounterVec
	blocked    *prometheus.CounterVec
	hits       *prometheus.CounterVec
	responses  *prometheus.CounterVec
	score      *prometheus.HistogramVec
	truncated  *prometheus.CounterVec
	mode       *prometheus.GaugeVec
	rules      *prometheus.GaugeVec
	exclusions *prometheus.GaugeVec
	info       *prometheus.GaugeVec
	shadowed   prometheus.Counter
	disagreed  prometheus.Counter

	mu    sync.Mutex
	known map[int]string // rules with series of their own
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vazel_inspection_duration_seconds", Help: "Time that inspection took, by phase.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}, NativeHistogramBucketFactor: 1.1,
		}, []string{"phase"}),
		requests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_inspection_requests_total", Help: "Inspected requests: pass, detect (would have been blocked), block, error, skipped."}, []string{"route", "outcome"}),
		blocked:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_inspection_blocked_total", Help: "Requests blocked by inspection, by kind of attack."}, []string{"route", "category"}),
		responses: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_inspection_responses_total", Help: "Inspected responses: pass, detect (would have been blocked), block, error."}, []string{"route", "outcome"}),
		hits:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_inspection_rule_hits_total", Help: "Rules that matched. After 200 rules, the rest is other."}, []string{"rule_id", "severity", "outcome"}),
		score: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vazel_inspection_anomaly_score", Help: "Anomaly scores of inspected requests.", Buckets: []float64{0, 5, 10, 15, 20, 30, 40, 50, 75, 100},
		}, []string{"route"}),
		truncated:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_inspection_body_truncated_total", Help: "Requests of which less was inspected than was sent. Only routes that detect, or have body_over_limit: inspect_head, let them pass."}, []string{"route"}),
		mode:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vazel_inspection_mode_info", Help: "The mode in which a route is inspected: block, detect or off."}, []string{"route", "mode"}),
		rules:      prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vazel_inspection_rules", Help: "Rules of a compiled rule set."}, []string{"ruleset"}),
		exclusions: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vazel_inspection_exclusions", Help: "Exclusions of all routes that use a rule set."}, []string{"ruleset"}),
		info:       prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vazel_inspection_ruleset_info", Help: "The version of the Core Rule Set."}, []string{"ruleset", "version"}),
		shadowed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "vazel_inspection_screen_checks_total", Help: "Requests that were inspected without the screen as well."}),
		disagreed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "vazel_inspection_screen_disagreements_total", Help: "Checks in which the screen had left out a rule that matches. Anything but 0 is a bug."}),
		known:      map[int]string{},
	}
	reg.MustRegister(m.duration, m.requests, m.blocked, m.hits, m.responses, m.score, m.truncated, m.mode, m.rules, m.exclusions, m.info, m.shadowed, m.disagreed)
	return m
}

func (m *metrics) compiled(name string, r *Ruleset) {
	m.rules.WithLabelValues(name).Set(float64(len(r.rules)))
	m.info.WithLabelValues(name, Version).Set(1)
}

// label is a rule's label, bounded.
func (m *metrics) label(id int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l, ok := m.known[id]; ok {
		return l
	}
	if len(m.known) >= maxRuleLabels {
		return "other"
	}
	m.known[id] = strconv.Itoa(id)
	return m.known[id]
}

// Posture is how one route is inspected.
type Posture struct {
	Route, Mode string
	Ruleset     *Ruleset // nil where the mode is off
	Exclusions  int
}

// Posture shows how the routes are inspected, in place of what was shown before,
// and lets go of rule sets that none of them uses.
func (m *Manager) Posture(routes []Posture) {
	m.metrics.mode.Reset()
	m.metrics.exclusions.Reset()
	var used []*Ruleset
	for _, p := range routes {
		m.metrics.mode.WithLabelValues(p.Route, p.Mode).Set(1)
		if p.Ruleset != nil {
			used = append(used, p.Ruleset)
			m.metrics.exclusions.WithLabelValues(m.name(p.Ruleset)).Add(float64(p.Exclusions))
		}
	}
	m.Keep(used)
}

// Truncated counts a request of which less was inspected than was sent.
func (m *Manager) Truncated(route string) { m.metrics.truncated.WithLabelValues(route).Inc() }

// ObserveResponse counts an inspected response.
func (m *Manager) ObserveResponse(route, outcome string) {
	m.metrics.responses.WithLabelValues(route, outcome).Inc()
}

// Observe counts an inspected request.
func (m *Manager) Observe(route, outcome string, rs *Ruleset, v Verdict) {
	m.metrics.requests.WithLabelValues(route, outcome).Inc()
	switch outcome {
	case "skipped":
		m.Truncated(route)
		return
	case "block":
		m.metrics.blocked.WithLabelValues(route, v.Category).Inc()
	}
	m.metrics.score.WithLabelValues(route).Observe(float64(v.Score))
	for _, id := range v.Rules {
		severity := "unset"
		if r := rs.rules[id]; r != nil && r.Severity() >= 0 {
			severity = r.Severity().String()
		}
		m.metrics.hits.WithLabelValues(m.metrics.label(id), severity, outcome).Inc()
	}
}
