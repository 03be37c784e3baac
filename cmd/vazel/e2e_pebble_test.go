//go:build e2e

package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/crypto/ocsp"

	"github.com/vazel-gateway/vazel/certs"
)

var pebbleBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "vazel-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "pebble")
	out, err := exec.Command("go", "build", "-modfile=../../.ci/tools/go.mod", "-o", path, "github.com/letsencrypt/pebble/v2/cmd/pebble").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// pebble is an ACME authority and the name server that it and the gateway ask.
type pebble struct {
	dir         string
	port, admin int
	http, tls   int // where it looks for challenges
	dns         *zone
	client      *http.Client
	settings    map[string]any
	program     *program
}

const tsigSecret = "c2VjcmV0LW9mLXRoZS10ZXN0LXpvbmUtMDEyMzQ1Njc="

// zone is a name server: every name is 127.0.0.1, and TXT records are what
// signed updates made them.
type zone struct {
	addr    string
	mu      sync.Mutex
	txt     map[string][]string
	updates int
}

func newZone(t *testing.T) *zone {
	t.Helper()
	z := &zone{txt: map[string][]string{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	z.addr = l.Addr().String()
	for _, s := range []*dns.Server{{Listener: l}, {PacketConn: p}} {
		s.Handler, s.TsigSecret = dns.HandlerFunc(z.answer), map[string]string{"vazel.": tsigSecret}
		s.MsgAcceptFunc = func(dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
		done := make(chan struct{})
		go func() { defer close(done); s.ActivateAndServe() }()
		t.Cleanup(func() { s.Shutdown(); <-done })
	}
	return z
}

func (z *zone) answer(w dns.ResponseWriter, r *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(r)
	name := dns.CanonicalName(r.Question[0].Name)
	soa := &dns.SOA{Hdr: dns.RR_Header{Name: "e2e.example.", Rrtype: dns.TypeSOA, Class: dns.ClassINET}, Ns: "ns.e2e.example.", Mbox: "x.e2e.example.", Serial: 1}
	switch {
	case r.Opcode == dns.OpcodeUpdate:
		sig := r.IsTsig()
		if sig == nil || w.TsigStatus() != nil || name != "e2e.example." {
			m.Rcode = dns.RcodeRefused
			break
		}
		z.updates++
		for _, rr := range r.Ns {
			if txt, ok := rr.(*dns.TXT); ok {
				at := dns.CanonicalName(txt.Hdr.Name)
				if txt.Hdr.Class == dns.ClassNONE {
					delete(z.txt, at)
				} else {
					z.txt[at] = append(z.txt[at], txt.Txt...)
				}
			}
		}
		m.SetTsig(sig.Hdr.Name, sig.Algorithm, 300, time.Now().Unix())
	case r.Question[0].Qtype == dns.TypeA:
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
	case r.Question[0].Qtype == dns.TypeTXT && len(z.txt[name]) > 0:
		for _, v := range z.txt[name] {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: dns.RR_Header{Name: r.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}, Txt: []string{v}})
		}
	default:
		m.Ns = append(m.Ns, soa)
	}
	w.WriteMsg(m)
}

// newPebble prepares an authority; start starts it.
func newPebble(t *testing.T, settings map[string]any) *pebble {
	t.Helper()
	p := &pebble{dir: t.TempDir(), port: port(t), admin: port(t), http: port(t), tls: port(t), dns: newZone(t), settings: settings}
	ca, err := certs.NewDevCA("pebble")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Server("127.0.0.1", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := writePair(p.dir, "server", cert, key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "ca.pem"), ca.CertPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(tr.CloseIdleConnections)
	p.client = &http.Client{Transport: tr, Timeout: 10 * time.Second}
	return p
}

func (p *pebble) start(t *testing.T) {
	t.Helper()
	bin, err := pebbleBinary()
	if err != nil {
		t.Fatal(err)
	}
	c := map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", p.port), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", p.admin),
		"certificate": filepath.Join(p.dir, "server.pem"), "privateKey": filepath.Join(p.dir, "server.key"),
		"httpPort": p.http, "tlsPort": p.tls, "keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
	}
	for k, v := range p.settings {
		c[k] = v
	}
	b, err := json.Marshal(map[string]any{"pebble": c})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.dir, "pebble.json"), b, 0o644); err != nil {
		t.Fatal(err)
	}
	p.program = start(t, p.dir, "/usr/bin/env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=10", bin, "-config", "pebble.json", "-dnsserver", p.dns.addr)
	until(t, "pebble", func() bool {
		resp, err := p.client.Get(p.directory())
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == 200
	})
}

func (p *pebble) directory() string { return fmt.Sprintf("https://127.0.0.1:%d/dir", p.port) }

func (p *pebble) manage(t *testing.T, path string) []byte {
	t.Helper()
	_, b := fetch(t, p.client, fmt.Sprintf("https://127.0.0.1:%d%s", p.admin, path))
	return b
}

func (p *pebble) roots(t *testing.T) *x509.CertPool {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(p.manage(t, "/roots/0")) {
		t.Fatal("pebble shows no root")
	}
	return pool
}

func (p *pebble) issued() int {
	return strings.Count(p.program.log.String(), "Issued certificate serial")
}

// acmeNode is a gateway whose certificates come from a pebble.
type acmeNode struct {
	dir                string
	https, http, admin int
	gateway            *program
}

// newACMENode makes a node, on the ports where p looks for challenges if it is
// the first.
func newACMENode(t *testing.T, p *pebble, hosts, settings string, first bool) *acmeNode {
	t.Helper()
	n := &acmeNode{dir: t.TempDir(), https: p.tls, http: p.http, admin: port(t)}
	if !first {
		n.https, n.http = port(t), port(t)
	}
	n.configure(t, p, hosts, settings)
	return n
}

func (n *acmeNode) configure(t *testing.T, p *pebble, hosts, settings string) {
	t.Helper()
	if !strings.Contains(settings, "directory:") {
		settings = "directory: " + p.directory() + "\n" + settings
	}
	conf := fmt.Sprintf(`version: 1
listen:
  - {address: "127.0.0.1:%d", protocols: [h1, h2]}
  - {address: "127.0.0.1:%d", redirect: https}
admin: {listen: "127.0.0.1:%d"}
access_log: {output: "off"}
audit_log: {output: "off"}
tls:
  acme:
    ca: %[4]s
    %[5]s
organizations: {org: {id: NTRBG-1, ca: %[4]s}}
services:
  s:
    owner: org
    hosts: [%[6]s]
    upstreams: ["http://127.0.0.1:1"]
`, n.https, n.http, n.admin, filepath.Join(p.dir, "ca.pem"), strings.ReplaceAll(strings.TrimSpace(settings), "\n", "\n    "), hosts)
	if err := os.WriteFile(filepath.Join(n.dir, "vazel.yaml"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (n *acmeNode) start(t *testing.T) {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	n.gateway = start(t, n.dir, bin, "run", "-config", n.dir, "-watch=false")
	until(t, "ready", func() bool {
		select {
		case <-n.gateway.done:
			t.Fatal("the gateway ended")
		default:
		}
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/-/ready", n.admin))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
}

// stop ends a program and takes how long that may last for granted.
func (p *program) stop(t *testing.T) {
	t.Helper()
	begin := time.Now()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Fatalf("did not stop within 10s; log:\n%s", p.log)
	}
	t.Logf("stopped in %s", time.Since(begin).Round(time.Millisecond))
}

// served is the certificate that is shown for a host; nil if the handshake fails.
func (n *acmeNode) served(host string) (*x509.Certificate, error) {
	cs, err := n.handshake(host, nil)
	if err != nil {
		return nil, err
	}
	return cs.PeerCertificates[0], nil
}

func (n *acmeNode) handshake(host string, roots *x509.CertPool) (tls.ConnectionState, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", fmt.Sprintf("127.0.0.1:%d", n.https), &tls.Config{ServerName: host, RootCAs: roots, InsecureSkipVerify: roots == nil})
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	return c.ConnectionState(), nil
}

// wait is the certificate of a host, once it is there and fits.
func (n *acmeNode) wait(t *testing.T, host string, roots *x509.CertPool) *x509.Certificate {
	t.Helper()
	var leaf *x509.Certificate
	until(t, "a certificate for "+host, func() bool {
		cs, err := n.handshake(host, roots)
		if err == nil {
			leaf = cs.PeerCertificates[0]
		}
		return err == nil
	})
	return leaf
}

func (n *acmeNode) metric(t *testing.T, name string) string {
	t.Helper()
	return metricOf(t, n.admin, name)
}

func (n *acmeNode) logs(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		until(t, "the log line "+w, func() bool { return strings.Contains(n.gateway.log.String(), w) })
	}
}

func decode(t *testing.T, b []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(b)
	if block == nil {
		t.Fatalf("not PEM: %.100s", b)
	}
	return block.Bytes
}

// expire signs a certificate anew, as one whose time is over.
func expire(t *testing.T, ca *certs.DevCA, chain, key []byte) ([]byte, []byte) {
	t.Helper()
	leaf, err := x509.ParseCertificate(decode(t, chain))
	if err != nil {
		t.Fatal(err)
	}
	signer, err := x509.ParsePKCS8PrivateKey(decode(t, ca.KeyPEM()))
	if err != nil {
		t.Fatal(err)
	}
	leaf.NotBefore, leaf.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	der, err := x509.CreateCertificate(nil, leaf, ca.Certificate, leaf.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

// serveOCSP answers with the issuer's own key.
func serveOCSP(s *httptest.Server, issuer *x509.Certificate, key crypto.Signer, revoked *atomic.Pointer[big.Int]) {
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		q, err := ocsp.ParseRequest(b)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a := ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
		if n := revoked.Load(); n != nil && n.Cmp(q.SerialNumber) == 0 {
			a.Status, a.RevokedAt, a.RevocationReason = ocsp.Revoked, time.Now().Add(-time.Minute), ocsp.KeyCompromise
		}
		der, err := ocsp.CreateResponse(issuer, issuer, a, key)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(der)
	})
}
