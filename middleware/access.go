package middleware

import (
	"net/http"

	"github.com/vazel-gateway/vazel/certs"
)

// buildAllow lets only the named organizations in. Whoever is refused for his
// identity gets 401 (nothing was shown) or 403, never 429.
func buildAllow(allow []string, env Env) (Func, error) {
	if len(allow) == 0 {
		return nil, nil
	}
	allowed := map[string]bool{}
	for _, key := range allow {
		if key == "*" {
			for k := range env.Callers {
				allowed[k] = true
			}
			continue
		}
		allowed[key] = true
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			if rec.Organization != "" && allowed[rec.Organization] {
				next.ServeHTTP(w, r)
				return
			}
			DenyIdentity(w, r, env.Metrics)
		})
	}, nil
}

// DenyIdentity refuses a request for who sent it: his identity, or else that he
// may not be here.
func DenyIdentity(w http.ResponseWriter, r *http.Request, m *Metrics) {
	rec := RecordOf(r.Context())
	reason, status := rec.Identity.Reason, http.StatusForbidden
	switch {
	case rec.Organization != "":
		reason = certs.NotAllowed
	case reason == certs.NoClientCert || reason == "":
		reason, status = certs.NoClientCert, http.StatusUnauthorized
	}
	claimed := rec.Organization
	if claimed == "" {
		claimed = rec.Identity.Claimed
	}
	m.MTLSRejected(rec.Listener, claimed, string(reason))
	Deny(w, r, status, Denial{By: "allow", Reason: string(reason), Detail: rec.Identity.Detail})
}
