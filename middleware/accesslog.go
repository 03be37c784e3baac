package middleware

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
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
	return newLogSink(output, o.metrics.logDropped.WithLabelValues(name))
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

// request writes the lines of a finished request.
func (l *Logs) request(o *Observer, rec *Record, r *http.Request) {
	security := l.security != nil && rec.refused()
	if l.access == nil && !security {
		return
	}
	line := o.lines.Get().(*jsonLine)
	if l.access != nil {
		rec.line(line, r.TLS, false)
		l.access.log(*line)
	}
	if security {
		rec.line(line, r.TLS, true)
		l.security.log(*line)
	}
	if cap(*line) <= logLargest {
		o.lines.Put(line)
	}
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
	switch rec.Denial.By {
	case "waf", "scan", "content_types", "files", "operations", "openapi", "leaks":
		return true
	}
	return false
}

// line writes the record with OpenTelemetry's names. Times are nanoseconds, as
// event.duration is. What a client wrote stands in it only where it is bounded,
// escaped and masked; the query, the fields of the header and the body stand in
// it never.
func (rec *Record) line(l *jsonLine, state *tls.ConnectionState, security bool) {
	dataset := "vazel.access"
	if security {
		dataset = "vazel.security"
	}
	l.begin()
	l.time("@timestamp", rec.Start)
	l.text("event.dataset", dataset)
	l.text("event.id", rec.ID)
	l.text("event.action", "request")
	outcome := "success"
	if rec.Denial != nil || rec.Status >= 400 || rec.Aborted == "gateway" {
		outcome = "failure"
	}
	l.text("event.outcome", outcome)
	l.int("event.duration", rec.Duration.Nanoseconds())
	l.text("http.request.method", logMethod(rec.Method))
	if rec.Host != "" {
		l.text("url.domain", rec.Host)
	}
	if rec.Path != "" {
		l.text("url.path", Mask(rec.Path))
	}
	l.int("http.response.status_code", int64(rec.Status))
	l.int("http.request.body.size", rec.BytesIn)
	l.int("http.response.body.size", rec.BytesOut)
	l.text("network.protocol.version", protocolVersion(rec.Protocol))
	address := truncated(rec.Client)
	if security {
		address = rec.Client.String()
		l.text("network.peer.address", rec.Peer.Addr().String())
	}
	l.text("client.address", address)
	if state != nil {
		l.text("tls.protocol.version", tlsVersion(state.Version))
		if state.CurveID != 0 {
			l.text("tls.curve", state.CurveID.String())
		}
	}
	if leaf := rec.Identity.Leaf; leaf != nil {
		sum := sha256.Sum256(leaf.Raw)
		l.text("tls.client.hash.sha256", hex.EncodeToString(sum[:]))
		if security {
			l.text("tls.client.subject", Mask(clipped(leaf.Subject.String(), 512)))
		}
	}
	l.text("trace_id", rec.TraceID)
	l.text("span_id", rec.SpanID)
	l.text("vazel.listener", rec.Listener)
	if rec.Service != "" {
		l.text("vazel.service", rec.Service)
	}
	if rec.Route != "" {
		l.text("vazel.route", rec.Route)
	}
	if rec.Organization != "" {
		l.text("vazel.organization", rec.Organization)
	}
	decision := "allow"
	if d := rec.Denial; d != nil {
		decision = "deny"
		l.text("vazel.denied_by", d.By)
		l.text("vazel.reason", d.Reason)
		if d.Detail != "" {
			l.text("vazel.detail", Mask(clipped(d.Detail, 512)))
		}
		if rec.Organization == "" && rec.Identity.Claimed != "" {
			l.text("vazel.claimed_organization", rec.Identity.Claimed)
		}
	}
	l.text("vazel.decision", decision)
	if rec.Upstream != "" {
		l.text("vazel.upstream.server", rec.UpstreamServer)
		l.int("vazel.upstream.duration", rec.UpstreamDuration.Nanoseconds())
		l.int("vazel.attempts", int64(rec.Attempts))
		if rec.UpstreamError != "" {
			l.text("vazel.upstream.error", rec.UpstreamError)
		}
	}
	if rec.Cache != "" {
		l.text("vazel.cache", rec.Cache)
	}
	if rec.RateLimitPolicy != "" {
		l.text("vazel.ratelimit.policy", rec.RateLimitPolicy)
		l.text("vazel.ratelimit.decision", rec.RateLimitDecision)
	}
	if rec.InspectionMode != "" {
		l.text("vazel.inspection.mode", rec.InspectionMode)
		l.int("vazel.inspection.score", int64(rec.InspectionScore))
		if len(rec.InspectionRules) > 0 {
			l.ints("vazel.inspection.rules", rec.InspectionRules)
		}
		if rec.InspectionCategory != "" {
			l.text("vazel.inspection.category", rec.InspectionCategory)
		}
		rec.inspectionFound(l)
	}
	if rec.Aborted != "" {
		l.text("vazel.aborted", rec.Aborted)
	}
	if rec.Panic {
		l.bool("vazel.panic", true)
	}
	l.end()
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
