package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// BenchmarkRequest is what one request costs behind the server of its protocol:
// a bare reverse proxy of the standard library with pooled buffers, and the
// whole chain of the gateway with ever more switched on, in one run over the same
// upstream. "x-bare" is the CPU time of the process as a multiple of the bare one's;
// the upstream's part is in both. Parsing and encryption are outside.
func BenchmarkRequest(b *testing.B) {
	upstream := cannedUpstream(b)
	n := newNode(b, nil)
	pair := n.client(n.orgCA, "NTRBG-100000003")
	var bare float64
	for _, v := range []struct {
		name, host, log, policies string
		cert                      *tls.Certificate
	}{
		{name: "bare"},
		{name: "gateway", host: "open.example"},
		{name: "log", host: "open.example", log: "access.log"},
		{name: "log_limit_headers", host: "open.example", log: "access.log", policies: `
    rate_limit: {rate: 1000000/s, burst: 100000, per: client_ip}
    headers:
      request: {remove: [X-Debug], set: {X-Gateway: bench}}
      response: {remove: [X-Powered-By], set: {X-Frame-Options: DENY, X-Content-Type-Options: nosniff}}`},
		{name: "organization", host: "inner.example", policies: "\n    allow: [nra]", cert: pair},
	} {
		b.Run(v.name, func(b *testing.B) {
			h, ctx := http.Handler(bareProxy(upstream)), context.Background()
			state := &tls.ConnectionState{}
			if v.host != "" {
				n.config(fmt.Sprintf("services:\n  bench:\n    owner: meu\n    hosts: [%s]\n    upstreams: [\"http://%s\"]%s\n", v.host, upstream, v.policies))
				if v.log != "" {
					raw, err := os.ReadFile(filepath.Join(n.dir, "vazel.yaml"))
					if err != nil {
						b.Fatal(err)
					}
					n.write("vazel.yaml", strings.Replace(string(raw), `access_log: {output: "off"}`, "access_log: {output: "+v.log+"}", 1))
				}
				if err := n.apply(); err != nil {
					b.Fatal(err)
				}
				c := &conn{sni: v.host, end: func() {}, close: func() {}, cut: func() {}}
				c.Listener, c.Protocol, c.Peer = n.https, "h1", netip.MustParseAddrPort("203.0.113.7:4000")
				if v.cert != nil {
					state.PeerCertificates = []*x509.Certificate{v.cert.Leaf}
				}
				n.gateway.conns.add(c)
				defer n.gateway.conns.remove(c)
				h, ctx = n.gateway.handler, c.context(n.gateway.base)
			}
			r := httptest.NewRequest("GET", "/api/datasets?page=2", nil).WithContext(ctx)
			r.Host, r.TLS = "open.example", state
			if v.host != "" {
				r.Host = v.host
			}
			base := http.Header{
				"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"}, "Accept": {"application/json"},
				"Accept-Language": {"bg,en;q=0.3"}, "Accept-Encoding": {"gzip"}, "Cookie": {"session=0123456789abcdef"},
				"Referer": {"https://open.example/portal"}, "X-Debug": {"1"},
			}
			w := &sink{header: http.Header{}}
			b.ReportAllocs()
			r.Header = maps.Clone(base)
			h.ServeHTTP(w, r) // connects
			before := cpuTime()
			for b.Loop() {
				clear(r.Header)
				for name, v := range base {
					r.Header[name] = v
				}
				clear(w.header)
				h.ServeHTTP(w, r)
			}
			if w.status != http.StatusOK {
				b.Fatalf("status %d", w.status)
			}
			took := float64(cpuTime()-before) / float64(b.N)
			if v.host == "" {
				bare = took
			}
			b.ReportMetric(took, "cpu-ns/op")
			if bare > 0 {
				b.ReportMetric(took/bare, "x-bare")
			}
		})
	}
}

// BenchmarkHandshakeIdentity is what a new connection with a certificate costs
// beyond TLS itself: the organization is proven from what the client sent.
func BenchmarkHandshakeIdentity(b *testing.B) {
	n := newNode(b, nil)
	pair := n.client(n.orgCA, "NTRBG-100000003")
	snap := n.gateway.snapshot.Load()
	svc := snap.hosts.find("inner.example")
	peers := []*x509.Certificate{pair.Leaf}
	b.ReportAllocs()
	for b.Loop() {
		c := &conn{sni: "inner.example", end: func() {}, close: func() {}, cut: func() {}}
		n.gateway.conns.add(c)
		if p := n.gateway.conns.identify(context.Background(), c, snap.certs, svc, peers); p.identity.Organization != "nra" {
			b.Fatal(p.identity.Reason)
		}
		n.gateway.conns.remove(c)
	}
}

// cpuTime is what the process has used: unlike the time on the wall, it means
// something on a machine that does other things as well.
func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// sink is a response that goes nowhere.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// cannedUpstream answers every request with the same 1 KiB, at next to no cost.
func cannedUpstream(b *testing.B) (address string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nServer: nginx\r\nDate: Tue, 24 Nov 2026 13:00:00 GMT\r\nContent-Type: application/json\r\nContent-Length: 1024\r\n" +
		"Etag: \"65a1b2c3-400\"\r\nX-Powered-By: bench\r\nAccept-Ranges: bytes\r\n\r\n" + strings.Repeat("x", 1024))
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					line, err := br.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) == 2 {
						c.Write(answer)
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

type pooled struct{ sync.Pool }

func (p *pooled) Get() []byte  { return p.Pool.Get().(*[32 << 10]byte)[:] }
func (p *pooled) Put(b []byte) { p.Pool.Put((*[32 << 10]byte)(b)) }

func bareProxy(upstream string) *httputil.ReverseProxy {
	u := &url.URL{Scheme: "http", Host: upstream}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(u)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		BufferPool: &pooled{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
		Transport:  &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		ErrorLog:   log.New(io.Discard, "", 0),
	}
}
