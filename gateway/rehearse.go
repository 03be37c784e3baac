package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
)

// Rehearsal tells what would become of requests under a configuration. They
// pass the same code as real ones, from the head to the policies; only the
// upstream is not there. It opens no socket and writes no file.
//
// What depends on other requests is left out: limits, quotas and audit
// records. Address sets of URLs are taken for empty.
type Rehearsal struct {
	g *Gateway
	c *config.Config
}

// Rehearse prepares c as Apply would, so that its error is what a start with c
// would end with.
func Rehearse(c *config.Config) (*Rehearsal, error) {
	g, err := newGateway(Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry()})
	if err != nil {
		return nil, err
	}
	g.rehearsal = true
	snap, err := g.build(alone(c))
	if err != nil {
		g.engines.Close()
		return nil, err
	}
	g.snapshot.Store(snap)
	return &Rehearsal{g, c}, nil
}

// Close lets go of what the rehearsal holds.
func (re *Rehearsal) Close() { re.g.engines.Close() }

// alone is c without what depends on other requests.
func alone(c *config.Config) *config.Config {
	out := *c
	out.Callers = map[string]middleware.Caller{}
	for k, caller := range c.Callers {
		caller.RateLimit, caller.Quota, caller.Concurrency = nil, nil, nil
		out.Callers[k] = caller
	}
	out.Services = nil
	for _, s := range c.Services {
		service := *s
		service.Routes = nil
		for _, r := range s.Routes {
			route := *r
			route.Policy.RateLimit, route.Policy.Quota, route.Policy.Bandwidth = nil, nil, nil
			route.Policy.Concurrency, route.Policy.Audit = nil, ""
			service.Routes = append(service.Routes, &route)
		}
		out.Services = append(out.Services, &service)
	}
	return &out
}

// Question is a request and who sends it.
type Question struct {
	Method string
	// URL is absolute; its path and query are taken byte for byte.
	URL          string
	Header       http.Header
	Body         string
	Organization string     // configured key, or "" for a client without a certificate
	From         netip.Addr // of the client; invalid for one of a network that is in nobody's use
}

// Answer is what would become of it.
type Answer struct {
	// Outcome is forwarded, refused, redirected, or answered (by the gateway
	// itself, such as a CORS preflight).
	Outcome  string
	Status   int // what the client gets; of forwarded ones 0, for it is the upstream's
	Service  string
	Route    string
	By       string // the policy that refused
	Reason   string
	Detail   string
	Location string // of redirects
	Upstream string // path and query that the upstream would get
	Score    int    // of the inspection
	Rules    []int
	Mode     string // of the inspection, or ""
}

// Ask sends a request through the gateway's own code.
func (re *Rehearsal) Ask(q Question) (Answer, error) {
	scheme, host, target, err := splitURL(q.URL)
	if err != nil {
		return Answer{}, err
	}
	listener := ""
	for _, l := range re.c.Listen {
		if (l.Redirect != "") == (scheme == "http") {
			listener = l.Address
			break
		}
	}
	if listener == "" {
		return Answer{}, fmt.Errorf("no listener is configured for %s", scheme)
	}
	name, _ := canonicalHost(host)
	if _, err := netip.ParseAddr(name); err == nil {
		name = "" // clients name no address in their handshake
	}
	from := q.From
	if !from.IsValid() {
		from = netip.MustParseAddr("192.0.2.1")
	}
	c := &conn{Conn: middleware.Conn{Listener: listener, Protocol: "h1", Peer: netip.AddrPortFrom(from, 1024)}, sni: name, close: func() {}}
	set := re.g.snapshot.Load().certs
	c.proven.Store(&proven{
		trust: trustState{set.TrustID(), set.Epoch()}, until: time.Now().Add(time.Hour), identity: re.identity(q.Organization),
	})
	sent := &sentRequest{}
	ctx := context.WithValue(context.Background(), sentKey{}, sent)
	ctx = middleware.WithConn(context.WithValue(ctx, connKey{}, c), &c.Conn)
	r := (&http.Request{
		Method: q.Method, URL: &url.URL{Path: target}, RequestURI: target, Host: host, Header: q.Header.Clone(), Body: http.NoBody,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: c.Peer.String(),
	}).WithContext(ctx)
	if r.Header == nil {
		r.Header = http.Header{}
	}
	if q.Body != "" {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader([]byte(q.Body))), int64(len(q.Body))
	}
	inner := re.g.redirect
	if scheme == "https" {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: c.sni}
		inner = re.g.handle
	}
	w := &answerWriter{header: http.Header{}}
	var a Answer
	re.g.observer.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		middleware.RecordOf(r.Context()).AfterRequest(func(rec *middleware.Record) { a.read(rec) })
		inner(w, r)
	})).ServeHTTP(w, r)
	a.Location = w.header.Get("Location")
	switch {
	case a.Reason != "":
		a.Outcome = "refused"
	case sent.done:
		a.Outcome, a.Status, a.Upstream = "forwarded", 0, sent.target
	case a.Location != "":
		a.Outcome = "redirected"
	default:
		a.Outcome = "answered"
	}
	return a, nil
}

func (a *Answer) read(rec *middleware.Record) {
	a.Status, a.Service, a.Route = rec.Status, rec.Service, rec.Route
	a.Mode, a.Score, a.Rules = rec.InspectionMode, rec.InspectionScore, rec.InspectionRules
	if d := rec.Denial; d != nil {
		a.By, a.Reason, a.Detail = d.By, d.Reason, d.Detail
	}
}

// identity is what a valid certificate of the organization proves today.
func (re *Rehearsal) identity(organization string) certs.Identity {
	o, ok := re.c.Trust[organization]
	switch {
	case organization == "":
		return certs.Identity{Reason: certs.NoClientCert}
	case !ok:
		return certs.Identity{Reason: certs.WrongOrganization}
	case !o.ValidUntil.IsZero() && !time.Now().Before(o.ValidUntil.End()):
		return certs.Identity{Claimed: organization, Reason: certs.AgreementExpired}
	}
	id := certs.Identity{Organization: organization, Claimed: organization}
	if len(o.ID) > 0 {
		id.ID = o.ID[0]
	}
	return id
}

// splitURL takes an absolute URL apart without reading its path.
func splitURL(s string) (scheme, host, target string, err error) {
	scheme, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return "", "", "", fmt.Errorf("%q is not a URL with https:// or http://", s)
	}
	host, target = rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		host, target = rest[:i], rest[i:]
	}
	target, _, _ = strings.Cut(target, "#") // clients keep it
	if target == "" || target[0] == '?' {
		target = "/" + target
	}
	if host == "" {
		return "", "", "", fmt.Errorf("%q names no host", s)
	}
	return scheme, host, target, nil
}

// sentRequest notes what reached the end of the chain.
type sentRequest struct {
	done   bool
	target string
}

type sentKey struct{}

// noUpstream stands at the end of a route's chain in a rehearsal.
func noUpstream(rewrite func(string) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if sent, _ := r.Context().Value(sentKey{}).(*sentRequest); sent != nil {
			path := middleware.RecordOf(r.Context()).Path
			if rewrite != nil {
				path = rewrite(path)
			}
			if r.URL.RawQuery != "" {
				path += "?" + r.URL.RawQuery
			}
			sent.done, sent.target = true, path
		}
		if r.Body != nil {
			var refusal *middleware.BodyRefusal
			if _, err := io.Copy(io.Discard, r.Body); errors.As(err, &refusal) {
				middleware.Deny(w, r, refusal.Status, refusal.Denial)
				return
			}
		}
		w.WriteHeader(http.StatusOK)
	})
}

// answerWriter keeps the header of an answer; nobody reads the rest.
type answerWriter struct{ header http.Header }

func (w *answerWriter) Header() http.Header                { return w.header }
func (w *answerWriter) WriteHeader(int)                    {}
func (w *answerWriter) Write(p []byte) (int, error)        { return len(p), nil }
func (w *answerWriter) Flush()                             {}
func (w *answerWriter) SetReadDeadline(t time.Time) error  { return nil }
func (w *answerWriter) SetWriteDeadline(t time.Time) error { return nil }
