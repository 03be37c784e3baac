package middleware

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"time"

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

// rateLimits enforces the rate limits and quotas of a route.
type rateLimits struct {
	store     *limit.Store
	log       *zap.Logger
	metrics   *Metrics
	hash      *hasher
	costs     *costs
	own       []*limiter
	ceilings  *Ceilings
	known     map[string]Caller
	plans     sync.Map // *plan by organization, made for its first request
	anonymous *plan
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
	for key, l := range rl.ceilings.rates {
		if n := len(rl.own) + len(l); n > limit.MaxUses {
			return nil, fmt.Errorf("%d rate limits and quotas count for a request of %q; at most %d can", n, key, limit.MaxUses)
		}
	}
	env.Limits.note(c, env, rl)
	if len(rl.own) == 0 && len(rl.ceilings.rates) == 0 {
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
	pl, err := newPlan(append(rl.own[:len(rl.own):len(rl.own)], rl.ceilings.rates[organization]...), organization)
	if err != nil { // can't be: the same limits have been put together, and counted, for all
		panic(err)
	}
	return pl
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
	if err != nil { // nobody is let through uncounted
		l := pl.slots[0].l
		rec.RateLimitPolicy, rec.RateLimitDecision = l.name, "error"
		rl.metrics.limitDecisions.WithLabelValues(l.name, "error").Inc()
		if errors.Is(err, limit.ErrUnavailable) { // so it is configured
			Deny(w, r, http.StatusServiceUnavailable, Denial{By: l.key, Reason: "limits_unavailable", Detail: err.Error(), RetryAfter: time.Second})
			return false
		}
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
				rec.would(http.StatusTooManyRequests, Denial{By: l.key, Reason: "quota-exceeded", Policy: l.name, Detail: "limit " + l.name})
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
