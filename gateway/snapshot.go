package gateway

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/addresses"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// snapshot is everything that one configuration decides. It is immutable; a
// request uses the one that it found when it came.
type snapshot struct {
	config    *config.Config
	certs     *certs.Set
	hosts     hosts
	pools     []*proxy.Pool
	listens   map[string]*listen // by configured address
	trusted   []netip.Prefix
	addresses *addresses.Book
	deny      *addresses.Rules // of connections
	limits    *middleware.LimitList
	mark      uint64            // limits of this configuration were given after it
	rights    map[string]uint64 // by organization, "" for nobody: of everything that it may send where identity counts
}

// listen is one configured address.
type listen struct {
	redirect bool
	port     int // named in redirects
	tls      *tls.Config
	altSvc   []string // value of Alt-Svc on h1 and h2; nil without h3
}

func (s *snapshot) trusts(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range s.trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// build makes a snapshot. It starts and changes nothing.
func (g *Gateway) build(c *config.Config) (*snapshot, error) {
	s := &snapshot{
		config:  c,
		hosts:   hosts{exact: map[string]*service{}, wildcard: map[string]*service{}},
		listens: map[string]*listen{},
		rights:  map[string]uint64{},
		limits:  middleware.NewLimitList(),
		mark:    g.engines.Limits.Mark(),
	}
	for _, p := range c.TrustedProxies {
		s.trusted = append(s.trusted, p.Prefix)
	}
	var err error
	if s.addresses, err = g.networks.Build(c.AddressSets); err != nil {
		return nil, err
	}
	if s.deny, err = s.addresses.Rules(c.DenyFrom, nil); err != nil {
		return nil, err
	}
	if s.certs, err = g.certs.Build(TrustOf(c)); err != nil {
		return nil, err
	}
	everybody := slices.Sorted(maps.Keys(c.Callers))
	shared := middleware.Env{Callers: c.Callers, Log: g.log, Metrics: g.metrics.requests, Engines: g.engines,
		Limits: s.limits, Addresses: s.addresses, WriteTimeout: c.Limits.WriteTimeout.Std()}
	if shared.Ceilings, err = middleware.NewCeilings(shared); err != nil {
		return nil, err
	}
	for _, sc := range c.Services {
		svc, pool, err := g.buildService(shared, sc, everybody)
		if err != nil {
			return nil, fmt.Errorf("service %q: %w", sc.Name, err)
		}
		if pool != nil {
			s.pools = append(s.pools, pool)
			pool.Certificates(s.certs.Show)
		}
		for _, h := range sc.Hosts {
			s.hosts.add(h, svc)
		}
		s.addRights(svc, everybody)
	}
	for _, l := range c.Listen {
		s.listens[l.Address] = g.newListen(l)
	}
	return s, nil
}

// addRights notes what each organization may send to svc.
func (s *snapshot) addRights(svc *service, everybody []string) {
	if svc.mtls == certs.MTLSOff {
		return
	}
	note := func(organization string, print uint64) {
		s.rights[organization] = (s.rights[organization] ^ print) * 0x100000001b3 // as FNV does
	}
	for _, r := range svc.rules {
		switch {
		case r.callers != nil:
			for organization := range r.callers {
				note(organization, r.print)
			}
		case svc.anonymous:
			for _, organization := range everybody {
				note(organization, r.print)
			}
			note("", r.print)
		default:
			for organization := range svc.callers {
				note(organization, r.print)
			}
		}
	}
}

// changedFrom lists the organizations whose trust or rights are not what they
// were, "" for whoever has proven none.
func (s *snapshot) changedFrom(former *snapshot) []string {
	changed := s.certs.Changed(former.certs)
	for organization, rights := range former.rights {
		if s.rights[organization] != rights && !slices.Contains(changed, organization) {
			changed = append(changed, organization)
		}
	}
	return changed
}

// protectsMore reports whether a host asks for certificates now that did not.
func (s *snapshot) protectsMore(former *snapshot) bool {
	for _, pair := range [][2]map[string]*service{{former.hosts.exact, s.hosts.exact}, {former.hosts.wildcard, s.hosts.wildcard}} {
		for name, was := range pair[0] {
			if is := pair[1][name]; is != nil && was.mtls == certs.MTLSOff && is.mtls != certs.MTLSOff {
				return true
			}
		}
	}
	return false
}

func (g *Gateway) newListen(c config.Listen) *listen {
	l := &listen{redirect: c.Redirect != "", port: c.RedirectPort}
	var protos []string
	for _, p := range c.Protocols {
		switch p {
		case "h1":
			protos = append(protos, "http/1.1")
		case "h2":
			protos = append([]string{"h2"}, protos...)
		case "h3":
			if _, port, err := net.SplitHostPort(c.Address); err == nil {
				l.altSvc = []string{`h3=":` + port + `"; ma=86400`}
			}
		}
	}
	if len(protos) == 0 || l.redirect {
		l.altSvc = nil
	}
	l.tls = &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return g.snapshot.Load().certs.ConfigFor(hello, protos)
		},
	}
	return l
}

func (g *Gateway) buildService(shared middleware.Env, sc *config.Service, everybody []string) (*service, *proxy.Pool, error) {
	var pool *proxy.Pool
	if len(sc.Upstreams) > 0 {
		var err error
		pool, err = g.proxies.Build(proxy.PoolConfig{Name: sc.Name, Hosts: sc.Hosts, URLs: sc.Upstreams, Settings: sc.Policy.Settings})
		if err != nil {
			return nil, nil, err
		}
	}
	shared.Service = sc.Name
	refusals, err := sc.Policy.BuildRefusals(shared)
	if err != nil {
		return nil, nil, err
	}
	svc, err := newService(sc, everybody, refusals, func(rc *config.Route, prefix string) (http.Handler, error) {
		h, err := g.routeHandler(shared, sc, rc, pool, prefix)
		if err != nil {
			return nil, fmt.Errorf("route %q: %w", rc.Name, err)
		}
		return h, nil
	})
	if err == nil {
		svc.networks, err = shared.Addresses.Rules(sc.Policy.DenyFrom, sc.Policy.AllowFrom)
	}
	return svc, pool, err
}

// routeHandler makes what a route's requests pass, from its policies to the upstream.
func (g *Gateway) routeHandler(env middleware.Env, sc *config.Service, rc *config.Route, pool *proxy.Pool, prefix string) (http.Handler, error) {
	var end http.Handler
	chain := rc.Policy.Chain
	switch {
	case rc.Deny: // nobody gets so far as to be limited or inspected
		end = http.HandlerFunc(deniedRoute)
		chain = middleware.Chain{Audit: chain.Audit, SecurityHeaders: chain.SecurityHeaders}
	case rc.Redirect != nil:
		end = redirectRoute(rc.Redirect, prefix)
	case pool == nil:
		return nil, fmt.Errorf("the service has no upstreams")
	case g.rehearsal:
		end = noUpstream(rewritePath(rc.Rewrite, prefix))
	default:
		end = pool.Handler(proxy.RouteConfig{Settings: rc.Policy.Settings, Outbound: outbound, Path: rewritePath(rc.Rewrite, prefix)})
	}
	env.Service, env.Route, env.Backend = sc.Name, rc.Name, backendOf(sc, rc, prefix)
	env.RateLimitScope, env.QuotaScope, env.BandwidthScope, env.ConcurrencyScope = sc.Name, sc.Name, sc.Name, sc.Name
	if sc.Policy.MTLS == certs.MTLSOff {
		env.Limits = nil // nobody is identified here
	}
	if rc.OwnRateLimit {
		env.RateLimitScope = rc.Name
	}
	if rc.OwnQuota {
		env.QuotaScope = rc.Name
	}
	if rc.OwnBandwidth {
		env.BandwidthScope = rc.Name
	}
	if rc.OwnConcurrency {
		env.ConcurrencyScope = rc.Name
	}
	wrap, err := chain.Build(env)
	if err != nil {
		return nil, err
	}
	if wrap != nil {
		end = wrap(end)
	}
	return end, nil
}

// backendOf is the same for routes whose requests mean the same to the same
// upstreams, so that nothing is answered with what another one said.
func backendOf(sc *config.Service, rc *config.Route, prefix string) string {
	h := sha256.New()
	var change middleware.HeaderChange
	if rc.Policy.Headers != nil {
		change = rc.Policy.Headers.Request
	}
	if rc.Rewrite == nil || rc.Rewrite.ReplacePrefix == "" {
		prefix = ""
	}
	json.NewEncoder(h).Encode([]any{sc.Upstreams, rc.Rewrite, prefix, change})
	return string(h.Sum(nil)[:16])
}

// rewritePath maps the canonical path of a request to the upstream's; nil
// changes nothing. prefix is the route's, without a trailing slash.
func rewritePath(c *config.Rewrite, prefix string) func(string) string {
	if c == nil {
		return nil
	}
	from, to := strings.TrimSuffix(c.StripPrefix, "/"), ""
	if c.ReplacePrefix != "" {
		from, to = prefix, strings.TrimSuffix(c.ReplacePrefix, "/")
	}
	return func(path string) string {
		rest, ok := strings.CutPrefix(path, from)
		if !ok || rest != "" && rest[0] != '/' {
			return path // the path spells the prefix otherwise, or is exactly matched
		}
		if to+rest == "" {
			return "/"
		}
		return to + rest
	}
}

// redirectRoute answers the requests of a route with another location.
func redirectRoute(c *config.Redirect, prefix string) http.Handler {
	status := c.Status
	if status == 0 {
		status = http.StatusPermanentRedirect
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := c.To
		if !c.Exact && !strings.Contains(to, "?") {
			rest := strings.TrimPrefix(middleware.RecordOf(r.Context()).Path, prefix)
			to = strings.TrimSuffix(to, "/") + rest
			if r.URL.RawQuery != "" {
				to += "?" + r.URL.RawQuery
			}
		}
		w.Header()["Location"] = []string{to}
		w.Header()["Content-Length"] = []string{"0"}
		w.WriteHeader(status)
	})
}

// postures is how each route that forwards is inspected.
func postures(c *config.Config, e *middleware.Engines) (out []waf.Posture) {
	for _, s := range c.Services {
		for _, r := range s.Routes {
			if !r.Deny && r.Redirect == nil {
				out = append(out, r.Policy.WAF.Posture(r.Name, e))
			}
		}
	}
	return out
}

// uninspected are the services with a route that forwards, and about whose
// inspection nothing is said.
func uninspected(c *config.Config) (names []string) {
	for _, s := range c.Services {
		if slices.ContainsFunc(s.Routes, func(r *config.Route) bool {
			return !r.Deny && r.Redirect == nil && r.Policy.WAF == nil
		}) {
			names = append(names, s.Name)
		}
	}
	return names
}
