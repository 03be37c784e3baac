package middleware

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/vazel-gateway/vazel/middleware/tracing"
)

// collectSpans has w trace into a collector. The returned function ends that and
// returns the spans.
func collectSpans(t testing.TB, w *watched, share float64) func() []*otlp.Span {
	t.Helper()
	got := make(chan []byte, 1024)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- b
	}))
	t.Cleanup(s.Close)
	m := tracing.New(tracing.Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry()})
	tr, err := m.Build(&tracing.Settings{OTLP: s.URL, Sample: tracing.Ratio{Share: share, Set: true}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Trace(tr)
	return func() (spans []*otlp.Span) {
		m.Close(w.Trace(nil))
		for len(got) > 0 {
			var e collector.ExportTraceServiceRequest
			if err := proto.Unmarshal(<-got, &e); err != nil {
				t.Fatal(err)
			}
			for _, r := range e.ResourceSpans {
				for _, s := range r.ScopeSpans {
					spans = append(spans, s.Spans...)
				}
			}
		}
		return spans
	}
}

// TestSampling: a trusted peer decides for its requests; what anybody else says
// decides nothing, and is linked.
func TestSampling(t *testing.T) {
	t.Parallel()
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, c := range []struct {
		name    string
		share   float64
		flags   string
		trusted bool
		sampled bool
		taken   bool
	}{
		{"trusted, sampled", 0, "01", true, true, true},
		{"trusted, not sampled", 1, "00", true, false, true},
		{"a client's wish", 0, "01", false, false, false},
		{"a client's refusal", 1, "00", false, true, false},
		{"nobody's wish", 0, "", false, false, false},
		{"everything", 1, "", true, true, false},
	} {
		w := newWatched(t)
		spans := collectSpans(t, w, c.share)
		h := w.handler(func(rw http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			if sampled := rec.TraceFlags&1 == 1; sampled != c.sampled || sampled != (rec.UpstreamSpanID != "") {
				t.Errorf("%s: sampled = %v with span %q of the upstream, want %v", c.name, sampled, rec.UpstreamSpanID, c.sampled)
			}
			rec.Upstream, rec.UpstreamStart = "registry", time.Now()
		})
		r := httptest.NewRequest("GET", "/", nil)
		if c.flags != "" {
			r.Header.Set("Traceparent", "00-"+trace+"-"+parent+"-"+c.flags)
		}
		h.ServeHTTP(httptest.NewRecorder(), r.WithContext(WithConn(t.Context(), &Conn{Protocol: "h2", Trusted: c.trusted, Peer: netip.MustParseAddrPort("127.0.0.1:1")})))
		rec := <-w.records
		got := spans()
		if want := map[bool]int{true: 2}[c.sampled]; len(got) != want {
			t.Errorf("%s: %d spans, want %d", c.name, len(got), want)
		}
		for _, s := range got {
			switch id := hex.EncodeToString(s.TraceId); {
			case id != rec.TraceID, (id == trace) != c.taken:
				t.Errorf("%s: trace %s", c.name, id)
			case s.Kind == otlp.Span_SPAN_KIND_SERVER && (hex.EncodeToString(s.ParentSpanId) == parent) != c.taken:
				t.Errorf("%s: parent %x", c.name, s.ParentSpanId)
			case s.Kind == otlp.Span_SPAN_KIND_SERVER:
				linked := len(s.Links) == 1 && hex.EncodeToString(s.Links[0].TraceId) == trace && hex.EncodeToString(s.Links[0].SpanId) == parent
				if linked != (c.flags != "" && !c.trusted) {
					t.Errorf("%s: links %v", c.name, s.Links)
				}
			}
		}
	}
}

// TestSpanIsMasked: a span holds no more of a client than the access log.
func TestSpanIsMasked(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	spans := collectSpans(t, w, 1)
	for _, s := range []string{"7523169263", "%37523169263", "a@example.bg", "\xff7523169263"} {
		w.handler(func(rw http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			rec.Host, rec.Path, rec.Client = s, "/"+s, netip.MustParseAddr("203.0.113.77")
			Deny(rw, r, 403, Denial{By: "allow", Reason: "expired", Detail: s})
		}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		<-w.records
	}
	got := spans()
	if len(got) != 4 {
		t.Errorf("%d spans, want 4", len(got))
	}
	for _, span := range got {
		for _, a := range span.Attributes {
			v := a.Value.GetStringValue()
			noEGN(t, a.Key, v)
			if strings.Contains(v, "example.bg") || a.Key == "client.address" && v != "203.0.113.0" {
				t.Errorf("%s = %q", a.Key, v)
			}
		}
	}
}

// BenchmarkTraced is what a request pays for its trace.
func BenchmarkTraced(b *testing.B) {
	w := newWatched(b)
	stop := collectSpans(b, w, 1)
	tr := w.Tracer()
	b.Run("not sampled", func(b *testing.B) {
		rec := &Record{ParentID: "b7ad6b7169203331"}
		b.ReportAllocs()
		for b.Loop() {
			sample(rec, tr)
		}
	})
	b.Run("sampled", func(b *testing.B) {
		rec, r := loggedRequests()["allowed"], httptest.NewRequest("GET", "/", nil)
		rec.UpstreamSpanID, rec.UpstreamStart = "b7ad6b7169203331", rec.Start
		b.ReportAllocs()
		for b.Loop() {
			span := traced(rec, r)
			tr.Trace(&span)
		}
	})
	b.StopTimer()
	stop()
}

// TestExemplar: a scrape tells the trace of one request a second.
func TestExemplar(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	h := w.handler(func(rw http.ResponseWriter, r *http.Request) { RecordOf(r.Context()).Route = "registry" })
	for range 3 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}
	rec := <-w.records
	families, err := w.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "vazel_http_request_duration_seconds" {
			continue
		}
		for _, b := range f.Metric[0].Histogram.Bucket {
			if e := b.Exemplar; e != nil && e.Label[0].GetName() == "trace_id" && e.Label[0].GetValue() == rec.TraceID {
				return
			}
		}
	}
	t.Error("no exemplar of the first request")
}
