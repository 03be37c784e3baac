package middleware

import (
	"crypto/tls"
	"net/http"

	"github.com/vazel-gateway/vazel/certs"
)

// buildRequirePQ lets requests in only over connections with a post-quantum key
// exchange: all of them, or those of the organizations that demand it. It is not
// left to the handshake, which could not tell the caller why.
func buildRequirePQ(all bool, env Env) (Func, error) {
	demanding := map[string]bool{}
	for key, c := range env.Callers {
		if c.RequirePQ {
			demanding[key] = true
		}
	}
	if !all && len(demanding) == 0 {
		return nil, nil
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			if !all && !demanding[rec.Organization] || certs.PostQuantum(r.TLS) {
				next.ServeHTTP(w, r)
				return
			}
			if rec.Organization != "" {
				env.Metrics.MTLSRejected(rec.Listener, rec.Organization, reasonPQ)
			}
			used := keyExchange(r.TLS)
			Deny(w, r, http.StatusForbidden, Denial{By: "require_pq", Reason: reasonPQ, Detail: "the key exchange was " + used, Members: map[string]any{"key_exchange": used}})
		})
	}, nil
}

const reasonPQ = "pq_required"

// keyExchange names the group of a connection's key exchange.
func keyExchange(cs *tls.ConnectionState) string {
	if cs == nil || cs.CurveID == 0 {
		return "none"
	}
	return cs.CurveID.String()
}
