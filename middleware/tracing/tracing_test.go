package tracing

import (
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
)

// otlpReceiver is a collector over TLS.
type otlpReceiver struct {
	*httptest.Server
	got     chan *collector.ExportTraceServiceRequest
	headers chan http.Header
	status  atomic.Int64 // what it answers
}

func newOTLPReceiver(t *testing.T) (*otlpReceiver, *Settings) {
	t.Helper()
	o := &otlpReceiver{got: make(chan *collector.ExportTraceServiceRequest, 64), headers: make(chan http.Header, 64)}
	o.status.Store(200)
	o.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		m := new(collector.ExportTraceServiceRequest)
		if err == nil {
			err = proto.Unmarshal(b, m)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		w.WriteHeader(int(o.status.Load()))
		o.headers <- r.Header
		o.got <- m
	}))
	t.Cleanup(o.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: o.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return o, &Settings{OTLP: o.URL, TLS: &certs.ClientTLS{CA: ca}}
}

func newManager() *Manager {
	return New(Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), Version: "1.2.3"})
}

func request() *Request {
	at := time.Date(2026, 10, 5, 12, 0, 0, 0, time.UTC)
	return &Request{
		TraceID: strings.Repeat("ab", 16), SpanID: strings.Repeat("cd", 8), ParentID: strings.Repeat("12", 8), Start: at, End: at.Add(time.Second),
		Method: "GET", Scheme: "https", Host: "registry.example", Path: "/v1/parcels", Protocol: "2", Client: "203.0.113.0", Status: 502, BytesOut: 7,
		Listener: ":443", Service: "registry", Route: "registry/parcels", Organization: "nra", DeniedBy: "upstream", Reason: "connect_refused",
		Upstream: UpstreamCall{SpanID: strings.Repeat("ef", 8), Name: "registry", Server: "192.0.2.7:80", Error: "connect_refused", Start: at.Add(time.Millisecond), Attempts: 2},
	}
}

func attributesOf(l []*common.KeyValue) map[string]any {
	m := map[string]any{}
	for _, a := range l {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			m[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			m[a.Key] = v.IntValue
		case *common.AnyValue_DoubleValue:
			m[a.Key] = v.DoubleValue
		}
	}
	return m
}

func TestTrace(t *testing.T) {
	t.Parallel()
	o, s := newOTLPReceiver(t)
	s.Headers = map[string]unit.Secret{"Authorization": secret("Bearer x\n")}
	m := newManager()
	tr, err := m.Build(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.Trace(request())
	m.Close(tr)
	got := <-o.got
	if h := <-o.headers; h.Get("Authorization") != "Bearer x" {
		t.Errorf("Authorization = %q", h.Get("Authorization"))
	}
	resource := attributesOf(got.ResourceSpans[0].Resource.Attributes)
	if resource["service.name"] != "vazel" || resource["service.version"] != "1.2.3" {
		t.Errorf("resource = %v", resource)
	}
	spans := map[otlp.Span_SpanKind]*otlp.Span{}
	for _, span := range got.ResourceSpans[0].ScopeSpans[0].Spans {
		spans[span.Kind] = span
		if hex.EncodeToString(span.TraceId) != strings.Repeat("ab", 16) {
			t.Errorf("trace %x", span.TraceId)
		}
	}
	server, client := spans[otlp.Span_SPAN_KIND_SERVER], spans[otlp.Span_SPAN_KIND_CLIENT]
	if server == nil || client == nil {
		t.Fatalf("spans = %v, want one of the server and one of the client", spans)
	}
	for _, c := range []struct{ what, got, want string }{
		{"name", server.Name, "GET registry/parcels"}, {"span", hex.EncodeToString(server.SpanId), strings.Repeat("cd", 8)}, {"parent", hex.EncodeToString(server.ParentSpanId), strings.Repeat("12", 8)},
		{"name of the call", client.Name, "GET"}, {"span of the call", hex.EncodeToString(client.SpanId), strings.Repeat("ef", 8)}, {"parent of the call", hex.EncodeToString(client.ParentSpanId), strings.Repeat("cd", 8)},
		{"status", server.Status.Code.String(), "STATUS_CODE_ERROR"}, {"status of the call", client.Status.Code.String(), "STATUS_CODE_ERROR"},
	} {
		if c.got != c.want {
			t.Errorf("%s = %q, want %q", c.what, c.got, c.want)
		}
	}
	if took := server.EndTimeUnixNano - server.StartTimeUnixNano; took != uint64(time.Second) {
		t.Errorf("took %d", took)
	}
	for _, c := range []struct {
		of   map[string]any
		want map[string]any
	}{
		{attributesOf(server.Attributes), map[string]any{
			"http.request.method": "GET", "url.scheme": "https", "url.path": "/v1/parcels", "server.address": "registry.example", "client.address": "203.0.113.0", "http.response.status_code": int64(502),
			"network.protocol.version": "2", "vazel.organization": "nra", "vazel.service": "registry", "vazel.route": "registry/parcels", "vazel.reason": "connect_refused", "error.type": "connect_refused",
		}},
		{attributesOf(client.Attributes), map[string]any{"server.address": "192.0.2.7", "server.port": int64(80), "error.type": "connect_refused", "http.request.resend_count": int64(1), "vazel.upstream": "registry"}},
	} {
		for key, want := range c.want {
			if c.of[key] != want {
				t.Errorf("%s = %v, want %v", key, c.of[key], want)
			}
		}
	}
	if got := testutil.ToFloat64(m.exported); got != 2 {
		t.Errorf("%v spans exported, want 2", got)
	}
}

func secret(value string) (s unit.Secret) {
	s.Resolve(value)
	return s
}

// TestCollectorRefuses loses spans, and says so, without waiting for anybody.
func TestCollectorRefuses(t *testing.T) {
	t.Parallel()
	o, s := newOTLPReceiver(t)
	o.status.Store(400)
	m := newManager()
	tr, err := m.Build(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	tr.Trace(request())
	m.Close(tr)
	if got := testutil.ToFloat64(m.failed); got != 2 {
		t.Errorf("%v spans failed, want 2", got)
	}
}

// TestQueueIsBounded has a collector that answers nobody.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }))
	defer s.Close()
	defer close(hold)
	m := newManager()
	tr, err := m.Build(&Settings{OTLP: s.URL}, nil)
	if err != nil {
		t.Fatal(err)
	}
	const requests = 20000
	start := time.Now()
	for range requests {
		tr.Trace(request())
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("%d requests took %v", requests, took)
	}
	dropped := testutil.ToFloat64(m.dropped)
	if dropped < requests || dropped >= 2*requests {
		t.Errorf("%v of %d spans dropped", dropped, 2*requests)
	}
	m.Close(tr) // in bounded time
	if failed := testutil.ToFloat64(m.failed); dropped+failed != 2*requests {
		t.Errorf("%v dropped and %v failed, want %d together", dropped, failed, 2*requests)
	}
}

func TestSample(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		share       float64
		least, most int
	}{{0, 0, 0}, {1, 10000, 10000}, {.1, 500, 1500}} {
		tr, n := &Tracer{share: c.share}, 0
		for range 10000 {
			if tr.Sample() {
				n++
			}
		}
		if n < c.least || n > c.most {
			t.Errorf("a share of %v sampled %d of 10000", c.share, n)
		}
	}
	if (*Tracer)(nil).Sample() {
		t.Error("no tracer sampled")
	}
}

// TestReload keeps the queue where only the share has changed.
func TestReload(t *testing.T) {
	t.Parallel()
	_, s := newOTLPReceiver(t)
	m := newManager()
	first, err := m.Build(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Sample = Ratio{Share: .5, Set: true}
	second, err := m.Build(s, first)
	if err != nil || second.queue != first.queue || second.share != .5 {
		t.Errorf("queue kept %v, share %v, %v", second.queue == first.queue, second.share, err)
	}
	m.Replaced(first, second)
	m.Replaced(second, nil)
	m.Close(nil)
	select {
	case <-first.queue.done:
	default:
		t.Error("the queue still runs")
	}
}

func TestRatio(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"1%": .01, "100%": 1, "0": 0, "0.01": .01, "1": 1, "0.5%": .005} {
		var r Ratio
		if err := r.UnmarshalText([]byte(text)); err != nil || r.Share != want || !r.Set {
			t.Errorf("%s = %v, %v, want %v", text, r, err, want)
		}
	}
	for _, text := range []string{"", "%", "2", "101%", "-1", "1e-2", "NaN", "Inf", "a"} {
		if err := new(Ratio).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

// BenchmarkTrace is what tracing costs a request: the decision for those that are
// not sampled, and a place in the queue for those that are. BenchmarkSpans is what
// the queue's goroutine then does for each.
func BenchmarkTrace(b *testing.B) {
	tr := &Tracer{share: 0.01, queue: newQueue(newManager(), nil)}
	go func() {
		for range tr.queue.requests {
		}
	}()
	defer close(tr.queue.requests)
	b.Run("not sampled", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			tr.Sample()
		}
	})
	b.Run("sampled", func(b *testing.B) {
		r := request()
		b.ReportAllocs()
		for b.Loop() {
			tr.Trace(r)
		}
	})
}

func BenchmarkSpans(b *testing.B) {
	m := newManager()
	tr, err := m.Build(&Settings{OTLP: "http://127.0.0.1:1"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	m.Close(tr)
	r := request()
	b.ReportAllocs()
	for b.Loop() {
		tr.spans(r)
		tr.queue.batch = tr.queue.batch[:0]
	}
}
