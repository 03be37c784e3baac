package middleware

// native writes the record with OpenTelemetry's names. Times are nanoseconds, as
// event.duration is. What a client wrote stands in it only where it is bounded,
// escaped and masked; the query, the fields of the header and the body stand in
// it never.
func (e *logEntry) native(l *jsonLine) {
	rec := e.rec
	l.begin()
	l.time("@timestamp", rec.Start)
	l.text("event.dataset", e.dataset())
	l.text("event.id", rec.ID)
	l.text("event.action", "request")
	l.text("event.outcome", e.outcome)
	l.int("event.duration", rec.Duration.Nanoseconds())
	l.text("http.request.method", e.method)
	l.some("url.domain", e.host)
	l.some("url.path", e.path)
	l.int("http.response.status_code", int64(rec.Status))
	l.int("http.request.body.size", rec.BytesIn)
	l.int("http.response.body.size", rec.BytesOut)
	l.text("network.protocol.version", protocolVersion(rec.Protocol))
	l.some("network.peer.address", e.peer)
	l.text("client.address", e.client)
	l.some("tls.protocol.version", e.tlsVersion)
	l.some("tls.curve", e.tlsCurve)
	l.some("tls.client.hash.sha256", e.certHash)
	l.some("tls.client.subject", e.certSubject)
	l.text("trace_id", rec.TraceID)
	l.text("span_id", rec.SpanID)
	l.text("vazel.listener", rec.Listener)
	l.some("vazel.service", rec.Service)
	l.some("vazel.route", rec.Route)
	l.some("vazel.organization", rec.Organization)
	e.vazel(l, "vazel.")
	l.end()
}

// vazel writes what no other schema has a name for.
func (e *logEntry) vazel(l *jsonLine, prefix string) {
	rec := e.rec
	if d := rec.Denial; d != nil {
		l.text(prefix+"denied_by", d.By)
		l.text(prefix+"reason", d.Reason)
		l.some(prefix+"detail", e.detail)
		if rec.Organization == "" {
			l.some(prefix+"claimed_organization", rec.Identity.Claimed)
		}
	}
	l.text(prefix+"decision", e.decision)
	if rec.Upstream != "" {
		l.text(prefix+"upstream.server", rec.UpstreamServer)
		l.int(prefix+"upstream.duration", rec.UpstreamDuration.Nanoseconds())
		l.int(prefix+"attempts", int64(rec.Attempts))
		l.some(prefix+"upstream.error", rec.UpstreamError)
	}
	l.some(prefix+"cache", rec.Cache)
	if rec.RateLimitPolicy != "" {
		l.text(prefix+"ratelimit.policy", rec.RateLimitPolicy)
		l.text(prefix+"ratelimit.decision", rec.RateLimitDecision)
	}
	if rec.InspectionMode != "" {
		l.text(prefix+"inspection.mode", rec.InspectionMode)
		l.int(prefix+"inspection.score", int64(rec.InspectionScore))
		if len(rec.InspectionRules) > 0 {
			l.ints(prefix+"inspection.rules", rec.InspectionRules)
		}
		l.some(prefix+"inspection.category", rec.InspectionCategory)
	}
	l.some(prefix+"aborted", rec.Aborted)
	if rec.Panic {
		l.bool(prefix+"panic", true)
	}
}
