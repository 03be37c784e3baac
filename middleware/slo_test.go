package middleware

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestSLO sends requests through a chain with a promise and looks how they were
// counted.
func TestSLO(t *testing.T) {
	t.Parallel()
	const wfs = `<?xml version="1.0"?><wfs:GetFeature xmlns:wfs="http://www.opengis.net/wfs/2.0" service="WFS"/>`
	const soap = `<soap:Envelope xmlns:soap="x"><soap:Body><w:DescribeFeatureType service="WFS"/></soap:Body></soap:Envelope>`
	for _, c := range []struct {
		name    string
		slo     SLO
		method  string
		target  string
		body    string
		first   time.Duration // until the response begins
		rest    time.Duration // and until it ends
		status  int
		bytes   int
		deny    string
		counted string // operation result
	}{
		{"registry", SLO{Profile: "registry"}, "GET", "/", "", 900 * time.Millisecond, 5 * time.Second, 200, 1, "", "all ok"},
		{"registry, slow", SLO{Profile: "registry"}, "GET", "/", "", 1100 * time.Millisecond, 0, 200, 1, "", "all slow"},
		{"registry, error", SLO{Profile: "registry"}, "GET", "/", "", 0, 0, 502, 0, "", "all error"},
		{"registry, the client's mistake", SLO{Profile: "registry"}, "GET", "/", "", 0, 0, 404, 0, "", ""},
		{"registry, refused", SLO{Profile: "registry"}, "GET", "/", "", 0, 0, 403, 0, "waf", ""},
		{"registry, overload", SLO{Profile: "registry"}, "GET", "/", "", 0, 0, 503, 0, "priority", "all error"},
		{"registry, maintenance", SLO{Profile: "registry"}, "GET", "/", "", 0, 0, 503, 0, "maintenance", "all maintenance"},
		{"own numbers", SLO{FirstByte: unit.Duration(2 * time.Second)}, "GET", "/", "", 1900 * time.Millisecond, 0, 200, 1, "", "all ok"},
		{"a profile with a number replaced", SLO{Profile: "registry", FirstByte: unit.Duration(2 * time.Second)}, "GET", "/", "", 1900 * time.Millisecond, 0, 200, 1, "", "all ok"},
		{"discovery", SLO{Profile: "inspire-discovery"}, "GET", "/csw?REQUEST=GetRecords", "", 2900 * time.Millisecond, 0, 200, 1, "", "all ok"},
		{"discovery, slow", SLO{Profile: "inspire-discovery"}, "GET", "/csw?REQUEST=GetRecords", "", 3100 * time.Millisecond, 0, 200, 1, "", "all slow"},
		{"map", SLO{Profile: "inspire-view"}, "GET", "/wms?SERVICE=WMS&Request=getmap", "", 4900 * time.Millisecond, 0, 200, 1, "", "map ok"},
		{"map, slow", SLO{Profile: "inspire-view"}, "GET", "/wms?service=WMS&request=GetMap", "", 5100 * time.Millisecond, 0, 200, 1, "", "map slow"},
		{"capabilities of maps have no time", SLO{Profile: "inspire-view"}, "GET", "/wms?request=GetCapabilities", "", time.Minute, 0, 200, 1, "", "other ok"},
		{"capabilities of a download", SLO{Profile: "inspire-download"}, "GET", "/wfs?request=GetCapabilities", "", 11 * time.Second, 0, 200, 1, "", "metadata slow"},
		{"data", SLO{Profile: "inspire-download"}, "GET", "/wfs?request=GetFeature", "", 11 * time.Second, 0, 200, 1, "", "data ok"},
		{"data by POST", SLO{Profile: "inspire-download"}, "POST", "/wfs", wfs, 31 * time.Second, 0, 200, 1, "", "data slow"},
		{"description by SOAP", SLO{Profile: "inspire-download"}, "POST", "/wfs", soap, 9 * time.Second, 0, 200, 1, "", "metadata ok"},
		{"a file", SLO{Profile: "inspire-download"}, "GET", "/parcels.gml", "", time.Second, time.Second, 200, 2 << 20, "", "data ok"},
		{"a file, slowly", SLO{Profile: "inspire-download"}, "GET", "/parcels.gml", "", time.Second, 5 * time.Second, 200, 2 << 20, "", "data slow"},
		{"a small one, slowly", SLO{Profile: "inspire-download"}, "GET", "/parcels.gml", "", time.Second, 5 * time.Second, 200, 1000, "", "data ok"},
		{"another operation", SLO{Profile: "inspire-download"}, "GET", "/wfs?request=Transaction", "", time.Minute, 0, 200, 1, "", "other ok"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := NewMetrics(prometheus.NewRegistry())
				env := Env{Service: "parcels", Metrics: m}
				outer, err := buildSLO(&c.slo, env)
				if err != nil {
					t.Fatal(err)
				}
				inner, err := buildOperation(&c.slo, env)
				if err != nil {
					t.Fatal(err)
				}
				var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if b, err := io.ReadAll(r.Body); err != nil || string(b) != c.body {
						t.Errorf("body %q, %v, want %q", b, err, c.body)
					}
					time.Sleep(c.first)
					if c.deny != "" {
						Deny(w, r, c.status, Denial{By: c.deny, Reason: "x"})
						return
					}
					w.WriteHeader(c.status)
					time.Sleep(c.rest)
					w.Write(make([]byte, c.bytes))
				})
				if inner != nil {
					h = inner(h)
				}
				h = outer(h)
				o := NewObserver(ObserverOptions{Metrics: m, Log: zap.NewNop()})
				o.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					RecordOf(r.Context()).Service = "parcels"
					h.ServeHTTP(w, r)
				})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, c.target, strings.NewReader(c.body)))
				if operation, result, _ := strings.Cut(c.counted, " "); result != "" {
					profile := c.slo.Profile
					if profile == "" {
						profile = "own"
					}
					if got := testutil.ToFloat64(m.slo.WithLabelValues("parcels", profile, operation, result)); got != 1 {
						t.Errorf("not counted as %s", c.counted)
					}
				}
				_, result, _ := strings.Cut(c.counted, " ")
				timed := (result == "ok" || result == "slow") && !strings.HasPrefix(c.counted, "other")
				if n, want := testutil.CollectAndCount(m.sloFirst), map[bool]int{true: 1}[timed]; n != want {
					t.Errorf("%d series of times, want %d", n, want)
				}
				if large := testutil.CollectAndCount(m.sloBytes) == 1 && testutil.ToFloat64(m.sloBytes) > 0; large != (c.bytes > sloLarge) {
					t.Errorf("counted as a large response: %v", large)
				}
				if n, want := testutil.CollectAndCount(m.slo), map[bool]int{true: 1}[c.counted != ""]; n != want {
					t.Errorf("%d series, want %d", n, want)
				}
			})
		})
	}
}

func TestObjectives(t *testing.T) {
	t.Parallel()
	for profile, want := range map[string]int{"inspire-discovery": 1, "inspire-view": 2, "inspire-download": 3, "registry": 1} {
		l, err := (&SLO{Profile: profile}).Objectives("parcels")
		if err != nil || len(l) != want {
			t.Errorf("%s: %v, %v, want %d", profile, l, err, want)
		}
	}
	for _, s := range []*SLO{{}, {Profile: "inspire"}, {Share: .5}} {
		if l, err := s.Objectives("parcels"); err == nil {
			t.Errorf("%+v promises %v", s, l)
		}
	}
	reg := prometheus.NewRegistry()
	m := NewMetrics(reg)
	l, err := (&SLO{Profile: "inspire-view", Share: .95}).Objectives("maps")
	if err != nil {
		t.Fatal(err)
	}
	m.Promise(l)
	want := `# HELP vazel_slo_objective What slo promises. Objective: first_byte_seconds, share and availability (ratios), capacity (requests a second), min_rate (bytes a second of large responses).
# TYPE vazel_slo_objective gauge
vazel_slo_objective{objective="availability",operation="map",profile="inspire-view",service="maps"} 0.99
vazel_slo_objective{objective="availability",operation="other",profile="inspire-view",service="maps"} 0.99
vazel_slo_objective{objective="capacity",operation="map",profile="inspire-view",service="maps"} 20
vazel_slo_objective{objective="first_byte_seconds",operation="map",profile="inspire-view",service="maps"} 5
vazel_slo_objective{objective="share",operation="map",profile="inspire-view",service="maps"} 0.95
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "vazel_slo_objective"); err != nil {
		t.Error(err)
	}
}
