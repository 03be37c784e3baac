package middleware

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// Concurrency bounds how many requests are under way at once; one too many gets
// 503 at once, for waiting would only move the queue. A number alone bounds
// the service or route as a whole.
type Concurrency struct {
	// Max is how many requests may be under way at once, from 1 to 1000000. Required.
	Max int `yaml:"max"`
	// Per says who shares the bound: service (everybody, also where it is written in a route), route, organization (anonymous callers by address), client_ip (IPv6 by /64), header:NAME or json:/POINTER, as of rate_limit; default: service.
	Per string `yaml:"per"`
	// Mode is enforce, or detect: the bound counts what it would refuse (decision shadow_limited in the metrics) and changes no answer; default: enforce.
	Mode string `yaml:"mode"`
}

// ShortForm is the key that a number alone stands for.
func (Concurrency) ShortForm() string { return "max" }

// Concurrencies are several bounds of which each must have room for a request;
// one may stand alone, without a list.
type Concurrencies []Concurrency

// OneOrMany marks a list that may be one of its elements alone.
func (Concurrencies) OneOrMany() {}

// Names tells the bounds of a list apart.
func (c Concurrencies) Names() ([]string, error) {
	all, taken := make([]string, len(c)), map[string]int{}
	for i := range c {
		name := cmp.Or(c[i].Per, perService)
		if taken[name]++; taken[name] > 1 {
			name = fmt.Sprintf("%s#%d", name, taken[name])
		}
		all[i] = name
	}
	return all, nil
}

// perOrganization are the bounds of an organization, which count by nothing else.
func (c Concurrencies) perOrganization() (own Concurrencies) {
	for _, one := range c {
		one.Per = ""
		own = append(own, one)
	}
	return own
}

// bound is one bound on concurrency with everything of it that requests need.
type bound struct {
	name, per     string
	header        string
	pointer       []string
	most          int64
	shadow        bool
	crowd         *crowd
	quoted, item  string // as it stands in header fields
	allowed, full prometheus.Counter
}

// newBounds makes the bounds of a scope. A bound that everybody shares has the
// name of the scope alone.
func newBounds(scope string, c Concurrencies, env Env) (all []*bound, err error) {
	names, err := c.Names()
	if err != nil {
		return nil, err
	}
	for i := range c {
		name := scope + ":concurrency"
		if c[i].Per == perRoute {
			name = env.Route + ":concurrency"
		}
		switch rest := strings.TrimPrefix(names[i], perService); {
		case rest != "" && rest[0] != '#':
			name += ":" + rest
		default:
			name += rest
		}
		b := &bound{name: name, per: cmp.Or(c[i].Per, perService), most: int64(c[i].Max), shadow: c[i].Mode == modeDetect, crowd: env.Engines.crowds.of(name)}
		if own, err := CheckPer(b.per); err != nil {
			return nil, fmt.Errorf("per: %w", err)
		} else if field, header := strings.CutPrefix(b.per, perHeader); own && header {
			b.header = http.CanonicalHeaderKey(field)
		} else if own {
			b.pointer, _ = parsePointer(strings.TrimPrefix(b.per, perJSON))
		}
		b.quoted = sfString(name)
		b.item = fmt.Sprintf(`%s;q=%d;qu="concurrent-requests"`, b.quoted, b.most)
		b.allowed = env.Metrics.limitDecisions.WithLabelValues(name, "allowed")
		full := "limited"
		if b.shadow {
			full = "shadow_limited"
		}
		b.full = env.Metrics.limitDecisions.WithLabelValues(name, full)
		all = append(all, b)
	}
	return all, nil
}

// scopeOfConcurrency is the service or route that a route's bounds were written for.
func scopeOfConcurrency(env Env) string { return cmp.Or(env.ConcurrencyScope, env.Service) }

// keyOf is what a bound counts a request by, and who shares it: what is missing
// falls to the client's address.
func (b *bound) keyOf(r *http.Request, rec *Record, env *Env, body *peekedBody) (k crowdKey, partition string) {
	switch {
	case b.per == perService || b.per == perRoute:
		return crowdKey{configured: everybody}, b.per
	case b.per == perOrganization:
		if _, known := env.Callers[rec.Organization]; known {
			return crowdKey{configured: rec.Organization}, b.per
		}
		return crowdKey{other: limit.Network(rec.Client)}, perClientIP
	}
	if value := sentValue(r, b.header, b.pointer, body); value != "" {
		return crowdKey{other: limit.Sum(env.Engines.hash.hash(value))}, b.per
	}
	return crowdKey{other: limit.Network(rec.Client)}, b.per
}

// pk is the partition key of a request in header fields: who it is an
// organization knows; anything else is never repeated.
func (k *crowdKey) pk() string {
	if k.configured == "" || k.configured == everybody {
		return ""
	}
	return ";pk=:" + base64.StdEncoding.EncodeToString([]byte(k.configured)) + ":"
}

// buildConcurrency bounds the requests under way of a route, and of each
// organization over all services. A request is counted by all its bounds or by
// none. The counts belong to the process, so that a reload with another bound
// forgets nobody.
func buildConcurrency(c Concurrencies, env Env) (Func, error) {
	own, err := newBounds(scopeOfConcurrency(env), c, env)
	if err != nil {
		return nil, err
	}
	env.Limits.noteBounds(own)
	ceilings := env.Ceilings
	if ceilings == nil {
		if ceilings, err = NewCeilings(env); err != nil {
			return nil, err
		}
	}
	if len(own) == 0 && len(ceilings.bounds) == 0 {
		return nil, nil
	}
	readsBody := false
	for _, b := range own {
		readsBody = readsBody || b.pointer != nil
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			var body *peekedBody
			if readsBody {
				var ok bool
				if body, ok = peekJSON(w, r); !ok {
					return
				}
			}
			var few [4]presence // most routes have no more
			all := few[:0]
			for _, b := range own {
				k, partition := b.keyOf(r, rec, &env, body)
				all = append(all, presence{bound: b, key: k, partition: partition})
			}
			for _, b := range ceilings.bounds[rec.Organization] {
				all = append(all, presence{bound: b, key: crowdKey{configured: rec.Organization}, partition: perOrganization})
			}
			entered := env.Engines.crowds.enter(all)
			if entered {
				defer env.Engines.crowds.leave(all) // after a panic too
			}
			notePresences(w.Header(), rec, all, entered)
			if !entered {
				denyCrowded(w, r, all, env.Metrics)
				return
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// notePresences counts what the bounds decided, and tells the client.
func notePresences(h http.Header, rec *Record, all []presence, entered bool) {
	if !entered {
		delete(h, "Ratelimit") // of other limits: they let it through
	}
	for i := range all {
		p := &all[i]
		switch {
		case p.full && p.bound.shadow:
			p.bound.full.Inc()
			if entered {
				rec.RateLimitPolicy, rec.RateLimitDecision = p.bound.name, "shadow_limited"
			}
			continue
		case entered:
			p.bound.allowed.Inc()
		case p.full:
			p.bound.full.Inc()
		}
		if pk := p.key.pk(); !p.bound.shadow && (entered || p.full) {
			reset := int64(0)
			if p.full {
				reset = 1
			}
			tellLimit(h, p.bound.quoted, p.bound.item+pk, p.bound.most-p.n, reset, pk)
		}
	}
}

// denyCrowded answers a request that was one too many.
func denyCrowded(w http.ResponseWriter, r *http.Request, all []presence, m *Metrics) {
	rec := RecordOf(r.Context())
	var violated []string
	var first *presence
	for i := range all {
		if p := &all[i]; p.full && !p.bound.shadow {
			violated = append(violated, p.bound.name)
			m.byLimited.get(pair{p.bound.name, organizationLabel(rec)}).Inc()
			if first == nil {
				first = p
			}
		}
	}
	rec.RateLimitPolicy, rec.RateLimitDecision = first.bound.name, "limited"
	Deny(w, r, http.StatusServiceUnavailable, Denial{
		By: "concurrency", Reason: "overload", Type: quotaExceeded, Policy: first.bound.name, RetryAfter: time.Second,
		Members: map[string]any{"violated-policies": violated, "policy": first.bound.name, "partition": first.partition, "limit": first.bound.most, "remaining": 0, "reset": 1},
	})
}
