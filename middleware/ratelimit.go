package middleware

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/limit"
)

// RateLimit admits at most burst + rate x t requests in any time t.
type RateLimit struct {
	// Rate is the sustained rate, such as 50/s or 1000/h.
	Rate unit.Rate `yaml:"rate"`
	// Burst is how many requests may come at once; default: one second's worth, at least 1.
	Burst int `yaml:"burst"`
	// Per says who shares the limit: client_ip (IPv6 by /64), organization (anonymous callers by address) or service.
	Per string `yaml:"per"`
}

// limiter is one limit with everything of it that requests need.
type limiter struct {
	name     string // in answers, metrics and logs
	per      string
	settings *RateLimit
	policy   *limit.Policy
	rate     limit.Rate
	allowed  prometheus.Counter
	limited  prometheus.Counter
}

func newLimiter(name, per string, p *RateLimit, env Env) (*limiter, error) {
	burst := int64(p.Burst)
	if burst == 0 {
		burst = int64(max(1, math.Ceil(p.Rate.PerSecond())))
	}
	l := &limiter{name: name, per: per, settings: p, policy: env.Engines.Limits.Policy(name)}
	var err error
	if l.rate, err = l.policy.Rate(p.Rate.Count, p.Rate.Per, burst); err != nil {
		return nil, err
	}
	l.allowed = env.Metrics.limitDecisions.WithLabelValues(name, "allowed")
	l.limited = env.Metrics.limitDecisions.WithLabelValues(name, "limited")
	return l, nil
}

// plan is the limits of one organization, or of anonymous callers.
type plan struct {
	n        int // of what follows
	limiters [2]*limiter
	uses     [2]limit.Use
	pk       [2]string // partition key parameter
	network  bool      // the first use is of the client's network
	field    []string  // RateLimit-Policy
}

func (p *plan) add(l *limiter, k limit.Key, organization string) {
	pk := ""
	if organization != "" { // who it is he knows; an address is never repeated
		pk = ";pk=:" + base64.StdEncoding.EncodeToString([]byte(organization)) + ":"
	}
	p.limiters[p.n], p.uses[p.n], p.pk[p.n] = l, limit.Use{Key: k, Rate: l.rate}, pk
	p.n++
	window := math.Ceil(float64(l.rate.Burst) * l.rate.Per.Seconds() / float64(l.rate.Count))
	item := fmt.Sprintf("%s;q=%d;w=%d%s", sfString(l.name), l.rate.Burst, int64(max(1, window)), pk)
	if p.field == nil {
		p.field = []string{item}
	} else {
		p.field = []string{p.field[0] + ", " + item}
	}
}

// rateLimits enforces the limits of a route.
type rateLimits struct {
	store     *limit.Store
	log       *zap.Logger
	metrics   *Metrics
	own       *limiter // nil if only organizations have limits
	ceilings  Ceilings
	known     map[string]Caller
	plans     sync.Map // *plan by organization, made for its first request
	anonymous *plan
}

// Ceilings are the limits that organizations have over all services.
type Ceilings map[string]*limiter

// NewCeilings makes those of env.Callers. All routes of a configuration share
// them.
func NewCeilings(env Env) (Ceilings, error) {
	cs := Ceilings{}
	for key, c := range env.Callers {
		if c.RateLimit == nil {
			continue
		}
		l, err := newLimiter(key+":ceiling", "organization", c.RateLimit, env)
		if err != nil {
			return nil, fmt.Errorf("organization %q: %w", key, err)
		}
		cs[key] = l
	}
	return cs, nil
}

// buildRateLimit enforces a route's limit, and the ceilings that organizations
// have over all services. A request counts to both or to neither.
func buildRateLimit(p *RateLimit, env Env) (Func, error) {
	rl := &rateLimits{store: env.Engines.Limits, log: env.Log, metrics: env.Metrics, known: env.Callers, anonymous: &plan{}}
	if p != nil {
		scope := env.RateLimitScope
		if scope == "" {
			scope = env.Service
		}
		switch p.Per {
		case "client_ip", "organization", "service":
		default:
			return nil, fmt.Errorf("per: %q is not client_ip, organization or service", p.Per)
		}
		var err error
		if rl.own, err = newLimiter(scope+":"+p.Per, p.Per, p, env); err != nil {
			return nil, err
		}
		if p.Per == "service" {
			rl.anonymous.add(rl.own, rl.own.policy.Configured("_all"), "")
		} else {
			rl.anonymous.add(rl.own, limit.Key{}, "")
			rl.anonymous.network = true
		}
	}
	if rl.ceilings = env.Ceilings; rl.ceilings == nil {
		var err error
		if rl.ceilings, err = NewCeilings(env); err != nil {
			return nil, err
		}
	}
	if rl.own == nil && len(rl.ceilings) == 0 {
		return nil, nil
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if rl.admit(w, r) {
				next.ServeHTTP(w, r)
			}
		})
	}, nil
}

// plan is what counts for an organization. Most organizations never come to most
// routes; what is made for all of them would be the greater part of a reload.
func (rl *rateLimits) plan(organization string) *plan {
	if pl, ok := rl.plans.Load(organization); ok {
		return pl.(*plan)
	}
	if _, ok := rl.known[organization]; !ok {
		return rl.anonymous
	}
	pl := &plan{}
	switch {
	case rl.own == nil:
	case rl.own.per == "organization":
		pl.add(rl.own, rl.own.policy.Configured(organization), organization)
	default:
		*pl = *rl.anonymous
	}
	if l := rl.ceilings[organization]; l != nil {
		pl.add(l, l.policy.Configured(organization), organization)
	}
	rl.plans.Store(organization, pl)
	return pl
}

// admit counts a request, tells the client what is left, and answers if nothing
// is.
func (rl *rateLimits) admit(w http.ResponseWriter, r *http.Request) bool {
	rec := RecordOf(r.Context())
	pl := rl.plan(rec.Organization)
	if pl.n == 0 {
		return true
	}
	uses := pl.uses
	if pl.network {
		uses[0].Key = pl.limiters[0].policy.Network(rec.Client)
	}
	allowed, err := rl.store.TakeAll(r.Context(), uses[:pl.n])
	if errors.Is(err, limit.ErrUnavailable) {
		rec.RateLimitPolicy, rec.RateLimitDecision = pl.limiters[0].name, "error"
		rl.metrics.limitDecisions.WithLabelValues(pl.limiters[0].name, "error").Inc()
		Deny(w, r, http.StatusServiceUnavailable, Denial{By: "rate_limit", Reason: "limits_unavailable", Detail: err.Error(), RetryAfter: time.Second})
		return false
	}
	if err != nil { // a bug: nobody is let through uncounted
		rec.RateLimitPolicy, rec.RateLimitDecision = pl.limiters[0].name, "error"
		rl.metrics.limitDecisions.WithLabelValues(pl.limiters[0].name, "error").Inc()
		rl.log.Error("a rate limit could not decide", zap.String("vazel.ratelimit.policy", pl.limiters[0].name), zap.Error(err))
		Deny(w, r, http.StatusInternalServerError, Denial{By: "rate_limit", Reason: "internal_error", Detail: err.Error()})
		return false
	}
	t := tightest(uses[:pl.n])
	rec.RateLimitPolicy, rec.RateLimitDecision = pl.limiters[t].name, "allowed"
	h := w.Header()
	h["Ratelimit-Policy"] = pl.field
	h["Ratelimit"] = []string{pl.limiters[t].left(&uses[t].Decision, pl.pk[t])}
	if allowed {
		for _, l := range pl.limiters[:pl.n] {
			l.allowed.Inc()
		}
		return true
	}
	rec.RateLimitDecision = "limited"
	rl.refuse(w, r, pl, uses[:pl.n], t)
	return false
}

// tightest is the limit that a client comes up against first: the one that
// makes him wait longest, else the one that leaves him least.
func tightest(uses []limit.Use) (t int) {
	for i := 1; i < len(uses); i++ {
		a, b := &uses[i].Decision, &uses[t].Decision
		if a.RetryAfter != b.RetryAfter {
			if a.RetryAfter > b.RetryAfter {
				t = i
			}
		} else if a.Remaining < b.Remaining || a.Remaining == b.Remaining && a.Reset > b.Reset {
			t = i
		}
	}
	return t
}

// left is an item of the RateLimit field: what remains, and when there will be
// more (draft-ietf-httpapi-ratelimit-headers-10, 4.1).
func (l *limiter) left(d *limit.Decision, pk string) string {
	b := make([]byte, 0, 128)
	b = appendString(b, l.name)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, d.Remaining, 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, ceilSeconds(d.Reset), 10)
	b = append(b, pk...)
	return string(b)
}

// refuse answers 429 and says which limit it was, who shares it, and when it
// ends.
func (rl *rateLimits) refuse(w http.ResponseWriter, r *http.Request, pl *plan, uses []limit.Use, t int) {
	organization := RecordOf(r.Context()).Organization
	if organization == "" {
		organization = anonymous
	}
	violated := make([]string, 0, len(uses))
	for i := range uses {
		if l := pl.limiters[i]; !uses[i].Decision.Allowed {
			violated = append(violated, l.name)
			l.limited.Inc()
			rl.metrics.byLimited.get(pair{l.name, organization}).Inc()
		}
	}
	l, d := pl.limiters[t], &uses[t].Decision
	per := l.per
	if pl.network && t == 0 {
		per = "client_ip" // an anonymous caller of a limit per organization
	}
	Deny(w, r, http.StatusTooManyRequests, Denial{
		By: "rate_limit", Reason: "quota-exceeded",
		Type:       "https://iana.org/assignments/http-problem-types#quota-exceeded",
		Detail:     "limit " + l.name,
		RetryAfter: d.RetryAfter,
		Members: map[string]any{
			"violated-policies": violated,
			"policy":            l.name,
			"partition":         per,
			"rate":              l.settings.Rate.String(),
			"limit":             d.Limit,
			"remaining":         d.Remaining,
			"reset":             ceilSeconds(d.Reset),
			"retry_after":       ceilSeconds(d.RetryAfter),
		},
	})
}

func ceilSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}

// sfString is a String of RFC 9651 3.3.3. What it can't hold becomes a question
// mark.
func sfString(s string) string { return string(appendString(nil, s)) }

func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
