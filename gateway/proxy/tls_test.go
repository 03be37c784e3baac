package proxy

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) *authority {
	a := &authority{}
	a.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, _ = x509.ParseCertificate(der)
	return a
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue makes a certificate for a name or address.
func (a *authority) issue(t testing.TB, name string) (cert, key []byte) {
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if ip := net.ParseIP(name); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, k.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	kd, _ := x509.MarshalPKCS8PrivateKey(k)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kd})
}

func (a *authority) pair(t testing.TB, name string) tls.Certificate {
	p, err := tls.X509KeyPair(a.issue(t, name))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func write(t testing.TB, content []byte) string {
	f := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(f, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// recorder notes the bytes of the application that come over TLS.
type recorder struct {
	mu   sync.Mutex
	seen bytes.Buffer
}

func tlsUpstream(t testing.TB, c *tls.Config, h2 bool) (*httptest.Server, *recorder) {
	rec := &recorder{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		rec.mu.Lock()
		rec.seen.WriteString(r.Method + " " + r.RequestURI)
		rec.mu.Unlock()
		org := ""
		if len(r.TLS.PeerCertificates) > 0 {
			org = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, r.Proto+" "+r.TLS.ServerName+" "+org+" "+string(b))
	}))
	s.EnableHTTP2 = h2
	s.TLS = c
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, rec
}

func TestHTTPSUpstream(t *testing.T) {
	t.Parallel()
	ca, clients, other := newAuthority(t, "internal"), newAuthority(t, "clients"), newAuthority(t, "other")
	pool := x509.NewCertPool()
	pool.AddCert(clients.cert)
	cert, key := clients.issue(t, "gateway")
	good := &UpstreamTLS{CA: write(t, ca.pem()), ServerName: "svc.internal"}
	good.KeyPair = certs.KeyPair{Cert: write(t, cert)}
	good.Key = unit.Secret{Ref: "${env:KEY}"}
	good.Key.Resolve(string(key))
	withCert := func(c *UpstreamTLS) *UpstreamTLS { c.KeyPair = good.KeyPair; return c }

	for _, test := range []struct {
		name   string
		server tls.Certificate
		c      *UpstreamTLS
		max    uint16
		want   string // "" for a refusal
	}{
		{"own CA and client certificate", ca.pair(t, "svc.internal"), good, 0, "svc.internal gateway"},
		{"address in the certificate", ca.pair(t, "127.0.0.1"), withCert(&UpstreamTLS{CA: good.CA}), 0, " gateway"},
		{"wrong CA", other.pair(t, "svc.internal"), good, 0, ""},
		{"system's roots", ca.pair(t, "svc.internal"), withCert(&UpstreamTLS{ServerName: "svc.internal"}), 0, ""},
		{"wrong name", ca.pair(t, "evil.internal"), good, 0, ""},
		{"TLS 1.1", ca.pair(t, "svc.internal"), good, tls.VersionTLS11, ""},
		{"TLS 1.2", ca.pair(t, "svc.internal"), good, tls.VersionTLS12, "svc.internal gateway"},
	} {
		for _, protocol := range []string{"h1", "h2"} {
			t.Run(test.name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				up, rec := tlsUpstream(t, &tls.Config{Certificates: []tls.Certificate{test.server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: test.max}, true)
				g := newGateway(t, []string{up.URL}, with(func(s *Settings) {
					s.UpstreamTLS = test.c
					s.UpstreamProtocol = protocol
				}))
				for range 3 {
					resp, got := do(t, g.Client(), "POST", g.URL+"/secret", strings.NewReader("body"))
					if test.want == "" {
						if ps := resp.Header.Get("Proxy-Status"); resp.StatusCode != 502 || !strings.HasPrefix(ps, "vazel; error=tls_") {
							t.Errorf("got %s %q, want 502 for TLS", resp.Status, ps)
						}
						continue
					}
					proto := map[string]string{"h1": "HTTP/1.1 ", "h2": "HTTP/2.0 "}[protocol]
					if want := proto + test.want + " body"; got != want {
						t.Errorf("got %s %q, want %q", resp.Status, got, want)
					}
				}
				rec.mu.Lock()
				defer rec.mu.Unlock()
				if test.want == "" && rec.seen.Len() > 0 {
					t.Errorf("a server that was not verified got %q", rec.seen.String())
				}
			})
		}
	}
}

// TestCertificateReload makes a new pool when a file's content changes.
func TestCertificateReload(t *testing.T) {
	t.Parallel()
	file := write(t, newAuthority(t, "one").pem())
	m := NewManager(Options{})
	c := PoolConfig{Name: "x", URLs: []string{"https://127.0.0.1:1"}, Settings: Settings{UpstreamTLS: &UpstreamTLS{CA: file}}}
	p, err := m.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Activate([]*Pool{p})
	defer m.Close(context.Background())
	if q, _ := m.Build(c); q != p {
		t.Error("a pool that did not change was made anew")
	}
	os.WriteFile(file, newAuthority(t, "two").pem(), 0o600)
	if q, err := m.Build(c); q == p || err != nil {
		t.Errorf("a pool with another authority was not made anew: %v", err)
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	h := grpchealth.NewServer()
	healthpb.RegisterHealthServer(s, h)
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ln) }()
	t.Cleanup(func() { s.Stop(); <-done })

	g := newGateway(t, []string{"http://" + ln.Addr().String()}, with(func(s *Settings) { s.UpstreamProtocol = "h2c" }))
	roots := x509.NewCertPool()
	roots.AddCert(g.Certificate())
	cc, err := grpc.NewClient(g.Listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "example.com"})))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	client := healthpb.NewHealthClient(cc)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
	if err != nil || resp.Status != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("got %v, %v", resp, err)
	}
	// A status comes in trailers.
	if _, err := client.Check(ctx, &healthpb.HealthCheckRequest{Service: "missing"}); !strings.Contains(err.Error(), "NotFound") {
		t.Errorf("got %v, want NotFound", err)
	}
	// A stream from the server, which changes while it is open.
	w, err := client.Watch(ctx, &healthpb.HealthCheckRequest{Service: "svc"})
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVICE_UNKNOWN, healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		if status != healthpb.HealthCheckResponse_SERVICE_UNKNOWN {
			h.SetServingStatus("svc", status)
		}
		m, err := w.Recv()
		if err != nil || m.Status != status {
			t.Fatalf("got %v, %v, want %v", m, err, status)
		}
	}
}

// TestH2CUpstream passes bodies of all kinds and early hints over HTTP/2.
func TestH2CUpstream(t *testing.T) {
	t.Parallel()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Seen", r.Proto+" "+r.RequestURI+" "+r.Host+" "+strings.Join(r.TransferEncoding, ","))
		w.Header().Set("Alt-Svc", `h3=":1"`)
		w.Write(b)
		w.Header().Set("X-Sum", "s")
	}))
	up.Config.Protocols = protocols
	up.Start()
	t.Cleanup(up.Close)
	g := newGateway(t, []string{up.URL}, with(func(s *Settings) { s.UpstreamProtocol = "h2c" }))
	large := strings.Repeat("0123456789", 30<<10)
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		for _, body := range []string{"", "small", large} {
			for _, known := range []bool{true, false} {
				var r io.Reader = strings.NewReader(body)
				if !known {
					r = io.MultiReader(r)
				}
				req, _ := http.NewRequest("POST", g.URL+"/a%2Fb?x=1;y", r)
				req.Host = "registry.example"
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if got := readAll(t, resp); got != body {
					t.Errorf("got %d bytes, want %d", len(got), len(body))
				}
				if got, want := resp.Header.Get("X-Seen"), "HTTP/2.0 /a%2Fb?x=1;y registry.example"; strings.TrimSpace(got) != want {
					t.Errorf("upstream saw %q, want %q", got, want)
				}
				if resp.Trailer.Get("X-Sum") != "s" || resp.Header.Get("Alt-Svc") != "" {
					t.Errorf("got trailer %v, header %v", resp.Trailer, resp.Header)
				}
			}
		}
	}
}

// quiet is for servers whose handshakes are meant to fail.
var quiet = log.New(io.Discard, "", 0)
