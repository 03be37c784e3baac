package middleware

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/limit"
)

// RateLimit admits at most burst + rate x t requests in any time t.
type RateLimit struct {
	// Name tells several limits with the same per apart, in answers, metrics and logs; default: per, and a number from the second one on.
	Name string `yaml:"name"`
	// Rate is the sustained rate, such as 50/s or 1000/h.
	Rate unit.Rate `yaml:"rate"`
	// Burst is how many requests may come at once; default: one second's worth, at least 1.
	Burst int `yaml:"burst"`
	// Per says who shares the limit: client_ip (IPv6 by /64), organization (anonymous callers by address), service, route, header:NAME (the value of a request field, such as header:X-Api-Key) or json:/POINTER (a value in a JSON body of up to 64KiB, such as json:/client/id). Without the field or value the address counts. As clients choose what they send, such a limit needs another one beside it.
	Per string `yaml:"per"`
	// Mode is enforce, or detect: the limit counts what it would refuse (decision shadow_limited in the metrics) and changes no answer; default: enforce.
	Mode string `yaml:"mode"`
}

// RateLimits are several limits of which each must admit a request; one may
// stand alone, without a list.
type RateLimits []RateLimit

// OneOrMany marks a list of mappings that may be a mapping alone.
func (RateLimits) OneOrMany() {}

// The values of mode of a limit.
const (
	modeEnforce = "enforce"
	modeDetect  = "detect"
)

// LimitModes lists the values of mode of a limit.
func LimitModes() []string { return []string{modeEnforce, modeDetect} }

// BurstOr is the burst in force.
func (p *RateLimit) BurstOr() int64 {
	if p.Burst > 0 {
		return int64(p.Burst)
	}
	return int64(max(1, math.Ceil(p.Rate.PerSecond())))
}

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

// rateLimits enforces the rate limits and quotas of a route.
type rateLimits struct {
	store     *limit.Store
	log       *zap.Logger
	metrics   *Metrics
	hash      *hasher
	costs     *costs
	own       []*limiter
	ceilings  Ceilings
	known     map[string]Caller
	plans     sync.Map // *plan by organization, made for its first request
	anonymous *plan
}

// Ceilings are the limits that organizations have over all services.
type Ceilings map[string][]*limiter

// NewCeilings makes those of env.Callers. All routes of a configuration share
// them.
func NewCeilings(env Env) (Ceilings, error) {
	cs := Ceilings{}
	for key, c := range env.Callers {
		l, err := ceilingsOf(key, c, env)
		if err != nil {
			return nil, fmt.Errorf("organization %q: %w", key, err)
		}
		if len(l) > 0 {
			cs[key] = l
		}
	}
	return cs, nil
}

// buildRateLimit enforces a route's limits and quotas, and the ceilings that
// organizations have over all services. A request counts to all or to none.
func buildRateLimit(c *Chain, env Env) (Func, error) {
	rl := &rateLimits{store: env.Engines.Limits, log: env.Log, metrics: env.Metrics, hash: &env.Engines.hash, known: env.Callers, ceilings: env.Ceilings}
	var err error
	if rl.costs, err = newCosts(c.Costs); err != nil {
		return nil, err
	}
	if rl.own, err = ownLimiters(c, env); err != nil {
		return nil, err
	}
	if rl.ceilings == nil {
		if rl.ceilings, err = NewCeilings(env); err != nil {
			return nil, err
		}
	}
	if rl.anonymous, err = newPlan(rl.own, ""); err != nil {
		return nil, err
	}
	for key, l := range rl.ceilings {
		if n := len(rl.own) + len(l); n > limit.MaxUses {
			return nil, fmt.Errorf("%d rate limits and quotas count for a request of %q; at most %d can", n, key, limit.MaxUses)
		}
	}
	env.Limits.note(c, env, rl)
	if len(rl.own) == 0 && len(rl.ceilings) == 0 {
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
	pl := rl.planOf(organization)
	rl.plans.Store(organization, pl)
	return pl
}

// planOf makes the plan of a configured organization.
func (rl *rateLimits) planOf(organization string) *plan {
	pl, err := newPlan(append(rl.own[:len(rl.own):len(rl.own)], rl.ceilings[organization]...), organization)
	if err != nil { // can't be: the same limits have been put together, and counted, for all
		panic(err)
	}
	return pl
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

// admit counts a request, tells the client what is left, and answers if nothing
// is.
func (rl *rateLimits) admit(w http.ResponseWriter, r *http.Request) bool {
	rec := RecordOf(r.Context())
	pl := rl.plan(rec.Organization)
	if len(pl.slots) == 0 {
		return true
	}
	var body *peekedBody
	if pl.readsBody {
		var ok bool
		if body, ok = peekJSON(w, r); !ok {
			return false
		}
	}
	var few [4]limit.Use // most routes have no more
	uses := few[:0]
	if len(pl.slots) > len(few) {
		uses = make([]limit.Use, 0, len(pl.slots))
	}
	cost, err := rl.costs.of(r)
	if err != nil {
		denyBody(w, r, err)
		return false
	}
	for i := range pl.slots {
		s := &pl.slots[i]
		uses = append(uses, limit.Use{Key: s.keyOf(r, rec, rl.hash, body), Rate: s.l.rate, Cost: cost, Shadow: s.l.shadow})
	}
	allowed, err := rl.store.TakeAll(r.Context(), uses)
	if err != nil { // a bug: nobody is let through uncounted
		l := pl.slots[0].l
		rec.RateLimitPolicy, rec.RateLimitDecision = l.name, "error"
		rl.metrics.limitDecisions.WithLabelValues(l.name, "error").Inc()
		rl.log.Error("a rate limit could not decide", zap.String("vazel.ratelimit.policy", l.name), zap.Error(err))
		Deny(w, r, http.StatusInternalServerError, Denial{By: l.key, Reason: "internal_error", Detail: err.Error()})
		return false
	}
	if pl.field != nil {
		h := w.Header()
		h["Ratelimit-Policy"] = pl.field
		h["Ratelimit"] = []string{pl.left(uses, allowed)}
	}
	rl.note(rec, pl, uses, allowed)
	if !allowed {
		rl.refuse(w, r, pl, uses)
	}
	return allowed
}

// note counts the decisions and writes the one that matters to the Record.
func (rl *rateLimits) note(rec *Record, pl *plan, uses []limit.Use, allowed bool) {
	t := pl.tightest(uses)
	rec.RateLimitPolicy, rec.RateLimitDecision = pl.slots[t].l.name, "allowed"
	if !allowed {
		rec.RateLimitDecision = "limited"
	}
	for i := range uses {
		l := pl.slots[i].l
		switch {
		case l.shadow && !uses[i].Decision.Allowed:
			l.shadowed.Inc()
			if allowed {
				rec.RateLimitPolicy, rec.RateLimitDecision = l.name, "shadow_limited"
			}
		case allowed:
			l.allowed.Inc()
			if d := &uses[i].Decision; d.Remaining*10 < d.Limit {
				l.near.Inc()
			}
		case !uses[i].Decision.Allowed:
			l.limited.Inc()
			rl.metrics.byLimited.get(pair{l.name, organizationLabel(rec)}).Inc()
		}
	}
}

func organizationLabel(rec *Record) string {
	if rec.Organization == "" {
		return anonymous
	}
	return rec.Organization
}

// refuse answers 429 and says which limit it was, who shares it, and when it
// ends.
func (rl *rateLimits) refuse(w http.ResponseWriter, r *http.Request, pl *plan, uses []limit.Use) {
	violated := make([]string, 0, len(uses))
	for i := range uses {
		if l := pl.slots[i].l; !uses[i].Decision.Allowed && !l.shadow {
			violated = append(violated, l.name)
		}
	}
	t := pl.tightest(uses)
	s, d := &pl.slots[t], &uses[t].Decision
	members := map[string]any{
		"violated-policies": violated,
		"policy":            s.l.name,
		"partition":         s.partition,
		"limit":             d.Limit,
		"remaining":         d.Remaining,
		"reset":             ceilSeconds(d.Reset),
		"retry_after":       ceilSeconds(d.RetryAfter),
	}
	if s.l.period != 0 {
		members["period"] = s.l.period.String()
	} else {
		members["rate"] = s.l.rated
	}
	if uses[t].Cost > 1 {
		members["cost"] = uses[t].Cost
	}
	Deny(w, r, http.StatusTooManyRequests, Denial{
		By: s.l.key, Reason: "quota-exceeded", Type: quotaExceeded, Policy: s.l.name,
		Detail: "limit " + s.l.name, RetryAfter: d.RetryAfter, Members: members,
	})
}

// quotaExceeded is the registered problem type of
// draft-ietf-httpapi-ratelimit-headers-10.
const quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

func ceilSeconds(d time.Duration) int64 {
	s := int64(d / time.Second)
	if d%time.Second > 0 {
		s++
	}
	return s
}
