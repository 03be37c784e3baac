package openapi

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const registry = `openapi: 3.0.3
info: {title: Registry, version: "1"}
servers: [{url: "https://registry.egov.example/api/v1/"}]
paths:
  /persons:
    get:
      parameters:
        - {name: page, in: query, schema: {type: integer, minimum: 1, maximum: 100}}
        - {name: sort, in: query, schema: {type: string, enum: [name, date]}}
        - {name: X-Case, in: header, required: true, schema: {type: string, pattern: "^[0-9]{4}$"}}
      responses: {"200": {description: ok}}
    post:
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: "#/components/schemas/Person"}}
          text/csv: {}
      responses: {"200": {description: ok}}
  /persons/{id}:
    get:
      parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
      responses: {"200": {description: ok}}
  /persons/me:
    get: {responses: {"200": {description: ok}}}
  /layers/{name}.{format}:
    get:
      parameters:
        - {name: name, in: path, required: true, schema: {type: string, maxLength: 8}}
        - {name: format, in: path, required: true, schema: {type: string, enum: [json, gml]}}
      responses: {"200": {description: ok}}
components:
  schemas:
    Person:
      type: object
      required: [name]
      additionalProperties: false
      properties:
        name: {type: string, maxLength: 20}
        born: {type: string, format: date}
        children: {type: array, maxItems: 2, items: {$ref: "#/components/schemas/Person"}}
        notes: {type: object, additionalProperties: {type: string}}
`

func read(t *testing.T, text string) *Document {
	t.Helper()
	d, problems := Read(Source{Name: "api.yaml", Text: []byte(text)})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return d
}

// check is what the document says of a request: "", or the place.
func check(d *Document, method, target, kind, body string) string {
	r := httptest.NewRequest(method, "https://registry.egov.example"+target, strings.NewReader(body))
	r.Header.Set("X-Case", "2026")
	if strings.Contains(target, "case=") {
		r.Header.Set("X-Case", r.URL.Query().Get("case"))
	}
	op, allow := d.Find(method, r.URL.EscapedPath())
	if op == nil {
		return "none " + strings.Join(allow, ",")
	}
	if err := op.Check(r); err != nil {
		return err.Error()
	}
	b, err := op.Body(kind, body != "")
	if errors.Is(err, ErrType) {
		return "type"
	}
	if err != nil {
		return err.Error()
	}
	switch {
	case b == nil || b.Kind == Unchecked:
		return ""
	case b.Kind == JSON:
		err = b.CheckJSON([]byte(body))
	case b.Kind == URLForm:
		err = b.CheckForm([]byte(body))
	default:
		return "multipart"
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestCheck: what does not fit is named by the words of the document, and nothing
// that the client sent.
func TestCheck(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]*Document{"3.0": read(t, registry), "3.1": read(t, strings.Replace(registry, "3.0.3", "3.1.0", 1))} {
		j := "application/json"
		for _, tt := range []struct{ method, target, kind, body, want string }{
			{"GET", "/api/v1/persons?page=2&sort=name", "", "", ""},
			{"HEAD", "/api/v1/persons", "", "", ""},
			{"GET", "/api/v1/persons?page=0", "", "", "query page: minimum"},
			{"GET", "/api/v1/persons?page=secret", "", "", "query page: type"},
			{"GET", "/api/v1/persons?sort=secret", "", "", "query sort: enum"},
			{"GET", "/api/v1/persons?case=secret", "", "", "header X-Case: pattern"},
			{"GET", "/api/v1/persons", j, "{}", "body: not expected"},
			{"DELETE", "/api/v1/persons", "", "", "none GET,POST"},
			{"GET", "/persons", "", "", "none "},
			{"GET", "/api/v1/secret", "", "", "none "},
			{"GET", "/api/v1/persons/12", "", "", ""},
			{"GET", "/api/v1/persons/me", "", "", ""},
			{"GET", "/api/v1/persons/secret", "", "", "path id: type"},
			{"GET", "/api/v1/layers/roads.json", "", "", ""},
			{"GET", "/api/v1/layers/%D0%BF%D1%8A%D1%82.gml", "", "", ""},
			{"GET", "/api/v1/layers/roads.secret", "", "", "path format: enum"},
			{"POST", "/api/v1/persons", j, `{"name":"Иван","born":"1975-01-02","children":[{"name":"Ана"}],"notes":{"x":"y"}}`, ""},
			{"POST", "/api/v1/persons", "text/csv", "name\nsecret", ""},
			{"POST", "/api/v1/persons", "text/plain", "secret", "type"},
			{"POST", "/api/v1/persons", "", "secret", "type"},
			{"POST", "/api/v1/persons", j, "", "body: required"},
			{"POST", "/api/v1/persons", j, `{}`, "body /name: required"},
			{"POST", "/api/v1/persons", j, `{"name":7}`, "body /name: type"},
			{"POST", "/api/v1/persons", j, `{"name":"` + strings.Repeat("secret", 9) + `"}`, "body /name: maxLength"},
			{"POST", "/api/v1/persons", j, `{"name":"a","children":[{"name":"b"},{"name":7}]}`, "body /children/1/name: type"},
			{"POST", "/api/v1/persons", j, `[]`, "body: type"},
		} {
			if got := check(d, tt.method, tt.target, tt.kind, tt.body); got != tt.want && !(name == "3.1" && strings.HasSuffix(tt.want, ": required") && strings.HasSuffix(got, ": required")) {
				t.Errorf("%s: %s %s %s: %q, want %q", name, tt.method, tt.target, tt.body, got, tt.want)
			}
		}
		for _, body := range []string{`{"name":"a","secret":1}`, `{"name":"a","notes":{"secret":1}}`, `{"name":"secret`} {
			got := check(d, "POST", "/api/v1/persons", j, body)
			if got == "" || strings.Contains(got, "secret") {
				t.Errorf("%s: %s: %q", name, body, got)
			}
		}
	}
}

// TestProblems: mistakes are told with their lines.
func TestProblems(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		text string
		line int
		want string
	}{
		"syntax":         {"openapi: 3.0.3\ninfo: {title: [\n", 3, ""},
		"not OpenAPI":    {"a: b\n", 1, "OpenAPI"},
		"version 2":      {"swagger: \"2.0\"\ninfo: {title: a, version: \"1\"}\npaths: {}\n", 1, "OpenAPI"},
		"no description": {strings.Replace(registry, `responses: {"200": {description: ok}}`, `responses: {"200": {}}`, 1), 11, "description"},
		"no schema":      {strings.Replace(registry, "type: array, maxItems: 2, items", "type: array, maxItems: 2, x-items", 1), 40, "items"},
		"unknown type":   {strings.Replace(registry, "{type: string, maxLength: 20}", "{type: text}", 1), 38, "text"},
		"lost reference": {strings.Replace(registry, "#/components/schemas/Person\"}}\n          text", "#/components/schemas/Nobody\"}}\n          text", 1), 16, "Nobody"},
		"another file":   {strings.Replace(registry, `"#/components/schemas/Person"}}`+"\n          text", `"other.yaml#/Person"}}`+"\n          text", 1), 16, "other.yaml"},
	} {
		_, problems := Read(Source{Name: "api.yaml", Text: []byte(tt.text)})
		if len(problems) == 0 {
			t.Errorf("%s: no problem", name)
			continue
		}
		if p := problems[0]; p.Line != tt.line || !strings.Contains(p.Text, tt.want) || p.Text == "" {
			t.Errorf("%s: line %d: %s", name, p.Line, p.Text)
		}
	}
}

// TestCache: a document is read once, and a broken one not at all.
func TestCache(t *testing.T) {
	t.Parallel()
	var c Cache
	first, err := c.Read("api.yaml", []byte(registry), nil)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.Read("api.yaml", []byte(registry), nil); again != first {
		t.Error("it was read twice")
	}
	if _, err := c.Read("api.yaml", []byte("a: b"), nil); err == nil {
		t.Error("a broken document was taken")
	}
}

func BenchmarkCheckJSON(b *testing.B) {
	doc := `{"name":"Иван","born":"1975-01-02","children":[{"name":"Ана"},{"name":"Петър"}],"notes":{"x":"` + strings.Repeat("y", 1800) + `"}}`
	for _, version := range []string{"3.0.3", "3.1.0"} {
		b.Run(version, func(b *testing.B) {
			d, _ := Read(Source{Text: []byte(strings.Replace(registry, "3.0.3", version, 1))})
			r := httptest.NewRequest(http.MethodPost, "/api/v1/persons", nil)
			for b.Loop() {
				op, _ := d.Find("POST", "/api/v1/persons")
				if err := op.Check(r); err != nil {
					b.Fatal(err)
				}
				body, _ := op.Body("application/json", true)
				if err := body.CheckJSON([]byte(doc)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
