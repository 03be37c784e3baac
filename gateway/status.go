package gateway

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/limit"
)

// Status is what stands and goes on now, for the operator console.
type Status struct {
	At, Started time.Time
	Version     string
	Hash        string        // of the configuration in force
	Applied     time.Time     // when it was
	Refused     time.Time     // when a later one was refused; zero if none was
	Files       []string      // whose last good version is in force
	Store       *StoreSummary // nil without one
	Services    []ServiceStatus
}

// StoreSummary says whether the store that nodes share can be used.
type StoreSummary struct {
	Up    bool
	Since time.Time
}

// ServiceStatus is a service with its routes.
type ServiceStatus struct {
	Name, Owner string
	Hosts       []string
	At          config.Position
	Routes      []RouteStatus
}

// RouteStatus is a route with its policy in short and what goes on there.
type RouteStatus struct {
	Name  string
	Paths []string
	At    config.Position
	MTLS  string
	WAF   string // block, detect or off
	Deny  bool
	middleware.RouteRate
}

// Status describes what stands and goes on now; ok is false before there is a
// configuration.
func (g *Gateway) Status() (st Status, ok bool) {
	snap := g.snapshot.Load()
	if snap == nil {
		return st, false
	}
	now := time.Now()
	st = Status{At: now.UTC(), Started: g.started, Version: g.metrics.version, Hash: snap.config.Hash}
	st.Applied, st.Refused = g.metrics.lastReload()
	for _, f := range snap.config.Files {
		if !f.Valid {
			st.Files = append(st.Files, f.Path)
		}
	}
	if s, configured := g.engines.Limits.Status(); configured {
		st.Store = &StoreSummary{s.Up, now.Add(-s.For)}
	}
	rates := g.metrics.requests.Live.Routes(now)
	for _, s := range snap.config.Services {
		one := ServiceStatus{Name: s.Name, Owner: s.Owner, Hosts: s.Hosts, At: s.At}
		for _, r := range s.Routes {
			rs := RouteStatus{Name: r.Name, Paths: r.Paths, At: r.At, MTLS: string(r.Policy.MTLS), WAF: "off", Deny: r.Deny, RouteRate: rates[r.Name]}
			if w := r.Policy.WAF; w != nil && w.Mode != "" {
				rs.WAF = w.Mode
			}
			one.Routes = append(one.Routes, rs)
		}
		st.Services = append(st.Services, one)
	}
	return st, true
}

// LimitStatus is how much of a limit somebody has in use.
type LimitStatus struct {
	Policy, Caller string  // _all: all callers together
	Ratio          float64 // from 0 to 1
}

// LimitsInUse describes every limit that somebody has something of in use: the
// fullest first.
func (g *Gateway) LimitsInUse() (all []LimitStatus, networks []limit.PolicyStats) {
	for _, u := range g.engines.LimitsInUse() {
		all = append(all, LimitStatus{u.Policy, u.Name, u.Ratio})
	}
	slices.SortStableFunc(all, func(a, b LimitStatus) int {
		return cmp.Or(cmp.Compare(b.Ratio, a.Ratio), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Caller, b.Caller))
	})
	for _, p := range g.engines.Limits.Policies() {
		if p.Networks > 0 {
			networks = append(networks, p)
		}
	}
	return all, networks
}

// Upstreams describes the servers behind the services.
func (g *Gateway) Upstreams() []proxy.PoolStatus { return g.proxies.Status() }

// Calendar is what ends and when: certificates, revocation lists, agreements.
func (g *Gateway) Calendar(now time.Time) []certs.Due {
	all := g.certs.Calendar(now)
	if snap := g.snapshot.Load(); snap != nil {
		for key, o := range snap.config.Trust {
			if !o.ValidUntil.IsZero() {
				all = append(all, certs.Due{Kind: "agreement", Name: key, Text: snap.config.Callers[key].Name, Ends: o.ValidUntil.End()})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b certs.Due) int {
		return cmp.Or(a.Ends.Compare(b.Ends), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// sample looks at the counters of the routes from time to time.
func (g *Gateway) sample(ctx context.Context) {
	live := &g.metrics.requests.Live
	tick := time.NewTicker(live.SampleEvery())
	defer tick.Stop()
	for {
		live.Sample(time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
