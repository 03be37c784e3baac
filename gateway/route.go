package gateway

import (
	"encoding/json"
	"hash/fnv"
	"maps"
	"net/http"
	"slices"
	"sort"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/addresses"
)

// service is what a host leads to.
type service struct {
	name string
	mtls certs.MTLS
	// callers lists who is let in by at least one route; nil where nobody is
	// asked for a certificate.
	callers   map[string]bool
	anonymous bool   // callers without a certificate may stay connected
	grpc      bool   // its upstream can speak gRPC, whose streams may rest
	byHeader  bool   // a route is chosen by header fields
	rules     []rule // of each route
	errors    string // form of refusals where there is no route
	// refusals is what the answers to requests without a route have in common with
	// those of the routes; nil for nothing.
	refusals middleware.Func
	networks *addresses.Rules // of what no route takes

	prefix map[string][]*route // by decoded path prefix, without trailing slash; "" is the root
	exact  map[string][]*route // by decoded path
	denied map[string][]*route // routes with deny, by folded path prefix
}

// route is one route with everything that its requests need.
type route struct {
	name    string
	methods []string
	match   []condition
	deny    bool
	callers map[string]bool // who is let in; nil for everybody
	length  int             // of the path prefix that it was found by
	errors  string          // form of refusals
	// preflight says that the route answers what browsers ask before they use one
	// of its methods across origins, though OPTIONS be none of them.
	preflight bool
	handler   http.Handler
}

// condition is one header field or query parameter that a route asks for.
type condition struct {
	query      bool
	name, want string // want "*" is any value
}

// rule is what decides who may send the requests of a route.
type rule struct {
	print   uint64 // of everything that chooses them
	callers map[string]bool
}

// hosts finds services by canonical host name.
type hosts struct {
	exact    map[string]*service
	wildcard map[string]*service // by what follows the first label, "example" for *.example
}

func (h *hosts) find(name string) *service {
	if s := h.exact[name]; s != nil {
		return s
	}
	if _, rest, ok := strings.Cut(name, "."); ok {
		return h.wildcard[rest]
	}
	return nil
}

func (h *hosts) add(pattern string, s *service) {
	if rest, ok := strings.CutPrefix(pattern, "*."); ok {
		h.wildcard[rest] = s
		return
	}
	h.exact[pattern] = s
}

// newService makes the routing tables of a service. handlerOf makes the handler
// of a route whose paths begin with prefix, refusals is what requests without a route
// pass; everybody is what "*" in allow stands for.
func newService(c *config.Service, everybody []string, refusals middleware.Func, handlerOf func(r *config.Route, prefix string) (http.Handler, error)) (*service, error) {
	s := &service{
		name: c.Name, mtls: c.Policy.MTLS, errors: c.Policy.Errors, grpc: strings.HasPrefix(c.Policy.UpstreamProtocol, "h2"),
		refusals: refusals, prefix: map[string][]*route{}, exact: map[string][]*route{}, denied: map[string][]*route{},
	}
	if s.mtls == "" {
		s.mtls = certs.MTLSOff
	}
	if s.mtls != certs.MTLSOff {
		s.callers = map[string]bool{}
		s.anonymous = s.mtls == certs.MTLSOptional
	}
	for _, rc := range c.Routes {
		callers := callersOf(rc.Policy.Allow, everybody)
		s.rules = append(s.rules, rule{printOf(c, rc), callers})
		if s.callers != nil {
			maps.Copy(s.callers, callers)
		}
		paths := rc.Paths
		if len(paths) == 0 {
			paths = []string{"/"}
		}
		var match []condition
		if rc.Match != nil {
			s.byHeader = s.byHeader || len(rc.Match.Headers) > 0
			for name, want := range rc.Match.Headers {
				match = append(match, condition{name: http.CanonicalHeaderKey(name), want: want})
			}
			for name, want := range rc.Match.Query {
				match = append(match, condition{query: true, name: name, want: want})
			}
		}
		for _, p := range paths {
			p, exact := strings.CutPrefix(p, "=")
			t, err := canonicalTarget(p)
			if err != nil {
				return nil, err
			}
			prefix := strings.TrimSuffix(t.decoded, "/")
			h, err := handlerOf(rc, strings.TrimSuffix(t.escaped, "/"))
			if err != nil {
				return nil, err
			}
			r := &route{name: rc.Name, methods: rc.Policy.Methods, match: match, deny: rc.Deny, callers: callers, length: len(prefix), errors: rc.Policy.Errors, preflight: rc.Policy.CORS != nil, handler: h}
			if exact {
				r.length = len(t.decoded) + 1 // an exact path is longer than any prefix of it
				s.exact[t.decoded] = append(s.exact[t.decoded], r)
				if rc.Deny {
					f := "=" + foldPath(t.decoded)
					s.denied[f] = append(s.denied[f], r)
				}
				continue
			}
			s.prefix[prefix] = append(s.prefix[prefix], r)
			if rc.Deny {
				s.denied[foldPath(prefix)] = append(s.denied[foldPath(prefix)], r)
			}
		}
	}
	for _, table := range []map[string][]*route{s.prefix, s.exact, s.denied} {
		for _, l := range table {
			// Of routes with one path the one that asks for more goes first, then
			// the one with fewer methods.
			sort.SliceStable(l, func(i, j int) bool {
				if len(l[i].match) != len(l[j].match) {
					return len(l[i].match) > len(l[j].match)
				}
				return len(l[i].methods) < len(l[j].methods)
			})
		}
	}
	return s, nil
}

// printOf is a digest of everything that chooses the requests of a route.
func printOf(c *config.Service, r *config.Route) uint64 {
	h := fnv.New64a()
	json.NewEncoder(h).Encode([]any{c.Name, c.Hosts, c.Policy.MTLS, r.Name, r.Paths, r.Match, r.Deny, r.Policy.Methods})
	return h.Sum64()
}

// callersOf are the organizations of an allow; nil for everybody.
func callersOf(allow, everybody []string) map[string]bool {
	if len(allow) == 0 {
		return nil
	}
	m := map[string]bool{}
	for _, o := range allow {
		if o == "*" {
			for _, key := range everybody {
				m[key] = true
			}
			continue
		}
		m[o] = true
	}
	return m
}

// find picks the route for a request. If a path fits but no method, route is
// nil and allowed lists the methods that would.
func (s *service) find(r *http.Request, t target) (found *route, allowed []string) {
	q := middleware.Query{Raw: t.query}
	if l := s.exact[t.decoded]; l != nil {
		found, allowed = pick(l, r, &q)
	}
	if found == nil && allowed == nil {
		for p := strings.TrimSuffix(t.decoded, "/"); ; {
			if l := s.prefix[p]; l != nil {
				if found, allowed = pick(l, r, &q); found != nil || allowed != nil {
					break
				}
			}
			if p == "" {
				break
			}
			p = p[:strings.LastIndexByte(p, '/')]
		}
	}
	if len(s.denied) > 0 && (found == nil || !found.deny) {
		if d := s.findDenied(r, t, &q); d != nil && (found == nil || d.length > found.length) {
			return d, nil
		}
	}
	return found, allowed
}

// findDenied looks for a deny route that some spelling of the path may reach at
// an upstream that folds letters or trailing dots.
func (s *service) findDenied(r *http.Request, t target, q *middleware.Query) *route {
	folded := foldPath(t.decoded)
	if d, _ := pick(s.denied["="+folded], r, q); d != nil {
		return d
	}
	for p := strings.TrimSuffix(folded, "/"); ; {
		if d, _ := pick(s.denied[p], r, q); d != nil {
			return d
		}
		if p == "" {
			return nil
		}
		p = p[:strings.LastIndexByte(p, '/')]
	}
}

// pick chooses among routes with one path.
func pick(l []*route, r *http.Request, q *middleware.Query) (found *route, allowed []string) {
	for _, c := range l {
		if !c.fits(r, q) {
			continue
		}
		if slices.Contains(c.methods, r.Method) || c.preflight && slices.Contains(c.methods, preflightFor(r)) {
			return c, nil
		}
		for _, m := range c.methods {
			if !slices.Contains(allowed, m) {
				allowed = append(allowed, m)
			}
		}
	}
	return nil, allowed
}

// preflightFor is the method of which a CORS preflight request asks (Fetch 4.8);
// "" if r is none.
func preflightFor(r *http.Request) string {
	if r.Method != http.MethodOptions || len(r.Header["Origin"]) != 1 || len(r.Header["Access-Control-Request-Method"]) != 1 {
		return ""
	}
	return r.Header["Access-Control-Request-Method"][0]
}

func (c *route) fits(r *http.Request, q *middleware.Query) bool {
	for _, m := range c.match {
		if m.query && !q.Has(m.name, m.want) || !m.query && !headerHas(r.Header, m.name, m.want) {
			return false
		}
	}
	return true
}

func headerHas(h http.Header, name, want string) bool {
	values := h[name]
	return want == "*" && len(values) > 0 || slices.Contains(values, want)
}

// refuse answers a request without a route as the service's routes would.
func (s *service) refuse(w http.ResponseWriter, r *http.Request, deny func(http.ResponseWriter)) {
	middleware.RecordOf(r.Context()).Errors = s.errors
	s.refusals(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { deny(w) })).ServeHTTP(w, r)
}

// deniedRoute answers the requests of a route with deny.
func deniedRoute(w http.ResponseWriter, r *http.Request) {
	middleware.Deny(w, r, http.StatusForbidden, middleware.Denial{By: "deny", Reason: "denied_by_route"})
}
