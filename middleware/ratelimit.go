package middleware

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

func (p *RateLimit) rate() limit.Rate {
	burst := float64(p.Burst)
	if burst == 0 {
		burst = math.Max(1, math.Ceil(p.Rate.PerSecond()))
	}
	return limit.Rate{PerSecond: p.Rate.PerSecond(), Burst: burst}
}

// limiter is one limit with everything that a request needs of it.
type limiter struct {
	name    string // in answers, metrics and logs
	per     string
	rate    limit.Rate
	counts  *limit.Limiter
	policy  string // of the RateLimit-Policy field
	allowed prometheus.Counter
	limited prometheus.Counter
	metrics *Metrics
}

func newLimiter(name string, p *RateLimit, env Env) *limiter {
	l := &limiter{name: name, per: p.Per, rate: p.rate(), counts: env.Engines.Limits.Limiter(name + " per " + p.Per), metrics: env.Metrics}
	window := math.Ceil(l.rate.Burst / l.rate.PerSecond)
	l.policy = fmt.Sprintf("%s;q=%d;w=%d", sfString(name), int64(l.rate.Burst), int64(math.Max(1, window)))
	l.allowed = env.Metrics.limitDecisions.WithLabelValues(name, "allowed")
	l.limited = env.Metrics.limitDecisions.WithLabelValues(name, "limited")
	return l
}

// key is whom a request is counted to.
func (l *limiter) key(rec *Record) limit.Key {
	switch {
	case l.per == "service":
		return limit.Key{Name: "_all"}
	case l.per == "organization" && rec.Organization != "":
		return limit.Key{Name: rec.Organization}
	}
	return limit.Key{Net: limit.Network(rec.Client)}
}

// buildRateLimit enforces the route's limit and the ceilings that
// organizations have over all services.
func buildRateLimit(p *RateLimit, env Env) (Func, error) {
	var own *limiter
	if p != nil {
		scope := env.RateLimitScope
		if scope == "" {
			scope = env.Service
		}
		own = newLimiter(scope, p, env)
	}
	ceilings := map[string]*limiter{}
	for key, c := range env.Callers {
		if c.RateLimit != nil {
			ceiling := *c.RateLimit
			ceiling.Per = "organization"
			ceilings[key] = newLimiter("organization "+key, &ceiling, env)
		}
	}
	if own == nil && len(ceilings) == 0 {
		return nil, nil
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			var first limit.Decision
			if own != nil {
				if first = own.counts.Take(own.key(rec), own.rate); !first.Allowed {
					own.refuse(w, r, rec, first)
					return
				}
			}
			if c := ceilings[rec.Organization]; c != nil && rec.Organization != "" {
				d := c.counts.Take(limit.Key{Name: rec.Organization}, c.rate)
				if !d.Allowed {
					if own != nil {
						own.counts.Return(own.key(rec), own.rate)
					}
					c.refuse(w, r, rec, d)
					return
				}
				c.admit(w, rec, d)
			}
			if own != nil {
				own.admit(w, rec, first)
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// admit notes a decision and tells the client what is left.
func (l *limiter) admit(w http.ResponseWriter, rec *Record, d limit.Decision) {
	l.allowed.Inc()
	rec.RateLimitPolicy, rec.RateLimitDecision = l.name, "allowed"
	l.tell(w, d)
}

// tell sets RateLimit-Policy and RateLimit as
// draft-ietf-httpapi-ratelimit-headers-10 defines them.
func (l *limiter) tell(w http.ResponseWriter, d limit.Decision) {
	h := w.Header()
	h["Ratelimit-Policy"] = append(h["Ratelimit-Policy"], l.policy)
	b := make([]byte, 0, 64)
	b = append(b, l.policy[:strings.LastIndex(l.policy, ";q=")]...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, int64(d.Remaining), 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, ceilSeconds(d.Reset), 10)
	h["Ratelimit"] = append(h["Ratelimit"], string(b))
}

// refuse answers 429 and says which limit it was and when it ends.
func (l *limiter) refuse(w http.ResponseWriter, r *http.Request, rec *Record, d limit.Decision) {
	l.limited.Inc()
	organization := rec.Organization
	if organization == "" {
		organization = anonymous
	}
	l.metrics.limited.WithLabelValues(l.name, organization).Inc()
	rec.RateLimitPolicy, rec.RateLimitDecision = l.name, "limited"
	l.tell(w, d)
	Deny(w, r, http.StatusTooManyRequests, Denial{
		By: "rate_limit", Reason: "quota-exceeded",
		Type:       "https://iana.org/assignments/http-problem-types#quota-exceeded",
		RetryAfter: d.RetryAfter,
		Members: map[string]any{
			"violated-policies": []string{l.name},
			"policy":            l.name,
			"partition":         l.per,
			"limit":             int64(l.rate.Burst),
			"rate_per_second":   l.rate.PerSecond,
			"remaining":         d.Remaining,
			"retry_after":       ceilSeconds(d.RetryAfter),
			"reset":             ceilSeconds(d.Reset),
		},
	})
}

func ceilSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// sfString is a string of RFC 8941. What it can't hold becomes a question mark.
func sfString(s string) string {
	b := []byte{'"'}
	for _, c := range []byte(s) {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
