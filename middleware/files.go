package middleware

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/vazel-gateway/vazel/config/unit"
)

// Files holds uploaded files to types, a size and a number. They are looked at as
// they pass; the upstream never has the end of a request that is refused.
type Files struct {
	// Types lists the types that files may have, told by their content, which has to fit the extension of their name and their Content-Type: asice, csv, doc, docx, geojson, gif, gml, gpkg, gzip, jpeg, json, kml, odp, ods, odt, p7m, pdf, png, pptx, rtf, tiff, txt, webp, xls, xlsx, xml, zip. Others get 415 file_type_not_allowed, and files that are not what they claim 415 file_type_mismatch. Default: any.
	Types unit.List `yaml:"types"`
	// MaxSize is the largest file; more gets 413 file_too_large. Default: what max_body allows.
	MaxSize unit.Size `yaml:"max_size"`
	// MaxCount is how many files one request may hold; more get 413 too_many_files. Default: 1000.
	MaxCount int `yaml:"max_count"`
}

// Build makes the handler. A nil p makes none.
func (p *Files) Build(env Env) (Func, error) {
	if p == nil || len(p.Types) == 0 && p.MaxSize == 0 && p.MaxCount == 0 {
		return nil, nil
	}
	for _, name := range p.Types {
		if _, ok := fileTypes[name]; !ok {
			return nil, fmt.Errorf("types: %q is not one of %v", name, FileTypes())
		}
	}
	f := &files{types: p.Types, size: int64(p.MaxSize), count: p.MaxCount}
	if f.count == 0 {
		f.count = maxParts
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, next) })
	}, nil
}

// files is the policy of one route.
type files struct {
	types []string
	size  int64 // 0: any
	count int
}

func (f *files) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	kind := strings.ToLower(strings.TrimSpace(first(r.Header["Content-Type"])))
	has, ok := hasBody(w, r)
	if !ok {
		return
	}
	if !has {
		next.ServeHTTP(w, r)
		return
	}
	if severalTypes(w, r, "files") {
		return
	}
	if document(kind) {
		next.ServeHTTP(w, r)
		return
	}
	if coding := strings.Join(r.Header["Content-Encoding"], ","); coding != "" && !strings.EqualFold(coding, "identity") {
		Deny(w, r, http.StatusUnsupportedMediaType, Denial{
			By: "files", Reason: "inspection_encoding", Detail: "files in a content coding", Header: http.Header{"Accept-Encoding": {"identity"}},
		})
		return
	}
	body := newChecked(r.Body, func(content io.Reader) error {
		if strings.HasPrefix(kind, "multipart/") {
			return f.parts(r.Header["Content-Type"], content)
		}
		return f.file(bufio.NewReaderSize(content, sniffed), "", kind)
	})
	defer body.stop()
	r.Body = body // r is Observe's copy
	next.ServeHTTP(w, r)
}

// severalTypes refuses a body that says twice what it is: upstreams believe the one
// or the other.
func severalTypes(w http.ResponseWriter, r *http.Request, by string) bool {
	if len(r.Header["Content-Type"]) < 2 {
		return false
	}
	Deny(w, r, http.StatusUnsupportedMediaType, Denial{By: by, Reason: "unsupported_media_type", Detail: "more than one Content-Type"})
	return true
}

// document reports whether a body is no file, by what it says it is: others read
// and check it as a form or a document.
func document(kind string) bool {
	media, _, _ := strings.Cut(kind, ";")
	media = strings.TrimSpace(media)
	switch media {
	case "application/x-www-form-urlencoded", "application/json", "application/xml", "text/xml", "application/soap+xml", "application/problem+json", "application/json-patch+json", "application/merge-patch+json":
		return true
	}
	return false
}

// parts checks each file of a multipart body.
func (f *files) parts(contentType []string, content io.Reader) error {
	m, err := newParts(contentType, content)
	if err != nil {
		return filesMalformed(err)
	}
	for n := 0; ; {
		p, err := m.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return filesMalformed(err)
		}
		if !p.named {
			continue
		}
		if p.file == "" {
			if _, err := p.content.Peek(1); err == io.EOF { // what browsers send for no file
				continue
			}
		}
		if n++; n > f.count {
			return &BodyRefusal{http.StatusRequestEntityTooLarge, Denial{By: "files", Reason: "too_many_files", Close: true, Members: map[string]any{"limit": f.count}}}
		}
		if err := f.file(p.content, p.file, p.kind); err != nil {
			return err
		}
	}
}

// file checks one file; name is "" for one that is the whole body.
func (f *files) file(content *bufio.Reader, name, kind string) error {
	b, err := content.Peek(sniffed)
	if err != nil && err != io.EOF {
		return err
	}
	text := false
	if len(f.types) > 0 {
		t, err := f.typeOf(b, name, kind)
		if err != nil {
			return err
		}
		text = t.text
	}
	size := int64(0)
	chunk := make([]byte, 16<<10)
	for {
		n, err := content.Read(chunk)
		if size += int64(n); f.size > 0 && size > f.size {
			return &BodyRefusal{http.StatusRequestEntityTooLarge, Denial{By: "files", Reason: "file_too_large", Close: true, Members: map[string]any{"limit": f.size}}}
		}
		if text && !textBytes(chunk[:n]) {
			return f.refuse("file_type_mismatch", "what begins as text is none")
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// typeOf is the type of a file: one that may be sent, whose content it has, and
// that its name and Content-Type claim.
func (f *files) typeOf(b []byte, name, kind string) (fileType, error) {
	extension, plain := fileExtension(name)
	if !plain {
		return fileType{}, f.refuse("file_type_mismatch", "a file name that programs read differently")
	}
	media, _, _ := strings.Cut(strings.ToLower(kind), ";")
	media = strings.TrimSpace(media)
	claimed := false
	for _, t := range f.types {
		t := fileTypes[t]
		if extension != "" && !slices.Contains(t.extensions, extension) {
			continue
		}
		if media != "" && media != "application/octet-stream" && !slices.Contains(t.media, media) {
			continue
		}
		claimed = true
		if t.is(b) {
			return t, nil
		}
	}
	if claimed && (extension != "" || media != "" && media != "application/octet-stream") {
		return fileType{}, f.refuse("file_type_mismatch", "the content is not what the name or Content-Type says")
	}
	for _, t := range f.types { // of a type that may be sent, under the name of another
		if t := fileTypes[t]; !t.text && t.is(b) {
			return fileType{}, f.refuse("file_type_mismatch", "the name or Content-Type is not what the content is")
		}
	}
	return fileType{}, f.refuse("file_type_not_allowed", "a file of another type")
}

func (f *files) refuse(reason, detail string) error {
	return &BodyRefusal{http.StatusUnsupportedMediaType, Denial{By: "files", Reason: reason, Detail: detail, Close: true, Members: map[string]any{"types": f.types}}}
}

func filesMalformed(err error) error {
	var refusal *BodyRefusal
	if errors.As(err, &refusal) {
		return err
	}
	return &BodyRefusal{http.StatusBadRequest, Denial{By: "files", Reason: "inspection_multipart", Detail: fmt.Sprint("files can't be told apart: ", err), Close: true}}
}

// checked is a body that is looked at as it passes. Its last byte is handed on
// only when all of it was found to be in order: the upstream that counts bytes has
// no whole request before.
type checked struct {
	body io.ReadCloser
	into *io.PipeWriter
	done chan struct{}
	err  error // of the check, once done is closed

	started sync.Once
	check   func(io.Reader) error
	pipe    *io.PipeReader

	last    byte
	held    bool  // last is one that was not handed on
	whole   bool  // only last is left
	refused error // what every further Read returns
}

func newChecked(body io.ReadCloser, check func(io.Reader) error) *checked {
	c := &checked{body: body, check: check, done: make(chan struct{})}
	c.pipe, c.into = io.Pipe()
	return c
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	if c.refused != nil {
		return 0, c.refused
	}
	if len(p) == 0 {
		return 0, nil
	}
	if c.whole {
		p[0] = c.last
		return 1, c.end(io.EOF)
	}
	c.started.Do(func() {
		go func() {
			defer close(c.done)
			c.err = c.check(c.pipe)
			c.pipe.CloseWithError(c.err) // a Write returns it, or io.ErrClosedPipe
		}()
	})
	var few [2]byte
	b := p
	if len(p) < 2 {
		b = few[:]
	}
	for {
		from := 0
		if c.held {
			b[0], from = c.last, 1
		}
		n, err := c.body.Read(b[from:min(len(b), len(p)+from)])
		if n > 0 {
			if _, e := c.into.Write(b[from : from+n]); e != nil && e != io.ErrClosedPipe {
				return 0, c.end(e)
			} else if e != nil {
				<-c.done
				if c.err != nil {
					return 0, c.end(c.err)
				}
			}
		}
		n += from
		switch {
		case err == io.EOF:
			c.into.Close()
			<-c.done
			if c.err != nil {
				return 0, c.end(c.err)
			}
			if n > len(p) { // one byte is asked for, and there are two
				p[0], c.last, c.held, c.whole = b[0], b[1], true, true
				return 1, nil
			}
			return copy(p, b[:n]), c.end(io.EOF)
		case err != nil:
			c.into.CloseWithError(err)
			return 0, c.end(err)
		case n > 1:
			c.last, c.held = b[n-1], true
			return copy(p, b[:n-1]), nil
		case n == 1:
			c.last, c.held = b[0], true
		}
	}
}

func (c *checked) end(err error) error {
	c.refused = err
	return err
}

// Close implements io.Closer.
func (c *checked) Close() error { return c.body.Close() }

// stop ends the check of a body that was not read to its end.
func (c *checked) stop() {
	c.into.CloseWithError(io.ErrUnexpectedEOF)
	c.started.Do(func() { close(c.done) })
	<-c.done
}
