package admin

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
)

// TestGuard: web pages that lead a browser here get nothing, whatever they ask.
func TestGuard(t *testing.T) {
	t.Parallel()
	reloads := 0
	console := http.NewServeMux()
	console.HandleFunc("GET /incident", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a page") })
	s, err := Listen(config.Admin{Listen: "127.0.0.1:0", Hosts: []string{"vazel.internal"}}, Options{
		Log: zap.NewNop(), Gatherer: prometheus.NewRegistry(), Ready: func() bool { return false },
		Reload:  func() error { reloads++; return nil },
		Console: console,
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		s.Shutdown(t.Context())
		s.Close()
		<-served
	})
	for _, tt := range []struct {
		name, method, path, host string
		header                   []string
		want                     int
	}{
		{"by address", "GET", "/-/healthy", "", nil, 200},
		{"not ready", "GET", "/-/ready", "", nil, 503},
		{"by localhost", "GET", "/metrics", "localhost:9180", nil, 200},
		{"by a configured name", "GET", "/metrics", "VAZEL.internal.", nil, 200},
		{"by a name that leads here", "GET", "/metrics", "rebound.example", nil, 421},
		{"by a name that leads here, with a port", "POST", "/-/reload", "rebound.example:9180", nil, 421},
		{"by another address", "GET", "/metrics", "192.0.2.1", nil, 421},
		{"without a name", "GET", "/metrics", " ", nil, 421},
		{"a page of another origin", "POST", "/-/reload", "localhost", []string{"Origin", "https://evil.example"}, 403},
		{"a page without an origin", "POST", "/-/reload", "localhost", []string{"Origin", "null"}, 403},
		{"a page of another port", "POST", "/-/reload", "localhost", []string{"Origin", "http://localhost:8080"}, 403},
		{"a form of another site", "POST", "/-/reload", "localhost", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"a form of another host of the site", "POST", "/-/reload", "localhost", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"a link in a ticket", "GET", "/incident?id=0", "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"a link in a ticket, with an origin", "GET", "/incident?id=0", "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Origin", "https://evil.example"}, 403},
		{"a frame of another site", "GET", "/incident?id=0", "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"an image of another site", "GET", "/incident?id=0", "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		{"a link to what is not a page", "GET", "/-/config", "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		{"a form of another site that navigates", "POST", "/-/reload", "localhost", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		{"a link", "GET", "/-/reload", "localhost", nil, 404},
		{"a command", "POST", "/-/reload", "localhost", nil, 200},
		{"the page itself", "POST", "/-/reload", "localhost", []string{"Origin", "http://localhost", "Sec-Fetch-Site", "same-origin"}, 200},
	} {
		req, err := http.NewRequest(tt.method, "http://"+s.Address()+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		for i := 0; i < len(tt.header); i += 2 {
			req.Header.Set(tt.header[i], tt.header[i+1])
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: got %s %s, want %d", tt.name, resp.Status, b, tt.want)
		}
		if resp.Header.Get("Access-Control-Allow-Origin") != "" || tt.want == 200 && !strings.Contains(resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
			t.Errorf("%s: %v", tt.name, resp.Header)
		}
	}
	if reloads != 2 {
		t.Errorf("%d reloads, want 2", reloads)
	}
}
