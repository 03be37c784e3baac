package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/freeport"
)

// node is a gateway on loopback with an upstream that records what it gets.
type node struct {
	t        testing.TB
	dir      string
	gateway  *Gateway
	reg      *prometheus.Registry
	https    string // address
	http     string
	upstream *recorder
	ca       *certs.DevCA // of servers
	orgCA    *certs.DevCA // of nra and sofia
	otherCA  *certs.DevCA // of meu
	roots    *x509.CertPool
	stop     func()
}

// recorder is an HTTP/1.1 upstream that keeps the exact bytes of each head.
type recorder struct {
	address string

	mu    sync.Mutex
	heads []string
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.heads
	r.heads = nil
	return h
}

// teeConn keeps what is read.
type teeConn struct {
	net.Conn
	r   *recorder
	buf bytes.Buffer
}

func (c *teeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.buf.Write(p[:n])
	for {
		head, rest, ok := bytes.Cut(c.buf.Bytes(), []byte("\r\n\r\n"))
		if !ok {
			break
		}
		if line, _, _ := bytes.Cut(head, []byte("\r\n")); bytes.HasSuffix(line, []byte(" HTTP/1.1")) {
			c.r.mu.Lock()
			c.r.heads = append(c.r.heads, string(head))
			c.r.mu.Unlock()
		}
		rest = slices.Clone(rest)
		c.buf.Reset()
		c.buf.Write(rest)
	}
	return n, err
}

type teeListener struct {
	net.Listener
	r *recorder
}

func (l teeListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &teeConn{Conn: c, r: l.r}, nil
}

func newRecorder(t testing.TB, h http.Handler) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &recorder{address: l.Addr().String()}
	s := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(teeListener{l, r}) }()
	t.Cleanup(func() { s.Close(); <-done })
	return r
}

// freePort is a port that is free for TCP and UDP.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Get()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// services is what most tests need; %s is the upstream.
const testServices = `
services:
  open:
    owner: meu
    hosts: [open.example, "*.wild.example"]
    upstreams: ["http://%[1]s"]
    routes:
      - paths: [/]
      - {paths: [/ws], websocket: true}
      - {paths: [/secret], deny: true}
      - {paths: [/old], redirect: {to: /new}}
      - {paths: [/strip], rewrite: {strip_prefix: /strip}}
      - {paths: [/replace], rewrite: {replace_prefix: /other}}
      - {paths: [/read], methods: [GET, HEAD]}
      - {paths: [/shared], methods: [GET, HEAD], cors: {origins: [https://portal.example]}}
      - {paths: [/small], max_body: 100B}
      - {paths: [/limited], rate_limit: {rate: 1/h, burst: 2, per: client_ip}}
      - {paths: [/wfs]}
      - {paths: [/wfs], match: {query: {request: Transaction}}, deny: true}
      - {paths: [/headers], headers: {request: {remove: [X-Debug], set: {X-Gateway: t}}, response: {remove: [X-Powered-By], set: {X-Frame-Options: DENY}}}}
  inner:
    owner: meu
    hosts: [inner.example]
    upstreams: ["http://%[1]s"]
    allow: [nra]
    routes:
      - paths: [/]
      - {paths: [/both], allow: [nra, sofia]}
`

func newNode(t testing.TB, handler http.HandlerFunc, extra ...string) *node {
	t.Helper()
	return newNodeLog(t, zap.NewNop(), handler, extra...)
}

// newNodeLog is newNode with a log.
func newNodeLog(t testing.TB, log *zap.Logger, handler http.HandlerFunc, extra ...string) *node {
	t.Helper()
	if handler == nil {
		handler = func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Powered-By", "test")
			fmt.Fprintf(w, "%s %s %d", r.Method, r.RequestURI, len(b))
		}
	}
	n := &node{t: t, dir: t.TempDir(), upstream: newRecorder(t, handler)}
	var err error
	make := func(name string) *certs.DevCA {
		ca, cerr := certs.NewDevCA(name)
		if cerr != nil {
			t.Fatal(cerr)
		}
		n.write(name+".pem", string(ca.CertPEM()))
		return ca
	}
	n.ca, n.orgCA, n.otherCA = make("server-ca"), make("org-ca"), make("other-ca")
	n.roots = x509.NewCertPool()
	n.roots.AddCert(n.ca.Certificate)
	cert, key, err := n.ca.Server("open.example", "*.wild.example", "inner.example", "third.example", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	n.write("server.pem", string(cert))
	n.write("server.key", string(key))
	port, plain := freePort(t), freePort(t)
	n.https, n.http = fmt.Sprintf("127.0.0.1:%d", port), fmt.Sprintf("127.0.0.1:%d", plain)
	n.config(append([]string{fmt.Sprintf(testServices, n.upstream.address)}, extra...)...)
	n.reg = prometheus.NewRegistry()
	n.gateway, err = New(Options{Log: log, Registerer: n.reg, StateDir: filepath.Join(n.dir, "state"), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	n.run()
	return n
}

// run runs the gateway until the test ends, or stop is called.
func (n *node) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make2(n.gateway.Run, ctx)
	n.stop = func() { cancel(); <-done }
	n.t.Cleanup(n.stop)
}

func make2(run func(context.Context) error, ctx context.Context) chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); run(ctx) }()
	return done
}

func (n *node) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// http1Server is the server that HTTP/1.1 is tested against: strict, or the
// reference if the environment says so. "make check" does both.
func http1Server() string {
	if s := os.Getenv("VAZEL_TEST_HTTP1"); s != "" {
		return s
	}
	return "strict"
}

// config writes the main file: the frame, and what comes after it.
func (n *node) config(parts ...string) {
	n.t.Helper()
	_, port, _ := net.SplitHostPort(n.https)
	n.write("vazel.yaml", fmt.Sprintf(`version: 1
listen:
  - {address: "%s", protocols: [h1, h2, h3]}
  - {address: "%s", redirect: https, redirect_port: %s}
tls: {certificates: [{cert: server.pem, key: "${file:server.key}"}]}
access_log: {output: "off"}
audit_log: {output: "off"}
limits: {drain_timeout: 5s, http1: %s}
organizations:
  nra: {name: National Revenue Agency, id: NTRBG-100000003, ca: org-ca.pem}
  sofia: {name: Столична община, id: NTRBG-100000004, ca: org-ca.pem}
  meu: {name: Ministry, id: NTRBG-100000001, ca: other-ca.pem}
`, n.https, n.http, port, http1Server())+strings.Join(parts, "\n"))
}

func (n *node) apply() error {
	c, err := config.Load(n.dir)
	if err != nil {
		return err
	}
	return n.gateway.Apply(c)
}

// client is a certificate for an organization identifier.
func (n *node) client(ca *certs.DevCA, id string) *tls.Certificate {
	n.t.Helper()
	return n.clientOf(ca, certs.ClientSpec{CN: "system", OrganizationID: id})
}

func (n *node) clientOf(ca *certs.DevCA, s certs.ClientSpec) *tls.Certificate {
	n.t.Helper()
	cert, key, err := ca.Client(s)
	if err != nil {
		n.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		n.t.Fatal(err)
	}
	return &pair
}

var protocols = []string{"h1", "h2", "h3"}

// dial makes an HTTP client that speaks one protocol, for one server name.
func (n *node) dial(protocol, sni string, cert *tls.Certificate) *http.Client {
	n.t.Helper()
	return n.dialWith(protocol, sni, cert, nil)
}

// dialWith is dial with some curves only; nil for all that Go offers.
func (n *node) dialWith(protocol, sni string, cert *tls.Certificate, curves []tls.CurveID) *http.Client {
	n.t.Helper()
	conf := &tls.Config{RootCAs: n.roots, ServerName: sni, CurvePreferences: curves}
	if sni == "" {
		conf.InsecureSkipVerify = true
	}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if protocol == "h3" {
		tr := &http3.Transport{TLSClientConfig: conf, Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			c = c.Clone()
			c.ServerName = sni
			return quic.DialAddr(ctx, n.https, c, q)
		}}
		n.t.Cleanup(func() { tr.Close() })
		return &http.Client{Transport: tr, CheckRedirect: noRedirect, Timeout: 20 * time.Second}
	}
	p := new(http.Protocols)
	p.SetHTTP1(protocol == "h1")
	p.SetHTTP2(protocol == "h2")
	tr := &http.Transport{Protocols: p, DisableCompression: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		c := conf.Clone()
		c.NextProtos = []string{"http/1.1"}
		if protocol == "h2" {
			c.NextProtos = []string{"h2"}
		}
		d := tls.Dialer{Config: c}
		return d.DialContext(ctx, "tcp", n.https)
	}}
	n.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: noRedirect, Timeout: 20 * time.Second}
}

// do sends a request and reads the whole answer.
func (n *node) do(c *http.Client, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	n.t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header[header[i]] = append(r.Header[header[i]], header[i+1])
	}
	resp, err := c.Do(r)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, url, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s %s: reading the answer: %v", method, url, err)
	}
	return resp, string(b)
}

// raw opens a TLS connection for HTTP/1.1 bytes.
func (n *node) raw(sni string, cert *tls.Certificate) (*tls.Conn, *bufio.Reader) {
	n.t.Helper()
	conf := &tls.Config{RootCAs: n.roots, ServerName: sni, NextProtos: []string{"http/1.1"}}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	c, err := tls.Dial("tcp", n.https, conf)
	if err != nil {
		n.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	n.t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

// metric is the value of a series, written as Prometheus writes it.
func (n *node) metric(series string) string {
	n.t.Helper()
	all, err := n.reg.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	var b bytes.Buffer
	for _, f := range all {
		expfmt.MetricFamilyToText(&b, f)
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if v, ok := strings.CutPrefix(line, series+" "); ok {
			return v
		}
	}
	return ""
}
