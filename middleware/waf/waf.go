// Package waf inspects requests with the OWASP Core Rule Set. It is the only
// door to the rule engine (Coraza) and owns the base configuration that the
// rules run on. What a verdict leads to is the policy's, in package middleware.
package waf

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Bounds of what is inspected. What exceeds them is refused, never passed on.
const (
	MaxBody      = 8 << 20 // bytes of a body
	MaxArguments = 1000    // parameters of query and form
	jsonDepth    = 64
)

// Settings distinguish one compiled rule set from another.
type Settings struct {
	Paranoia, Threshold int
	Exclude             []int // ids of rules that do not apply
}

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Manager compiles rule sets and shares equal ones.
type Manager struct {
	log     *zap.Logger
	metrics *metrics

	mu   sync.Mutex
	sets map[string]*Ruleset
}

// NewManager makes a Manager. It compiles nothing.
func NewManager(o Options) *Manager {
	return &Manager{log: o.Log, metrics: newMetrics(o.Registerer), sets: map[string]*Ruleset{}}
}

// Ruleset is a compiled rule set. It is safe for concurrent use.
type Ruleset struct {
	waf       coraza.WAF
	threshold int
	manager   *Manager
}

// Ruleset compiles the rules for s, or finds them compiled.
func (m *Manager) Ruleset(s Settings) (*Ruleset, error) {
	s.Exclude = slices.Sorted(slices.Values(s.Exclude))
	key := fmt.Sprint(s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.sets[key]; r != nil {
		return r, nil
	}
	w, err := coraza.NewWAF(coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(directives(s)))
	if err != nil {
		return nil, fmt.Errorf("rules can't be compiled: %w", err)
	}
	r := &Ruleset{waf: w, threshold: s.Threshold, manager: m}
	m.sets[key] = r
	return r, nil
}

// directives is the base configuration and the Core Rule Set on it. It is our
// own: the one that is shipped beside the rules lets requests with many
// arguments pass uninspected. The engine only finds; the policy decides.
func directives(s Settings) string {
	var b strings.Builder
	fmt.Fprintf(&b, `
SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecRequestBodyLimit %d
SecRequestBodyInMemoryLimit %d
SecRequestBodyLimitAction ProcessPartial
SecRequestBodyJsonDepthLimit %d
SecResponseBodyAccess Off
SecArgumentsLimit %d
SecAuditEngine Off
SecRule REQUEST_HEADERS:Content-Type "@rx (?i)^(?:application|text)/(?:[a-z0-9.+-]+\+)?xml" "id:100001,phase:1,t:none,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:Content-Type "@rx (?i)^application/(?:[a-z0-9.+-]+\+)?json" "id:100002,phase:1,t:none,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQBODY_ERROR "!@eq 0" "id:100010,phase:2,t:none,pass,log,msg:'The request body can not be parsed'"
SecRule MULTIPART_STRICT_ERROR "!@eq 0" "id:100011,phase:2,t:none,pass,log,msg:'The multipart body is malformed'"
SecDefaultAction "phase:1,log,noauditlog,pass"
SecDefaultAction "phase:2,log,noauditlog,pass"
SecAction "id:900000,phase:1,pass,t:none,nolog,setvar:tx.blocking_paranoia_level=%d,setvar:tx.detection_paranoia_level=%d"
SecAction "id:900110,phase:1,pass,t:none,nolog,setvar:tx.inbound_anomaly_score_threshold=%d,setvar:tx.outbound_anomaly_score_threshold=1000"
SecAction "id:900200,phase:1,pass,t:none,nolog,setvar:'tx.allowed_methods=GET HEAD POST OPTIONS PUT PATCH DELETE'"
SecAction "id:900990,phase:1,pass,t:none,nolog,setvar:tx.crs_setup_version=4250"
Include @owasp_crs/*.conf
`, MaxBody+1, MaxBody+1, jsonDepth, MaxArguments+1, s.Paranoia, s.Paranoia, s.Threshold)
	for _, id := range s.Exclude {
		fmt.Fprintf(&b, "SecRuleRemoveById %d\n", id)
	}
	return b.String()
}

// Request is what is inspected: exactly what the upstream will get.
type Request struct {
	Client             netip.Addr
	Method, URI, Proto string
	Host               string
	Header             map[string][]string
	Body               []byte
}

// Verdict is what the rules found.
type Verdict struct {
	Score    int
	Block    bool // Score reached the threshold
	Rules    []int
	Category string // of the first rule that scored
}

// ErrUnreadable is returned for a body that can't be read as what it claims to
// be: it can't be inspected, so it must not pass.
var ErrUnreadable = errors.New("the body can't be read as what its Content-Type says")

// Inspect runs the rules over r.
func (rs *Ruleset) Inspect(ctx context.Context, r *Request) (v Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the rule engine: %v", p)
		}
	}()
	start := time.Now()
	tx := rs.waf.NewTransaction()
	defer tx.Close()
	tx.ProcessConnection(r.Client.String(), 0, "", 0)
	tx.ProcessURI(r.URI, r.Method, r.Proto)
	tx.AddRequestHeader("Host", r.Host)
	tx.SetServerName(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			tx.AddRequestHeader(name, value)
		}
	}
	tx.ProcessRequestHeaders()
	rs.manager.metrics.duration.WithLabelValues("request_headers").Observe(time.Since(start).Seconds())
	if len(r.Body) > 0 {
		start = time.Now()
		if _, _, err := tx.WriteRequestBody(r.Body); err != nil {
			return v, fmt.Errorf("inspection: %w", err)
		}
	}
	if _, err := tx.ProcessRequestBody(); err != nil {
		return v, fmt.Errorf("inspection: %w", err)
	}
	if len(r.Body) > 0 {
		rs.manager.metrics.duration.WithLabelValues("request_body").Observe(time.Since(start).Seconds())
		if unreadable(tx) {
			err = ErrUnreadable
		}
	}
	for _, m := range tx.MatchedRules() {
		score := scoreOf(m.Rule().Severity())
		id := m.Rule().ID()
		if score == 0 || !attackRule(id) {
			continue
		}
		v.Score += score
		if len(v.Rules) < 32 {
			v.Rules = append(v.Rules, id)
		}
		if v.Category == "" {
			v.Category = category(m.Rule().Tags())
		}
	}
	v.Block = v.Score >= rs.threshold
	return v, err
}

// unreadable reports whether the engine could not parse the body.
func unreadable(tx types.Transaction) bool {
	for _, m := range tx.MatchedRules() {
		switch m.Rule().ID() {
		case 100010, 100011:
			return true
		}
	}
	return false
}

// attackRule reports whether a rule finds attacks, rather than keeps the books.
func attackRule(id int) bool { return id >= 911000 && id < 949000 }

// scoreOf is what a rule adds to the anomaly score, by its severity, as the
// Core Rule Set has it.
func scoreOf(s types.RuleSeverity) int {
	switch s {
	case types.RuleSeverityCritical:
		return 5
	case types.RuleSeverityError:
		return 4
	case types.RuleSeverityWarning:
		return 3
	case types.RuleSeverityNotice:
		return 2
	}
	return 0
}

// category is the label of a rule's kind of attack.
func category(tags []string) string {
	for _, t := range tags {
		if c := categories[t]; c != "" {
			return c
		}
	}
	return "other"
}

var categories = map[string]string{
	"attack-sqli": "sqli", "attack-xss": "xss", "attack-rce": "rce", "attack-lfi": "lfi", "attack-rfi": "rfi",
	"attack-protocol": "protocol", "attack-fixation": "session_fixation", "attack-injection-php": "php", "attack-injection-java": "java",
	"attack-reputation-scanner": "scanner", "attack-disclosure": "data_leak",
}

// metrics of METRICS.md that the engine itself knows.
type metrics struct {
	duration *prometheus.HistogramVec
	Requests *prometheus.CounterVec
	Blocked  *prometheus.CounterVec
	Score    *prometheus.HistogramVec
	Mode     *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vazel_inspection_duration_seconds", Help: "Time that inspection took, by phase.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}, NativeHistogramBucketFactor: 1.1,
		}, []string{"phase"}),
		Requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_inspection_requests_total", Help: "Inspected requests: pass, detect (would have been blocked), block, error, skipped."}, []string{"route", "outcome"}),
		Blocked:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_inspection_blocked_total", Help: "Requests blocked by inspection, by kind of attack."}, []string{"route", "category"}),
		Score: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vazel_inspection_anomaly_score", Help: "Anomaly scores of inspected requests.", Buckets: []float64{0, 5, 10, 15, 20, 30, 40, 50, 75, 100},
		}, []string{"route"}),
		Mode: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vazel_inspection_mode_info", Help: "The mode in which a route is inspected: block, detect or off."}, []string{"route", "mode"}),
	}
	reg.MustRegister(m.duration, m.Requests, m.Blocked, m.Score, m.Mode)
	return m
}

// Observe counts an inspected request.
func (m *Manager) Observe(route, outcome string, v Verdict) {
	m.metrics.Requests.WithLabelValues(route, outcome).Inc()
	m.metrics.Score.WithLabelValues(route).Observe(float64(v.Score))
	if outcome == "block" {
		m.metrics.Blocked.WithLabelValues(route, v.Category).Inc()
	}
}

// Show makes modes, by route, the ones that metrics tell of.
func (m *Manager) Show(modes map[string]string) {
	m.metrics.Mode.Reset()
	for route, mode := range modes {
		m.metrics.Mode.WithLabelValues(route, mode).Set(1)
	}
}
