package waf

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"
)

// Bounds of XML. What exceeds them is refused.
const (
	maxXMLDepth  = 128
	maxXMLValues = 100_000
)

// Namespaces that change what a document is for some parsers.
const (
	schemaInstance = "http://www.w3.org/2001/XMLSchema-instance"
	xinclude       = "http://www.w3.org/2001/XInclude"
)

// knownSchemas are hosts whose schemas standards tell clients to name, and which
// no validating parser can be harmed by.
var knownSchemas = []string{"schemas.opengis.net", "www.opengis.net", "inspire.ec.europa.eu", "www.w3.org", "schemas.xmlsoap.org", "docs.oasis-open.org", "www.isotc211.org"}

// readXML lists the attributes and texts of a document. Only well-formed UTF-8
// passes; a document type, which entities come with, and parts from elsewhere do
// not, unless they are accepted.
func (b *body) readXML(doc []byte, accept Accept) error {
	if b.head {
		doc = wholeRunes(doc)
	}
	if !utf8.Valid(doc) {
		return &Refusal{http.StatusUnsupportedMediaType, ReasonXMLUnsafe, "XML in another encoding than UTF-8"}
	}
	d := newXMLDecoder(doc, accept.Latin)
	depth, roots := 0, 0
	var text []byte // of an element, which comments and CDATA may divide
	for {
		read := d.InputOffset()
		t, err := d.Token()
		if err != nil && b.head && read < int64(len(doc)) {
			text = append(text, doc[read:]...) // of the token that is cut off
		}
		if err == io.EOF || err != nil && b.head && d.InputOffset() >= int64(len(doc)) { // there, it is cut off
			break
		}
		switch t.(type) {
		case xml.StartElement, xml.EndElement:
			if s := bytes.TrimSpace(text); len(s) > 0 && depth > 0 {
				b.texts = append(b.texts, string(s))
			}
			text = text[:0]
		}
		if err != nil {
			if errors.Is(err, errXMLEncoding) || strings.Contains(err.Error(), errXMLEncoding.Error()) {
				return &Refusal{http.StatusUnsupportedMediaType, ReasonXMLUnsafe, "XML that declares another encoding than UTF-8"}
			}
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) {
				return badBody(ReasonXML, "line %d: malformed XML", syntax.Line)
			}
			return badBody(ReasonXML, "malformed XML")
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; depth > maxXMLDepth {
				return badBody(ReasonDepth, "XML deeper than %d", maxXMLDepth)
			}
			if depth == 1 {
				if roots++; roots > 1 {
					return badBody(ReasonXML, "a second root element")
				}
			}
			if t.Name.Space == xinclude && !accept.XInclude {
				return badBody(ReasonXMLUnsafe, "XInclude")
			}
			if err := b.attributes(t, accept); err != nil {
				return err
			}
		case xml.EndElement:
			depth--
		case xml.CharData:
			if s := strings.TrimSpace(string(t)); s != "" {
				if depth == 0 && s != "\ufeff" {
					return badBody(ReasonXML, "text outside of the root element")
				}
			}
			text = append(text, t...)
		case xml.Directive:
			if !accept.Doctype {
				return badBody(ReasonXMLUnsafe, "a document type declaration")
			}
		}
		if len(b.attrs)+len(b.texts) > maxXMLValues {
			return &Refusal{http.StatusRequestEntityTooLarge, ReasonArguments, "more XML values than are inspected"}
		}
	}
	if s := bytes.TrimSpace(text); len(s) > 0 && b.head {
		b.texts = append(b.texts, string(s))
	}
	if roots == 0 {
		return badBody(ReasonXML, "no root element")
	}
	return nil
}

// newXMLDecoder reads UTF-8. A document of ASCII alone is the same in Latin 1, and
// OWSLib, which asks catalogs and maps, declares that always.
func newXMLDecoder(doc []byte, latin bool) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(doc))
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if latin && strings.EqualFold(label, "iso-8859-1") && bytes.IndexFunc(doc, func(r rune) bool { return r >= 0x80 || r == 0x1b }) < 0 {
			return in, nil
		}
		return nil, errXMLEncoding
	}
	return d
}

var errXMLEncoding = errors.New("encoding that is not inspected")

func (b *body) attributes(e xml.StartElement, accept Accept) error {
	var names nameSet
	for _, a := range e.Attr {
		if !names.add(a.Name.Space + " " + a.Name.Local) {
			return badBody(ReasonXML, "an attribute stands twice")
		}
		if a.Name.Space == schemaInstance && (a.Name.Local == "schemaLocation" || a.Name.Local == "noNamespaceSchemaLocation") && !accept.SchemaLocation && !schemasKnown(a, accept.Host) {
			return badBody(ReasonXMLUnsafe, "a schemaLocation that is not one of a standard")
		}
		b.attrs = append(b.attrs, a.Value)
		b.texts = append(b.texts, textsOfAttribute(a)...) // most rules look at texts alone
	}
	return nil
}

// schemasKnown reports whether a schemaLocation names only schemas of standards,
// and the one of its own types that the service itself describes, as clients of
// WFS transactions name it. Its words are namespaces and locations in turn.
func schemasKnown(a xml.Attr, own string) bool {
	words := strings.Fields(a.Value)
	if a.Name.Local == "schemaLocation" && len(words)%2 != 0 {
		return false
	}
	for i, w := range words {
		if a.Name.Local == "schemaLocation" && i%2 == 0 {
			continue
		}
		rest, ok := strings.CutPrefix(w, "http://")
		if !ok {
			rest, ok = strings.CutPrefix(w, "https://")
		}
		host := rest[:len(rest)-len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-"))]
		if after := rest[len(host):]; after != "" && after[0] != '/' && after[0] != '?' {
			return false // a user, or what parsers read differently
		}
		known := own != "" && strings.EqualFold(host, own) && strings.Contains(strings.ToLower(rest), "request=describefeaturetype")
		for _, k := range knownSchemas {
			known = known || host == k
		}
		if !ok || !known {
			return false
		}
	}
	return true
}
