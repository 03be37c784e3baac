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

// ogcException speaks what the service that the query names speaks: WMS has a
// ServiceExceptionReport (OGC 06-042, Annex E.2), others the report of OWS Common.
func ogcException(r *http.Request, text, reason string, rec *Record, bulgarian bool) (string, []byte) {
	service, version := "", ""
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		k, v, _ := strings.Cut(pair, "=")
		if len(v) > 32 {
			continue
		}
		switch strings.ToLower(k) {
		case "service":
			service, _ = url.QueryUnescape(v)
		case "version":
			version, _ = url.QueryUnescape(v)
		}
	}
	text += " (" + rec.ID + ")"
	lang := "en"
	if bulgarian {
		lang = "bg"
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if strings.EqualFold(service, "WMS") {
		kind := "text/xml; charset=utf-8"
		if strings.HasPrefix(version, "1.1") || strings.HasPrefix(version, "1.0") {
			kind = "application/vnd.ogc.se_xml; charset=utf-8"
			b.WriteString(`<ServiceExceptionReport version="1.1.1">`)
		} else {
			b.WriteString(`<ServiceExceptionReport version="1.3.0" xmlns="http://www.opengis.net/ogc">`)
		}
		b.WriteString(`<ServiceException code="`)
		escapeXML(&b, reason)
		b.WriteString(`">`)
		escapeXML(&b, text)
		b.WriteString("</ServiceException></ServiceExceptionReport>\n")
		return kind, b.Bytes()
	}
	space, report := "http://www.opengis.net/ows/1.1", "1.1.0"
	if strings.EqualFold(service, "WFS") && strings.HasPrefix(version, "1.1") || strings.EqualFold(service, "CSW") {
		space, report = "http://www.opengis.net/ows", "1.0.0"
	}
	b.WriteString(`<ows:ExceptionReport xmlns:ows="` + space + `" version="` + report + `" xml:lang="` + lang + `"><ows:Exception exceptionCode="`)
	escapeXML(&b, reason)
	b.WriteString(`"><ows:ExceptionText>`)
	escapeXML(&b, text)
	b.WriteString("</ows:ExceptionText></ows:Exception></ows:ExceptionReport>\n")
	return "application/xml; charset=utf-8", b.Bytes()
}

func escapeXML(b *bytes.Buffer, s string) { xml.EscapeText(b, []byte(s)) } // a Buffer never fails
