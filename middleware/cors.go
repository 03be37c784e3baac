package middleware

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// CORS is the cross-origin policy of browsers (Fetch standard, 3.2).
type CORS struct {
	// Origins lists the origins that may read responses, such as https://portal.example; "*" is every origin.
	Origins []string `yaml:"origins"`
	// Methods lists the methods that other origins may use; default: the route's methods.
	Methods []string `yaml:"methods"`
	// Headers lists the request header fields that other origins may send; default: Content-Type.
	Headers []string `yaml:"headers"`
	// MaxAge is how long a browser may keep the answer to a preflight request; default: 10m.
	MaxAge unit.Duration `yaml:"max_age"`
}

// Build makes the handler. A nil p makes none.
//
// The gateway alone answers for what it publishes: an upstream's own
// Access-Control fields are removed. Credentials are never allowed, so another
// site's script can neither use a visitor's client certificate nor his cookies,
// and private network access is never granted.
func (p *CORS) Build(methods []string, env Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	c := &cors{origins: map[string]*grant{}, none: newGrant("")}
	if len(p.Origins) == 0 {
		return nil, fmt.Errorf("origins: none is listed; write origins such as https://portal.example, or \"*\"")
	}
	for _, o := range p.Origins {
		if o == "*" {
			c.all = newGrant("*")
			continue
		}
		canonical, err := canonicalOrigin(o)
		if err != nil {
			return nil, err
		}
		c.origins[canonical] = newGrant(canonical)
	}
	if len(p.Methods) > 0 {
		methods = p.Methods
	} else if len(methods) == 0 {
		methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	}
	for _, m := range methods {
		if !isToken(m) || slices.Contains([]string{"CONNECT", "TRACE", "TRACK"}, strings.ToUpper(m)) {
			return nil, fmt.Errorf("methods: %q can't be used across origins", m)
		}
	}
	headers := p.Headers
	if len(headers) == 0 {
		headers = []string{"Content-Type"}
	}
	for _, h := range headers {
		if !isToken(h) {
			return nil, fmt.Errorf("headers: %q is not a field name", h)
		}
	}
	c.methods, c.headers = []string{strings.Join(methods, ", ")}, []string{strings.Join(headers, ", ")}
	c.maxAge = []string{strconv.FormatInt(int64(p.MaxAge.Or(10*time.Minute)/time.Second), 10)}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, next) })
	}, nil
}

// canonicalOrigin is an origin as browsers serialize it (RFC 6454 6.2).
func canonicalOrigin(o string) (string, error) {
	u, err := url.Parse(o)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(o, "*?#") {
		return "", fmt.Errorf("origins: %q is not an origin; write scheme and host, such as https://portal.example", o)
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	} else {
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host, nil
}

// isToken reports whether s is a token of RFC 9110 5.6.2.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// cors is the policy of one route, resolved.
type cors struct {
	all                      *grant // for every origin, or nil
	none                     *grant
	origins                  map[string]*grant
	methods, headers, maxAge []string
}

// grant is what the responses to one origin say.
type grant struct {
	origin []string // Access-Control-Allow-Origin; nil for none
	edit   func(int, http.Header)
}

// exposed lets scripts read what their limits are, and which incident to name.
const exposed = "RateLimit, RateLimit-Policy, Retry-After, X-Request-Id"

func newGrant(origin string) *grant {
	g := &grant{}
	if origin != "" {
		g.origin = []string{origin}
	}
	expose := []string{exposed}
	g.edit = func(_ int, h http.Header) {
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				delete(h, name)
			}
		}
		if g.origin != nil {
			h["Access-Control-Allow-Origin"] = g.origin
			h["Access-Control-Expose-Headers"] = expose
		}
		if origin != "*" {
			addVary(h, "Origin")
		}
	}
	return g
}

func (c *cors) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	g := c.none
	origin := r.Header["Origin"]
	if len(origin) == 1 {
		if known := c.origins[origin[0]]; known != nil {
			g = known
		}
	}
	if g == c.none && c.all != nil {
		g = c.all
	}
	if r.Method == http.MethodOptions && len(origin) > 0 && len(r.Header["Access-Control-Request-Method"]) > 0 {
		c.preflight(w, g)
		return
	}
	next.ServeHTTP(&headWriter{ResponseWriter: w, edit: g.edit}, r)
}

// preflight answers a question about a request to come (Fetch 4.8). Whether what
// it says is enough is for the browser to see; other clients don't ask. It names
// no origin to those that are not listed, which is a refusal.
func (c *cors) preflight(w http.ResponseWriter, g *grant) {
	h := w.Header()
	if g != c.all {
		addVary(h, "Origin")
	}
	if g.origin != nil {
		h["Access-Control-Allow-Origin"] = g.origin
		h["Access-Control-Allow-Methods"] = c.methods
		h["Access-Control-Allow-Headers"] = c.headers
		h["Access-Control-Max-Age"] = c.maxAge
	}
	w.WriteHeader(http.StatusNoContent)
}

// addVary names a request field that a response was chosen by.
func addVary(h http.Header, name string) {
	for _, v := range h["Vary"] {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t == "*" || strings.EqualFold(t, name) {
				return
			}
		}
	}
	h["Vary"] = append(h["Vary"], name)
}
