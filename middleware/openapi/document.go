// Package openapi holds requests to OpenAPI 3 documents. It is the only door to
// the library that reads them (kin-openapi), and owns how paths are matched and
// what is said of a request that does not fit. It does not read bodies.
package openapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"weak"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
)

// Document is one that was read and checked. It is safe for concurrent use.
type Document struct {
	spec       *openapi3.T
	bases      []string // paths of its servers, without a slash at the end
	paths      []path
	names      map[string]bool // every name of a property, so known to be no client's
	schema2020 bool
}

// Problem is a mistake in a document.
type Problem struct {
	Line int // 0 if it is not known
	Text string
}

// Read reads a document and lists what is wrong with it. References to other files
// are not followed.
func Read(text []byte) (*Document, []Problem) {
	loader := openapi3.NewLoader()
	loader.IncludeOrigin = true
	spec, err := loader.LoadFromData(text)
	if err != nil {
		return nil, problemsOf(err)
	}
	if !strings.HasPrefix(spec.OpenAPI, "3.") {
		return nil, []Problem{{1, "not an OpenAPI 3 document"}}
	}
	if err := spec.Validate(openapi3.WithValidationOptions(context.Background(), openapi3.EnableMultiError(), openapi3.DisableExamplesValidation())); err != nil {
		return nil, problemsOf(err)
	}
	d := &Document{spec: spec, names: map[string]bool{}, schema2020: spec.IsOpenAPI31OrLater()}
	for _, s := range spec.Servers {
		base, err := s.BasePath()
		if err != nil {
			return nil, []Problem{{0, fmt.Sprintf("the URL of a server can't be read: %v", err)}}
		}
		if base = strings.TrimSuffix(base, "/"); !slices.Contains(d.bases, base) {
			d.bases = append(d.bases, base)
		}
	}
	if len(d.bases) == 0 {
		d.bases = []string{""}
	}
	for _, template := range spec.Paths.InMatchingOrder() {
		p, err := newPath(template)
		if err != nil {
			return nil, []Problem{{0, err.Error()}}
		}
		p.item = spec.Paths.Value(template)
		d.paths = append(d.paths, p)
	}
	d.collectNames(text)
	return d, nil
}

var (
	lineInText = regexp.MustCompile(`(?i)\bline (\d+)[:,]?\s*(column \d+:?\s*)?`)
	quotedName = regexp.MustCompile(`["']?([^\s"'{}\[\],:]{1,128})["']?\s*:`)
)

// collectNames notes everything that stands before a colon in the document.
func (d *Document) collectNames(text []byte) {
	for _, m := range quotedName.FindAllSubmatch(text, -1) {
		d.names[string(m[1])] = true
	}
}

// problemsOf are the mistakes of an error, each with its line.
func problemsOf(err error) (out []Problem) {
	var several openapi3.MultiError
	if errors.As(err, &several) {
		for _, e := range several {
			out = append(out, problemsOf(e)...)
		}
		return out
	}
	p := Problem{lineOf(err), strings.TrimSpace(err.Error())}
	if m := lineInText.FindStringSubmatchIndex(p.Text); m != nil && p.Line == 0 {
		p.Line, _ = strconv.Atoi(p.Text[m[2]:m[3]])
		p.Text = strings.TrimSpace(p.Text[:m[0]] + p.Text[m[1]:])
	}
	p.Text, _, _ = strings.Cut(p.Text, "\n")
	return []Problem{p}
}

// lineOf is the line of the innermost error that knows where it stands. The library
// has many types of errors for that, each with the field Origin.
func lineOf(err error) (line int) {
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
			line = o.Key.Line
		}
	}
	return line
}

// path is one path of a document.
type path struct {
	template string
	segments []segment
	item     *openapi3.PathItem
}

// segment is a part of a path between slashes: text, or a pattern with parameters.
type segment struct {
	text    string
	pattern *regexp.Regexp // nil for text
	names   []string
}

var parameter = regexp.MustCompile(`\{([^{}]+)\}`)

func newPath(template string) (path, error) {
	p := path{template: template}
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
func (p *path) fits(parts []string) (map[string]string, bool) {
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
	document *Document
	route    *routers.Route
	params   map[string]string
}

// Find finds the operation of a request. allow lists the methods of the path if it
// has the path, but not the method.
func (d *Document) Find(method, target string) (op *Operation, allow []string) {
	for _, base := range d.bases {
		rest, ok := strings.CutPrefix(target, base)
		if !ok || !strings.HasPrefix(rest, "/") {
			continue
		}
		parts := strings.Split(rest[1:], "/")
		for i, s := range parts {
			if u, err := url.PathUnescape(s); err == nil {
				parts[i] = u
			}
		}
		for i := range d.paths {
			p := &d.paths[i]
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
			return &Operation{d, &routers.Route{Spec: d.spec, Path: p.template, PathItem: p.item, Method: method, Operation: o}, params}, nil
		}
	}
	slices.Sort(allow)
	return nil, slices.Compact(allow)
}

// Cache reads each document once, however many routes and configurations have it.
type Cache struct {
	mu    sync.Mutex
	known map[[sha256.Size]byte]weak.Pointer[Document]
}

// Read is as the function Read, for a document that has been checked.
func (c *Cache) Read(text []byte) (*Document, error) {
	sum := sha256.Sum256(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.known[sum].Value(); d != nil {
		return d, nil
	}
	d, problems := Read(text)
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
