package middleware

// ecsVersion is the version of the Elastic Common Schema that lines follow.
const ecsVersion = "8.17.0"

// ecs writes the record as the Elastic Common Schema has it. What it has no name
// for has names that begin with vazel.
func (e *logEntry) ecs(l *jsonLine) {
	rec := e.rec
	l.begin()
	l.time("@timestamp", rec.Start)
	l.object("ecs")
	l.text("version", ecsVersion)
	l.close()
	l.text("message", e.summary())
	e.ecsEvent(l)
	l.object("http")
	l.object("request")
	l.text("id", rec.ID)
	l.text("method", e.method)
	l.object("body")
	l.int("bytes", rec.BytesIn)
	l.close()
	l.close()
	l.object("response")
	l.int("status_code", int64(rec.Status))
	l.object("body")
	l.int("bytes", rec.BytesOut)
	l.close()
	l.close()
	l.text("version", protocolVersion(rec.Protocol))
	l.close()
	l.object("url")
	l.some("domain", e.host)
	l.some("path", e.path)
	l.close()
	for _, side := range []string{"source", "client"} {
		l.object(side)
		l.some("address", e.client)
		l.some("ip", e.client)
		l.close()
	}
	if e.tlsVersion != "" {
		l.object("tls")
		l.text("version", e.tlsVersion)
		l.text("version_protocol", "tls")
		l.some("curve", e.tlsCurve)
		l.bool("established", true)
		if e.certHash != "" {
			l.object("client")
			l.object("hash")
			l.text("sha256", upperHex(e.certHash))
			l.close()
			l.some("subject", e.certSubject)
			l.some("issuer", e.certIssuer)
			l.close()
		}
		l.close()
	}
	l.object("trace")
	l.text("id", rec.TraceID)
	l.close()
	l.object("span")
	l.text("id", rec.SpanID)
	l.close()
	if rec.Organization != "" {
		l.object("organization")
		l.text("id", rec.Organization)
		l.some("name", rec.OrgName)
		l.close()
	}
	if rec.Service != "" {
		l.object("service")
		l.text("name", rec.Service)
		l.close()
	}
	if e.inspection() {
		l.object("rule")
		l.some("category", rec.InspectionCategory)
		l.text("name", rec.Denial.Reason)
		l.close()
	}
	l.object("observer")
	l.text("vendor", "Vazel")
	l.text("product", "Vazel")
	l.text("type", "proxy")
	l.some("version", e.version)
	l.close()
	l.text("vazel.listener", rec.Listener)
	l.some("vazel.route", rec.Route)
	l.some("vazel.peer", e.peer)
	e.vazel(l)
	l.end()
}

// ecsEvent writes the fields that events are sorted by.
func (e *logEntry) ecsEvent(l *jsonLine) {
	rec := e.rec
	kind, categories, verdict := "event", []string{"web", "network"}, "allowed"
	if rec.Denial != nil {
		verdict = "denied"
	}
	switch {
	case e.inspection():
		kind, categories = "alert", append(categories, "intrusion_detection")
	case e.authentication():
		categories = append(categories, "authentication")
	}
	l.object("event")
	l.text("kind", kind)
	l.texts("category", categories...)
	l.texts("type", "access", verdict)
	l.text("action", "request")
	l.text("outcome", e.outcome)
	l.text("id", rec.ID)
	l.text("module", "vazel")
	l.text("dataset", e.dataset())
	l.int("duration", rec.Duration.Nanoseconds())
	if d := rec.Denial; d != nil {
		l.text("reason", d.By+": "+d.Reason)
	}
	l.close()
}

// upperHex is a hexadecimal number in capital letters.
func upperHex(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'a' {
			b[i] = c - 'a' + 'A'
		}
	}
	return string(b)
}
