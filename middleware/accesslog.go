package middleware

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogOutputs says where requests are logged: stdout, stderr, off (or "") or a
// file.
type LogOutputs struct {
	Access   string // every request; addresses are cut to their network
	Security string // refused requests only, with the whole address
}

// Logs are where the requests of a configuration are logged.
type Logs struct {
	outputs          LogOutputs
	access, security *logSink // nil if off
}

// OpenLogs opens the access log alone.
func (o *Observer) OpenLogs(access string) (*Logs, error) {
	return o.Open(LogOutputs{Access: access})
}

// Open opens logs. A sink that is in force already is taken over as it is, so
// that a reload loses no line of it; if both are, the logs in force are returned.
func (o *Observer) Open(out LogOutputs) (*Logs, error) {
	now := o.in.Load().logs
	if now.outputs == out {
		return now, nil
	}
	l := &Logs{outputs: out}
	var err error
	if l.access, err = o.openSink("access", out.Access, now.outputs.Access, now.access); err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	if l.security, err = o.openSink("security", out.Security, now.outputs.Security, now.security); err != nil {
		l.closeExcept(now)
		return nil, fmt.Errorf("security log: %w", err)
	}
	return l, nil
}

func (o *Observer) openSink(name, output, former string, inForce *logSink) (*logSink, error) {
	switch {
	case output == "" || output == "off":
		return nil, nil
	case output == former && inForce != nil:
		return inForce, nil
	}
	return newLogSink(output, encoderConfig(), o.metrics.logDropped.WithLabelValues(name))
}

// Discard closes logs that were opened but never used.
func (o *Observer) Discard(l *Logs) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.closeExcept(o.in.Load().logs)
}

// Reopen opens log files anew, after they were moved away.
func (l *Logs) Reopen() error {
	var errs []error
	for _, s := range []*logSink{l.access, l.security} {
		if s != nil {
			errs = append(errs, s.reopen())
		}
	}
	return errors.Join(errs...)
}

// Close writes out what is held and closes files.
func (l *Logs) Close() { l.closeExcept(&Logs{}) }

// closeExcept closes the sinks that kept does not use.
func (l *Logs) closeExcept(kept *Logs) {
	if l.access != nil && l.access != kept.access {
		l.access.close()
	}
	if l.security != nil && l.security != kept.security {
		l.security.close()
	}
}

// encoderConfig is the frame of a line; everything else comes from logLine.
func encoderConfig() zapcore.EncoderConfig {
	return zapcore.EncoderConfig{
		TimeKey: "@timestamp",
		EncodeTime: func(t time.Time, enc zapcore.PrimitiveArrayEncoder) {
			const layout = "2006-01-02T15:04:05.000000Z"
			if a, ok := enc.(interface{ AppendTimeLayout(time.Time, string) }); ok {
				a.AppendTimeLayout(t.UTC(), layout)
				return
			}
			enc.AppendString(t.UTC().Format(layout))
		},
		EncodeDuration: zapcore.NanosDurationEncoder,
	}
}

// request writes the lines of a finished request.
func (l *Logs) request(o *Observer, rec *Record, r *http.Request) {
	security := l.security != nil && rec.refused()
	if l.access == nil && !security {
		return
	}
	line := o.lines.Get().(*logLine)
	line.rec, line.tls = rec, r.TLS
	if l.access != nil {
		line.security = false
		l.access.log(rec.Start, line.inline[:])
	}
	if security {
		line.security = true
		l.security.log(rec.Start, line.inline[:])
	}
	line.rec, line.tls = nil, nil
	o.lines.Put(line)
}

// refused reports whether the request belongs into the security log: refused
// for who sent it, where it went or how it was made.
func (rec *Record) refused() bool {
	if rec.Denial == nil {
		return false
	}
	switch rec.Status {
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed,
		http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		return true
	}
	return rec.Denial.By == "waf"
}

// logLine writes a Record with OpenTelemetry's names. Times are nanoseconds, as
// event.duration is.
type logLine struct {
	rec      *Record
	tls      *tls.ConnectionState
	security bool
	inline   [1]zapcore.Field
}

func newLogLine() *logLine {
	l := new(logLine)
	l.inline[0] = zap.Inline(l)
	return l
}

// MarshalLogObject implements zapcore.ObjectMarshaler. What a client wrote
// stands in it only where it is bounded, escaped and masked; the query, the
// fields of the header and the body stand in it never.
func (l *logLine) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	rec := l.rec
	dataset := "vazel.access"
	if l.security {
		dataset = "vazel.security"
	}
	enc.AddString("event.dataset", dataset)
	enc.AddString("event.id", rec.ID)
	enc.AddString("event.action", "request")
	outcome := "success"
	if rec.Denial != nil || rec.Status >= 400 || rec.Aborted == "gateway" {
		outcome = "failure"
	}
	enc.AddString("event.outcome", outcome)
	enc.AddInt64("event.duration", rec.Duration.Nanoseconds())
	enc.AddString("http.request.method", logMethod(rec.Method))
	if rec.Host != "" {
		enc.AddString("url.domain", rec.Host)
	}
	if rec.Path != "" {
		enc.AddString("url.path", Mask(rec.Path))
	}
	enc.AddInt("http.response.status_code", rec.Status)
	enc.AddInt64("http.request.body.size", rec.BytesIn)
	enc.AddInt64("http.response.body.size", rec.BytesOut)
	enc.AddString("network.protocol.version", protocolVersion(rec.Protocol))
	address := truncated(rec.Client)
	if l.security {
		address = rec.Client.String()
		enc.AddString("network.peer.address", rec.Peer.Addr().String())
	}
	enc.AddString("client.address", address)
	if t := l.tls; t != nil {
		enc.AddString("tls.protocol.version", tlsVersion(t.Version))
		if t.CurveID != 0 {
			enc.AddString("tls.curve", t.CurveID.String())
		}
	}
	if leaf := rec.Identity.Leaf; leaf != nil {
		sum := sha256.Sum256(leaf.Raw)
		enc.AddString("tls.client.hash.sha256", hex.EncodeToString(sum[:]))
		if l.security {
			enc.AddString("tls.client.subject", Mask(clipped(leaf.Subject.String(), 512)))
		}
	}
	enc.AddString("trace_id", rec.TraceID)
	enc.AddString("span_id", rec.SpanID)
	enc.AddString("vazel.listener", rec.Listener)
	if rec.Service != "" {
		enc.AddString("vazel.service", rec.Service)
	}
	if rec.Route != "" {
		enc.AddString("vazel.route", rec.Route)
	}
	if rec.Organization != "" {
		enc.AddString("vazel.organization", rec.Organization)
	}
	decision := "allow"
	if d := rec.Denial; d != nil {
		decision = "deny"
		enc.AddString("vazel.denied_by", d.By)
		enc.AddString("vazel.reason", d.Reason)
		if d.Detail != "" {
			enc.AddString("vazel.detail", Mask(clipped(d.Detail, 512)))
		}
		if rec.Organization == "" && rec.Identity.Claimed != "" {
			enc.AddString("vazel.claimed_organization", rec.Identity.Claimed)
		}
	}
	enc.AddString("vazel.decision", decision)
	if rec.Upstream != "" {
		enc.AddString("vazel.upstream.server", rec.UpstreamServer)
		enc.AddInt64("vazel.upstream.duration", rec.UpstreamDuration.Nanoseconds())
		enc.AddInt("vazel.attempts", rec.Attempts)
		if rec.UpstreamError != "" {
			enc.AddString("vazel.upstream.error", rec.UpstreamError)
		}
	}
	if rec.Cache != "" {
		enc.AddString("vazel.cache", rec.Cache)
	}
	if rec.RateLimitPolicy != "" {
		enc.AddString("vazel.ratelimit.policy", rec.RateLimitPolicy)
		enc.AddString("vazel.ratelimit.decision", rec.RateLimitDecision)
	}
	if rec.InspectionMode != "" {
		enc.AddString("vazel.inspection.mode", rec.InspectionMode)
		enc.AddInt("vazel.inspection.score", rec.InspectionScore)
		if len(rec.InspectionRules) > 0 {
			enc.AddArray("vazel.inspection.rules", ruleIDs(rec.InspectionRules))
		}
		if rec.InspectionCategory != "" {
			enc.AddString("vazel.inspection.category", rec.InspectionCategory)
		}
	}
	if rec.Aborted != "" {
		enc.AddString("vazel.aborted", rec.Aborted)
	}
	if rec.Panic {
		enc.AddBool("vazel.panic", true)
	}
	return nil
}

type ruleIDs []int

// MarshalLogArray implements zapcore.ArrayMarshaler.
func (ids ruleIDs) MarshalLogArray(enc zapcore.ArrayEncoder) error {
	for _, id := range ids {
		enc.AppendInt(id)
	}
	return nil
}

// logMethod bounds what a client can write into the log.
func logMethod(m string) string {
	if MethodLabel(m) != "_other" || len(m) <= 16 {
		return m
	}
	return m[:16]
}

// clipped bounds a text.
func clipped(s string, most int) string { return s[:min(len(s), most)] }

func protocolVersion(p string) string {
	switch p {
	case "h2":
		return "2"
	case "h3":
		return "3"
	}
	return "1.1"
}

func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "1.3"
	case tls.VersionTLS12:
		return "1.2"
	}
	return "unknown"
}

// truncated is an address without what tells one household from another: /24
// and /48.
func truncated(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}
