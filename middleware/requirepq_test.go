package middleware

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRequirePQ(t *testing.T) {
	t.Parallel()
	callers := map[string]Caller{"nra": {Key: "nra", RequirePQ: true}, "gccc": {Key: "gccc"}}
	hybrid, classic := &tls.ConnectionState{CurveID: tls.X25519MLKEM768}, &tls.ConnectionState{CurveID: tls.X25519}
	for _, c := range []struct {
		name    string
		all     bool
		org     string
		state   *tls.ConnectionState
		refused bool
	}{
		{"service, hybrid", true, "", hybrid, false},
		{"service, classic", true, "", classic, true},
		{"service, classic, organization without the demand", true, "gccc", classic, true},
		{"service, without TLS", true, "", nil, true},
		{"organization, hybrid", false, "nra", hybrid, false},
		{"organization, classic", false, "nra", classic, true},
		{"another organization, classic", false, "gccc", classic, false},
		{"nobody, classic", false, "", classic, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t)
			f, err := buildRequirePQ(c.all, Env{Callers: callers, Metrics: w.metrics})
			if err != nil {
				t.Fatal(err)
			}
			rec := &Record{Listener: ":443", Organization: c.org}
			r := httptest.NewRequest("GET", "/", nil)
			r.TLS = c.state
			res := httptest.NewRecorder()
			f(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(res, r.WithContext(WithRecord(r.Context(), rec)))
			if c.refused != (res.Code == 403) || c.refused != (rec.Denial != nil) {
				t.Fatalf("status %d, denial %+v", res.Code, rec.Denial)
			}
			if !c.refused {
				return
			}
			if b := res.Body.String(); rec.Denial.Reason != "pq_required" || rec.Denial.By != "require_pq" || !strings.Contains(b, `"key_exchange"`) {
				t.Errorf("denial %+v: %s", rec.Denial, b)
			}
			want := 0
			if c.org != "" {
				want = 1
			}
			if got := testutil.CollectAndCount(w.metrics.mtlsRejections); got != want {
				t.Errorf("%d series of vazel_mtls_rejections_total, want %d", got, want)
			}
		})
	}
	if f, err := buildRequirePQ(false, Env{Callers: map[string]Caller{"gccc": {Key: "gccc"}}}); f != nil || err != nil {
		t.Errorf("got a policy that nobody asked for: %v", err)
	}
}
