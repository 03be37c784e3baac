package console

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/limit"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

const (
	number1 = "0123456789abcdef0123456789abcdef"
	number2 = "1123456789abcdef0123456789abcdef"
	hostile = `"><script>alert(1)</script>`
)

// shown is a gateway in which everything happens at once.
type shown struct{}

var now = time.Now()

func (shown) Status() (gateway.Status, bool) {
	return gateway.Status{
		At: now, Started: now, Version: "v", Hash: "h", Refused: now, Files: []string{"conf.d/a.yaml"}, Store: &gateway.StoreSummary{},
		Services: []gateway.ServiceStatus{{Name: "registry", Owner: "meu", Hosts: []string{"r.example"}, Routes: []gateway.RouteStatus{
			{Name: "registry", Paths: []string{"/"}, MTLS: "required", WAF: "detect", RouteRate: middleware.RouteRate{PerSecond: 12.5, Refused: 0.5, Failed: 0.25, Mean: time.Second, Last: now, History: []float64{1, 2, 3}}},
			{Name: "closed", Paths: []string{"/x"}, Deny: true},
		}}},
	}, true
}

func (shown) Organizations() (*gateway.Organizations, error) {
	pq := 0.5
	return &gateway.Organizations{At: now, Since: now, Unknown: map[string]uint64{"unknown_ca": 3}, Organizations: []gateway.OrganizationStatus{{
		Key: "nra", Name: "Revenue " + hostile, LastSeen: now, PostQuantum: &pq, Usage: &middleware.Usage{Requests: map[string]uint64{"ok": 12345}, Refusals: map[string]uint64{"limited": 2}},
		Trust:        certs.TrustStatus{Revocation: []certs.ListStatus{{State: "stale", NextUpdate: now}}},
		Certificates: []certs.SeenCertificate{{Serial: "abc", NotAfter: now.Add(time.Hour)}},
	}}}, nil
}

func (shown) Calendar(time.Time) []certs.Due {
	return []certs.Due{{Kind: "crl", Name: "nra", Bad: true}, {Kind: "server", Name: "server.pem", Text: hostile, Ends: now.Add(10 * 24 * time.Hour)}, {Kind: "agreement", Name: "nra", Ends: now.Add(1000 * 24 * time.Hour)}}
}

func (shown) LimitsInUse() ([]gateway.LimitStatus, []limit.PolicyStats) {
	return []gateway.LimitStatus{{Policy: "nra:rate", Caller: "nra", Ratio: 0.95}, {Policy: "all", Caller: "_all", Ratio: 0.1}}, []limit.PolicyStats{{Name: "per address", Networks: 7}}
}

func (shown) Upstreams() []proxy.PoolStatus {
	return []proxy.PoolStatus{{Name: "registry", Configured: []string{"http://10.0.0.1:80"}, Servers: []proxy.ServerStatus{{URL: "http://10.0.0.1:80", Address: "10.0.0.1:80", State: "failing"}}}, {Name: "empty"}}
}

func (shown) Refusals(f gateway.RefusalFilter, most int) []*middleware.Incident {
	i := shown{}.Incident(map[bool]string{false: number1, true: number2}[f.Detected]).Incident
	if f.Organization != "" && f.Organization != i.Organization {
		return nil
	}
	return []*middleware.Incident{i}
}

func (shown) Incident(id string) *gateway.IncidentReport {
	if id == number2 { // let through
		r := shown{}.Incident(number1)
		r.ID, r.Detected, r.Answered = number2, true, 200
		return r
	}
	if id != number1 {
		return nil
	}
	return &gateway.IncidentReport{
		Incident: &middleware.Incident{
			ID: id, Time: now, Status: 403, By: "waf", Reason: "inspection_blocked", Organization: "nra", OrgName: "Revenue", Network: "192.0.2.0/24", Method: "GET", Host: "r.example", Path: "/" + hostile, Service: "registry", Route: "registry",
			Inspection: &middleware.Inspection{Mode: "block", Score: 5, Category: "xss", Matches: []waf.Match{{Rule: 941100, Where: "ARGS:" + hostile, Part: hostile, Message: hostile}}},
			Decided:    []middleware.Deciding{{Key: "waf.mode", Value: "block", File: "vazel.yaml", Line: 7, From: "defaults"}, {Key: "limits.max_uri", From: "built in"}},
		},
		Rules: []gateway.RuleWords{{Rule: 941100, Bilingual: gateway.Bilingual{English: "a script", Bulgarian: "скрипт"}}}, Advice: gateway.Bilingual{English: "change", Bulgarian: "промяна"}, Exclusion: "waf: " + hostile,
	}
}

func ask(t *testing.T, target, language string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.Header.Set("Accept-Language", language)
	w := httptest.NewRecorder()
	New(shown{}).ServeHTTP(w, r)
	return w
}

// TestPages: every page says what it is for, in both languages, and what clients
// wrote is text on it.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		target string
		status int
		want   map[string][]string // by language
	}{
		{"/", 200, map[string][]string{
			"en": {"<h1>Services</h1>", "The last configuration was refused", "No server of this service answers", "A revocation list is missing or stale", "inspection: detect", "12.5/s", "<polyline"},
			"bg": {"<h1>Услуги</h1>", "Последната конфигурация е отказана", "проверка: наблюдава", "12,5/с"},
		}},
		{"/organizations", 200, map[string][]string{"en": {"Revenue", "12\u202f345", "stale", "unknown_ca"}, "bg": {"остарял", "Последно видяна"}}},
		{"/calendar", 200, map[string][]string{"en": {"Within a month", "server.pem", "nothing is there", "Agreement"}, "bg": {"До месец", "Споразумение"}}},
		{"/calendar?organization=nobody", 200, map[string][]string{"en": {"Only of nobody."}, "bg": {"Само за nobody."}}},
		{"/limits", 200, map[string][]string{"en": {"nra:rate", "95 %", "all callers together", "per address"}, "bg": {"всички повикващи заедно"}}},
		{"/upstreams", 200, map[string][]string{"en": {"10.0.0.1:80", "fails its health check", "No server was found yet."}, "bg": {"не минава проверката"}}},
		{"/refusals", 200, map[string][]string{"en": {"/incident?id=" + number1, "192.0.2.0/24", "403"}, "bg": {"<h1>Откази</h1>"}}},
		{"/refusals?mode=detect", 200, map[string][]string{"en": {"/incident?id=" + number2, `value="detect" selected`}, "bg": {"щяха да бъдат отказани"}}},
		{"/refusals?mode=detect&organization=sofia", 200, map[string][]string{"en": {"Nothing would have been refused."}, "bg": {"Нищо не би било отказано."}}},
		{"/refusals?organization=sofia", 200, map[string][]string{"en": {"Nothing was refused."}, "bg": {"Няма откази."}}},
		{"/incident", 200, map[string][]string{"en": {"How to get a number"}, "bg": {"Откъде идва номерът"}}},
		{"/incident?id=+incident+" + strings.ToUpper(number1) + ".", 200, map[string][]string{
			"en": {"Refused with 403", "vazel.yaml:7", "a script", "941100", "change", "built in"}, "bg": {"скрипт", "промяна", "Кой ред реши"},
		}},
		{"/incident?id=" + number2, 200, map[string][]string{"en": {"Would be refused with 403", "let through in mode detect, and answered with 200", "Let through: the policy only detects", "Detected by", "a script", "vazel.yaml:7"}, "bg": {"Щеше да бъде отказана с код 403", "Засечена от"}}},
		{"/incident?id=" + strings.Repeat("0", 32), 404, map[string][]string{"en": {"not known here"}, "bg": {"не е известен"}}},
		{"/incident?id=%22%3E%3Cscript%3E", 400, map[string][]string{"en": {"no incident number"}, "bg": {"няма номер"}}},
	} {
		for lang, words := range tt.want {
			w := ask(t, tt.target, lang)
			body := w.Body.String()
			if w.Code != tt.status || w.Header().Get("Content-Language") != lang || !strings.Contains(body, `<html lang="`+lang+`">`) {
				t.Errorf("%s %s: got %d %s", tt.target, lang, w.Code, w.Header())
			}
			for _, want := range words {
				if !strings.Contains(body, want) {
					t.Errorf("%s %s: %q is not in\n%s", tt.target, lang, want, body)
				}
			}
			if strings.Contains(body, "<script>") || strings.Contains(body, "style=") || strings.Contains(body, "ZgotmplZ") || strings.Contains(body, "%!") {
				t.Errorf("%s %s: markup of others, or what the policy stops, in\n%s", tt.target, lang, body)
			}
			if w.Header().Get("Content-Security-Policy") != Policy {
				t.Errorf("%s: policy %q", tt.target, w.Header().Get("Content-Security-Policy"))
			}
		}
	}
}

// TestLanguageSwitch: the switch is one click, and stays.
func TestLanguageSwitch(t *testing.T) {
	t.Parallel()
	w := ask(t, "/refusals?reason=x", "en")
	if !strings.Contains(w.Body.String(), `href="/refusals?lang=bg&amp;reason=x"`) {
		t.Errorf("no switch in\n%s", w.Body)
	}
	w = ask(t, "/refusals?lang=bg", "en")
	cookies := w.Result().Cookies()
	if w.Header().Get("Content-Language") != "bg" || len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("got %v", w.Header())
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(cookies[0])
	r.Header.Set("Accept-Language", "en")
	w = httptest.NewRecorder()
	New(shown{}).ServeHTTP(w, r)
	if w.Header().Get("Content-Language") != "bg" {
		t.Error("the language did not stay")
	}
}

// TestTranslations: whatever the pages say in English, they say in Bulgarian.
func TestTranslations(t *testing.T) {
	t.Parallel()
	files, err := pages.ReadDir("pages")
	if err != nil {
		t.Fatal(err)
	}
	said := regexp.MustCompile(`\{\{[^}]*?\btf? "([^"]+)"`)
	n := 0
	for _, f := range files {
		b, err := pages.ReadFile("pages/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said.FindAllStringSubmatch(string(b), -1) {
			n++
			if inBulgarian[m[1]] == "" {
				t.Errorf("%s: %q is not translated", f.Name(), m[1])
			}
		}
	}
	for key := range inEnglish {
		if inBulgarian[key] == "" {
			t.Errorf("%q is not translated", key)
		}
	}
	if n < 80 {
		t.Errorf("only %d texts were found", n)
	}
}

// TestNothingChanges: the console only shows.
func TestNothingChanges(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		for _, p := range New(shown{}).all() {
			r := httptest.NewRequest(method, strings.TrimSuffix(p.path, "{$}"), nil)
			w := httptest.NewRecorder()
			New(shown{}).ServeHTTP(w, r)
			if w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: got %d, want 405", method, p.path, w.Code)
			}
		}
	}
}
