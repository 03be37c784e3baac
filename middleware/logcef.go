package middleware

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// cef writes the record in the Common Event Format, version 0: a header of fields
// between pipes, and an extension of pairs. The line is no JSON, but its buffer
// is the same.
func (e *logEntry) cef(l *jsonLine) {
	rec := e.rec
	c := cefLine((*l)[:0])
	class, name, severity := "request", "HTTP request", 1
	if d := rec.Denial; d != nil {
		class, name, severity = d.By+":"+d.Reason, "HTTP request refused", 4
	}
	switch {
	case e.inspection():
		severity = 8
	case e.authentication():
		severity = 6
	case rec.Status >= 500:
		severity = 5
	}
	version := e.version
	if version == "" {
		version = "development"
	}
	c.header("CEF:0", "Vazel", "Vazel", version, class, name, strconv.Itoa(severity))
	c = append(c, "rt="...) // the only pair without a space before it
	c = strconv.AppendInt(c, rec.Start.UnixMilli(), 10)
	c.int("end", rec.Start.Add(rec.Duration).UnixMilli())
	c.text("externalId", rec.ID)
	c.text("cat", e.dataset())
	c.text("act", e.decision)
	c.text("outcome", e.outcome)
	c.text("src", e.client)
	c.text("dhost", e.host)
	c.text("app", strings.ToUpper(e.scheme()))
	c.text("requestMethod", e.method)
	c.text("request", e.path)
	c.int("in", rec.BytesIn)
	c.int("out", rec.BytesOut)
	c.label("cn1", "status")
	c.int("cn1", int64(rec.Status))
	c.label("cn2", "duration_ns")
	c.int("cn2", rec.Duration.Nanoseconds())
	c.labeled("cs1", "organization", rec.Organization)
	c.labeled("cs2", "service", rec.Service)
	c.labeled("cs3", "route", rec.Route)
	c.labeled("cs4", "trace_id", rec.TraceID)
	c.labeled("cs5", "client_certificate_sha256", e.certHash)
	c.text("suser", e.certSubject)
	if d := rec.Denial; d != nil {
		c.text("reason", d.Reason)
		c.text("msg", e.detail)
	}
	if rec.InspectionMode != "" {
		c.label("cn3", "inspection_score")
		c.int("cn3", int64(rec.InspectionScore))
		rules := make([]string, len(rec.InspectionRules))
		for i, r := range rec.InspectionRules {
			rules[i] = strconv.Itoa(r)
		}
		c.labeled("cs6", "inspection_rules", strings.Join(rules, ","))
	}
	if rec.Upstream != "" {
		c.text("destinationServiceName", rec.Upstream)
		c.text("vazelUpstreamServer", rec.UpstreamServer)
		c.text("vazelUpstreamError", rec.UpstreamError)
	}
	c.text("vazelLinkedTraceId", rec.linkedTrace())
	c.text("vazelListener", rec.Listener)
	c.text("vazelPeer", e.peer)
	c.text("vazelTLSVersion", e.tlsVersion)
	*l = jsonLine(append(c, '\n'))
}

// cefLine is a line of CEF.
type cefLine []byte

// header writes the fields before the extension.
func (c *cefLine) header(fields ...string) {
	for _, f := range fields {
		c.escaped(f, '|')
		*c = append(*c, '|')
	}
}

func (c *cefLine) key(name string) {
	*c = append(append(append(*c, ' '), name...), '=')
}

func (c *cefLine) int(name string, v int64) {
	c.key(name)
	*c = strconv.AppendInt(*c, v, 10)
}

// text writes a pair, unless it says nothing.
func (c *cefLine) text(name, s string) {
	if s != "" {
		c.key(name)
		c.escaped(s, '=')
	}
}

func (c *cefLine) label(name, label string) { c.text(name+"Label", label) }

func (c *cefLine) labeled(name, label, s string) {
	if s != "" {
		c.label(name, label)
		c.text(name, s)
	}
}

// escaped writes text in which the backslash and special are escaped. A line
// ending is written as \n or \r; other control characters become spaces, and are
// not left out, for what stood on both sides must not become one word.
func (c *cefLine) escaped(s string, special byte) {
	b := *c
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == '\\', r == rune(special):
			b = append(b, '\\', byte(r))
		case special == '=' && r == '\n':
			b = append(b, '\\', 'n')
		case special == '=' && r == '\r':
			b = append(b, '\\', 'r')
		case r < ' ', r == 0x7f, r == 0x85, r == 0x2028, r == 0x2029:
			b = append(b, ' ')
		default:
			b = utf8.AppendRune(b, r)
		}
		i += size
	}
	*c = b
}
