package middleware

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

const personsDoc = `openapi: 3.0.3
info: {title: Registry, version: "1"}
paths:
  /persons:
    post:
      parameters: [{name: page, in: query, schema: {type: integer}}]
      requestBody:
        content:
          application/json: {schema: {type: object, required: [name], properties: {name: {type: string, maxLength: 5}}}}
          text/csv: {}
          application/x-www-form-urlencoded: {schema: {type: object, required: [name], properties: {name: {type: string, maxLength: 5}}}}
          multipart/form-data: {schema: {type: object, required: [a, f], properties: {a: {type: string, maxLength: 5}, f: {type: string, format: binary, maxLength: 2000000}}}}
      responses: {"200": {description: ok}}
`

// TestOpenAPI: what does not fit is refused with the place, and what fits goes on
// as it came.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	env.Engines.Buffers.SetMost(64 << 20)
	f, err := buildOpenAPI(&Chain{OpenAPI: "/doc.yaml", OpenAPIText: personsDoc}, env)
	if err != nil {
		t.Fatal(err)
	}
	to := func(r *http.Request, path, query string) *http.Request {
		r.URL.Path, r.URL.RawQuery = path, query
		return r
	}
	coded := to(post("application/json", gzipped(`{"name":"Ivan"}`)), "/persons", "")
	coded.Header.Set("Content-Encoding", "gzip")
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		reason string
		has    map[string]string // members
	}{
		{"fits", to(post("application/json", `{"name":"Ivan"}`), "/persons", "page=1"), 299, "", nil},
		{"fits in chunks", to(chunked("application/json", `{"name":"Ivan"}`), "/persons", ""), 299, "", nil},
		{"fits compressed", coded, 299, "", nil},
		{"of another type", to(post("text/csv", "name"), "/persons", ""), 299, "", nil},
		{"parameter", to(post("application/json", `{"name":"Ivan"}`), "/persons", "page=secret"), 400, "openapi_invalid", map[string]string{"in": "query", "name": "page", "rule": "type"}},
		{"body", to(post("application/json", `{"name":"secret"}`), "/persons", ""), 400, "openapi_invalid", map[string]string{"in": "body", "pointer": "/name", "rule": "maxLength"}},
		{"not JSON", to(post("application/json", `{"name":`), "/persons", ""), 400, "inspection_json", nil},
		{"two names", to(post("application/json", `{"name":"a","name":1}`), "/persons", ""), 400, "inspection_json", nil},
		{"form", to(post("application/x-www-form-urlencoded", "name=Ivan"), "/persons", ""), 299, "", nil},
		{"form that does not fit", to(post("application/x-www-form-urlencoded", "name=secret"), "/persons", ""), 400, "openapi_invalid", map[string]string{"in": "body", "pointer": "/name", "rule": "maxLength"}},
		{"large form", to(post("application/x-www-form-urlencoded", strings.Repeat("a=b&", 1100)+"name=Ivan"), "/persons", ""), 400, "inspection_arguments", nil},
		{"multipart", to(post(fileForm, fileBody("Ivan", strings.Repeat("x", 1<<20))), "/persons", ""), 299, "", nil},
		{"multipart in chunks", to(chunked(fileForm, fileBody("Ivan", "x")), "/persons", ""), 299, "", nil},
		{"multipart with a bad field", to(post(fileForm, fileBody("secret", "x")), "/persons", ""), 400, "openapi_invalid", map[string]string{"in": "body", "pointer": "/a", "rule": "maxLength"}},
		{"multipart with a large file", to(post(fileForm, fileBody("Ivan", strings.Repeat("x", 3<<20))), "/persons", ""), 400, "openapi_invalid", map[string]string{"in": "body", "pointer": "/f", "rule": "maxLength"}},
		{"multipart with much text", to(post(fileForm, fileBody(strings.Repeat("x", 2<<20), "x")), "/persons", ""), 413, "inspection_too_large", nil},
		{"multipart without a boundary", to(post("multipart/form-data", "x"), "/persons", ""), 400, "inspection_multipart", nil},
		{"multipart without an end", to(post(fileForm, strings.TrimSuffix(fileBody("Ivan", "x"), "--\r\n")), "/persons", ""), 400, "inspection_multipart", nil},
		{"unknown path", to(post("application/json", `{}`), "/secret", ""), 404, "not_found", nil},
		{"unknown method", get("/persons"), 405, "method_not_allowed", nil},
		{"unknown type", to(post("text/html", "secret"), "/persons", ""), 415, "unsupported_media_type", nil},
		{"too large", to(post("application/json", strings.Repeat(" ", 9<<20)), "/persons", ""), 413, "inspection_too_large", nil},
	} {
		w, reason := through(t, f, tt.r)
		if w.Code != tt.status || reason != tt.reason {
			t.Errorf("%s: %d %q, want %d %q", tt.name, w.Code, reason, tt.status, tt.reason)
		}
		if strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: the answer repeats what was sent: %s", tt.name, w.Body)
		}
		var members map[string]any
		json.Unmarshal(w.Body.Bytes(), &members)
		for k, v := range tt.has {
			if members[k] != v {
				t.Errorf("%s: %s is %v, want %s", tt.name, k, members[k], v)
			}
		}
		switch tt.status {
		case 405:
			if w.Header().Get("Allow") != "POST" {
				t.Errorf("%s: Allow %q", tt.name, w.Header().Get("Allow"))
			}
		case 415:
			if w.Header().Get("Accept-Post") != "application/json, application/x-www-form-urlencoded, multipart/form-data, text/csv" {
				t.Errorf("%s: %v", tt.name, w.Header())
			}
		}
	}
	if n := env.Engines.Buffers.used.Load(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}
