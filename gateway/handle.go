package gateway

import (
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway/h1"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/middleware"
)

// handleNoted serves a request, and remembers a refusal for the organization that
// it belongs to.
func (g *Gateway) handleNoted(w http.ResponseWriter, r *http.Request) {
	g.handle(w, r)
	g.engines.NoteRefusal(middleware.RecordOf(r.Context()))
}

// handle takes a request from the wire to the chain of its route. What it
// settles here (host, path, organization) is what every later step uses.
func (g *Gateway) handle(w http.ResponseWriter, r *http.Request) {
	rec := middleware.RecordOf(r.Context())
	snap := g.snapshot.Load()
	c := connOf(r.Context())
	if c == nil {
		g.reject(w, r, http.StatusBadRequest, middleware.Denial{By: "http", Reason: "bad_request", Detail: "request without a known connection", Close: true})
		return
	}
	if g.refusedByNetwork(nil, w, r, snap.deny) {
		return
	}
	if l := snap.listens[c.Listener]; l != nil && l.altSvc != nil && c.Protocol != "h3" {
		w.Header()["Alt-Svc"] = l.altSvc
	}
	if m := h1.MalformedOf(r.Context()); m != nil {
		g.reject(w, r, m.Status, middleware.Denial{By: "http", Reason: m.Reason, Detail: m.Detail, Close: true})
		return
	}
	limits := &snap.config.Limits
	if c.Protocol != "h3" && c.requests.Add(1) >= int64(limits.MaxRequests) {
		w.Header()["Connection"] = []string{"close"} // in HTTP/2 the server sends GOAWAY for it
	}

	if d, status := checkHead(r, limits); status != 0 {
		g.reject(w, r, status, d)
		return
	}
	// What Connection nominates ends here, before any policy reads or adds a field:
	// what was inspected and keyed is what goes on, and no field of ours can be
	// nominated (RFC 9110 7.6.1).
	proxy.StripConnection(r.Header)
	if r.TLS == nil { // :scheme is http
		g.reject(w, r, http.StatusBadRequest, middleware.Denial{By: "http", Reason: "bad_request", Detail: "a scheme other than https", Close: true})
		return
	}
	host, ok := canonicalHost(r.Host)
	if !ok {
		g.reject(w, r, http.StatusBadRequest, middleware.Denial{By: "http", Reason: "bad_host", Detail: "Host is missing or not a host name"})
		return
	}
	rec.Host = host
	svc := snap.hosts.find(host)
	switch {
	case svc == nil:
		g.reject(w, r, http.StatusMisdirectedRequest, middleware.Denial{By: "routing", Reason: "unknown_host"})
		return
	case c.sni != host && (c.sni != "" || svc.mtls != certs.MTLSOff):
		// The handshake was made for another host, and with it the decision
		// whether to ask for a certificate (RFC 9110 15.5.20).
		g.reject(w, r, http.StatusMisdirectedRequest, middleware.Denial{By: "routing", Reason: "sni_host_mismatch"})
		return
	}
	rec.Service = svc.name

	raw, d, status := requestTarget(r, limits)
	if status != 0 {
		g.rejectFor(svc, w, r, status, d)
		return
	}
	t, err := canonicalTarget(raw)
	if err != nil {
		g.rejectFor(svc, w, r, http.StatusBadRequest, badTarget(err))
		return
	}
	rec.Path = t.escaped
	if t.escaped != r.URL.Path || r.URL.RawPath != "" || r.URL.RawQuery != t.query || r.URL.Host != "" {
		r.URL = &url.URL{Path: t.decoded, RawPath: t.escaped, RawQuery: t.query, ForceQuery: t.hasMark && t.query == ""}
	}
	r.Host = spellHost(r.Host, host)

	rc := http.NewResponseController(w)
	found, ex := g.admit(w, r, snap, svc, t, rc)
	if found == nil {
		return
	}
	rec.Route, rec.Errors = found.name, found.errors

	rate := int64(limits.MinRate)
	if svc.grpc && grpc(r) {
		rate = 0
	}
	if ex != nil {
		r = r.WithContext(ex)
		defer ex.leave()
	}
	if r.Body != nil && r.Body != http.NoBody && (r.ContentLength != 0 || r.ProtoMajor > 1 && r.Header["Content-Length"] != nil) {
		r.Body = newStallBody(r.Body, rc, pace{still: limits.BodyTimeout.Std(), rate: rate})
		if r.ProtoMajor > 1 && r.ContentLength >= 0 && !exactBody(w, r) {
			return
		}
	}
	sw := newStallWriter(w, rc, pace{still: limits.WriteTimeout.Std(), rate: rate}, c)
	defer sw.done()
	found.handler.ServeHTTP(sw, r)
	if ex != nil && ex.leave() {
		panic(http.ErrAbortHandler) // the response must not look whole
	}
}

// admit settles who is calling and which route takes the request, or answers it
// and returns no route. Where identity counts, the exchange is entered with its
// connection, so that a change of trust finds it; and as trust may have changed
// while that was being done, everything is decided again then.
func (g *Gateway) admit(w http.ResponseWriter, r *http.Request, snap *snapshot, svc *service, t target, rc *http.ResponseController) (*route, *exchange) {
	rec, c := middleware.RecordOf(r.Context()), connOf(r.Context())
	for {
		var p *proven
		if svc.mtls != certs.MTLSOff {
			p = g.conns.identify(r.Context(), c, snap.certs, svc, r.TLS.PeerCertificates)
			g.noteOrganization(c, p, r.TLS, rec.Start)
			rec.Identity, rec.Organization, rec.OrgName = p.identity, "", ""
			if p.identity.Reason == "" {
				rec.Organization = p.identity.Organization
				rec.OrgName = snap.config.Callers[rec.Organization].Name
			}
		}
		if p != nil && t.decoded == middleware.QuotaPath {
			g.engines.ServeQuota(w, r, snap.limits, snap.config.Callers[rec.Organization], g.metrics.requests)
			return nil, nil
		}
		found, allowed := svc.find(r, t)
		switch {
		case found != nil:
		case g.refusedByNetwork(svc, w, r, svc.networks):
			return nil, nil
		case svc.callers != nil && !svc.anonymous && !svc.callers[rec.Organization]:
			// Which paths a service has is nobody's business but its callers'.
			svc.refuse(w, r, func(w http.ResponseWriter) { middleware.DenyIdentity(w, r, g.metrics.requests) })
			return nil, nil
		case allowed != nil:
			w.Header()["Allow"] = []string{strings.Join(allowed, ", ")}
			g.rejectFor(svc, w, r, http.StatusMethodNotAllowed, middleware.Denial{By: "methods", Reason: "method_not_allowed"})
			return nil, nil
		default:
			g.rejectFor(svc, w, r, http.StatusNotFound, middleware.Denial{By: "routing", Reason: "not_found"})
			return nil, nil
		}
		if p == nil {
			return found, nil
		}
		ex := c.enter(r, p, svc, t, rc)
		now := g.snapshot.Load()
		if now == snap && trustOf(now.certs) == p.trust {
			return found, ex
		}
		ex.leave()
		snap = now
		if svc = snap.hosts.find(rec.Host); svc == nil {
			g.reject(w, r, http.StatusMisdirectedRequest, middleware.Denial{By: "routing", Reason: "unknown_host"})
			return nil, nil
		}
		rec.Service = svc.name
	}
}

// grpc reports whether a request says that it is one of gRPC.
func grpc(r *http.Request) bool {
	v := r.Header["Content-Type"]
	return len(v) == 1 && strings.HasPrefix(v[0], "application/grpc")
}

// reject refuses a request before its route is known.
func (g *Gateway) reject(w http.ResponseWriter, r *http.Request, status int, d middleware.Denial) {
	listener := ""
	if c := middleware.ConnOf(r.Context()); c != nil {
		listener = c.Listener
	}
	g.metrics.requests.Rejected(listener, d.Reason)
	if ce := g.log.Check(zap.DebugLevel, "request refused before routing"); ce != nil {
		ce.Write(zap.String("reason", d.Reason), zap.String("detail", d.Detail))
	}
	middleware.Deny(w, r, status, d)
}

// rejectFor refuses a request of a service before its route is known.
func (g *Gateway) rejectFor(svc *service, w http.ResponseWriter, r *http.Request, status int, d middleware.Denial) {
	svc.refuse(w, r, func(w http.ResponseWriter) { g.reject(w, r, status, d) })
}

// redirect sends plain requests to https on the same host.
func (g *Gateway) redirect(w http.ResponseWriter, r *http.Request) {
	rec := middleware.RecordOf(r.Context())
	snap := g.snapshot.Load()
	if g.refusedByNetwork(nil, w, r, snap.deny) {
		return
	}
	if m := h1.MalformedOf(r.Context()); m != nil {
		g.reject(w, r, m.Status, middleware.Denial{By: "http", Reason: m.Reason, Detail: m.Detail, Close: true})
		return
	}
	host, ok := canonicalHost(r.Host)
	if !ok {
		g.reject(w, r, http.StatusBadRequest, middleware.Denial{By: "http", Reason: "bad_host"})
		return
	}
	rec.Host = host
	svc := snap.hosts.find(host)
	if svc == nil {
		g.reject(w, r, http.StatusMisdirectedRequest, middleware.Denial{By: "routing", Reason: "unknown_host"})
		return
	}
	rec.Service = svc.name
	raw, d, status := requestTarget(r, &snap.config.Limits)
	if status != 0 {
		g.reject(w, r, status, d)
		return
	}
	t, err := canonicalTarget(raw)
	if err != nil {
		g.reject(w, r, http.StatusBadRequest, badTarget(err))
		return
	}
	rec.Path = t.escaped
	port := ""
	if c := connOf(r.Context()); c != nil {
		if l := snap.listens[c.Listener]; l != nil && l.port != 443 && l.port != 0 {
			port = ":" + itoa(l.port)
		}
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	to := "https://" + host + port + t.escaped
	if t.hasMark {
		to += "?" + t.query
	}
	h := w.Header()
	h["Location"] = []string{to}
	h["Content-Length"] = []string{"0"}
	h["Connection"] = []string{"close"} // nothing more is to be had here
	w.WriteHeader(http.StatusPermanentRedirect)
}
