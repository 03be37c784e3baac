package middleware

import (
	"net/http"
	"time"
)

// Denial says who refused a request and why.
type Denial struct {
	// By is the policy that refused: its YAML key, or "routing", "http", "tls", "upstream".
	By string
	// Reason is a stable word such as not_allowed; it ends the problem type and selects the texts.
	Reason string
	// Detail is one sentence for the log; it never reaches the client.
	Detail string
	// RetryAfter, if not zero, is sent as Retry-After, rounded up to seconds.
	RetryAfter time.Duration
	// Members are further members of the problem document (RFC 9457), known to be free of secrets.
	Members map[string]any
	// Close ends the connection after the answer.
	Close bool
}

// Deny refuses a request: it writes the answer and notes d in the Record. It
// is the only way to refuse one.
func Deny(w http.ResponseWriter, r *http.Request, status int, d Denial) {
	if rec := RecordOf(r.Context()); rec != nil {
		rec.Denial = &d
	}
	w.WriteHeader(status)
}

// BodyRefusal is the error that a wrapped request body returns when a policy
// refuses the request in mid-body (too large, malformed). Whoever reads the
// body answers with Deny if no answer has begun, and aborts otherwise.
type BodyRefusal struct {
	Status int
	Denial Denial
}

func (e *BodyRefusal) Error() string { return "request body refused: " + e.Denial.Reason }
