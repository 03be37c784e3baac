package middleware

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/vazel-gateway/vazel/middleware/audit"
)

// buildAudit leaves an audit record of each request (full) or of each refused
// one (refusals). A service that demands full records serves nobody while they
// can't be written.
func buildAudit(mode string, env Env) (Func, error) {
	switch mode {
	case "", "off":
		return nil, nil
	case "full", "refusals":
	default:
		return nil, fmt.Errorf("%q is not full, refusals or off", mode)
	}
	log := env.Engines.Audit
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if mode == "full" && !log.Ready() {
				Deny(w, r, http.StatusServiceUnavailable, Denial{By: "audit", Reason: "audit_unavailable", RetryAfter: 10 * time.Second})
				return
			}
			RecordOf(r.Context()).AfterRequest(func(rec *Record) {
				if mode == "full" || rec.Denial != nil {
					log.Append(auditEntry(rec))
				}
			})
			next.ServeHTTP(w, r)
		})
	}, nil
}

func auditEntry(rec *Record) audit.Entry {
	e := audit.Entry{
		Time: rec.Start, Incident: rec.ID, Organization: rec.Organization, Identifier: rec.Identity.ID,
		Client: rec.Client.String(), Service: rec.Service, Route: rec.Route, Method: logMethod(rec.Method), Path: Mask(rec.Path),
		Status: rec.Status, Decision: "allow", BytesIn: rec.BytesIn, BytesOut: rec.BytesOut, Duration: time.Since(rec.Start).Nanoseconds(),
	}
	if rec.Denial != nil {
		e.Decision, e.Reason = "deny", rec.Denial.Reason
	}
	if leaf := rec.Identity.Leaf; leaf != nil {
		sum := sha256.Sum256(leaf.Raw)
		e.Certificate, e.Serial, e.Issuer = hex.EncodeToString(sum[:]), leaf.SerialNumber.Text(16), leaf.Issuer.String()
	}
	return e
}
