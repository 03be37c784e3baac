package proxy

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
)

// gateway serves the handler of a pool to clients.
type gateway struct {
	*httptest.Server
	manager *Manager
	pool    *Pool
	reg     *prometheus.Registry
}

// option changes how newGateway makes one.
type option func(*PoolConfig, *RouteConfig, *Options)

func with(f func(*Settings)) option {
	return func(p *PoolConfig, r *RouteConfig, _ *Options) {
		f(&p.Settings)
		f(&r.Settings)
	}
}

func timeout(d time.Duration) option {
	return with(func(s *Settings) { s.Timeout = unit.Duration(d) })
}

// newGateway makes a gateway in front of the upstreams. Clients reach it over
// HTTP/1.1 and HTTP/2 (TLS).
func newGateway(t testing.TB, urls []string, options ...option) *gateway {
	t.Helper()
	reg := prometheus.NewRegistry()
	o := Options{Log: zap.NewNop(), Registerer: reg}
	pc := PoolConfig{Name: "registry", Hosts: []string{"registry.example"}, URLs: urls}
	var rc RouteConfig
	for _, opt := range options {
		opt(&pc, &rc, &o)
	}
	m := NewManager(o)
	p, err := m.Build(pc)
	if err != nil {
		t.Fatal(err)
	}
	m.Activate([]*Pool{p})
	s := httptest.NewUnstartedServer(p.Handler(rc))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(func() {
		s.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &gateway{s, m, p, reg}
}

// h1 is a client that speaks only HTTP/1.1.
func (g *gateway) h1(t testing.TB) *http.Client {
	tr := g.Client().Transport.(*http.Transport).Clone()
	tr.ForceAttemptHTTP2 = false
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(true)
	tr.TLSClientConfig.NextProtos = nil
	tr.DisableCompression = true
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatalf("reading the response: %v", err)
	}
	return string(b)
}

func TestForward(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("X-Seen", r.Method+" "+r.RequestURI+" "+r.Host)
		w.Write(append([]byte("got "), b...))
	}))
	t.Cleanup(up.Close)
	g := newGateway(t, []string{up.URL})
	large := strings.Repeat("0123456789abcdef", 20<<10)
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		for _, test := range []struct{ method, target, body string }{
			{"GET", "/a%2Fb?x=1;y&z=%", ""},
			{"GET", "/?", ""},
			{"POST", "/a", "small"},
			{"PUT", "/a", large},
			{"DELETE", "/a", ""},
		} {
			for _, known := range []bool{true, false} {
				var r io.Reader = strings.NewReader(test.body)
				if !known {
					r = io.MultiReader(r)
				}
				if test.body == "" {
					r = nil
				}
				req, _ := http.NewRequest(test.method, g.URL+test.target, r)
				req.Host = "registry.example"
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := readAll(t, resp), "got "+test.body; got != want {
					t.Errorf("%s %s: got body of %d bytes, want %d", test.method, test.target, len(got), len(want))
				}
				if got, want := resp.Header.Get("X-Seen"), test.method+" "+test.target+" registry.example"; got != want {
					t.Errorf("upstream saw %q, want %q", got, want)
				}
			}
		}
	}
	if got := len(g.pool.list()[0].kept); got != 1 {
		t.Errorf("%d connections are kept, want 1", got)
	}
}
