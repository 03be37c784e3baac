package middleware

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestMetricsAreWellNamed(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg)
	fill(m)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// fill makes one series of everything.
func fill(m *Metrics) {
	m.begin(":443").Dec()
	m.done(&Record{Listener: ":443", Protocol: "h2", Route: "parcels", Method: "GET", Status: 200, Organization: "nra", BytesIn: 1, BytesOut: 2, Duration: time.Millisecond})
	m.Rejected(":443", "unknown_host")
	m.MTLSRejected(":443", "", "unknown_ca")
	m.ConnectionOpened(":443", "tcp")()
	m.ConnectionRejected(":443", "per_ip_limit")
	m.Handshake(":443", "tcp", &tls.ConnectionState{Version: tls.VersionTLS13, CurveID: tls.X25519MLKEM768}, time.Millisecond)
	m.HandshakeError(":443", "timeout")
	m.Panicked("request")
	m.QUICEvent(":443", "retry_sent")
	m.OrganizationHandshake("nra", &tls.ConnectionState{CurveID: tls.X25519})
	m.logDropped.WithLabelValues("access").Inc()
	m.limitDecisions.WithLabelValues("parcels", "allowed").Inc()
	m.limited.WithLabelValues("parcels", "nra").Inc()
}

func TestMetricsOfARequest(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	m := NewMetrics(reg)
	fill(m)
	m.done(&Record{Listener: ":443", Protocol: "h1", Method: "BREW", Status: 700})
	m.done(&Record{Listener: ":443", Protocol: "h1", Method: "GET", Route: "parcels", Status: 429, Denial: &Denial{By: "rate_limit"}, Organization: "nra", Start: time.Unix(9, 0)})
	want := `
# HELP vazel_http_request_bytes_total Bytes of request bodies.
# TYPE vazel_http_request_bytes_total counter
vazel_http_request_bytes_total{route="_unknown"} 0
vazel_http_request_bytes_total{route="parcels"} 1
# HELP vazel_http_requests_total Completed requests. Code 499: the client left before its answer.
# TYPE vazel_http_requests_total counter
vazel_http_requests_total{code="200",listener=":443",method="GET",protocol="h2",route="parcels"} 1
vazel_http_requests_total{code="429",listener=":443",method="GET",protocol="h1",route="parcels"} 1
vazel_http_requests_total{code="_other",listener=":443",method="_other",protocol="h1",route="_unknown"} 1
# HELP vazel_mtls_rejections_total Requests refused for their client certificate. Organization: the one that the certificate names if it is configured, else _unknown.
# TYPE vazel_mtls_rejections_total counter
vazel_mtls_rejections_total{listener=":443",organization="_unknown",reason="unknown_ca"} 1
# HELP vazel_organization_requests_total Requests by organization; _anonymous proved none. Outcome: ok, client_error, server_error, unauthorized, limited, blocked.
# TYPE vazel_organization_requests_total counter
vazel_organization_requests_total{organization="_anonymous",outcome="server_error",route="_unknown"} 1
vazel_organization_requests_total{organization="nra",outcome="limited",route="parcels"} 1
vazel_organization_requests_total{organization="nra",outcome="ok",route="parcels"} 1
# HELP vazel_tls_handshakes_total Completed TLS handshakes.
# TYPE vazel_tls_handshakes_total counter
vazel_tls_handshakes_total{group="X25519MLKEM768",listener=":443",resumed="false",version="TLS 1.3"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "vazel_http_request_bytes_total", "vazel_http_requests_total",
		"vazel_mtls_rejections_total", "vazel_organization_requests_total", "vazel_tls_handshakes_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(m.orgLast); n != 1 { // only successful requests, only of organizations
		t.Errorf("%d series of the last request, want 1", n)
	}
}

// However many label sets there are, a metric stays within its bound, and no
// observation is lost.
func TestMetricsOverflow(t *testing.T) {
	t.Parallel()
	m := NewMetrics(prometheus.NewPedanticRegistry())
	const n = maxSets + 50
	var wg sync.WaitGroup
	for part := range 2 {
		wg.Go(func() {
			for i := part; i < n; i += 2 {
				m.MTLSRejected(":443", fmt.Sprint(i), "expired")
			}
		})
	}
	wg.Wait()
	if got := testutil.CollectAndCount(m.mtlsRejections); got != maxSets+1 {
		t.Errorf("%d series of rejections, want %d", got, maxSets+1)
	}
	if got := testutil.ToFloat64(m.mtlsRejections.WithLabelValues("_overflow", "_overflow", "_overflow")); got != 50 {
		t.Errorf("%v rejections in overflow, want 50", got)
	}
	if got := testutil.ToFloat64(m.overflow.WithLabelValues("vazel_mtls_rejections_total")); got != 50 {
		t.Errorf("vazel_metric_overflow_total = %v, want 50", got)
	}
}

// All that clients can vary at once, by everybody on every route: all metrics
// together stay within their bound, which grows only with the configuration.
func TestMetricsTogether(t *testing.T) {
	t.Parallel()
	for _, size := range []int{1, 3} {
		reg := prometheus.NewPedanticRegistry()
		m := NewMetrics(reg)
		m.Fit(100*size, 60*size)
		sent := 0
		for route := range 100 * size {
			for i := range 400 {
				sent++
				m.done(&Record{Listener: ":443", Protocol: []string{"h1", "h2", "h3"}[i%3], Method: fmt.Sprint([]string{"GET", "POST", "PUT", "X"}[i%4], i), Status: 200 + i,
					Route: fmt.Sprint(route), Organization: fmt.Sprint(i % (60 * size)), Start: time.Now()})
			}
		}
		lines := 0
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		counted := 0.0
		for _, f := range families {
			for _, s := range f.Metric {
				lines++
				if h := s.GetHistogram(); h != nil {
					lines += len(h.Bucket) + 2
				}
				if f.GetName() == "vazel_http_requests_total" {
					counted += s.GetCounter().GetValue()
				}
			}
		}
		if most := maxSeries*size + 200; lines > most || lines < maxSeries*size/2 {
			t.Errorf("size %d: %d series, want at most %d", size, lines, most)
		}
		if int(counted) != sent {
			t.Errorf("size %d: %v of %d requests counted", size, counted, sent)
		}
	}
}

// What a route sees often is found another way than what it sees now and then: both
// are counted as what they are.
func TestUsualRequests(t *testing.T) {
	t.Parallel()
	m := NewMetrics(prometheus.NewPedanticRegistry())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 200 {
				m.done(&Record{Listener: ":443", Protocol: "h2", Method: []string{"GET", "POST"}[i%2], Route: "parcels", Organization: fmt.Sprint("o", i%10), Status: 200 + i%2, Start: time.Unix(9, 0)})
			}
		})
	}
	wg.Wait()
	for i := range 10 {
		if got := testutil.ToFloat64(m.orgRequests.WithLabelValues(fmt.Sprint("o", i), "parcels", "ok")); got != 80 {
			t.Errorf("o%d: %v requests, want 80", i, got)
		}
	}
	for i, method := range []string{"GET", "POST"} {
		if got := testutil.ToFloat64(m.requests.WithLabelValues(":443", "parcels", method, fmt.Sprint(200+i), "h2")); got != 400 {
			t.Errorf("%s: %v requests, want 400", method, got)
		}
	}
	if n := testutil.CollectAndCount(m.requests) + testutil.CollectAndCount(m.orgRequests); n != 12 {
		t.Errorf("%d series, want 12", n)
	}
}

func BenchmarkMetricsOfARequest(b *testing.B) {
	m := NewMetrics(prometheus.NewRegistry())
	rec := &Record{Listener: ":443", Protocol: "h2", Route: "parcels", Method: "GET", Status: 200, Organization: "nra", BytesOut: 1000, Duration: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.done(rec)
	}
}
