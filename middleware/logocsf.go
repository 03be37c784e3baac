package middleware

import "strconv"

// ocsfVersion is the version of the Open Cybersecurity Schema Framework that
// lines follow.
const ocsfVersion = "1.2.0"

// ocsfOther is the activity of methods that the class does not know.
const ocsfOther = 99

// OCSF's words for decisions and severities.
const (
	ocsfAllowed, ocsfDenied           = 1, 2      // action_id
	ocsfPassed, ocsfBlocked           = 1, 2      // disposition_id
	ocsfInformational, ocsfLow        = 1, 2      // severity_id
	ocsfMedium, ocsfHigh              = 3, 4      // severity_id
	ocsfHTTPActivity, ocsfNetworkKind = 4002, 4   // class_uid, category_uid
	ocsfSHA256                        = 3         // algorithm_id
	ocsfMillisecond                   = 1_000_000 // in nanoseconds
)

// ocsf writes the record as OCSF's HTTP Activity (class 4002) with the profile
// Security Control. What the class has no name for stands under unmapped.
func (e *logEntry) ocsf(l *jsonLine) {
	rec := e.rec
	activity, name := ocsfActivity(rec.Method)
	at := rec.Start.UnixMilli()
	l.begin()
	l.int("time", at)
	l.int("start_time", at)
	l.int("end_time", rec.Start.Add(rec.Duration).UnixMilli())
	l.int("duration", rec.Duration.Milliseconds())
	l.int("category_uid", ocsfNetworkKind)
	l.text("category_name", "Network Activity")
	l.int("class_uid", ocsfHTTPActivity)
	l.text("class_name", "HTTP Activity")
	l.int("activity_id", int64(activity))
	l.text("activity_name", name)
	l.int("type_uid", int64(ocsfHTTPActivity*100+activity))
	l.text("type_name", "HTTP Activity: "+name)
	severity, word := e.ocsfSeverity()
	l.int("severity_id", int64(severity))
	l.text("severity", word)
	if e.outcome == "success" {
		l.int("status_id", 1)
		l.text("status", "Success")
	} else {
		l.int("status_id", 2)
		l.text("status", "Failure")
	}
	l.text("status_code", strconv.Itoa(rec.Status))
	l.text("message", e.summary())
	e.ocsfVerdict(l)
	e.ocsfMetadata(l)
	e.ocsfExchange(l)
	if e.tlsVersion != "" {
		e.ocsfTLS(l)
	}
	l.object("unmapped")
	if activity == ocsfOther {
		l.text("http_method", e.method)
	}
	l.text("trace_id", rec.TraceID)
	l.text("span_id", rec.SpanID)
	l.text("listener", rec.Listener)
	l.some("service", rec.Service)
	l.some("route", rec.Route)
	l.some("organization", rec.Organization)
	l.some("organization_name", rec.OrgName)
	l.some("peer", e.peer)
	if e.certSerial == "" {
		l.some("client_certificate_sha256", e.certHash)
	}
	e.vazel(l)
	l.close()
	l.end()
}

// ocsfVerdict writes what the profile Security Control asks for.
func (e *logEntry) ocsfVerdict(l *jsonLine) {
	rec := e.rec
	if rec.Denial == nil {
		l.int("action_id", ocsfAllowed)
		l.text("action", "Allowed")
		l.int("disposition_id", ocsfPassed)
		l.text("disposition", "Allowed")
		return
	}
	l.text("status_detail", rec.Denial.By+": "+rec.Denial.Reason)
	l.int("action_id", ocsfDenied)
	l.text("action", "Denied")
	l.int("disposition_id", ocsfBlocked)
	l.text("disposition", "Blocked")
	l.object("firewall_rule")
	l.text("name", rec.Denial.Reason)
	l.text("type", rec.Denial.By)
	if e.inspection() {
		l.some("category", rec.InspectionCategory)
		if len(rec.InspectionRules) > 0 {
			l.text("uid", strconv.Itoa(rec.InspectionRules[0]))
		}
	} else {
		l.some("uid", rec.Denial.Policy)
	}
	l.close()
}

func (e *logEntry) ocsfMetadata(l *jsonLine) {
	rec := e.rec
	l.object("metadata")
	l.text("version", ocsfVersion)
	l.object("product")
	l.text("vendor_name", "Vazel")
	l.text("name", "Vazel")
	l.some("version", e.version)
	l.close()
	l.texts("profiles", "security_control")
	l.text("log_name", e.dataset())
	l.text("uid", rec.ID)
	l.text("correlation_uid", rec.TraceID)
	l.close()
}

// ocsfExchange writes who asked whom for what.
func (e *logEntry) ocsfExchange(l *jsonLine) {
	rec := e.rec
	l.object("src_endpoint")
	l.some("ip", e.client)
	l.close()
	l.object("dst_endpoint")
	l.some("hostname", e.host)
	l.some("svc_name", rec.Service)
	l.close()
	l.object("http_request")
	l.text("uid", rec.ID)
	if activity, _ := ocsfActivity(rec.Method); activity != ocsfOther { // the class knows no other methods
		l.text("http_method", e.method)
	}
	l.text("version", protocolVersion(rec.Protocol))
	l.int("length", rec.BytesIn)
	l.object("url")
	l.some("hostname", e.host)
	l.some("path", e.path)
	l.text("scheme", e.scheme())
	l.close()
	l.close()
	l.object("http_response")
	l.int("code", int64(rec.Status))
	l.int("length", rec.BytesOut)
	l.int("latency", rec.Duration.Nanoseconds()/ocsfMillisecond)
	l.close()
	l.object("traffic")
	l.int("bytes_in", rec.BytesIn)
	l.int("bytes_out", rec.BytesOut)
	l.int("bytes", rec.BytesIn+rec.BytesOut)
	l.close()
}

func (e *logEntry) ocsfTLS(l *jsonLine) {
	l.object("tls")
	l.text("version", e.tlsVersion)
	if e.certSerial != "" {
		l.object("certificate")
		l.text("serial_number", e.certSerial)
		l.text("issuer", e.certIssuer)
		l.text("subject", e.certSubject)
		l.name("fingerprints")
		*l = append(*l, '[', '{')
		l.int("algorithm_id", ocsfSHA256)
		l.text("algorithm", "SHA-256")
		l.text("value", e.certHash)
		*l = append(*l, '}', ']')
		l.close()
	}
	l.close()
}

// ocsfActivity is the class's number and word for a method.
func ocsfActivity(method string) (int, string) {
	switch method {
	case "CONNECT":
		return 1, "Connect"
	case "DELETE":
		return 2, "Delete"
	case "GET":
		return 3, "Get"
	case "HEAD":
		return 4, "Head"
	case "OPTIONS":
		return 5, "Options"
	case "POST":
		return 6, "Post"
	case "PUT":
		return 7, "Put"
	case "TRACE":
		return 8, "Trace"
	}
	return ocsfOther, "Other"
}

// ocsfSeverity says how much a line matters.
func (e *logEntry) ocsfSeverity() (int, string) {
	switch {
	case e.inspection():
		return ocsfHigh, "High"
	case e.authentication(), e.rec.Status >= 500:
		return ocsfMedium, "Medium"
	case e.rec.Denial != nil:
		return ocsfLow, "Low"
	}
	return ocsfInformational, "Informational"
}
