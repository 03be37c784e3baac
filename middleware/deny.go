package middleware

import (
	"bytes"
	"embed"
	"encoding/json"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Denial says who refused a request and why.
type Denial struct {
	// By is the policy that refused: its YAML key, or "routing", "http", "upstream", "gateway".
	By string
	// Reason is a stable word such as not_allowed; it ends the problem type and selects the texts.
	Reason string
	// Detail is one sentence for the log; it never reaches the client.
	Detail string
	// RetryAfter, if not zero, is sent as Retry-After, rounded up to seconds.
	RetryAfter time.Duration
	// Members are further members of the problem document (RFC 9457), known to be free of secrets.
	Members map[string]any
	// Type replaces the problem type, where a registered one exists.
	Type string
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
// client prefers it, a page; neither repeats anything that the client sent.
// If a response has already begun, it is broken off, so that it can't be taken
// for a whole one.
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
		switch name {
		case "Alt-Svc", "Allow", "Ratelimit", "Ratelimit-Policy", "Vary", "Proxy-Status", "Access-Control-Allow-Origin":
		default:
			delete(h, name)
		}
	}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Content-Type-Options"] = []string{"nosniff"}
	h["Vary"] = append(h["Vary"], "Accept, Accept-Language")
	if d.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64(math.Ceil(d.RetryAfter.Seconds())), 10)}
	}
	if d.Close && rec.Protocol != "h2" && rec.Protocol != "h3" {
		h["Connection"] = []string{"close"}
	}
	bulgarian := prefersBulgarian(r.Header["Accept-Language"])
	text := textOf(d.Reason, status)
	var body []byte
	if prefersHTML(r.Header["Accept"]) {
		h["Content-Type"] = []string{"text/html; charset=utf-8"}
		h["Content-Security-Policy"] = []string{"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
		h["Referrer-Policy"] = []string{"no-referrer"}
		body = page(text, status, rec, bulgarian)
	} else {
		h["Content-Type"] = []string{"application/problem+json"}
		body = problem(text, status, rec, &d, bulgarian)
	}
	if bulgarian {
		h["Content-Language"] = []string{"bg"}
	} else {
		h["Content-Language"] = []string{"en"}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
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

//go:embed pages/refusal.html
var pageFiles embed.FS

// pageTemplate is parsed when the first page is needed.
var pageTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.ParseFS(pageFiles, "pages/refusal.html"))
})

type pageData struct {
	Status int
	ID     string
	Org    string
	Lang   string
	Parts  []pagePart
}

type pagePart struct {
	Lang, Incident, Organization string
	Text                         Localized
}

func page(t Text, status int, rec *Record, bulgarian bool) []byte {
	bg := pagePart{"bg", "Номер на случая", "Организация", t.Bulgarian}
	en := pagePart{"en", "Incident number", "Organization", t.English}
	data := pageData{Status: status, ID: rec.ID, Org: rec.OrgName, Lang: "en", Parts: []pagePart{en, bg}}
	if bulgarian {
		data.Lang, data.Parts = "bg", []pagePart{bg, en}
	}
	var b bytes.Buffer
	if err := pageTemplate().Execute(&b, data); err != nil {
		return []byte(rec.ID + "\n")
	}
	return b.Bytes()
}

// prefersHTML reports whether Accept names text/html with at least the weight
// of JSON (RFC 9110 12.5.1). Programs that accept anything get JSON.
func prefersHTML(accept []string) bool {
	html, json := -1.0, 0.0
	for _, v := range accept {
		for part := range strings.SplitSeq(v, ",") {
			kind, q := weighted(part)
			switch kind {
			case "text/html", "application/xhtml+xml":
				html = max(html, q)
			case "application/json", "application/problem+json":
				json = max(json, q)
			}
		}
	}
	return html > 0 && html >= json
}

// prefersBulgarian reports whether Accept-Language weighs Bulgarian at least as
// much as English. Without the field it is English: then a program is asking.
func prefersBulgarian(fields []string) bool {
	bg, en := 0.0, 0.0
	for _, v := range fields {
		for part := range strings.SplitSeq(v, ",") {
			tag, q := weighted(part)
			switch primary, _, _ := strings.Cut(tag, "-"); primary {
			case "bg":
				bg = max(bg, q)
			case "en":
				en = max(en, q)
			}
		}
	}
	return bg > 0 && bg >= en
}

// weighted splits "value;q=0.5".
func weighted(s string) (value string, q float64) {
	value, params, _ := strings.Cut(s, ";")
	q = 1
	for p := range strings.SplitSeq(params, ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || f < 0 || f > 1 {
				f = 0
			}
			q = f
		}
	}
	return strings.ToLower(strings.TrimSpace(value)), q
}
