package middleware

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Denial says who refused a request and why.
type Denial struct {
	// By is the policy that refused: its YAML key, or "routing", "http", "upstream", "gateway".
	By string
	// Reason is a stable word such as not_allowed; it ends the problem type and selects the texts.
	Reason string
	// Policy is the name of the limit that refused, if one did.
	Policy string
	// Detail is one sentence for the log; it never reaches the client.
	Detail string
	// RetryAfter, if not zero, is sent as Retry-After, rounded up to seconds.
	RetryAfter time.Duration
	// Members are further members of the problem document (RFC 9457), known to be free of secrets.
	Members map[string]any
	// Type replaces the problem type, where a registered one exists.
	Type string
	// Header holds further fields of the answer, such as Allow or RateLimit, by canonical name.
	Header http.Header
	// Text replaces what is said to people for the reason.
	Text *Text
	// Close ends the connection after the answer (HTTP/1.1).
	Close bool
}

// BodyRefusal is the error that a wrapped request body returns when a policy
// refuses the request in mid-body (too large, malformed). Whoever reads the
// body answers with Deny if no answer has begun, and aborts otherwise.
type BodyRefusal struct {
	Status int
	Denial Denial
}

func (e *BodyRefusal) Error() string { return "request body refused: " + e.Denial.Reason }

// ProblemType is the beginning of every problem type (RFC 9457 3.1.1); the
// reason follows.
const ProblemType = "urn:vazel:problem:"

// Deny refuses a request: it writes the answer and notes d in the Record. It
// is the only way to refuse one. The answer is a problem document or, where the
// client prefers it, a page, unless the route says otherwise; none repeats
// anything that the client sent.
// If a response has already begun, it is broken off, so that it can't be taken
// for a whole one.
//
// A 401 carries no WWW-Authenticate: the certificate is asked for in the TLS
// handshake, for which no authentication scheme of HTTP is registered.
func Deny(w http.ResponseWriter, r *http.Request, status int, d Denial) {
	rec := RecordOf(r.Context())
	if rec == nil {
		rec = &Record{ID: randomHex()[:32]}
	}
	if rec.Denial == nil {
		rec.Denial = &d
	}
	if rec.Status != 0 {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	for name := range h {
		if !keptByDeny(name) {
			delete(h, name)
		}
	}
	for name, values := range d.Header {
		h[name] = values
	}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Vary"] = append(h["Vary"], "Accept, Accept-Language")
	if d.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64(math.Ceil(d.RetryAfter.Seconds())), 10)}
	}
	if d.Close && r.ProtoMajor <= 1 {
		h["Connection"] = []string{"close"}
	}
	bulgarian := PrefersBulgarian(r.Header["Accept-Language"])
	text := textOf(d.Reason, status)
	if d.Text != nil {
		text = *d.Text
	}
	var body []byte
	switch form := rec.Errors; {
	case form == errorsOGC || form == errorsSOAP:
		var kind string
		kind, body = fault(form, r, text, status, rec, &d, bulgarian)
		h["Content-Type"] = []string{kind}
	case form == errorsHTML || form != errorsProblem && PrefersHTML(r.Header["Accept"]):
		page := refusalPage()
		h["Content-Type"] = []string{"text/html; charset=utf-8"}
		h["Content-Security-Policy"] = page.policy
		h["Referrer-Policy"] = []string{"no-referrer"}
		body = page.render(text, status, rec, bulgarian)
	default:
		h["Content-Type"] = []string{"application/problem+json"}
		body = problem(text, status, rec, &d, bulgarian)
	}
	h["Content-Language"] = []string{"en"}
	if bulgarian {
		h["Content-Language"] = []string{"bg"}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// keptByDeny reports whether a field that is set already belongs to the refusal
// too. Everything else may be the beginning of another answer: an upstream's
// type, length or cookies.
func keptByDeny(name string) bool {
	switch name {
	case "Alt-Svc", "Allow", "Ratelimit", "Ratelimit-Policy", "Vary", "Proxy-Status", "Strict-Transport-Security", "Sec-Websocket-Version",
		"Access-Control-Allow-Origin", "Access-Control-Expose-Headers":
		return true
	}
	return false
}

// problem is the document of RFC 9457.
func problem(t Text, status int, rec *Record, d *Denial, bulgarian bool) []byte {
	l := t.English
	if bulgarian {
		l = t.Bulgarian
	}
	kind := d.Type
	if kind == "" {
		kind = ProblemType + d.Reason
	}
	m := map[string]any{}
	for k, v := range d.Members {
		m[k] = v
	}
	m["type"], m["title"], m["status"] = kind, l.Title, status
	m["detail"] = strings.TrimSpace(l.Explanation + " " + l.Advice)
	m["reason"] = d.Reason
	m["incident_id"] = rec.ID
	m["instance"] = "urn:vazel:incident:" + rec.ID
	if rec.Organization != "" {
		m["organization"] = rec.Organization
	}
	b, err := json.Marshal(m)
	if err != nil { // a member that JSON can't hold: a bug, but the refusal stands
		b, _ = json.Marshal(map[string]any{"type": kind, "title": l.Title, "status": status, "incident_id": rec.ID})
	}
	return append(b, '\n')
}
