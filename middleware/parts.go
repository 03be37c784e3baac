package middleware

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

// maxParts bounds the parts of a multipart body that are looked at.
const maxParts = 1000

// maxField is the largest part that counts as a field without a closer look.
const maxField = 64 << 10

// parts reads a multipart body part by part, without holding it. It is for
// policies that look at files; how strictly a body is written is for inspection.
type parts struct {
	r *multipart.Reader
	n int
}

// part is one part, readable until the next one is asked for.
type part struct {
	name    string // of the field
	file    string // name of the file as it was sent, or ""
	kind    string // its own Content-Type, or ""
	named   bool   // it says that it is a file
	field   bool   // a short value without a file name or type
	content *bufio.Reader
}

var (
	errManyParts  = errors.New("too many parts")
	errPartTwice  = errors.New("a part that says twice what it is")
	errPartNested = errors.New("a part that is multipart itself, or has a transfer encoding")
)

func newParts(contentType []string, body io.Reader) (*parts, error) {
	if len(contentType) != 1 {
		return nil, errors.New("more than one Content-Type")
	}
	_, params, err := mime.ParseMediaType(contentType[0])
	if err != nil || params["boundary"] == "" {
		return nil, errors.New("no boundary")
	}
	return &parts{r: multipart.NewReader(body, params["boundary"])}, nil
}

// next is the next part; io.EOF after the last.
func (m *parts) next() (*part, error) {
	raw, err := m.r.NextRawPart()
	if err != nil {
		return nil, err
	}
	if m.n++; m.n > maxParts {
		return nil, errManyParts
	}
	p := &part{kind: first(raw.Header["Content-Type"]), content: bufio.NewReaderSize(raw, maxField+1)}
	for _, c := range raw.Header["Content-Transfer-Encoding"] {
		switch strings.ToLower(c) {
		case "7bit", "8bit", "binary":
		default:
			return nil, errPartNested
		}
	}
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(p.kind)), "multipart/") {
		return nil, errPartNested
	}
	switch d := raw.Header["Content-Disposition"]; {
	case len(d) > 1:
		return nil, errPartTwice
	case len(d) == 1:
		p.named = strings.Contains(strings.ToLower(d[0]), "filename")
		if _, params, err := mime.ParseMediaType(d[0]); err == nil {
			p.name, p.file = params["name"], params["filename"]
		}
	}
	if !p.named && p.kind == "" {
		b, err := p.content.Peek(maxField + 1)
		if err != nil && err != io.EOF {
			return nil, err
		}
		p.field = len(b) <= maxField
	}
	return p, nil
}
