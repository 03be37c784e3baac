package middleware

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

// denied has d answer a request for a path that must not come back.
func denied(t *testing.T, status int, d Denial, header http.Header) (*http.Response, string, *Record) {
	t.Helper()
	r := httptest.NewRequest("GET", "https://host.example/%3Cscript%3E?q=echo", nil)
	r.Header = header
	rec := &Record{ID: randomHex()[:32], Organization: "nra", OrgName: "НАП <b>"}
	r = r.WithContext(WithRecord(r.Context(), rec))
	w := httptest.NewRecorder()
	Deny(w, r, status, d)
	return w.Result(), w.Body.String(), rec
}

func TestDenyProblem(t *testing.T) {
	t.Parallel()
	res, body, rec := denied(t, 403, Denial{By: "allow", Reason: "not_allowed", Detail: "for the log"}, http.Header{"Accept": {"*/*"}})
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	want := map[string]any{
		"type": "urn:vazel:problem:not_allowed", "title": "Your organization has no access to this service", "status": 403.0,
		"detail": "Your organization was recognized, but it has not been given access to this service. " +
			"If there is a data exchange agreement, ask the operator of the service to give access, and state the incident number.",
		"instance": "urn:vazel:incident:" + rec.ID, "incident_id": rec.ID, "organization": "nra", "reason": "not_allowed",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("problem = %v, want %v", got, want)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/problem+json", "Content-Language": "en", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Vary": "Accept, Accept-Language", "Content-Length": strconv.Itoa(len(body)), "Connection": "", "Retry-After": "",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if rec.Denial == nil || rec.Denial.Reason != "not_allowed" {
		t.Errorf("record has denial %+v", rec.Denial)
	}
}

func TestDenyFields(t *testing.T) {
	t.Parallel()
	res, body, _ := denied(t, 429, Denial{
		By: "rate_limit", Reason: "quota-exceeded", Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", RetryAfter: 1500 * time.Millisecond,
		Members: map[string]any{"remaining": 0, "status": 200}, Header: http.Header{"Allow": {"GET"}}, Close: true,
	}, http.Header{"Accept-Language": {"bg"}})
	for name, want := range map[string]string{"Retry-After": "2", "Allow": "GET", "Connection": "close", "Content-Language": "bg"} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, want := range []string{`"type":"https://iana.org/assignments/http-problem-types#quota-exceeded"`, `"remaining":0`, `"status":429`, `"title":"Твърде много заявки"`} {
		if !strings.Contains(body, want) {
			t.Errorf("%s does not have %s", body, want)
		}
	}
}

// What an upstream's answer or a policy had begun does not come with a refusal.
func TestDenyCleansTheHeader(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	for _, name := range []string{"Set-Cookie", "Content-Encoding", "Etag", "Location", "Transfer-Encoding", "Content-Range", "Www-Authenticate"} {
		w.Header().Set(name, "upstream")
	}
	w.Header().Set("Vary", "Origin")
	w.Header().Set("Ratelimit", `"p";r=0`)
	Deny(w, httptest.NewRequest("GET", "/", nil), 502, Denial{By: "upstream", Reason: "upstream_protocol", Members: map[string]any{"bad": func() {}}})
	for name, values := range w.Result().Header {
		if values[0] == "upstream" {
			t.Errorf("%s came with the refusal", name)
		}
	}
	if got := w.Header()["Vary"]; len(got) != 2 || got[0] != "Origin" {
		t.Errorf("Vary = %q", got)
	}
	if w.Header().Get("Ratelimit") == "" || w.Code != 502 || !strings.Contains(w.Body.String(), "upstream_protocol") {
		t.Errorf("answer = %d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestDenyHead(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	Deny(w, httptest.NewRequest("HEAD", "/", nil), 404, Denial{By: "routing", Reason: "not_found"})
	if n, err := strconv.Atoi(w.Header().Get("Content-Length")); w.Body.Len() != 0 || n == 0 || err != nil {
		t.Errorf("body of %d bytes, Content-Length %q", w.Body.Len(), w.Header().Get("Content-Length"))
	}
}

func TestDenyAfterTheResponseBegan(t *testing.T) {
	t.Parallel()
	rec := &Record{Status: 200}
	r := httptest.NewRequest("GET", "/", nil)
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v, want http.ErrAbortHandler", v)
		}
		if rec.Denial == nil {
			t.Error("the refusal is not in the record")
		}
	}()
	Deny(httptest.NewRecorder(), r.WithContext(WithRecord(r.Context(), rec)), 413, Denial{By: "max_body", Reason: "body_too_large"})
}

func TestDenyPage(t *testing.T) {
	t.Parallel()
	res, body, rec := denied(t, 403, Denial{By: "allow", Reason: "not_allowed", Detail: "for the log"}, http.Header{"Accept": {browser}, "Accept-Language": {"bg-BG,bg;q=0.9,en;q=0.8"}})
	if got := res.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
		t.Errorf("Content-Type = %q", got)
	}
	style := body[strings.Index(body, "<style>")+len("<style>") : strings.Index(body, "</style>")]
	sum := sha256.Sum256([]byte(style))
	csp := res.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy = %q does not fit the page", csp)
	}
	for _, want := range []string{
		`<html lang="bg">`, `<section lang="bg">`, `<section lang="en">`, "<h1>Вашата организация няма достъп до тази услуга</h1>", "<h2>Your organization has no access to this service</h2>",
		rec.ID, "НАП &lt;b&gt;", `name="viewport"`, "<main>", "prefers-color-scheme: dark",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page does not have %s", want)
		}
	}
	for _, bad := range []string{"script", "echo", "host.example", "http://", "https://", "for the log", "url(", "<img", "<link"} {
		if strings.Contains(body, bad) {
			t.Errorf("the page has %s", bad)
		}
	}
}

func TestDenyChoosesTheForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		accept string
		html   bool
	}{
		{"", false}, {"*/*", false}, {browser, true}, {"text/html", true}, {"application/json", false}, {"application/json, text/html", true},
		{"application/json, text/html;q=0.9", false}, {"application/problem+json;q=0.1, text/html;q=0.2", true}, {"text/html;q=0", false},
		{"text/html;q=0.5, */*;q=0.8", false}, {"text/html;q=0.5, application/*;q=0.4, */*", true}, {"text/*", false}, {"TEXT/HTML", true}, {"text/html;q=nonsense", false}, {"text/html;q=2", false},
		{"text/html;level=1;q=0.7", true}, {",;,=,", false},
	} {
		var accept []string
		if c.accept != "" {
			accept = []string{c.accept}
		}
		if got := PrefersHTML(accept); got != c.html {
			t.Errorf("PrefersHTML(%q) = %v, want %v", c.accept, got, c.html)
		}
	}
	for _, c := range []struct {
		language  string
		bulgarian bool
	}{
		{"", false}, {"bg", true}, {"bg-BG,bg;q=0.9,en;q=0.8", true}, {"en-US,en;q=0.9,bg;q=0.8", false}, {"de,bg;q=0.5", true}, {"de, fr", false}, {"en, bg", false}, {"bg, en", true},
		{"bg;q=0", false}, {"BG", true}, {"*", false}, {"bgx", false},
	} {
		if got := PrefersBulgarian([]string{c.language}); got != c.bulgarian {
			t.Errorf("PrefersBulgarian(%q) = %v, want %v", c.language, got, c.bulgarian)
		}
	}
}

// Texts are whole sentences in the right alphabet.
func TestTexts(t *testing.T) {
	t.Parallel()
	for reason, text := range texts {
		for language, l := range map[string]Localized{"English": text.English, "Bulgarian": text.Bulgarian} {
			for part, s := range map[string]string{"title": l.Title, "explanation": l.Explanation, "advice": l.Advice} {
				switch {
				case s == "" && part != "advice":
					t.Errorf("%s: no %s %s", reason, language, part)
				case s == "":
					continue
				case strings.HasSuffix(s, ".") != (part != "title"):
					t.Errorf("%s: %s %s %q: titles have no full stop, sentences have one", reason, language, part, s)
				case strings.Contains(s, "  ") || strings.TrimSpace(s) != s:
					t.Errorf("%s: spaces in %q", reason, s)
				}
				cyrillic := strings.ContainsFunc(s, func(r rune) bool { return unicode.Is(unicode.Cyrillic, r) })
				if cyrillic != (language == "Bulgarian") {
					t.Errorf("%s: %s %s is %q", reason, language, part, s)
				}
				for word := range strings.FieldsFuncSeq(s, func(r rune) bool { return !unicode.IsLetter(r) }) {
					latin := strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(unicode.Latin, r) })
					if latin && strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(unicode.Cyrillic, r) }) {
						t.Errorf("%s: %q mixes alphabets", reason, word)
					}
				}
			}
		}
		if (text.English.Advice == "") != (text.Bulgarian.Advice == "") {
			t.Errorf("%s: advice in one language only", reason)
		}
	}
}

func TestTextOfUnknownReasons(t *testing.T) {
	t.Parallel()
	for status := 400; status < 600; status++ {
		if text := textOf("unheard_of", status); text.English.Title == "" || text.Bulgarian.Title == "" {
			t.Errorf("no text for status %d", status)
		}
	}
}

// Every reason that the product can give has a text: those of certificates, and
// every word that stands as a Reason in a Denial or in a malformed head.
func TestEveryReasonHasAText(t *testing.T) {
	t.Parallel()
	for _, r := range []certs.Reason{
		certs.NoClientCert, certs.UnknownCA, certs.Expired, certs.NotYetValid, certs.WrongUsage, certs.WrongOrganization, certs.NotAllowed,
		certs.AgreementExpired, certs.Revoked, certs.RevocationUnknown, certs.BadCertificate,
	} {
		if _, ok := texts[string(r)]; !ok {
			t.Errorf("no text for %s", r)
		}
	}
	found := 0
	check := func(fset *token.FileSet, e ast.Expr) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return
		}
		reason, err := strconv.Unquote(lit.Value)
		if err != nil {
			t.Error(err)
		}
		found++
		if _, ok := texts[reason]; !ok {
			t.Errorf("%v: no text for %s", fset.Position(lit.Pos()), reason)
		}
	}
	for _, root := range []string{".", "../gateway"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				c, ok := n.(*ast.CompositeLit)
				if !ok {
					return true
				}
				switch name := typeName(c.Type); name {
				case "Denial":
					for _, e := range c.Elts {
						if kv, ok := e.(*ast.KeyValueExpr); ok {
							if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Reason" {
								check(fset, kv.Value)
							}
						}
					}
				case "Malformed":
					if len(c.Elts) == 3 {
						check(fset, c.Elts[1])
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("only %d reasons found; does the test still look in the right places?", found)
	}
	// Reasons that reach Denial by a variable.
	for _, r := range []string{
		"bad_host", "bad_header_name", "bad_header_value", "ambiguous_framing", "upstream_unreachable", "upstream_timeout", "upstream_protocol", "upstream_tls",
		"no_healthy_server", "overload", "maintenance", "draining", "unavailable",
		waf.ReasonArguments, waf.ReasonJSON, waf.ReasonXML, waf.ReasonXMLUnsafe, waf.ReasonMultipart, waf.ReasonDepth, waf.ReasonEncoding, waf.ReasonExpansion,
	} {
		if _, ok := texts[r]; !ok {
			t.Errorf("no text for %s", r)
		}
	}
}

func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

func BenchmarkDeny(b *testing.B) {
	for name, accept := range map[string]string{"problem": "*/*", "page": browser} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept", accept)
			r = r.WithContext(WithRecord(r.Context(), &Record{ID: randomHex()[:32]}))
			w := &discarded{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				Deny(w, r, 403, Denial{By: "allow", Reason: "not_allowed"})
			}
		})
	}
}

// discarded is a response that nobody reads.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header         { return d.header }
func (d *discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarded) WriteHeader(int)             {}
