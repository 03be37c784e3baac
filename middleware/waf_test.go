package middleware

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// inspected is a route behind inspection, and what reaches its upstream.
type inspected struct {
	t    *testing.T
	h    http.Handler
	rec  *Record
	body string // what the upstream got
}

func newInspected(t *testing.T, p *WAF) *inspected {
	t.Helper()
	i, _ := newInspectedIn(t, p)
	return i
}

func newInspectedIn(t *testing.T, p *WAF) (*inspected, Env) {
	t.Helper()
	env := testEnv(t)
	env.Route = "r"
	env.Engines.Buffers.SetMost(256 << 20)
	f, err := p.Build(env)
	if err != nil {
		t.Fatal(err)
	}
	i := &inspected{t: t}
	i.h = f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("upstream: %v", err)
		}
		i.body = string(b)
		w.WriteHeader(299)
	}))
	return i, env
}

// send sends a request, and returns the status and the reason of a refusal.
func (i *inspected) send(r *http.Request) (int, string) {
	i.t.Helper()
	return i.sendWith(r, "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "application/json")
}

func (i *inspected) sendWith(r *http.Request, agent, accept string) (int, string) {
	r.Header.Set("User-Agent", agent)
	r.Header.Set("Accept", accept)
	return i.pass(r)
}

// pass sends a request as it is.
func (i *inspected) pass(r *http.Request) (int, string) {
	i.rec = &Record{ID: "id", Path: r.URL.Path, Client: netip.MustParseAddr("2001:db8::7")}
	if o := r.Header.Get("Test-Organization"); o != "" {
		i.rec.Organization = o
		r.Header.Del("Test-Organization")
	}
	i.body = ""
	w := httptest.NewRecorder()
	i.h.ServeHTTP(&response{ResponseWriter: w, rec: i.rec}, r.WithContext(WithRecord(r.Context(), i.rec)))
	if i.rec.Denial != nil {
		return w.Code, i.rec.Denial.Reason
	}
	return w.Code, ""
}

func get(target string) *http.Request {
	return httptest.NewRequest("GET", "https://a.example"+target, nil)
}

func post(kind, body string) *http.Request {
	r := httptest.NewRequest("POST", "https://a.example/api", strings.NewReader(body))
	r.Header.Set("Content-Type", kind)
	return r
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

const attack = "1' or '1'='1' union select password from users--"

// TestInspection: attacks are refused and named wherever they stand, and ordinary
// requests of every kind pass unchanged.
func TestInspection(t *testing.T) {
	t.Parallel()
	i := newInspected(t, &WAF{Mode: "block"})
	form := "application/x-www-form-urlencoded"
	esc := strings.NewReplacer(" ", "+", "'", "%27").Replace(attack)
	multi := "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW"
	part := func(disposition, content string) string {
		return "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: " + disposition + "\r\n\r\n" + content + "\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n"
	}
	coded := func(coding, body string) *http.Request {
		r := post("application/json", body)
		r.Header.Set("Content-Encoding", coding)
		return r
	}
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		reason string
	}{
		{"query", get("/?q=" + esc), 403, "inspection_blocked"},
		{"plain query", get("/api?q=регистър&page=2"), 299, ""},
		{"path", get("/..%2f..%2fetc/passwd"), 403, "inspection_blocked"},
		{"form", post(form, "a=1&b="+esc), 403, "inspection_blocked"},
		{"form in an unknown type", post("application/octet-stream", "a=1&b="+esc), 403, "inspection_blocked"},
		{"plain form", post(form, "име=Иван&text=Уважаеми+госпожи"), 299, ""},
		{"JSON", post("application/json", `{"a":[{"b":"`+attack+`"}]}`), 403, "inspection_blocked"},
		{"JSON name", post("application/json", `{"<script>alert(1)</script>":1}`), 403, "inspection_blocked"},
		{"JSON escapes", post("application/json", `{"a":"<script>alert(1)\u003c/script>"}`), 403, "inspection_blocked"},
		{"plain JSON", post("application/json", `{"a":[1,2.5e3,null,true,"текст \u20ac"],"b":{}}`), 299, ""},
		{"odd JSON type", post("application/vnd.api+json; charset=utf-8", `{"a":"`+attack+`"}`), 403, "inspection_blocked"},
		{"half JSON", post("application/json", `{"a":1`), 400, "inspection_json"},
		{"JSON with a name twice", post("application/json", `{"a":1,"b":2,"a":"x"}`), 400, "inspection_json"},
		{"JSON with the same name escaped", post("application/json", `{"a":1,"\u0061":"x"}`), 400, "inspection_json"},
		{"JSON of other bytes", post("application/json", "{\"a\":\"\xff\"}"), 400, "inspection_json"},
		{"deep JSON", post("application/json", strings.Repeat("[", 80)+strings.Repeat("]", 80)), 400, "inspection_depth"},
		{"very deep JSON", post("application/json", strings.Repeat("[", 1<<20)), 400, "inspection_depth"},
		{"JSON bomb of names", post("application/json", `{"`+strings.Repeat("n", 4000)+`":[`+strings.Repeat("1,", 4000)+`1]}`), 413, "inspection_arguments"},
		{"XML", post("text/xml", "<a><b>"+strings.ReplaceAll(attack, "'", "&apos;")+"</b></a>"), 403, "inspection_blocked"},
		{"plain XML", post("application/soap+xml", `<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>Иван</s:Body></s:Envelope>`), 299, ""},
		{"XXE", post("text/xml", `<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1/x">]><a>&x;</a>`), 400, "inspection_xml_unsafe"},
		{"an undeclared entity", post("text/xml", `<a>&x;</a>`), 400, "inspection_xml"},
		{"XInclude", post("text/xml", `<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="x"/></a>`), 400, "inspection_xml_unsafe"},
		{"schema from elsewhere", post("text/xml", `<a xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="urn:a http://evil.example/a.xsd"/>`), 400, "inspection_xml_unsafe"},
		{"schema of a standard", post("text/xml", `<a xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:schemaLocation="http://www.opengis.net/wfs http://schemas.opengis.net/wfs/1.1.0/wfs.xsd"/>`), 299, ""},
		{"XML in another encoding", post("text/xml", `<?xml version="1.0" encoding="windows-1251"?><a/>`), 415, "inspection_xml_unsafe"},
		{"XML in UTF-16", post("text/xml", "\xff\xfe<\x00a\x00/\x00>\x00"), 415, "inspection_xml_unsafe"},
		{"half XML", post("text/xml", `<a><b></a>`), 400, "inspection_xml"},
		{"deep XML", post("text/xml", strings.Repeat("<a>", 200)+strings.Repeat("</a>", 200)), 400, "inspection_depth"},
		{"multipart", post(multi, part(`form-data; name="a"`, attack)), 403, "inspection_blocked"},
		{"plain multipart", post(multi, part(`form-data; name="файл"; filename="Заявление.pdf"`, "%PDF-1.4 \x00\x01")), 299, ""},
		{"multipart without an end", post(multi, "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx"), 400, "inspection_multipart"},
		{"multipart with text before it", post(multi, "x\r\n"+part(`form-data; name="a"`, "x")), 400, "inspection_multipart"},
		{"multipart with two names", post(multi, part(`form-data; name="a"; name="b"`, "x")), 400, "inspection_multipart"},
		{"multipart with a second file name", post(multi, part(`form-data; name="a"; filename="a.txt"; filename*=utf-8''a.php`, "x")), 400, "inspection_multipart"},
		{"multipart in base64", post(multi, "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n"), 400, "inspection_multipart"},
		{"multipart without boundary", post("multipart/form-data", "x"), 400, "inspection_multipart"},
		{"multipart with bare line feeds", post(multi, strings.ReplaceAll(part(`form-data; name="a"`, "x"), "\r\n", "\n")), 400, "inspection_multipart"},
		{"many cookies", func() *http.Request { r := get("/"); r.Header.Set("Cookie", strings.Repeat("a=1; ", 300)); return r }(), 400, "inspection_arguments"},
		{"1,101 arguments", get("/?" + strings.Repeat("a=1&", 1100) + "b=2"), 400, "inspection_arguments"},
		{"1,101 arguments in a form", post(form, strings.Repeat("a=1&", 1100)+"b="+esc), 400, "inspection_arguments"},
		{"compressed", coded("gzip", gzipped(`{"a":"`+attack+`"}`)), 403, "inspection_blocked"},
		{"plain and compressed", coded("gzip", gzipped(`{"a":"b"}`)), 299, ""},
		{"not compressed", coded("gzip", `{"a":"b"}`), 400, "inspection_encoding"},
		{"compressed with a tail", coded("gzip", gzipped(`{"a":"b"}`)+"x"), 400, "inspection_encoding"},
		{"compressed twice", coded("gzip, gzip", gzipped(gzipped(`{"a":"b"}`))), 415, "inspection_encoding"},
		{"another coding", coded("br", "x"), 415, "inspection_encoding"},
		{"a bomb", coded("gzip", gzipped(strings.Repeat("a", 4<<20))), 413, "inspection_expansion"},
		{"too large", post("application/json", strings.Repeat(" ", 9<<20)), 413, "inspection_too_large"},
	} {
		sent := ""
		if tt.r.Body != nil {
			b, _ := io.ReadAll(tt.r.Body)
			sent = string(b)
			tt.r.Body = io.NopCloser(strings.NewReader(sent))
		}
		status, reason := i.send(tt.r)
		if status != tt.status || reason != tt.reason {
			t.Errorf("%s: %d %q %v, want %d %q", tt.name, status, reason, i.rec.InspectionRules, tt.status, tt.reason)
		}
		if status == 299 && i.body != sent {
			t.Errorf("%s: the upstream got %q instead of %q", tt.name, i.body, sent)
		}
	}
}

// TestDetect: whatever a request holds, detect changes no answer and no byte.
func TestDetect(t *testing.T) {
	t.Parallel()
	i := newInspected(t, &WAF{Mode: "detect"})
	for name, r := range map[string]*http.Request{
		"attack": post("application/json", `{"a":"`+attack+`"}`), "not JSON": post("application/json", `{"a"`), "XXE": post("text/xml", `<!DOCTYPE a [<!ENTITY x "y">]><a/>`),
		"large": post("application/json", strings.Repeat(" ", 9<<20)), "arguments": post("application/x-www-form-urlencoded", strings.Repeat("a=1&", 3000)),
		"coding":    func() *http.Request { r := post("text/plain", "x"); r.Header.Set("Content-Encoding", "br"); return r }(),
		"multipart": post("multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", "x"),
	} {
		b, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(b))
		if status, reason := i.send(r); status != 299 || reason != "" || i.body != string(b) {
			t.Errorf("%s: %d %q, %d of %d bytes", name, status, reason, len(i.body), len(b))
		}
		if noted := i.rec.InspectionScore > 0 || i.rec.InspectionGuard != ""; !noted && name != "large" {
			t.Errorf("%s: nothing was noted", name)
		}
	}
}

// TestInspectionOff: off is no handler at all.
func TestInspectionOff(t *testing.T) {
	t.Parallel()
	for _, p := range []*WAF{nil, {Mode: "off", Paranoia: 4}} {
		if f, err := p.Build(testEnv(t)); f != nil || err != nil {
			t.Errorf("%+v: a handler, %v", p, err)
		}
	}
	if f, err := (&WAF{}).Build(testEnv(t)); f == nil || err != nil {
		t.Errorf("without a mode: no handler, %v", err)
	}
}

// TestExclusions: each narrows what it leaves out to what it names.
func TestExclusions(t *testing.T) {
	t.Parallel()
	esc := strings.NewReplacer(" ", "+", "'", "%27").Replace(attack)
	all := Exclusion{Tag: "attack-sqli"}
	with := func(f func(*Exclusion)) []Exclusion {
		x := all
		f(&x)
		return []Exclusion{x}
	}
	org := func(r *http.Request, o string) *http.Request { r.Header.Set("Test-Organization", o); return r }
	cookie := func(name string) *http.Request {
		r := get("/")
		r.Header.Set("Cookie", name+"="+esc)
		return r
	}
	for _, tt := range []struct {
		name       string
		exclude    []Exclusion
		pass, stop *http.Request
	}{
		{"tag", []Exclusion{all}, get("/?q=" + esc), get("/?q=<script>alert(1)</script>")},
		{"path", with(func(x *Exclusion) { x.Paths = unit.List{"/search"} }), get("/search/all?q=" + esc), get("/searches?q=" + esc)},
		{"exact path", with(func(x *Exclusion) { x.Paths = unit.List{"=/search"} }), get("/search?q=" + esc), get("/search/all?q=" + esc)},
		{"parameter", with(func(x *Exclusion) { x.Parameter = "q" }), get("/?q=" + esc), get("/?r=" + esc)},
		{"parameter in JSON", with(func(x *Exclusion) { x.Parameter = "json.items.*.text" }), post("application/json", `{"items":[{"text":"`+attack+`"}]}`), post("application/json", `{"items":[{"name":"`+attack+`"}]}`)},
		{"parameter, whatever its case", with(func(x *Exclusion) { x.Parameter = "Q" }), get("/?q=" + esc), get("/?r=" + esc)},
		{"organization", with(func(x *Exclusion) { x.Organizations = unit.List{"nra"} }), org(get("/?q="+esc), "nra"), get("/?q=" + esc)},
		{"another organization", with(func(x *Exclusion) { x.Organizations = unit.List{"nra"} }), org(get("/?q="+esc), "nra"), org(get("/?q="+esc), "sofia")},
		{"cookie", with(func(x *Exclusion) { x.Cookie = "saved" }), cookie("saved"), cookie("other")},
		{"rule", []Exclusion{{Rule: 941100}, {Rule: 941110}, {Rule: 941160}, {Rule: 941390}}, get("/?q=<script>alert(1)</script>"), get("/?q=" + esc)},
	} {
		i := newInspected(t, &WAF{Mode: "block", Exclude: tt.exclude})
		if status, reason := i.send(tt.pass); status != 299 {
			t.Errorf("%s: %d %s %v", tt.name, status, reason, i.rec.InspectionRules)
		}
		if status, reason := i.send(tt.stop); status != 403 {
			t.Errorf("%s: the other request: %d %s", tt.name, status, reason)
		}
	}
	for _, bad := range []Exclusion{{Rule: 5}, {Tag: "no-such-tag"}, {}} {
		if _, err := (&WAF{Mode: "block", Exclude: []Exclusion{bad}}).Build(testEnv(t)); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestOwnRules: deny refuses whatever the score is, setvar adds to the score, and
// changes of the Core Rule Set's rules act.
func TestOwnRules(t *testing.T) {
	t.Parallel()
	i := newInspected(t, &WAF{Mode: "block", RulesText: `
# the old API
SecRule REQUEST_FILENAME "@beginsWith /old" "id:10,phase:1,deny,msg:'no longer there'"
SecRule REMOTE_ADDR "@streq 2001:db8::8" "id:11,phase:1,deny"
SecRule ARGS:pet "@streq dog" \
    "id:12,phase:2,pass,log,msg:'dogs',severity:'NOTICE',\
    setvar:tx.inbound_anomaly_score_pl1=+5"
SecRule ARGS:a "@streq 1" "id:13,phase:2,deny,chain"
    SecRule ARGS:b "@streq 2" ""
SecRuleRemoveById 941100 941110 941160 941390
`})
	for _, tt := range []struct {
		target string
		want   int
		rule   int
	}{
		{"/new", 299, 0}, {"/old/x", 403, 10}, {"/?pet=dog", 403, 12}, {"/?pet=cat", 299, 0}, {"/?a=1", 299, 0}, {"/?a=1&b=2", 403, 13}, {"/?q=<script>alert(1)</script>", 299, 0},
	} {
		status, _ := i.send(get(tt.target))
		if status != tt.want || tt.rule != 0 && (len(i.rec.InspectionRules) != 1 || i.rec.InspectionRules[0] != tt.rule || i.rec.InspectionCategory != "custom") {
			t.Errorf("%s: %d %v %q", tt.target, status, i.rec.InspectionRules, i.rec.InspectionCategory)
		}
	}
}

// TestSharedRulesets: routes that differ only in mode and exclusions share one.
func TestSharedRulesets(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	first := (&WAF{Mode: "block"}).Posture("a", env.Engines)
	second := (&WAF{Mode: "detect", Paranoia: 1, Threshold: 5, Exclude: []Exclusion{{Rule: 942100}}}).Posture("b", env.Engines)
	third := (&WAF{Mode: "block", Paranoia: 2}).Posture("c", env.Engines)
	if first.Ruleset != second.Ruleset || first.Ruleset == third.Ruleset {
		t.Error("not shared as they should be")
	}
}

// TestBrokenBody: a body that breaks off is 400, and never an empty answer.
func TestBrokenBody(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"block", "detect"} {
		i := newInspected(t, &WAF{Mode: mode})
		r := post("application/json", "")
		r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader(`{"a":`), iotest.ErrReader(errors.New("malformed chunk")))), -1
		if status, reason := i.send(r); status != 400 || reason != "bad_request" {
			t.Errorf("%s: %d %s", mode, status, reason)
		}
	}
}

// TestMatchesAreMasked: what is noted of a match says where and what, and nothing
// personal.
func TestMatchesAreMasked(t *testing.T) {
	t.Parallel()
	i := newInspected(t, &WAF{Mode: "block"})
	i.send(get("/?who=7501020018+union+select+1,2+from+ivan@example.org"))
	if len(i.rec.InspectionMatches) == 0 {
		t.Fatal("no match was noted")
	}
	for _, m := range i.rec.InspectionMatches {
		if strings.Contains(m.Part, "7501020018") || strings.Contains(m.Part, "ivan@") || m.Where != "ARGS:who" || m.Message == "" || m.Rule == 0 {
			t.Errorf("%+v", m)
		}
	}
}

// TestRestrictedField: the one field that is restricted is named, and an expectation
// that ends at the gateway is nobody's business.
func TestRestrictedField(t *testing.T) {
	t.Parallel()
	i := newInspected(t, &WAF{Mode: "block"})
	r := post("application/json", "{}")
	r.Header.Set("Expect", "100-continue")
	if status, reason := i.send(r); status != 299 {
		t.Errorf("100-continue: %d %s %v", status, reason, i.rec.InspectionRules)
	}
	r = post("application/json", "{}")
	r.Header.Set("X-HTTP-Method-Override", "DELETE")
	if status, _ := i.send(r); status != 403 || len(i.rec.InspectionMatches) != 1 || i.rec.InspectionMatches[0].Where != "REQUEST_HEADERS_NAMES:X-Http-Method-Override" || i.rec.InspectionMatches[0].Also != nil {
		t.Errorf("%d %+v", status, i.rec.InspectionMatches)
	}
}

// TestEngineFails: what the engine fails at is refused in block mode, and passes in
// detect mode.
func TestEngineFails(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"block", "detect"} {
		env := testEnv(t)
		env.Engines.Buffers.SetMost(1 << 20)
		p := &inspection{
			rules: &waf.Ruleset{}, manager: env.Engines.WAF, budget: env.Engines.inspection, buffers: env.Engines.Buffers, // without an engine: it panics
			block: mode == "block", mode: mode, route: "r", log: zap.NewNop(),
		}
		i := &inspected{t: t}
		reached := false
		i.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.serve(w, r, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached = true; w.WriteHeader(299) }))
		})
		for name, r := range map[string]*http.Request{"query": get("/?a=b"), "body": post("application/json", "{}"), "stream": post("application/grpc", "\x00\x00\x00\x00\x00")} {
			reached = false
			status, reason := i.send(r)
			if want := mode == "detect"; reached != want || want == (status == 500 && reason == "inspection_failed") {
				t.Errorf("%s, %s: %d %s, reached: %v", mode, name, status, reason, reached)
			}
		}
		w := httptest.NewRecorder()
		rec := &Record{ID: "id"}
		r := get("/")
		r = r.WithContext(WithRecord(r.Context(), rec))
		if stopped := p.refused(&response{ResponseWriter: w, rec: rec}, r, rec, waf.Verdict{}, waf.ErrTimeout); stopped != (mode == "block") || stopped && w.Code != 503 {
			t.Errorf("%s, too slow: %v %d", mode, stopped, w.Code)
		}
	}
}
