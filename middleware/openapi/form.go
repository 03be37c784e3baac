package openapi

import (
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Form collects the fields and files of a form, to be checked as the object that the
// document describes.
type Form struct {
	body  *Body
	names []string
	texts map[string][]string
	files map[string][]any // stand for contents that are not held
}

// Form makes an empty one.
func (b *Body) NewForm() *Form {
	return &Form{body: b, texts: map[string][]string{}, files: map[string][]any{}}
}

// CheckForm checks a body in application/x-www-form-urlencoded.
func (b *Body) CheckForm(doc []byte) error {
	f := b.NewForm()
	f.names, f.texts = pairsOf(string(doc))
	return f.Check()
}

// Field adds a field of a multipart body.
func (f *Form) Field(name, text string) {
	if f.texts[name] == nil && f.files[name] == nil {
		f.names = append(f.names, name)
	}
	f.texts[name] = append(f.texts[name], text)
}

// IsText reports whether a part has to be read and added as a field; otherwise it is
// a file. named says that it has the name of a file.
func (f *Form) IsText(name, contentType string, named bool) bool {
	types := typesOf(f.property(name))
	if isJSON(contentType) && (slices.Contains(types, openapi3.TypeObject) || slices.Contains(types, openapi3.TypeArray)) {
		return !f.holdsFiles(name)
	}
	return !named && !f.holdsFiles(name)
}

// holdsFiles reports whether a property is one of files, alone or in a list.
func (f *Form) holdsFiles(name string) bool {
	s := f.property(name)
	if items := itemsOf(s); items != nil {
		s = items
	}
	binary := false
	visit(s, 0, func(s *openapi3.Schema) {
		binary = binary || s.Format == "binary" || s.ContentMediaType != "" && s.ContentEncoding == ""
	})
	return binary
}

// File adds a file of a size. It says at once what is wrong with it.
func (f *Form) File(name, contentType string, size int64) error {
	bad := func(rule string) error {
		return &Violation{"body", "/" + f.body.operation.document.known(name), rule}
	}
	if !f.body.content.Encoding[name].AllowsContentType(contentType) {
		return bad("contentType")
	}
	s := f.property(name)
	if items := itemsOf(s); items != nil && slices.Contains(typesOf(s), openapi3.TypeArray) {
		s = items
	}
	length := uint64(0)
	var broken string
	visit(s, 0, func(s *openapi3.Schema) {
		if s.MaxLength != nil && uint64(size) > *s.MaxLength {
			broken = "maxLength"
		}
		if uint64(size) < s.MinLength {
			broken = "minLength"
		}
		length = max(length, s.MinLength)
	})
	if broken != "" {
		return bad(broken)
	}
	if f.texts[name] == nil && f.files[name] == nil {
		f.names = append(f.names, name)
	}
	f.files[name] = append(f.files[name], strings.Repeat("x", int(min(length, maxHeld))))
	return nil
}

// maxHeld bounds what stands for a file.
const maxHeld = 64 << 10

// property is the schema of a field. PHP has lists end with brackets, which
// documents name or leave out.
func (f *Form) property(name string) *openapi3.SchemaRef {
	return propertyOf(f.body.content.Schema, name)
}

// Check checks what was added.
func (f *Form) Check() (err error) {
	defer recovered(&err)
	o := f.body.operation
	out := map[string]any{}
	for _, name := range f.names {
		keys, texts, s := []string{name}, f.texts[name], f.property(name)
		base, rest, nested := strings.Cut(name, "[")
		if nested = nested && base != "" && !f.exact(name); !nested {
			base = name
		}
		repeated := &Violation{"body", "/" + o.document.known(base), "repeated"}
		if files := f.files[name]; len(files) > 0 {
			switch {
			case len(texts) > 0:
				return repeated
			case slices.Contains(typesOf(s), openapi3.TypeArray):
				out[name] = files
			case len(files) > 1:
				return repeated
			default:
				out[name] = files[0]
			}
			continue
		}
		if nested {
			keys = []string{base}
			for _, m := range bracketed.FindAllStringSubmatch("["+rest, -1) {
				keys = append(keys, m[1])
			}
		} else if slices.Contains(typesOf(s), openapi3.TypeArray) && len(texts) == 1 {
			if m := f.body.content.Encoding[name].SerializationMethod(); !m.Explode {
				texts = strings.Split(texts[0], separators[m.Style])
			}
		}
		if !o.put(out, keys, texts, f.body.content.Schema) {
			return repeated
		}
	}
	if err := f.body.content.Schema.Value.VisitJSON(out, o.document.options...); err != nil {
		return o.violation(err, "body", "")
	}
	return nil
}

var separators = map[string]string{openapi3.SerializationForm: ",", openapi3.SerializationSpaceDelimited: " ", openapi3.SerializationPipeDelimited: "|"}

// exact reports whether the document names a field as it is written.
func (f *Form) exact(name string) (found bool) {
	visit(f.body.content.Schema, 0, func(s *openapi3.Schema) { found = found || s.Properties[name] != nil })
	return found
}
