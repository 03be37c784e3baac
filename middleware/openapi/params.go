package openapi

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Parameters of a request are read here and not by the library: it leaves out what
// Go's own reader of queries does, takes the first of several values, and gives up on
// schemas without a type. What an upstream could read differently is refused.

// given are the parameters that a request has.
type given struct {
	r      *http.Request
	path   map[string]string
	query  map[string][]string
	header http.Header
}

// parameters are those of a path and of one of its methods.
func (o *Operation) parameters() (list openapi3.Parameters) {
	for _, p := range o.item.Parameters {
		if o.operation.Parameters.GetByInAndName(p.Value.In, p.Value.Name) == nil {
			list = append(list, p)
		}
	}
	return append(list, o.operation.Parameters...)
}

// Check checks a request but for its body.
func (o *Operation) Check(r *http.Request) (err error) {
	defer recovered(&err)
	g := &given{r: r, path: o.params, header: r.Header}
	_, g.query = pairsOf(r.URL.RawQuery)
	for _, ref := range o.parameters() {
		p := ref.Value
		bad := func(rule string) error { return &Violation{p.In, p.Name, rule} }
		v, found, ok := o.parameter(p, g)
		switch {
		case !ok:
			return bad("repeated")
		case !found && p.Required:
			return bad("required")
		case !found:
			continue
		}
		schema := p.Schema
		if schema == nil {
			for _, m := range p.Content {
				schema = m.Schema
			}
		}
		if schema == nil || schema.Value == nil {
			continue
		}
		if v == "" {
			if p.AllowEmptyValue {
				continue
			}
			if types := typesOf(schema); len(types) > 0 && !slices.Contains(types, openapi3.TypeString) {
				return bad("empty")
			}
		}
		if err := schema.Value.VisitJSON(v, o.document.options...); err != nil {
			return o.violation(err, p.In, p.Name)
		}
	}
	return nil
}

// parameter is the value that a request has of a parameter. It reports ok false
// where there are several, and only one of them would count.
func (o *Operation) parameter(p *openapi3.Parameter, g *given) (v any, found, ok bool) {
	texts := g.texts(p)
	if len(p.Content) > 0 { // a document in a parameter
		if len(texts) != 1 {
			return nil, false, len(texts) == 0
		}
		for kind, m := range p.Content {
			if v, err := parseJSON([]byte(texts[0])); err == nil && isJSON(kind) {
				return v, true, true
			}
			return o.value(texts[0], m.Schema), true, true
		}
	}
	method, err := p.SerializationMethod()
	if err != nil {
		return nil, false, true
	}
	types := typesOf(p.Schema)
	array, object := slices.Contains(types, openapi3.TypeArray), slices.Contains(types, openapi3.TypeObject)
	if object && p.In == openapi3.ParameterInQuery && method.Explode {
		return o.exploded(p, method, g)
	}
	if array && p.In == openapi3.ParameterInQuery && method.Explode && len(texts) > 0 {
		return o.values(texts, p.Schema), true, true
	}
	switch {
	case len(texts) == 0:
		return nil, false, true
	case len(texts) > 1 && array && p.In == openapi3.ParameterInHeader: // a list (RFC 9110 5.3)
		texts[0] = strings.Join(texts, ",")
	case len(texts) > 1:
		return nil, true, false
	}
	text, separator := texts[0], ","
	switch method.Style {
	case openapi3.SerializationSpaceDelimited:
		separator = " "
	case openapi3.SerializationPipeDelimited:
		separator = "|"
	case openapi3.SerializationLabel:
		if text = strings.TrimPrefix(text, "."); method.Explode {
			separator = "."
		}
	case openapi3.SerializationMatrix:
		if text = strings.TrimPrefix(strings.TrimPrefix(text, ";"), p.Name+"="); method.Explode {
			separator = ";" + p.Name + "="
		}
	}
	switch {
	case array:
		words := strings.Split(text, separator)
		if p.In == openapi3.ParameterInHeader {
			for i := range words {
				words[i] = strings.TrimSpace(words[i])
			}
		}
		return o.values(words, p.Schema), true, true
	case object && method.Explode:
		var words []string
		for one := range strings.SplitSeq(text, separator) {
			name, value, _ := strings.Cut(one, "=")
			words = append(words, name, value)
		}
		return o.object(words, p.Schema), true, true
	case object:
		return o.object(strings.Split(text, separator), p.Schema), true, true
	}
	return o.value(text, p.Schema), true, true
}

// texts are what a request has under the name of a parameter.
func (g *given) texts(p *openapi3.Parameter) (texts []string) {
	switch p.In {
	case openapi3.ParameterInPath:
		if v, ok := g.path[p.Name]; ok {
			texts = []string{v}
		}
	case openapi3.ParameterInQuery:
		texts = g.query[p.Name]
	case openapi3.ParameterInHeader:
		texts = slices.Clone(g.header.Values(p.Name))
	case openapi3.ParameterInCookie:
		for _, c := range g.r.CookiesNamed(p.Name) {
			texts = append(texts, c.Value)
		}
	}
	return texts
}

var bracketed = regexp.MustCompile(`\[([^\[\]]*)\]`)

// exploded is an object whose properties are parameters of their own: by their names
// alone, or in brackets behind that of the object (deepObject).
func (o *Operation) exploded(p *openapi3.Parameter, method *openapi3.SerializationMethod, g *given) (v any, found, ok bool) {
	out := map[string]any{}
	for name, texts := range g.query {
		keys := []string{name}
		if method.Style == openapi3.SerializationDeepObject {
			rest, in := strings.CutPrefix(name, p.Name+"[")
			if !in {
				continue
			}
			keys = keys[:0]
			for _, m := range bracketed.FindAllStringSubmatch("["+rest, -1) {
				keys = append(keys, m[1])
			}
		} else if propertyOf(p.Schema, name) == nil {
			continue // another parameter
		}
		if len(keys) == 0 || !o.put(out, keys, texts, p.Schema) {
			return nil, true, false
		}
	}
	return out, len(out) > 0, true
}

// put puts texts into an object, below the names of keys. It reports false where
// several stand for a value that is one, or where an object is in the way.
func (o *Operation) put(into map[string]any, keys []string, texts []string, s *openapi3.SchemaRef) bool {
	name := keys[0]
	s = propertyOf(s, name)
	if len(keys) > 1 && keys[1] != "" && len(keys) <= maxNesting {
		if _, taken := into[name]; !taken {
			into[name] = map[string]any{}
		}
		inner, ok := into[name].(map[string]any)
		if !ok {
			return false
		}
		return o.put(inner, keys[1:], texts, s)
	}
	if _, taken := into[name]; taken {
		return false
	}
	switch {
	case slices.Contains(typesOf(s), openapi3.TypeArray):
		into[name] = o.values(texts, s)
	case len(texts) == 1:
		into[name] = o.value(texts[0], s)
	case s == nil: // the document does not know it
		into[name] = o.values(texts, nil)
	default:
		return false
	}
	return true
}

// unescape decodes as much of s as can be decoded.
func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return strings.ReplaceAll(s, "+", " ")
}
