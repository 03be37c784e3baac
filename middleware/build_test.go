package middleware

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
)

// parsed is what a text means as T.
func parsed[T any, P interface {
	*T
	UnmarshalText([]byte) error
}](t testing.TB, s string) (v T) {
	t.Helper()
	if err := P(&v).UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return v
}

// testEnv lends real engines to a chain.
func testEnv(t testing.TB) Env {
	t.Helper()
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	engines, err := NewEngines(EnginesOptions{Log: zap.NewNop(), Registerer: reg, Metrics: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(engines.Close)
	return Env{
		Service: "parcels", Route: "parcels", RateLimitScope: "parcels",
		Callers: map[string]Caller{"nra": {Key: "nra"}, "gccc": {Key: "gccc"}},
		Log:     zap.NewNop(), Metrics: m, Engines: engines,
	}
}

// Without any setting a request still is counted against overload, and passes.
func TestBuildOfNothing(t *testing.T) {
	t.Parallel()
	f, err := new(Chain).Build(testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	reached := false
	r := httptest.NewRequest("GET", "/", nil)
	f(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true })).ServeHTTP(httptest.NewRecorder(), r.WithContext(WithRecord(r.Context(), &Record{})))
	if !reached {
		t.Error("a request did not pass an empty chain")
	}
}

func TestBuildNamesThePolicy(t *testing.T) {
	t.Parallel()
	for key, c := range map[string]Chain{
		"cors":     {CORS: &CORS{Origins: []string{"not an origin"}}},
		"headers":  {Headers: &Headers{Request: HeaderChange{Set: map[string]string{"X-Organization": "nra"}}}},
		"compress": {Compress: unit.List{"lzw"}},
		"audit":    {Audit: "sometimes"},
	} {
		if _, err := c.Build(testEnv(t)); err == nil || !strings.HasPrefix(err.Error(), key+": ") {
			t.Errorf("error = %v, want one that begins with %s", err, key)
		}
	}
}

// The order of the policies, by what a request is told that offends several.
func TestBuildOrder(t *testing.T) {
	t.Parallel()
	chain := Chain{
		Allow: unit.List{"nra"}, Methods: unit.List{"GET", "POST"}, CORS: &CORS{Origins: []string{"https://portal.example"}},
		RateLimit: RateLimits{{Rate: parsed[unit.Rate](t, "1/h"), Burst: 1, Per: "organization"}}, MaxBody: parsed[unit.Size](t, "10B"),
	}
	f, err := chain.Build(testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	reached := 0
	h := f(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	ask := func(organization, method string, body string, header ...string) int {
		r := httptest.NewRequest(method, "/", strings.NewReader(body))
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		rec := &Record{Organization: organization, Client: netip.MustParseAddr("192.0.2.1"), Identity: certs.Identity{Organization: organization}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(WithRecord(r.Context(), rec)))
		return w.Code
	}
	long := strings.Repeat("x", 100)
	for i, step := range []struct {
		name      string
		got, want int
	}{
		{"a preflight carries no certificate", ask("", "OPTIONS", "", "Origin", "https://portal.example", "Access-Control-Request-Method", "GET"), 204},
		{"who calls comes before how", ask("", "DELETE", long), 401},
		{"who calls comes before how often", ask("gccc", "GET", ""), 403},
		{"how comes before how often", ask("nra", "DELETE", ""), 405},
		{"none of these used up the limit, but a body that is too large does", ask("nra", "POST", long), 413},
		{"how often comes before how much", ask("nra", "POST", long), 429},
		{"identity is never 429", ask("", "GET", ""), 401},
	} {
		if step.got != step.want {
			t.Errorf("step %d, %s: %d, want %d", i, step.name, step.got, step.want)
		}
	}
	if reached != 0 {
		t.Errorf("%d requests reached the service", reached)
	}
}
