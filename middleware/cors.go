package middleware

import (
	"fmt"
	"net/http"
	"net/url"
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
func (p *CORS) Build(methods []string, env Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	any := false
	origins := map[string]bool{}
	for _, o := range p.Origins {
		if o == "*" {
			any = true
			continue
		}
		if u, err := url.Parse(o); err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" {
			return nil, fmt.Errorf("%q is not an origin; write scheme and host, such as https://portal.example", o)
		}
		origins[strings.ToLower(o)] = true
	}
	if len(p.Methods) > 0 {
		methods = p.Methods
	}
	headers := p.Headers
	if len(headers) == 0 {
		headers = []string{"Content-Type"}
	}
	allowMethods, allowHeaders := []string{strings.Join(methods, ", ")}, []string{strings.Join(headers, ", ")}
	maxAge := []string{strconv.Itoa(int(p.MaxAge.Or(10 * time.Minute).Seconds()))}
	star := []string{"*"}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			origin := r.Header.Get("Origin")
			h := w.Header()
			if !any {
				h["Vary"] = append(h["Vary"], "Origin")
			}
			allowed := origin != "" && (any || origins[strings.ToLower(origin)])
			if r.Method == http.MethodOptions && origin != "" && r.Header.Get("Access-Control-Request-Method") != "" {
				if allowed {
					h["Access-Control-Allow-Origin"] = allowOrigin(any, star, origin)
					h["Access-Control-Allow-Methods"] = allowMethods
					h["Access-Control-Allow-Headers"] = allowHeaders
					h["Access-Control-Max-Age"] = maxAge
				}
				w.WriteHeader(http.StatusNoContent)
				return
			}
			if allowed {
				h["Access-Control-Allow-Origin"] = allowOrigin(any, star, origin)
				h["Access-Control-Expose-Headers"] = exposed
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// exposed lets scripts read their limits.
var exposed = []string{"RateLimit, RateLimit-Policy, Retry-After"}

func allowOrigin(any bool, star []string, origin string) []string {
	if any {
		return star
	}
	return []string{origin}
}
