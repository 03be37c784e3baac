package openapi

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Violation is where a request does not fit, in words of the document. It holds
// nothing that the client sent.
type Violation struct {
	In    string // path, query, header, cookie or body
	Where string // name of the parameter, or JSON pointer into the body, with * for names that the document does not have
	Rule  string // keyword of the schema that does not hold, such as required or maxLength
}

func (v *Violation) Error() string { return strings.TrimSpace(v.In+" "+v.Where) + ": " + v.Rule }

// recovered makes a panic of the library an error: what can't be checked is refused.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("panic while a request was checked: %v", p)
	}
}

// Body is what a document says of an operation's body.
type Body struct {
	operation *Operation
	content   *openapi3.MediaType
	Kind      Kind // how it is checked
}

// Kind is how a body is checked.
type Kind int

// The kinds.
const (
	Unchecked Kind = iota // its type alone
	JSON                  // CheckJSON
	URLForm               // CheckForm
	Multipart             // NewForm, and what that says
)

// ErrType is a body of a type that the operation does not take.
var ErrType = errors.New("a type that the operation does not take")

// Body finds what the operation says of a body. present tells whether the request
// has one; nil is returned where there is nothing to check.
func (o *Operation) Body(contentType string, present bool) (*Body, error) {
	ref := o.operation.RequestBody
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
	b := &Body{operation: o, content: content}
	media, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch media = strings.TrimSpace(media); {
	case content.Schema == nil || content.Schema.Value == nil:
	case isJSON(media):
		b.Kind = JSON
	case media == "application/x-www-form-urlencoded":
		b.Kind = URLForm
	case strings.HasPrefix(media, "multipart/"):
		b.Kind = Multipart
	}
	return b, nil
}

// Types lists the media types that the operation takes.
func (o *Operation) Types() []string {
	if ref := o.operation.RequestBody; ref != nil && ref.Value != nil {
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
	value, err := parseJSON(doc)
	if err != nil {
		return &Violation{"body", "", "not JSON"}
	}
	if err := b.content.Schema.Value.VisitJSON(value, b.operation.document.options...); err != nil {
		return b.operation.violation(err, "body", "")
	}
	return nil
}

var errTrailing = errors.New("something after the document")

// violation says where a request does not fit, from what the library says. Its
// own messages hold values.
func (o *Operation) violation(err error, in, where string) error {
	v := &Violation{In: in, Where: where, Rule: "schema"}
	var schema *openapi3.SchemaError
	if errors.As(err, &schema) && schema.SchemaField != "" {
		v.Rule = schema.SchemaField
		if in == "body" {
			for _, token := range schema.JSONPointer() {
				v.Where += "/" + o.document.known(token)
			}
		}
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
