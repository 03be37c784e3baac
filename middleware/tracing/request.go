package tracing

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Request is a finished request: what may be told of it, bounded and masked. What
// is empty is not told.
type Request struct {
	TraceID, SpanID, ParentID, TraceState string

	LinkTraceID, LinkSpanID string // of a sender who is not known: related, and no more

	Start, End time.Time

	Incident                                    string
	Method, Scheme, Host, Path, Protocol        string
	Client, TLSVersion                          string
	Status                                      int
	BytesIn, BytesOut                           int64
	Listener, Service, Route, Organization      string
	DeniedBy, Reason, Aborted, Cache            string
	InspectionMode, InspectionCategory, Claimed string
	InspectionScore                             int

	Upstream UpstreamCall
}

// UpstreamCall is the call to the service behind, with all its attempts. SpanID
// is empty if there was none.
type UpstreamCall struct {
	SpanID, Name, Server, Error string
	Start                       time.Time
	FirstByte                   time.Duration
	Attempts                    int
}

// spans is how many spans the request has.
func (r *Request) spans() int {
	if r.Upstream.SpanID != "" {
		return 2
	}
	return 1
}

// Trace traces a finished request. It does not wait.
func (t *Tracer) Trace(r *Request) { t.queue.put(r) }

// spans makes the spans of a request: one for its client and, if it was passed
// on, one for the service behind. Names of attributes are those of OpenTelemetry's
// semantic conventions for HTTP.
func (t *Tracer) spans(r *Request) {
	own := decode(r.TraceID, r.SpanID)
	ctx := context.Background()
	if r.ParentID != "" {
		parent := decode(r.TraceID, r.ParentID)
		state, _ := trace.ParseTraceState(r.TraceState)
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: parent.trace, SpanID: parent.span, TraceFlags: trace.FlagsSampled, TraceState: state, Remote: true,
		}))
	}
	method, name := r.Method, r.Method
	if method == "_other" {
		method, name = "_OTHER", "HTTP"
	}
	if r.Route != "" {
		name += " " + r.Route
	}
	var room [28]attribute.KeyValue
	a := attributes(room[:0])
	a.text("http.request.method", method)
	a.text("url.scheme", r.Scheme)
	a.text("url.path", r.Path)
	a.text("server.address", r.Host)
	a.text("client.address", r.Client)
	a.text("network.protocol.name", "http")
	a.text("network.protocol.version", r.Protocol)
	a.text("tls.protocol.version", r.TLSVersion)
	a.int("http.response.status_code", int64(r.Status))
	a.int("http.request.body.size", r.BytesIn)
	a.int("http.response.body.size", r.BytesOut)
	a.text("vazel.incident_id", r.Incident)
	a.text("vazel.listener", r.Listener)
	a.text("vazel.service", r.Service)
	a.text("vazel.route", r.Route)
	a.text("vazel.organization", r.Organization)
	a.text("vazel.claimed_organization", r.Claimed)
	a.text("vazel.denied_by", r.DeniedBy)
	a.text("vazel.reason", r.Reason)
	a.text("vazel.aborted", r.Aborted)
	a.text("vazel.cache", r.Cache)
	if r.InspectionMode != "" {
		a.text("vazel.inspection.mode", r.InspectionMode)
		a.int("vazel.inspection.score", int64(r.InspectionScore))
		a.text("vazel.inspection.category", r.InspectionCategory)
	}
	failed := r.Status >= 500 || r.Aborted == "gateway"
	if failed {
		a.text("error.type", kindOf(r.Reason, strconv.Itoa(r.Status)))
	}
	ctx = context.WithValue(ctx, spanID{}, own)
	about := []trace.SpanStartOption{trace.WithTimestamp(r.Start), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(a...)}
	if r.LinkTraceID != "" {
		offered := decode(r.LinkTraceID, r.LinkSpanID)
		about = append(about, trace.WithLinks(trace.Link{SpanContext: trace.NewSpanContext(trace.SpanContextConfig{TraceID: offered.trace, SpanID: offered.span, Remote: true})}))
	}
	ctx, span := t.tracer.Start(ctx, name, about...)
	if failed {
		span.SetStatus(codes.Error, "")
	}
	if r.Upstream.SpanID != "" {
		t.upstream(ctx, r, method)
	}
	span.End(trace.WithTimestamp(r.End))
}

func (t *Tracer) upstream(ctx context.Context, r *Request, method string) {
	u := &r.Upstream
	var room [8]attribute.KeyValue
	a := attributes(room[:0])
	a.text("http.request.method", method)
	if host, port, err := net.SplitHostPort(u.Server); err == nil {
		a.text("server.address", host)
		if n, err := strconv.Atoi(port); err == nil {
			a.int("server.port", int64(n))
		}
	}
	a.text("vazel.upstream", u.Name)
	if u.Attempts > 1 {
		a.int("http.request.resend_count", int64(u.Attempts-1))
	}
	if u.FirstByte > 0 {
		a = append(a, attribute.Float64("vazel.upstream.first_byte", u.FirstByte.Seconds()))
	}
	if u.Error != "" {
		a.text("error.type", u.Error)
	} else if r.Status > 0 {
		a.int("http.response.status_code", int64(r.Status))
	}
	ctx = context.WithValue(ctx, spanID{}, decode(r.TraceID, u.SpanID))
	_, span := t.tracer.Start(ctx, method, trace.WithTimestamp(u.Start), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(a...))
	if u.Error != "" {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(r.End))
}

func kindOf(reason, status string) string {
	if reason != "" {
		return reason
	}
	return status
}

// attributes are those of a span; none is empty.
type attributes []attribute.KeyValue

func (a *attributes) text(name, s string) {
	if s != "" {
		*a = append(*a, attribute.String(name, strings.ToValidUTF8(s, "\ufffd"))) // anything else would spoil the whole batch
	}
}

func (a *attributes) int(name string, n int64) { *a = append(*a, attribute.Int64(name, n)) }
