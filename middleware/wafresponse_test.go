package middleware

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// TestResponses: what a response should not hold is held back, or noted, and
// everything else arrives as it was sent.
func TestResponses(t *testing.T) {
	t.Parallel()
	const leak = "<h1>Error</h1>You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version"
	long := strings.Repeat("x", waf.MaxResponse-10)
	tests := []struct {
		name, kind, body string
		header           http.Header
		leaks            bool
	}{
		{"page", "text/html", "<h1>Справка</h1>", nil, false},
		{"nothing", "text/html", "", nil, false},
		{"leak", "text/html; charset=utf-8", leak, nil, true},
		{"leak without a type", "", leak, nil, true},
		{"leak in JSON", "application/json", `{"error":"` + leak + `"}`, nil, true},
		{"leak late", "text/html", long + leak, nil, false},
		{"leak at the end of what is kept", "text/html", long[:len(long)-200] + leak, nil, true},
		{"large page", "text/html", long + long + long, nil, false},
		{"picture", "image/png", leak, nil, false},
		{"stream of events", "text/event-stream", leak, nil, false},
		{"coded", "text/html", leak, http.Header{"Content-Encoding": {"br"}}, true},
	}
	for _, mode := range []string{"block", "detect"} {
		env := testEnv(t)
		env.Engines.Buffers.SetMost(256 << 20)
		f, err := (&WAF{Mode: "block", Responses: mode}).BuildResponses(env)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range tests {
			h := f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Accept-Encoding") != "" {
					t.Error("the upstream may compress")
				}
				w.Header()["Content-Type"] = []string{tt.kind}
				w.Header().Set("X-Powered-By", "PHP")
				for n, v := range tt.header {
					w.Header()[n] = v
				}
				w.WriteHeader(299)
				for _, part := range []string{tt.body[:len(tt.body)/2], tt.body[len(tt.body)/2:]} {
					if n, err := io.WriteString(w, part); n != len(part) || err != nil {
						t.Errorf("%s: wrote %d of %d, %v", tt.name, n, len(part), err)
					}
					http.NewResponseController(w).Flush()
				}
			}))
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Accept-Encoding", "gzip")
			rec := &Record{ID: "id"}
			w := httptest.NewRecorder()
			w.Header().Set("X-Content-Type-Options", "nosniff")
			h.ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
			refused := mode == "block" && tt.leaks
			switch {
			case refused && (w.Code != 502 || rec.Denial == nil || strings.Contains(w.Body.String(), "SQL") || w.Header().Get("X-Powered-By") != "" || w.Header().Get("X-Content-Type-Options") == ""):
				t.Errorf("%s, %s: %d %v %v %.100q", mode, tt.name, w.Code, rec.Denial, w.Header(), w.Body)
			case !refused && (w.Code != 299 || w.Body.String() != tt.body || w.Header().Get("X-Powered-By") == ""):
				t.Errorf("%s, %s: %d %v %d of %d bytes", mode, tt.name, w.Code, w.Header(), w.Body.Len(), len(tt.body))
			}
			if noted := len(rec.InspectionRules) > 0; noted != (tt.leaks && tt.name != "coded") {
				t.Errorf("%s, %s: noted %v", mode, tt.name, rec.InspectionRules)
			}
		}
	}
}
