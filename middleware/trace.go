package middleware

import (
	"encoding/hex"
	"math/rand/v2"
	"net/http"

	"github.com/vazel-gateway/vazel/middleware/tracing"
)

// newIDs gives the request its incident id and settles the W3C trace context
// (Trace Context level 1). A trusted proxy's trace goes on. That of anybody else is
// linked: whoever could tie its requests to foreign traces would make those
// unreadable. The span and the incident id are always ours.
func newIDs(rec *Record, h http.Header, trusted bool) {
	ids := randomHex()
	rec.ID, rec.SpanID = ids[:32], ids[32:48]
	rec.TraceID = ids[48:80]
	rec.TraceFlags = 1 // sampled: the access log records trace and span
	v := h["Traceparent"]
	if len(v) != 1 {
		return
	}
	id, flags, ok := parseTraceparent(v[0])
	span := v[0][min(36, len(v[0])):min(52, len(v[0]))]
	switch {
	case !ok || personal(id) || personal(span):
	case !trusted:
		rec.LinkTraceID, rec.LinkSpanID = id, span
	default:
		rec.TraceID, rec.TraceFlags, rec.ParentID = id, flags, span
		if s := h["Tracestate"]; len(s) == 1 && len(s[0]) <= 512 && !personal(s[0]) {
			rec.TraceState = s[0]
		}
	}
}

// personal reports whether what somebody else made up hides a number of a person,
// which would stand in logs and traces then. Of random ids, one in two hundred
// looks so; its request begins a trace of its own.
func personal(s string) bool { return Mask(s) != s }

// parseTraceparent reads "00-<32 hex>-<16 hex>-<2 hex>". Of the flags it keeps
// those that level 1 and 2 define: sampled and random.
func parseTraceparent(s string) (traceID string, flags byte, ok bool) {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' || !lowerHex(s[3:35]) || !lowerHex(s[36:52]) || !lowerHex(s[53:]) {
		return "", 0, false
	}
	if s[3:35] == "00000000000000000000000000000000" || s[36:52] == "0000000000000000" {
		return "", 0, false
	}
	b, err := hex.DecodeString(s[53:])
	if err != nil {
		return "", 0, false
	}
	return s[3:35], b[0] & 3, true
}

func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// randomHex is 40 random bytes in hexadecimal: all ids of a request in one
// string. The generator is ChaCha8, seeded by the system: ids can't be guessed
// from each other, and cost no system call.
func randomHex() string {
	const digits = "0123456789abcdef"
	var out [80]byte
	for i := 0; i < len(out); i += 16 {
		u := rand.Uint64()
		for j := range 16 {
			out[i+j] = digits[u>>(4*j)&15]
		}
	}
	return string(out[:])
}

// sample decides whether a request is traced. What a trusted proxy decided holds;
// nobody else is asked, or clients could have everything traced.
func sample(rec *Record, t *tracing.Tracer) {
	if t == nil {
		return
	}
	if rec.ParentID == "" {
		rec.TraceFlags = 0
		if t.Sample() {
			rec.TraceFlags = 1
		}
	}
	if rec.TraceFlags&1 != 0 {
		rec.UpstreamSpanID = randomHex()[:16]
	}
}

// traced is what a trace tells of a finished request: no more of a client than
// the access log.
func traced(rec *Record, r *http.Request) tracing.Request {
	e := logEntry{rec: rec}
	e.fill(r.TLS, false, false, traceText)
	s := tracing.Request{
		TraceID: rec.TraceID, SpanID: rec.SpanID, ParentID: rec.ParentID, TraceState: rec.TraceState, LinkTraceID: rec.LinkTraceID, LinkSpanID: rec.LinkSpanID, Start: rec.Start, End: rec.Start.Add(rec.Duration),
		Incident: rec.ID, Method: MethodLabel(rec.Method), Scheme: e.scheme(), Host: e.host, Path: e.path, Protocol: protocolVersion(rec.Protocol),
		Client: e.client, TLSVersion: e.tlsVersion, Status: rec.Status, BytesIn: rec.BytesIn, BytesOut: rec.BytesOut,
		Listener: rec.Listener, Service: rec.Service, Route: rec.Route, Organization: rec.Organization, Aborted: rec.Aborted, Cache: rec.Cache,
		InspectionMode: rec.InspectionMode, InspectionCategory: rec.InspectionCategory, InspectionScore: rec.InspectionScore,
	}
	if d := rec.Denial; d != nil {
		s.DeniedBy, s.Reason = d.By, d.Reason
		if rec.Organization == "" {
			s.Claimed = rec.Identity.Claimed
		}
	}
	if !rec.UpstreamStart.IsZero() {
		s.Upstream = tracing.UpstreamCall{
			SpanID: rec.UpstreamSpanID, Name: rec.Upstream, Server: rec.UpstreamServer, Error: rec.UpstreamError,
			Start: rec.UpstreamStart, FirstByte: rec.UpstreamDuration, Attempts: rec.Attempts,
		}
	}
	return s
}

// traceText bounds what a client wrote, in an attribute.
const traceText = 1 << 10
