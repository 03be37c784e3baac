// Package openapi holds requests to OpenAPI 3 documents. It is the only door to
// the library that reads them (kin-openapi), and owns how paths are matched and
// what is said of a request that does not fit. It does not read bodies.
package openapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"weak"

	"github.com/getkin/kin-openapi/openapi3"
)

// Document is one that was read and checked. It is safe for concurrent use.
type Document struct {
	paths   []route
	names   map[string]bool // every name of a property, so known to be no client's
	options []openapi3.SchemaValidationOption
}

// Problem is a mistake in a document.
type Problem struct {
	File string
	Line int // 0 if it is not known
	Text string
}

// Source is a document, with what it may refer to.
type Source struct {
	Name string // path of the document, with slashes; those of references are relative to it
	Text []byte
	// Open gives the text of a file that a reference names, by its path. Nil: there is
	// none.
	Open func(path string) ([]byte, error)
}

// Read reads a document and lists what is wrong with it.
func Read(source Source) (*Document, []Problem) {
	loader := openapi3.NewLoader()
	loader.IncludeOrigin = true
	d := &Document{names: map[string]bool{}}
	d.collectNames(source.Text)
	loader.ReadFromURIFunc = func(_ *openapi3.Loader, at *url.URL) ([]byte, error) {
		if at.Scheme != "" || at.Host != "" || source.Open == nil {
			return nil, fmt.Errorf("a reference to %s, which is not a file of the configuration", at)
		}
		text, err := source.Open(at.Path)
		d.collectNames(text)
		return text, err
	}
	spec, err := loader.LoadFromDataWithPath(source.Text, &url.URL{Path: source.Name})
	if err != nil {
		return nil, problemsOf(err, source)
	}
	if !strings.HasPrefix(spec.OpenAPI, "3.") {
		return nil, []Problem{{source.Name, 1, "not an OpenAPI 3 document"}}
	}
	if err := spec.Validate(openapi3.WithValidationOptions(context.Background(), openapi3.EnableMultiError(), openapi3.DisableExamplesValidation())); err != nil {
		return nil, problemsOf(err, source)
	}
	d.options = []openapi3.SchemaValidationOption{openapi3.VisitAsRequest(), openapi3.WithStringFormatValidators(formats)}
	if spec.IsOpenAPI31OrLater() {
		d.options = append(d.options, openapi3.EnableJSONSchema2020())
	}
	bases, err := basesOf(spec.Servers)
	if err != nil {
		return nil, []Problem{{source.Name, 0, err.Error()}}
	}
	for _, template := range spec.Paths.InMatchingOrder() {
		p, err := newPath(template)
		if err != nil {
			return nil, []Problem{{source.Name, 0, err.Error()}}
		}
		p.item, p.bases = spec.Paths.Value(template), bases
		if len(p.item.Servers) > 0 {
			if p.bases, err = basesOf(p.item.Servers); err != nil {
				return nil, []Problem{{source.Name, 0, err.Error()}}
			}
		}
		d.paths = append(d.paths, p)
	}
	return d, nil
}

// basesOf are the paths of servers, without a slash at the end.
func basesOf(servers openapi3.Servers) (bases []string, err error) {
	for _, s := range servers {
		base, err := s.BasePath()
		if err != nil {
			return nil, fmt.Errorf("the URL of a server can't be read: %w", err)
		}
		if base = strings.TrimSuffix(base, "/"); !slices.Contains(bases, base) {
			bases = append(bases, base)
		}
	}
	if len(bases) == 0 {
		bases = []string{""}
	}
	return bases, nil
}

var (
	lineInText = regexp.MustCompile(`(?i)\bline (\d+)[:,]?\s*(column \d+:?\s*)?`)
	quotedName = regexp.MustCompile(`(?:"([^"\n]{1,128})"|([^\s"'{}\[\],:]{1,128})'?)\s*:`)
)

// collectNames notes everything that stands before a colon in the document.
func (d *Document) collectNames(text []byte) {
	for _, m := range quotedName.FindAllSubmatch(text, -1) {
		d.names[string(m[1])+string(m[2])] = true
	}
}

// problemsOf are the mistakes of an error, each with its line.
func problemsOf(err error, source Source) (out []Problem) {
	var several openapi3.MultiError
	if errors.As(err, &several) {
		for _, e := range several {
			out = append(out, problemsOf(e, source)...)
		}
		return out
	}
	p := Problem{source.Name, 0, strings.TrimSpace(err.Error())}
	if at := placeOf(err); at != nil {
		if p.Line = at.Line; at.File != "" {
			p.File = at.File
		}
	}
	if m := lineInText.FindStringSubmatchIndex(p.Text); m != nil && p.Line == 0 {
		p.Line, _ = strconv.Atoi(p.Text[m[2]:m[3]])
		p.Text = strings.TrimSpace(p.Text[:m[0]] + p.Text[m[1]:])
	}
	if p.Line == 0 { // a reference, which errors name without its place
		p.Line = lineOfReference(p.Text, source.Text)
	}
	p.Text, _, _ = strings.Cut(p.Text, "\n")
	return []Problem{p}
}

// placeOf is that of the innermost error that knows where it stands. The library
// has many types of errors for that, each with the field Origin.
func placeOf(err error) (at *openapi3.Location) {
	for ; err != nil; err = errors.Unwrap(err) {
		v := reflect.Indirect(reflect.ValueOf(err))
		if v.Kind() != reflect.Struct {
			continue
		}
		f := v.FieldByName("Origin")
		if !f.IsValid() || !f.CanInterface() {
			continue
		}
		if o, ok := f.Interface().(*openapi3.Origin); ok && o != nil && o.Key != nil {
			at = o.Key
		}
	}
	return at
}

var reference = regexp.MustCompile(`\$ref["']?\s*:\s*["']?([^"'\s}]+)`)

// lineOfReference is the line of the first reference whose file or name stands in a
// message, or 0.
func lineOfReference(message string, text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		for _, m := range reference.FindAllSubmatch(line, -1) {
			if file, name, _ := strings.Cut(string(m[1]), "#"); strings.Contains(message, path.Base(file)) && file != "" || strings.Contains(message, path.Base(name)) && name != "" {
				return n
			}
		}
	}
	return 0
}

// route is one path of a document.
type route struct {
	segments []segment
	bases    []string // paths that it stands below
	item     *openapi3.PathItem
}

// segment is a part of a path between slashes: text, or a pattern with parameters.
type segment struct {
	text    string
	pattern *regexp.Regexp // nil for text
	names   []string
}

var parameter = regexp.MustCompile(`\{([^{}]+)\}`)

func newPath(template string) (route, error) {
	var p route
	for s := range strings.SplitSeq(strings.TrimPrefix(template, "/"), "/") {
		found := parameter.FindAllStringSubmatchIndex(s, -1)
		if len(found) == 0 {
			p.segments = append(p.segments, segment{text: s})
			continue
		}
		var seg segment
		pattern, last := `\A`, 0
		for _, m := range found {
			pattern += regexp.QuoteMeta(s[last:m[0]]) + `(.+?)`
			seg.names = append(seg.names, s[m[2]:m[3]])
			last = m[1]
		}
		re, err := regexp.Compile(`(?s)` + pattern + regexp.QuoteMeta(s[last:]) + `\z`)
		if err != nil {
			return p, fmt.Errorf("path %s can't be read", template)
		}
		seg.pattern = re
		p.segments = append(p.segments, seg)
	}
	return p, nil
}

// fits reports whether a path, already in its decoded parts, is of the template,
// and which parameters it has.
func (p *route) fits(parts []string) (map[string]string, bool) {
	if len(parts) != len(p.segments) {
		return nil, false
	}
	var params map[string]string
	for i, s := range p.segments {
		if s.pattern == nil {
			if s.text != parts[i] {
				return nil, false
			}
			continue
		}
		m := s.pattern.FindStringSubmatch(parts[i])
		if m == nil {
			return nil, false
		}
		if params == nil {
			params = map[string]string{}
		}
		for k, name := range s.names {
			params[name] = m[k+1]
		}
	}
	return params, true
}

// Operation is what a document says of one method of a path, for one request.
type Operation struct {
	document  *Document
	item      *openapi3.PathItem
	operation *openapi3.Operation
	params    map[string]string
}

// Find finds the operation of a request. allow lists the methods of the path if it
// has the path, but not the method.
func (d *Document) Find(method, target string) (op *Operation, allow []string) {
	var base string
	var parts []string // of target, below base
	for i := range d.paths {
		p := &d.paths[i]
		for _, b := range p.bases {
			rest, ok := strings.CutPrefix(target, b)
			if !ok || !strings.HasPrefix(rest, "/") {
				continue
			}
			if parts == nil || b != base {
				base, parts = b, partsOf(rest)
			}
			params, ok := p.fits(parts)
			if !ok {
				continue
			}
			o := p.item.GetOperation(method)
			if o == nil && method == "HEAD" {
				o = p.item.Get
			}
			if o == nil { // another template may fit, and have the method
				for m := range p.item.Operations() {
					allow = append(allow, m)
				}
				continue
			}
			return &Operation{d, p.item, o, params}, nil
		}
	}
	slices.Sort(allow)
	return nil, slices.Compact(allow)
}

// partsOf are the parts of a path, decoded.
func partsOf(path string) []string {
	parts := strings.Split(path[1:], "/")
	for i, s := range parts {
		if u, err := url.PathUnescape(s); err == nil {
			parts[i] = u
		}
	}
	return parts
}

// Cache reads each document once, however many routes and configurations have it.
type Cache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]weak.Pointer[Document]
}

// Read is as the function Read, for a document that has been checked; files are
// those that it refers to, by path.
func (c *Cache) Read(name string, text []byte, files map[string]string) (*Document, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d\n", name, len(text))
	h.Write(text)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(h, "%q %d\n%s", path, len(files[path]), files[path])
	}
	sum := [sha256.Size]byte(h.Sum(nil))
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.known[sum].Value(); d != nil {
		return d, nil
	}
	d, problems := Read(Source{name, text, func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, fmt.Errorf("%s was not read", path)
	}})
	if len(problems) > 0 {
		return nil, fmt.Errorf("line %d: %s", problems[0].Line, problems[0].Text)
	}
	fresh := map[[sha256.Size]byte]weak.Pointer[Document]{sum: weak.Make(d)}
	for k, p := range c.known {
		if p.Value() != nil {
			fresh[k] = p
		}
	}
	c.known = fresh
	return d, nil
}
