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
// can't be written: a place for the record is kept before the request goes on.
func buildAudit(mode string, env Env) (Func, error) {
	log := env.Engines.Audit
	switch mode {
	case "", "off":
		return nil, nil
	case "full":
		leave := func(rec *Record) { log.Record(auditEntry(rec)) }
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !log.Reserve() {
					Deny(w, r, http.StatusServiceUnavailable, Denial{By: "audit", Reason: "audit_unavailable", RetryAfter: 10 * time.Second})
					return
				}
				RecordOf(r.Context()).AfterRequest(leave)
				next.ServeHTTP(w, r)
			})
		}, nil
	case "refusals":
		leave := func(rec *Record) {
			if auditDecision(rec) == "deny" {
				log.Append(auditEntry(rec)) // counts what is dropped
			}
		}
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				RecordOf(r.Context()).AfterRequest(leave)
				next.ServeHTTP(w, r)
			})
		}, nil
	}
	return nil, fmt.Errorf("%q is not full, refusals or off", mode)
}

// auditDecision tells a refusal from a failure of the upstream or of the gateway
// itself.
func auditDecision(rec *Record) string {
	switch {
	case rec.Denial == nil && !rec.Panic:
		return "allow"
	case rec.Panic || rec.Denial.By == "upstream" || rec.Denial.By == "gateway":
		return "error"
	}
	return "deny"
}

func auditEntry(rec *Record) audit.Entry {
	e := audit.Entry{
		Time: rec.Start, Incident: rec.ID, Organization: rec.Organization, Identifier: rec.Identity.ID,
		Client: rec.Client.String(), Service: rec.Service, Route: rec.Route, Method: logMethod(rec.Method), Path: Mask(rec.Path),
		Status: rec.Status, Decision: auditDecision(rec), Aborted: rec.Aborted,
		BytesIn: rec.BytesIn, BytesOut: rec.BytesOut, Duration: rec.Duration.Nanoseconds(),
	}
	if d := rec.Denial; d != nil {
		e.Policy, e.Reason = d.By, d.Reason
	}
	if leaf := rec.Identity.Leaf; leaf != nil {
		sum := sha256.Sum256(leaf.Raw)
		e.Certificate, e.Serial, e.Issuer = hex.EncodeToString(sum[:]), leaf.SerialNumber.Text(16), leaf.Issuer.String()
	}
	return e
}
