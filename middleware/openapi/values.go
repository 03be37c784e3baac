package openapi

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// What is sent as text (parameters, fields of forms) is one of several values to a
// schema: 7 is a number or the text "7". Documents may describe either.

// maxNesting is how deep schemas are followed that are made of other ones.
const maxNesting = 8

// visit calls each with a schema and with all those that it is made of.
func visit(s *openapi3.SchemaRef, depth int, each func(*openapi3.Schema)) {
	if s == nil || s.Value == nil || depth > maxNesting {
		return
	}
	each(s.Value)
	for _, list := range []openapi3.SchemaRefs{s.Value.AllOf, s.Value.AnyOf, s.Value.OneOf} {
		for _, part := range list {
			visit(part, depth+1, each)
		}
	}
}

// typesOf lists the types that a schema names, anywhere; none where it names none.
func typesOf(s *openapi3.SchemaRef) (types []string) {
	visit(s, 0, func(s *openapi3.Schema) {
		types = append(types, s.Type.Slice()...)
		if s.Nullable {
			types = append(types, openapi3.TypeNull)
		}
	})
	return types
}

// propertyOf is the schema of a property, or nil.
func propertyOf(s *openapi3.SchemaRef, name string) (found *openapi3.SchemaRef) {
	var rest *openapi3.SchemaRef
	visit(s, 0, func(s *openapi3.Schema) {
		if p := s.Properties[name]; p != nil && found == nil {
			found = p
		}
		if rest == nil {
			rest = s.AdditionalProperties.Schema
		}
	})
	if found == nil {
		return rest
	}
	return found
}

// itemsOf is the schema of an array's items, or nil.
func itemsOf(s *openapi3.SchemaRef) (items *openapi3.SchemaRef) {
	visit(s, 0, func(s *openapi3.Schema) {
		if items == nil {
			items = s.Items
		}
	})
	return items
}

var decimal = regexp.MustCompile(`\A(-?)0*((?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\z`)

// value is what a text stands for by a schema: the first of its readings that fits,
// or the likeliest one if none does.
func (o *Operation) value(text string, s *openapi3.SchemaRef) any {
	types := typesOf(s)
	may := func(t string) bool { return slices.Contains(types, t) }
	var readings []any
	if len(types) == 0 {
		readings = append(readings, text)
	}
	if m := decimal.FindStringSubmatch(text); m != nil && (len(types) == 0 || may(openapi3.TypeNumber) || may(openapi3.TypeInteger)) {
		readings = append(readings, json.Number(m[1]+m[2]))
	}
	if len(types) == 0 || may(openapi3.TypeBoolean) {
		switch text {
		case "true", "1":
			readings = append(readings, true)
		case "false", "0":
			readings = append(readings, false)
		}
	}
	if text == "" && may(openapi3.TypeNull) {
		readings = append(readings, nil)
	}
	if may(openapi3.TypeObject) || may(openapi3.TypeArray) {
		if v, err := parseJSON([]byte(text)); err == nil {
			readings = append(readings, v)
		}
	}
	if may(openapi3.TypeString) || len(readings) == 0 {
		readings = append(readings, text)
	}
	for _, v := range readings[:len(readings)-1] {
		if s == nil || s.Value == nil || s.Value.VisitJSON(v, o.document.options...) == nil {
			return v
		}
	}
	if last := readings[len(readings)-1]; len(readings) == 1 || s == nil || s.Value == nil || s.Value.VisitJSON(last, o.document.options...) == nil {
		return last
	}
	return readings[0]
}

// values are the items of an array that several texts stand for.
func (o *Operation) values(texts []string, s *openapi3.SchemaRef) any {
	items := itemsOf(s)
	list := make([]any, len(texts))
	for i, t := range texts {
		list[i] = o.value(t, items)
	}
	return list
}

// object is what names and texts in turn stand for.
func (o *Operation) object(words []string, s *openapi3.SchemaRef) any {
	out := map[string]any{}
	for i := 0; i+1 < len(words); i += 2 {
		out[words[i]] = o.value(words[i+1], propertyOf(s, words[i]))
	}
	return out
}

func parseJSON(b []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err = d.Decode(&v); err == nil && d.More() {
		err = errTrailing
	}
	return v, err
}

// pairsOf reads a query or form as every upstream may: nothing is left out.
func pairsOf(s string) (names []string, values map[string][]string) {
	values = map[string][]string{}
	for one := range strings.SplitSeq(s, "&") {
		if one == "" {
			continue
		}
		name, value, _ := strings.Cut(one, "=")
		name = unescape(name)
		if values[name] == nil {
			names = append(names, name)
		}
		values[name] = append(values[name], unescape(value))
	}
	return names, values
}
