package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
)

// Violation is where a request does not fit, in words of the document. It holds
// nothing that the client sent.
type Violation struct {
	In    string // path, query, header, cookie or body
	Where string // name of the parameter, or JSON pointer into the body, with * for names that the document does not have
	Rule  string // keyword of the schema that does not hold, such as required or maxLength
}

func (v *Violation) Error() string { return strings.TrimSpace(v.In+" "+v.Where) + ": " + v.Rule }

// Check checks a request but for its body.
func (o *Operation) Check(r *http.Request) (err error) {
	defer recovered(&err)
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: o.params, Route: o.route, QueryParams: r.URL.Query(),
		Options: &openapi3filter.Options{ExcludeRequestBody: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	return o.violation(openapi3filter.ValidateRequest(context.Background(), input))
}

// recovered makes a panic of the library an error: what can't be checked is refused.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic while a request was checked: %v", p)
	}
}

// Body is what a document says of an operation's body.
type Body struct {
	operation *Operation
	content   *openapi3.MediaType // nil where any will do
	JSON      bool                // the body has to be JSON that CheckJSON takes
}

// ErrType is a body of a type that the operation does not take.
var ErrType = errors.New("a type that the operation does not take")

// Body finds what the operation says of a body. present tells whether the request
// has one; nil is returned where there is nothing to check.
func (o *Operation) Body(contentType string, present bool) (*Body, error) {
	ref := o.route.Operation.RequestBody
	switch {
	case ref == nil || ref.Value == nil:
		if present {
			return nil, &Violation{"body", "", "not expected"}
		}
		return nil, nil
	case !present:
		if ref.Value.Required {
			return nil, &Violation{"body", "", "required"}
		}
		return nil, nil
	case len(ref.Value.Content) == 0:
		return nil, nil
	}
	content := ref.Value.Content.Get(contentType)
	if content == nil {
		return nil, ErrType
	}
	return &Body{operation: o, content: content, JSON: content.Schema != nil && isJSON(contentType)}, nil
}

// Types lists the media types that the operation takes.
func (o *Operation) Types() []string {
	if ref := o.route.Operation.RequestBody; ref != nil && ref.Value != nil {
		return slices.Sorted(maps.Keys(ref.Value.Content))
	}
	return nil
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	media = strings.TrimSpace(media)
	_, sub, _ := strings.Cut(media, "/")
	return sub == "json" || strings.HasSuffix(sub, "+json")
}

// CheckJSON checks a body that is well-formed JSON.
func (b *Body) CheckJSON(doc []byte) (err error) {
	defer recovered(&err)
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return &Violation{"body", "", "not JSON"}
	}
	options := []openapi3.SchemaValidationOption{openapi3.VisitAsRequest()}
	if b.operation.document.schema2020 {
		options = append(options, openapi3.EnableJSONSchema2020())
	}
	return b.operation.violation(b.content.Schema.Value.VisitJSON(value, options...))
}

// violation says where a request does not fit, from what the library says. Its
// own messages hold values.
func (o *Operation) violation(err error) error {
	if err == nil {
		return nil
	}
	v := &Violation{In: "body"}
	var request *openapi3filter.RequestError
	if errors.As(err, &request) && request.Parameter != nil {
		v.In, v.Where = request.Parameter.In, request.Parameter.Name
	}
	var schema *openapi3.SchemaError
	var parse *openapi3filter.ParseError
	switch {
	case errors.As(err, &schema):
		v.Rule = schema.SchemaField
		if v.In == "body" {
			for _, token := range schema.JSONPointer() {
				v.Where += "/" + o.document.known(token)
			}
		}
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		v.Rule = "required"
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		v.Rule = "empty"
	case errors.As(err, &parse):
		v.Rule = "type"
	}
	if v.Rule == "" {
		v.Rule = "schema"
	}
	return v
}

// known is a part of a JSON pointer if it can't be a secret of the client's.
func (d *Document) known(token string) string {
	if n, err := strconv.Atoi(token); err == nil && n >= 0 && len(token) < 7 || d.names[token] {
		return strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
	}
	return "*"
}
