package middleware

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

// through sends a request through a policy, and returns the answer and the reason
// of a refusal.
func through(t *testing.T, f Func, r *http.Request) (*httptest.ResponseRecorder, string) {
	t.Helper()
	rec := &Record{ID: "id", Path: r.URL.Path}
	w := httptest.NewRecorder()
	f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var refusal *BodyRefusal
		if _, err := io.Copy(io.Discard, r.Body); errors.As(err, &refusal) { // as the proxy does
			Deny(w, r, refusal.Status, refusal.Denial)
			return
		}
		w.WriteHeader(299)
	})).
		ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
	if rec.Denial != nil {
		return w, rec.Denial.Reason
	}
	return w, ""
}

func TestContentTypes(t *testing.T) {
	t.Parallel()
	f, err := buildContentTypes([]string{"application/json", "image/*"}, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	for kind, ok := range map[string]bool{
		"application/json": true, "Application/JSON ; charset=utf-8": true, "image/png": true,
		"": false, "text/plain": false, "application/jsonp": false, "image": false, "application/json, text/plain": false, "imagex/png": false,
	} {
		r := post(kind, "x")
		if kind == "" {
			r.Header.Del("Content-Type")
		}
		w, reason := through(t, f, r)
		if ok != (w.Code == 299) {
			t.Errorf("%q: %d %s", kind, w.Code, reason)
		}
		if !ok && (w.Code != 415 || reason != "unsupported_media_type" || w.Header().Get("Accept-Post") != "application/json, image/*" || w.Header().Get("Accept") != "application/json, image/*") {
			t.Errorf("%q: %d %s %v", kind, w.Code, reason, w.Header())
		}
	}
	twice := post("application/json", "x")
	twice.Header.Add("Content-Type", "text/plain")
	if w, _ := through(t, f, twice); w.Code != 415 {
		t.Errorf("two types: %d", w.Code)
	}
	for name, r := range map[string]*http.Request{"no body": get("/"), "an empty body of no known length": chunked("text/plain", "")} {
		if w, _ := through(t, f, r); w.Code != 299 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	if w, reason := through(t, f, chunked("text/plain", "x")); w.Code != 415 {
		t.Errorf("in chunks: %d %s", w.Code, reason)
	}
	broken := chunked("text/plain", "")
	broken.Body = io.NopCloser(iotest.ErrReader(errors.New("malformed chunk")))
	if w, reason := through(t, f, broken); w.Code != 400 || reason != "bad_request" {
		t.Errorf("a body that breaks off: %d %s", w.Code, reason)
	}
	r := httptest.NewRequest("PATCH", "https://a.example/", strings.NewReader("x"))
	if w, _ := through(t, f, r); w.Header().Get("Accept-Patch") == "" || w.Header().Get("Accept-Post") != "" {
		t.Errorf("PATCH: %v", w.Header())
	}
}
