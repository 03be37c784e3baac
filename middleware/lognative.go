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
	e.vazel(l)
	l.end()
}

// vazel writes what no other schema has a name for.
func (e *logEntry) vazel(l *jsonLine) {
	rec := e.rec
	if d := rec.Denial; d != nil {
		l.text("vazel.denied_by", d.By)
		l.text("vazel.reason", d.Reason)
		l.some("vazel.detail", e.detail)
		if rec.Organization == "" {
			l.some("vazel.claimed_organization", rec.Identity.Claimed)
		}
	}
	l.text("vazel.decision", e.decision)
	if rec.Upstream != "" {
		l.text("vazel.upstream.server", rec.UpstreamServer)
		l.int("vazel.upstream.duration", rec.UpstreamDuration.Nanoseconds())
		l.int("vazel.attempts", int64(rec.Attempts))
		l.some("vazel.upstream.error", rec.UpstreamError)
	}
	l.some("vazel.cache", rec.Cache)
	l.some("vazel.linked_trace_id", rec.linkedTrace())
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
		l.some("vazel.inspection.category", rec.InspectionCategory)
		rec.inspectionFound(l)
	}
	l.some("vazel.aborted", rec.Aborted)
	if rec.Panic {
		l.bool("vazel.panic", true)
	}
}

// linkedTrace is the trace that an organization says its request belongs to. What
// strangers say is of no use to anybody.
func (rec *Record) linkedTrace() string {
	if rec.Organization == "" {
		return ""
	}
	return rec.LinkTraceID
}
