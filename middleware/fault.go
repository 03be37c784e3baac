package middleware

import (
	"bytes"
	"encoding/xml"
	"net/http"
	"net/url"
	"strings"
)

// The values of Chain.Errors.
const (
	errorsAuto    = "auto"    // a problem document or a page, by Accept
	errorsProblem = "problem" // always a problem document (RFC 9457)
	errorsHTML    = "html"    // always a page
	errorsOGC     = "ogc"     // an exception report of the Open Geospatial Consortium
	errorsSOAP    = "soap"    // a SOAP fault
)

// ErrorForms lists the values of errors.
func ErrorForms() []string {
	return []string{errorsAuto, errorsProblem, errorsHTML, errorsOGC, errorsSOAP}
}

// fault is a refusal as clients of a protocol over HTTP understand it. Status
// and header fields of the answer are the same in every form.
func fault(form string, r *http.Request, t Text, status int, rec *Record, d *Denial, bulgarian bool) (kind string, body []byte) {
	l := t.English
	if bulgarian {
		l = t.Bulgarian
	}
	text := strings.TrimSpace(l.Title + ". " + l.Explanation + " " + l.Advice)
	if form == errorsSOAP {
		return soapFault(r, text, status, rec, d, l, bulgarian)
	}
	return ogcException(r, text, d.Reason, rec, bulgarian)
}

// soapFault speaks the version of the request: SOAP 1.2 has a media type of its
// own (RFC 3902).
func soapFault(r *http.Request, text string, status int, rec *Record, d *Denial, l Localized, bulgarian bool) (string, []byte) {
	var b bytes.Buffer
	lang := "en"
	if bulgarian {
		lang = "bg"
	}
	detail := func() {
		b.WriteString(`<problem xmlns="urn:ietf:rfc:7807"><type>`)
		kind := d.Type
		if kind == "" {
			kind = ProblemType + d.Reason
		}
		escapeXML(&b, kind)
		b.WriteString("</type><title>")
		escapeXML(&b, l.Title)
		b.WriteString("</title><instance>urn:vazel:incident:" + rec.ID + "</instance></problem>")
	}
	if v := r.Header["Content-Type"]; len(v) == 1 && strings.HasPrefix(strings.ToLower(v[0]), "application/soap+xml") {
		code := "Sender"
		if status >= 500 {
			code = "Receiver"
		}
		b.WriteString(xml.Header + `<env:Envelope xmlns:env="http://www.w3.org/2003/05/soap-envelope"><env:Body><env:Fault><env:Code><env:Value>env:` + code +
			`</env:Value></env:Code><env:Reason><env:Text xml:lang="` + lang + `">`)
		escapeXML(&b, text)
		b.WriteString("</env:Text></env:Reason><env:Detail>")
		detail()
		b.WriteString("</env:Detail></env:Fault></env:Body></env:Envelope>\n")
		return "application/soap+xml; charset=utf-8", b.Bytes()
	}
	code := "Client"
	if status >= 500 {
		code = "Server"
	}
	b.WriteString(xml.Header + `<env:Envelope xmlns:env="http://schemas.xmlsoap.org/soap/envelope/"><env:Body><env:Fault><faultcode>env:` + code +
		`</faultcode><faultstring xml:lang="` + lang + `">`)
	escapeXML(&b, text)
	b.WriteString("</faultstring><detail>")
	detail()
	b.WriteString("</detail></env:Fault></env:Body></env:Envelope>\n")
	return "text/xml; charset=utf-8", b.Bytes()
}

// ogcReport is how services of one kind and version tell of an exception.
type ogcReport struct {
	service, version string // version: how those that it is for begin
	space            string // namespace: of OGC services, or of OWS Common
	report           string // version of the report
}

// ogcReports are looked through in this order; the last one is for all others.
var ogcReports = []ogcReport{
	{"WMS", "1.0", "", "1.1.1"},
	{"WMS", "1.1", "", "1.1.1"},
	{"WMS", "", ogcSpace, "1.3.0"}, // OGC 06-042, Annex E.2
	{"WFS", "1.0", ogcSpace, "1.2.0"},
	{"WCS", "1.0", ogcSpace, "1.2.0"},
	{"WFS", "1.1", owsSpace, "1.0.0"},
	{"WFS", "", owsSpace + "/1.1", "2.0.0"},
	{"CSW", "3", owsSpace + "/2.0", "3.0.0"},
	{"CSW", "", owsSpace, "1.0.0"},
	{"WCS", "2", owsSpace + "/2.0", "2.0.1"},
	{"WMTS", "", owsSpace + "/1.1", "1.0.0"},
	{"WPS", "2", owsSpace + "/2.0", "2.0.0"},
	{"WPS", "", owsSpace + "/1.1", "1.0.0"},
	{"", "", owsSpace + "/1.1", "1.1.0"},
}

const (
	ogcSpace = "http://www.opengis.net/ogc"
	owsSpace = "http://www.opengis.net/ows"
)

// ogcException speaks what the service speaks that the query, or the document in the
// body if a policy has looked at it, names.
func ogcException(r *http.Request, text, reason string, rec *Record, bulgarian bool) (string, []byte) {
	service, version := rec.OGCService, rec.OGCVersion
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if len(v) > maxOGCWord {
			continue
		}
		switch strings.ToLower(k) {
		case "service":
			service, _ = url.QueryUnescape(v)
		case "version", "wmtver", "acceptversions":
			version, _ = url.QueryUnescape(v)
		}
	}
	var o ogcReport
	for _, o = range ogcReports {
		if o.service == "" || strings.EqualFold(o.service, service) && strings.HasPrefix(version, o.version) {
			break
		}
	}
	text += " (" + rec.ID + ")"
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if !strings.HasPrefix(o.space, owsSpace) {
		kind := "text/xml; charset=utf-8"
		b.WriteString(`<ServiceExceptionReport version="` + o.report + `"`)
		if o.space != "" {
			b.WriteString(` xmlns="` + o.space + `"`)
		} else {
			kind = "application/vnd.ogc.se_xml; charset=utf-8"
		}
		b.WriteString(`><ServiceException code="`)
		escapeXML(&b, reason)
		b.WriteString(`">`)
		escapeXML(&b, text)
		b.WriteString("</ServiceException></ServiceExceptionReport>\n")
		return kind, b.Bytes()
	}
	lang := ` xml:lang="en"`
	if bulgarian {
		lang = ` xml:lang="bg"`
	}
	if o.space == owsSpace { // version 1.0 of OWS Common
		lang = strings.Replace(lang, "xml:lang", "language", 1)
	}
	b.WriteString(`<ows:ExceptionReport xmlns:ows="` + o.space + `" version="` + o.report + `"` + lang + `><ows:Exception exceptionCode="`)
	escapeXML(&b, reason)
	b.WriteString(`"><ows:ExceptionText>`)
	escapeXML(&b, text)
	b.WriteString("</ows:ExceptionText></ows:Exception></ows:ExceptionReport>\n")
	return "application/xml; charset=utf-8", b.Bytes()
}

// maxOGCWord bounds the name and version of a service.
const maxOGCWord = 32

func escapeXML(b *bytes.Buffer, s string) { xml.EscapeText(b, []byte(s)) } // a Buffer never fails
