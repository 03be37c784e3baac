package middleware

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vazel-gateway/vazel/certs"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	callers := map[string]Caller{"nra": {Key: "nra"}, "gccc": {Key: "gccc"}}
	for _, c := range []struct {
		name     string
		allow    []string
		identity certs.Identity
		proven   string
		status   int
		reason   string
		label    string // of vazel_mtls_rejections_total
	}{
		{"allowed", []string{"nra"}, certs.Identity{Organization: "nra"}, "nra", 200, "", ""},
		{"everybody who is configured", []string{"*"}, certs.Identity{Organization: "gccc"}, "gccc", 200, "", ""},
		{"proven, but not allowed", []string{"nra"}, certs.Identity{Organization: "gccc"}, "gccc", 403, "not_allowed", "gccc"},
		{"proven by a former configuration", []string{"*"}, certs.Identity{Organization: "gone"}, "gone", 403, "not_allowed", "gone"},
		{"no certificate", []string{"*"}, certs.Identity{Reason: certs.NoClientCert}, "", 401, "no_client_cert", "_unknown"},
		{"nobody asked for a certificate", []string{"nra"}, certs.Identity{}, "", 401, "no_client_cert", "_unknown"},
		{"unknown authority", []string{"nra"}, certs.Identity{Reason: certs.UnknownCA}, "", 403, "unknown_ca", "_unknown"},
		{"expired", []string{"nra"}, certs.Identity{Reason: certs.Expired, Claimed: "nra"}, "", 403, "expired", "nra"},
		{"revoked", []string{"nra"}, certs.Identity{Reason: certs.Revoked, Claimed: "nra"}, "", 403, "revoked", "nra"},
		{"an identity with a reason proves nothing", []string{"nra"}, certs.Identity{Organization: "nra", Claimed: "nra", Reason: certs.AgreementExpired}, "", 403, "agreement_expired", "nra"},
		{"a star is nobody's key", []string{"*"}, certs.Identity{Organization: "*"}, "*", 403, "not_allowed", "*"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t)
			f, err := buildAllow(c.allow, Env{Callers: callers, Metrics: w.metrics})
			if err != nil {
				t.Fatal(err)
			}
			rec := &Record{Listener: ":443", Identity: c.identity, Organization: c.proven}
			r := httptest.NewRequest("GET", "/", nil)
			res := httptest.NewRecorder()
			f(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(res, r.WithContext(WithRecord(r.Context(), rec)))
			if res.Code != c.status {
				t.Errorf("status = %d, want %d", res.Code, c.status)
			}
			if c.reason == "" {
				if rec.Denial != nil || testutil.CollectAndCount(w.metrics.mtlsRejections) != 0 {
					t.Errorf("denial = %+v, and counted", rec.Denial)
				}
				return
			}
			if rec.Denial == nil || rec.Denial.Reason != c.reason || rec.Denial.By != "allow" {
				t.Errorf("denial = %+v, want reason %s", rec.Denial, c.reason)
			}
			if got := testutil.ToFloat64(w.metrics.mtlsRejections.WithLabelValues(":443", c.label, c.reason)); got != 1 {
				t.Errorf("vazel_mtls_rejections_total = %v, want 1", got)
			}
			if res.Header().Get("Www-Authenticate") != "" {
				t.Error("no scheme of HTTP authentication is registered for TLS certificates")
			}
		})
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	f, err := buildMethods([]string{"GET", "HEAD"}, Env{})
	if err != nil {
		t.Fatal(err)
	}
	h := f(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for method, want := range map[string]int{"GET": 200, "HEAD": 200, "POST": 405, "get": 405, "TRACE": 405} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method = method
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: status = %d, want %d", method, w.Code, want)
		}
		if want == 405 && w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow = %q", method, w.Header().Get("Allow"))
		}
	}
}
