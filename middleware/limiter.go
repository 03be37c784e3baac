package middleware

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// limiter is one limit with everything of it that requests need.
type limiter struct {
	name     string // in answers, metrics and logs
	key      string // of the setting: rate_limit or quota
	per      string
	header   string   // canonical, where it counts by one
	pointer  []string // where it counts by what a body holds
	shadow   bool
	rated    string // the rate as it is written, or "" of quotas
	period   limit.Period
	quotedID string // the name as it stands in header fields
	window   int64  // seconds
	policy   *limit.Policy
	rate     limit.Rate
	allowed  prometheus.Counter
	limited  prometheus.Counter
	shadowed prometheus.Counter
	near     prometheus.Counter
}

func newLimiter(name string, p *RateLimit, env Env) (*limiter, error) {
	l := &limiter{name: name, key: "rate_limit", per: p.Per, rated: p.Rate.String(), policy: env.Engines.Limits.Policy(name)}
	burst := p.BurstOr()
	var err error
	if l.rate, err = l.policy.Rate(p.Rate.Count, p.Rate.Per, burst); err != nil {
		return nil, err
	}
	l.window = int64(max(1, math.Ceil(float64(burst)*p.Rate.Per.Seconds()/float64(p.Rate.Count))))
	return l, l.finish(p.Mode, env)
}

func newQuota(name string, n int, period limit.Period, q *Quota, env Env) (*limiter, error) {
	l := &limiter{name: name, key: "quota", per: q.Per, period: period, policy: env.Engines.Limits.Quota(name, period)}
	var err error
	if l.rate, err = l.policy.Amount(int64(n)); err != nil {
		return nil, err
	}
	l.window = int64(period.Longest() / time.Second)
	return l, l.finish(q.Mode, env)
}

func (l *limiter) finish(mode string, env Env) error {
	switch mode {
	case "", modeEnforce:
	case modeDetect:
		l.shadow = true
	default:
		return fmt.Errorf("mode: %q is not enforce or detect", mode)
	}
	l.quotedID = sfString(l.name)
	l.allowed = env.Metrics.limitDecisions.WithLabelValues(l.name, "allowed")
	l.limited = env.Metrics.limitDecisions.WithLabelValues(l.name, "limited")
	l.shadowed = env.Metrics.limitDecisions.WithLabelValues(l.name, "shadow_limited")
	l.near = env.Metrics.nearLimit.WithLabelValues(l.name)
	return nil
}

// ceiling is the name of an organization's limit that has none.
const ceiling = "ceiling"

// Names tells the limits of a list apart.
func (p RateLimits) Names() ([]string, error) {
	all, taken := make([]string, len(p)), map[string]int{}
	for i := range p {
		name := p[i].Name
		if name == "" {
			name = p[i].Per
		}
		if name == "" {
			name = ceiling
		}
		if taken[name]++; taken[name] > 1 {
			if p[i].Name != "" {
				return nil, fmt.Errorf("two limits have the name %q", name)
			}
			name = fmt.Sprintf("%s#%d", name, taken[name])
		}
		all[i] = name
	}
	return all, nil
}

// ownLimiters are the limits that a route has for itself or of its service.
func ownLimiters(c *Chain, env Env) (own []*limiter, err error) {
	names, err := c.RateLimit.Names()
	if err != nil {
		return nil, err
	}
	for i := range c.RateLimit {
		p := &c.RateLimit[i]
		scope := env.RateLimitScope
		if scope == "" {
			scope = env.Service
		}
		if p.Per == perRoute {
			scope = env.Route
		}
		l, err := newLimiter(scope+":"+names[i], p, env)
		if err != nil {
			return nil, err
		}
		if ok, err := CheckPer(p.Per); err != nil {
			return nil, fmt.Errorf("per: %w", err)
		} else if name, header := strings.CutPrefix(p.Per, perHeader); ok && header {
			l.header = http.CanonicalHeaderKey(name)
		} else if ok {
			l.pointer, _ = parsePointer(strings.TrimPrefix(p.Per, perJSON))
		}
		own = append(own, l)
	}
	if c.Quota != nil {
		scope := env.QuotaScope
		if scope == "" {
			scope = env.Service
		}
		if c.Quota.Per == perRoute {
			scope = env.Route
		}
		quotas, err := newQuotas(scope+":"+c.Quota.Per, c.Quota, env)
		if err != nil {
			return nil, err
		}
		own = append(own, quotas...)
	}
	return own, nil
}

// ceilingsOf are the limits of an organization over all services.
func ceilingsOf(key string, c Caller, env Env) (l []*limiter, err error) {
	names, err := c.RateLimit.Names()
	if err != nil {
		return nil, err
	}
	for i := range c.RateLimit {
		p := c.RateLimit[i]
		p.Per = perOrganization
		name := key + ":" + names[i]
		if p.Name != "" {
			name = key + ":" + ceiling + ":" + p.Name
		}
		one, err := newLimiter(name, &p, env)
		if err != nil {
			return nil, err
		}
		l = append(l, one)
	}
	if c.Quota != nil {
		q := *c.Quota
		q.Per = perOrganization
		quotas, err := newQuotas(key+":"+ceiling, &q, env)
		if err != nil {
			return nil, err
		}
		l = append(l, quotas...)
	}
	return l, nil
}

// Ceilings are the limits that organizations have over all services.
type Ceilings struct {
	rates  map[string][]*limiter // and quotas
	bounds map[string][]*bound   // on concurrency
}

// NewCeilings makes those of env.Callers. All routes of a configuration share
// them.
func NewCeilings(env Env) (*Ceilings, error) {
	cs := &Ceilings{rates: map[string][]*limiter{}, bounds: map[string][]*bound{}}
	for key, c := range env.Callers {
		l, err := ceilingsOf(key, c, env)
		if err != nil {
			return nil, fmt.Errorf("organization %q: %w", key, err)
		}
		if len(l) > 0 {
			cs.rates[key] = l
		}
		bounds, err := newBounds(key+":"+ceiling, c.Concurrency.perOrganization(), env)
		if err != nil {
			return nil, fmt.Errorf("organization %q: %w", key, err)
		}
		if len(bounds) > 0 {
			cs.bounds[key] = bounds
		}
	}
	return cs, nil
}
