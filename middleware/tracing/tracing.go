// Package tracing turns finished requests into OpenTelemetry spans and sends
// them to a collector by OTLP over HTTP. It owns the queue before it and the
// names of attributes, and is the only package that imports OpenTelemetry. It
// does not decide what a request is, nor what of it may be told.
//
// Spans are made when a request is done, from what is known of it then, and by
// another goroutine: a request that is not sampled costs nothing but the decision,
// one that is sampled a place in a queue.
package tracing

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	Version    string
}

// Manager makes tracers. It lives as long as the process.
type Manager struct {
	log                       *zap.Logger
	version                   string
	exported, dropped, failed prometheus.Counter
	former                    sync.WaitGroup // tracers that are ending
}

// New makes a Manager and registers its metrics.
func New(o Options) *Manager {
	spans := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_trace_spans_total",
		Help: "Spans of sampled requests. Result: exported, dropped (the queue was full), failed (the collector did not take them)."}, []string{"result"})
	o.Registerer.MustRegister(spans)
	return &Manager{log: o.Log, version: o.Version,
		exported: spans.WithLabelValues("exported"), dropped: spans.WithLabelValues("dropped"), failed: spans.WithLabelValues("failed")}
}

// Tracer samples requests and traces them. A nil Tracer traces nothing.
type Tracer struct {
	share    float64
	key      string
	queue    *queue
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// Build makes the tracer of s. If former has the same collector its connection
// and its queue go on. s may be nil: nothing is traced.
func (m *Manager) Build(s *Settings, former *Tracer) (*Tracer, error) {
	if s == nil {
		return nil, nil
	}
	u, conf, headers, key, err := s.endpoint()
	if err != nil {
		return nil, fmt.Errorf("tracing: %w", err)
	}
	if former != nil && former.key == key {
		t := *former
		t.share = s.share()
		return &t, nil
	}
	o := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHeaders(headers), otlptracehttp.WithCompression(otlptracehttp.NoCompression), otlptracehttp.WithTimeout(exportTime),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second, MaxInterval: 5 * time.Second, MaxElapsedTime: exportTime}),
	}
	if u.Scheme == "https" {
		o = append(o, otlptracehttp.WithTLSClientConfig(conf))
	}
	exporter := otlptrace.NewUnstarted(otlptracehttp.NewClient(o...))
	if err := exporter.Start(context.Background()); err != nil { // connects to nobody
		return nil, fmt.Errorf("tracing: %w", err)
	}
	t := &Tracer{share: s.share(), key: key, queue: newQueue(m, exporter)}
	host, _ := os.Hostname()
	t.provider = sdk.NewTracerProvider(
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "vazel"), attribute.String("service.version", m.version), attribute.String("service.instance.id", host))),
		sdk.WithSampler(sdk.AlwaysSample()), // decided before
		sdk.WithIDGenerator(ids{}), sdk.WithSpanProcessor(t.queue),
	)
	t.tracer = t.provider.Tracer("github.com/vazel-gateway/vazel")
	go t.queue.run(t.spans)
	return t, nil
}

// Replaced ends former, which next has replaced. It does not wait.
func (m *Manager) Replaced(former, next *Tracer) {
	if former != nil && (next == nil || next.queue != former.queue) {
		m.former.Go(func() { former.queue.close() })
	}
}

// Close sends what t holds, within bounds, and waits for tracers that were
// replaced.
func (m *Manager) Close(t *Tracer) {
	if t != nil {
		t.queue.close()
	}
	m.former.Wait()
}

// Sample decides whether a request that nobody has decided on is traced.
func (t *Tracer) Sample() bool {
	return t != nil && t.share > 0 && (t.share >= 1 || rand.Float64() < t.share)
}

// spanID is the id that the next span of a context gets.
type spanID struct{}

// ids gives spans the ids that requests have already.
type ids struct{}

// NewIDs implements sdk.IDGenerator.
func (g ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	next, _ := ctx.Value(spanID{}).(*pair)
	if next == nil {
		return trace.TraceID{}, trace.SpanID{}
	}
	return next.trace, next.span
}

// NewSpanID implements sdk.IDGenerator.
func (g ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	_, id := g.NewIDs(ctx)
	return id
}

type pair struct {
	trace trace.TraceID
	span  trace.SpanID
}

// decode reads the ids of a trace and a span.
func decode(traceID, span string) *pair {
	p := new(pair)
	hex.Decode(p.trace[:], []byte(traceID[:min(len(traceID), 32)]))
	hex.Decode(p.span[:], []byte(span[:min(len(span), 16)]))
	return p
}
