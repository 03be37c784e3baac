package middleware

import (
	"net/http"
	"strings"
)

// buildMethods refuses methods that are not listed. Routing has looked already;
// this stands where a policy is used without it.
func buildMethods(methods []string, env Env) (Func, error) {
	if len(methods) == 0 {
		return nil, nil
	}
	allowed := map[string]bool{}
	for _, m := range methods {
		allowed[m] = true
	}
	refusal := Denial{By: "methods", Reason: "method_not_allowed", Header: http.Header{"Allow": {strings.Join(methods, ", ")}}}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !allowed[r.Method] {
				Deny(w, r, http.StatusMethodNotAllowed, refusal)
				return
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}
