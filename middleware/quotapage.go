package middleware

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/limit"
)

// QuotaPath is where an organization finds its own limits.
const QuotaPath = "/.well-known/vazel/quota"

// LimitList knows the limits of all routes where organizations are identified,
// for the page that tells each its own. It is filled while a snapshot is built,
// and only read afterwards.
type LimitList struct{ routes []limitedRoute }

type limitedRoute struct {
	chain  *Chain
	env    Env
	rates  *rateLimits
	bounds []*bound
}

// NewLimitList makes an empty list.
func NewLimitList() *LimitList { return &LimitList{} }

// note adds the limits of a route.
func (q *LimitList) note(c *Chain, env Env, rl *rateLimits) {
	if q != nil {
		q.routes = append(q.routes, limitedRoute{chain: c, env: env, rates: rl})
	}
}

// noteBounds adds those on concurrency of the route that was noted last.
func (q *LimitList) noteBounds(own []*bound) {
	if q != nil {
		q.routes[len(q.routes)-1].bounds = own
	}
}

// listed is one limit with where it counts.
type listed struct {
	name     string
	slot     *slot
	bound    *bound
	ceiling  bool // the organization's own bound
	services []string
	routes   []string
	more     map[string]any // of bandwidths
}

// of lists the limits that an organization meets, each once.
func (q *LimitList) of(organization string) (all []*listed) {
	known := map[string]*listed{}
	add := func(l *listed, env Env) {
		if k := known[l.name]; k != nil {
			l = k
		} else {
			known[l.name] = l
			all = append(all, l)
		}
		if n := len(l.services); n == 0 || l.services[n-1] != env.Service { // the routes of a service follow each other
			l.services = append(l.services, env.Service)
		}
		l.routes = append(l.routes, env.Route)
	}
	for _, r := range q.routes {
		c := r.chain
		if len(c.Allow) > 0 && !slices.Contains(c.Allow, organization) && !slices.Contains(c.Allow, "*") {
			continue
		}
		p := r.rates.planOf(organization)
		for i := range p.slots {
			add(&listed{name: p.slots[i].l.name, slot: &p.slots[i]}, r.env)
		}
		for _, b := range r.bounds {
			add(&listed{name: b.name, bound: b}, r.env)
		}
		for _, b := range r.rates.ceilings.bounds[organization] {
			add(&listed{name: b.name, bound: b, ceiling: true}, r.env)
		}
		if b := c.Bandwidth; b != nil {
			more := map[string]any{"kind": "bandwidth", "partition": b.Per}
			for way, rate := range map[string]unit.Bandwidth{"down": b.Down, "up": b.Up} {
				if rate > 0 {
					more[way] = rate.String()
				}
			}
			add(&listed{name: bandwidthName(b, r.env), more: more}, r.env)
		}
	}
	return all
}

// maxRefusals is how many refusals of an organization are remembered.
const maxRefusals = 20

// Refusal is what an organization may know of a request that was refused.
type Refusal struct {
	Time     time.Time `json:"time"`
	Service  string    `json:"service,omitempty"`
	Status   int       `json:"status"`
	Reason   string    `json:"reason"`
	Policy   string    `json:"policy,omitempty"` // of limits
	Incident string    `json:"incident_id"`
}

// refusals are the latest ones of an organization.
type refusals struct {
	mu   sync.Mutex
	ring [maxRefusals]Refusal
	n    int // ever
}

// NoteRefusal remembers a refused request for its organization.
func (e *Engines) NoteRefusal(rec *Record) {
	if rec.Denial == nil || rec.Organization == "" {
		return
	}
	e.mu.Lock()
	r := e.refusals[rec.Organization]
	if r == nil {
		r = &refusals{}
		e.refusals[rec.Organization] = r
	}
	e.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ring[r.n%maxRefusals] = Refusal{time.Now().UTC().Truncate(time.Millisecond), rec.Service, rec.Status, rec.Denial.Reason, rec.Denial.Policy, rec.ID}
	r.n++
}

// Refusals lists the latest refusals of an organization, the last one first.
func (e *Engines) Refusals(organization string) []Refusal {
	e.mu.Lock()
	r := e.refusals[organization]
	e.mu.Unlock()
	all := []Refusal{}
	if r == nil {
		return all
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := r.n - 1; i >= 0 && i >= r.n-maxRefusals; i-- {
		all = append(all, r.ring[i%maxRefusals])
	}
	return all
}

// ServeQuota answers an organization that asks for its own limits: what they are,
// what of them is used, and what was refused lately. It counts to none of them,
// but is bounded for itself.
func (e *Engines) ServeQuota(w http.ResponseWriter, r *http.Request, list *LimitList, caller Caller, m *Metrics) {
	rec := RecordOf(r.Context())
	if rec.Organization == "" {
		DenyIdentity(w, r, m)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header()["Allow"] = []string{"GET, HEAD"}
		Deny(w, r, http.StatusMethodNotAllowed, Denial{By: "methods", Reason: "method_not_allowed"})
		return
	}
	const name = "_quota_page"
	policy := e.Limits.Policy(name)
	rate, err := policy.Rate(1, time.Second, 10)
	if err == nil {
		var d limit.Decision
		if d, err = e.Limits.Take(r.Context(), policy.Configured(rec.Organization), rate); err == nil && !d.Allowed {
			Deny(w, r, http.StatusTooManyRequests, Denial{
				By: "quota_page", Reason: "quota-exceeded", Type: quotaExceeded, Policy: name, RetryAfter: d.RetryAfter,
				Members: map[string]any{"violated-policies": []string{name}, "policy": name, "partition": perOrganization, "rate": "1/s", "limit": d.Limit, "remaining": d.Remaining, "reset": ceilSeconds(d.Reset)},
			})
			return
		}
	}
	if err != nil {
		Deny(w, r, http.StatusInternalServerError, Denial{By: "quota_page", Reason: "internal_error", Detail: err.Error()})
		return
	}
	limits := []map[string]any{}
	for _, l := range list.of(rec.Organization) {
		limits = append(limits, e.describe(l, r, rec))
	}
	b, err := json.Marshal(map[string]any{
		"organization": rec.Organization, "name": caller.Name, "time": time.Now().UTC().Truncate(time.Second),
		"limits": limits, "refusals": e.Refusals(rec.Organization),
	})
	if err != nil {
		Deny(w, r, http.StatusInternalServerError, Denial{By: "quota_page", Reason: "internal_error", Detail: err.Error()})
		return
	}
	b = append(b, '\n')
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write(b)
	}
}

// describe says what a limit is and what of it is used, where that can be said
// without asking what a request would hold.
func (e *Engines) describe(l *listed, r *http.Request, rec *Record) map[string]any {
	m := map[string]any{"policy": l.name, "services": l.services, "routes": l.routes}
	switch {
	case l.more != nil:
		for k, v := range l.more {
			m[k] = v
		}
		return m
	case l.bound != nil:
		return e.describeBound(m, l, rec)
	}
	s := l.slot
	m["partition"], m["limit"], m["window"] = s.partition, s.l.rate.Burst, s.l.window
	m["kind"], m["mode"] = "rate", modeEnforce
	if s.l.period != 0 {
		m["kind"], m["period"] = "quota", s.l.period.String()
	} else {
		m["rate"] = s.l.rated
	}
	if s.l.shadow {
		m["mode"] = modeDetect
	}
	key := s.key
	switch s.by {
	case byHeader, byJSON:
		return m
	case byNetwork:
		key = s.l.policy.Network(rec.Client)
	}
	if d, err := e.Limits.Peek(r.Context(), key, s.l.rate); err == nil {
		m["limit"], m["remaining"], m["used"], m["reset"] = d.Limit, d.Remaining, d.Limit-d.Remaining, ceilSeconds(d.Reset)
	}
	return m
}

// describeBound says the same of a bound on concurrency.
func (e *Engines) describeBound(m map[string]any, l *listed, rec *Record) map[string]any {
	b := l.bound
	m["kind"], m["mode"], m["partition"], m["limit"] = "concurrency", modeEnforce, b.per, b.most
	if b.shadow {
		m["mode"] = modeDetect
	}
	k := crowdKey{configured: everybody}
	switch {
	case l.ceiling || b.per == perOrganization:
		k, m["partition"] = crowdKey{configured: rec.Organization}, perOrganization
	case b.per == perClientIP:
		k = crowdKey{other: limit.Network(rec.Client)}
	case b.header != "" || b.pointer != nil:
		return m
	}
	m["used"] = e.crowds.underWay(b.name, k)
	return m
}
