package middleware

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
)

// operation is what the body of a request asks an OGC service for.
type operation struct {
	name    string // of the XML document
	service string
	version string // of the service, if the document says it
	form    Query
	hidden  bool // the body may ask for anything
	soap    bool // the document is what a SOAP envelope holds
	present bool // there is a body that is not only space
}

// maxOperation is how far into a body its operation is looked for.
const maxOperation = 64 << 10

// maxBlank is how much space may stand before anything else.
const maxBlank = 1024

// readOperation reads as much of a body as shows what it asks for, and puts it
// back. Servers take a document for XML whatever its Content-Type says, so the
// first character decides.
func readOperation(r *http.Request) (op operation, err error) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return op, nil
	}
	if len(r.Header["Content-Encoding"]) > 0 {
		op.hidden = true
		return op, nil
	}
	var seen bytes.Buffer
	head := &failing{r: io.TeeReader(io.LimitReader(r.Body, maxOperation), &seen)}
	defer func() { r.Body = replay{io.MultiReader(bytes.NewReader(seen.Bytes()), r.Body), r.Body} }() // r is Observe's copy
	kind := ""
	if v := r.Header["Content-Type"]; len(v) > 0 {
		kind, _, _ = strings.Cut(v[0], ";")
		kind = strings.ToLower(textproto.TrimString(kind))
	}
	first, err := firstByte(head)
	op.present = err == nil
	switch {
	case err != nil:
	case first[len(first)-1] == '<':
		op.readXML(io.MultiReader(bytes.NewReader(first[len(first)-1:]), head))
	case kind == "application/x-www-form-urlencoded":
		rest, _ := io.ReadAll(head)
		op.form.Raw = string(append(first, rest...))
		op.hidden = seen.Len() == maxOperation
	case strings.HasPrefix(kind, "multipart/"), len(first) > maxBlank, first[0] >= 0x80, first[len(first)-1] >= 0x80, first[len(first)-1] == 0:
		op.hidden = true // parts, or another encoding
	}
	if head.err != nil {
		return op, head.err
	}
	if rec := RecordOf(r.Context()); rec != nil && op.service != "" && len(op.service)+len(op.version) <= maxOGCWord {
		rec.OGCService, rec.OGCVersion = op.service, op.version
	}
	return op, nil
}

// firstByte reads up to the first character that is no space. What it returns is
// not empty.
func firstByte(r io.Reader) (b []byte, err error) {
	var one [1]byte
	for {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			if len(b) > 0 {
				return b, nil
			}
			return nil, err
		}
		b = append(b, one[0])
		switch {
		case bytes.Equal(b, []byte("\xef\xbb\xbf")): // a byte order mark
			b = b[:0]
		case len(b) < 3 && bytes.HasPrefix([]byte("\xef\xbb\xbf"), b), one[0] <= ' ' && one[0] != 0:
			if len(b) <= maxBlank {
				continue
			}
			return b, nil
		default:
			return b, nil
		}
	}
}

// failing remembers the error of a reader, that of its end aside.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// readXML finds the operation of a document: its root, or what a SOAP envelope
// holds. A document that can't be read so far is a hidden one.
func (op *operation) readXML(r io.Reader) {
	d := xml.NewDecoder(asciiOnly{r})
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		charset = strings.ToLower(charset)
		for _, known := range []string{"us-ascii", "iso-8859-", "windows-125", "koi8-"} {
			if strings.HasPrefix(charset, known) {
				return in, nil
			}
		}
		return nil, fmt.Errorf("charset %q", charset)
	}
	depth := 0
	for range 1000 {
		t, err := d.RawToken()
		if err != nil {
			break
		}
		start, ok := t.(xml.StartElement)
		switch {
		case !ok:
		case depth == 0 && start.Name.Local == "Envelope", depth == 1 && start.Name.Local == "Body":
			depth++
		case depth == 1 && start.Name.Local == "Header":
			if skipElement(d) != nil {
				op.hidden = true
				return
			}
		default:
			op.name, op.soap = start.Name.Local, depth > 0
			for _, a := range start.Attr {
				switch {
				case a.Name.Space != "":
				case strings.EqualFold(a.Name.Local, "service"):
					op.service = a.Value
				case a.Name.Local == "version":
					op.version = a.Value
				}
			}
			return
		}
	}
	op.hidden = true
}

// skipElement passes over the rest of an element that has begun.
func skipElement(d *xml.Decoder) error {
	depth := 1
	for range 10000 {
		t, err := d.RawToken()
		if err != nil {
			return err
		}
		switch t.(type) {
		case xml.StartElement:
			depth++
		case xml.EndElement:
			if depth--; depth == 0 {
				return nil
			}
		}
	}
	return errors.New("too many elements")
}

// asciiOnly replaces what is not ASCII: names of operations are, and what stands
// before them in another encoding must not keep them from being found.
type asciiOnly struct{ r io.Reader }

func (a asciiOnly) Read(p []byte) (int, error) {
	n, err := a.r.Read(p)
	for i, c := range p[:n] {
		if c >= 0x80 {
			p[i] = '?'
		}
	}
	return n, err
}
