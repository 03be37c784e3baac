//go:build e2e

package main

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	dir             string
	port, admin     int
	http, tls       int // where it looks for challenges
	dns             *zone
	client          *http.Client
	settings, extra map[string]any
	program         *program
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
	_, b := fetch(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/metrics", n.admin))
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.*)$`).FindSubmatch(b)
	if m == nil {
		return ""
	}
	return string(m[1])
}

func (n *acmeNode) logs(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		until(t, "the log line "+w, func() bool { return strings.Contains(n.gateway.log.String(), w) })
	}
}

// TestE2EACMEChallenges: each challenge alone brings a certificate, for exactly
// the configured hosts.
func TestE2EACMEChallenges(t *testing.T) {
	t.Parallel()
	for challenge, settings := range map[string]string{
		"http-01":     "challenges: [http-01]",
		"tls-alpn-01": "challenges: [tls-alpn-01]",
		"dns-01":      "challenges: [dns-01]",
		"default":     "",
	} {
		t.Run(challenge, func(t *testing.T) {
			t.Parallel()
			p := newPebble(t, nil)
			p.start(t)
			hosts, ask := "a.e2e.example, b.e2e.example", []string{"a.e2e.example", "b.e2e.example"}
			if challenge == "dns-01" || challenge == "default" {
				hosts += `, "*.w.e2e.example"`
				ask = append(ask, "one.w.e2e.example", "two.w.e2e.example")
				settings += fmt.Sprintf("\ndns: {rfc2136: {server: %q, key_name: vazel, secret: \"${file:tsig}\"}}", p.dns.addr)
			}
			n := newACMENode(t, p, hosts, settings, true)
			if err := os.WriteFile(filepath.Join(n.dir, "tsig"), []byte(tsigSecret+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			n.start(t)
			roots := p.roots(t)
			for _, h := range ask {
				n.wait(t, h, roots)
			}
			for _, h := range []string{"c.e2e.example", "a.b.e2e.example", ""} {
				n.handshake(h, nil)
			}
			n.logs(t, `"next_renewal"`)
			if got, want := p.issued(), strings.Count(hosts, "e2e.example"); got != want {
				t.Errorf("%d certificates were issued, want %d", got, want)
			}
			log := p.program.log.String()
			for _, foreign := range []string{"c.e2e.example", "a.b.e2e.example"} {
				if strings.Contains(log, foreign) {
					t.Errorf("the authority was asked for %s", foreign)
				}
			}
			for name, used := range map[string]bool{"http-01": strings.Contains(log, "Attempting to validate w/ HTTP"), "dns-01": p.dns.updates > 0} {
				if may := challenge == name || challenge == "default"; used && !may || !used && challenge == name {
					t.Errorf("%s was used: %v", name, used)
				}
			}
			if got := n.metric(t, `vazel_certificate_renewals_total{name="a.e2e.example",result="success"}`); got != "1" {
				t.Errorf("got %q renewals, want 1", got)
			}
			p.dns.mu.Lock()
			if len(p.dns.txt) > 0 {
				t.Errorf("records were left behind: %v", p.dns.txt)
			}
			p.dns.mu.Unlock()
			private(t, filepath.Join(n.dir, "state", "acme"))
			if strings.Contains(n.gateway.log.String(), tsigSecret) {
				t.Error("the log shows the TSIG key")
			}
		})
	}
}

// private makes sure that nobody else can read what lies in a folder.
func private(t *testing.T, dir string) {
	t.Helper()
	keys := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 && filepath.Ext(path) != ".lock" {
			t.Errorf("%s has the mode %s", path, info.Mode())
		}
		if filepath.Ext(path) == ".key" {
			keys++
		}
		return nil
	})
	if err != nil || keys == 0 {
		t.Errorf("%d keys, %v", keys, err)
	}
}

// TestE2EACMEAccount: an authority that wants accounts bound to its own, and the
// kind of certificate that was asked for.
func TestE2EACMEAccount(t *testing.T) {
	t.Parallel()
	secret := base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	p := newPebble(t, map[string]any{
		"externalAccountBindingRequired": true, "externalAccountMACKeys": map[string]string{"kid": secret},
		"profiles": map[string]any{"default": map[string]any{"validityPeriod": 7776000}, "short": map[string]any{"validityPeriod": 518400}},
	})
	p.start(t)
	n := newACMENode(t, p, "a.e2e.example", "", true)
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	wrong := base64.RawURLEncoding.EncodeToString([]byte("another key"))
	write("good", secret+"\n")
	write("wrong", wrong)
	n.start(t)
	n.logs(t, "no certificate could be obtained", "externalAccountRequired")
	bin, _ := binary()
	reload := func(settings string) {
		n.configure(t, p, "a.e2e.example", settings)
		if out, err := exec.Command(bin, "reload", "-config", n.dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	reload("profile: short\neab: {key_id: kid, hmac_key: \"${file:wrong}\"}")
	until(t, "a second failure", func() bool {
		return n.metric(t, `vazel_certificate_renewals_total{name="a.e2e.example",result="failure"}`) >= "2"
	})
	reload("profile: short\neab: {key_id: kid, hmac_key: \"${file:good}\"}")
	leaf := n.wait(t, "a.e2e.example", p.roots(t))
	if life := leaf.NotAfter.Sub(leaf.NotBefore).Round(time.Minute); life != 6*24*time.Hour {
		t.Errorf("the certificate lives %s, want the 144h of the profile", life)
	}
	for _, s := range []string{secret, wrong} {
		if strings.Contains(n.gateway.log.String(), s) {
			t.Error("the log shows a key")
		}
	}
}

// TestE2EACMERenew: certificates that live for seconds are renewed in time and
// in between no handshake fails; renewal information is followed.
func TestE2EACMERenew(t *testing.T) {
	t.Parallel()
	p := newPebble(t, map[string]any{"profiles": map[string]any{"brief": map[string]any{"validityPeriod": 12}, "default": map[string]any{"validityPeriod": 7776000}}})
	p.start(t)
	n := newACMENode(t, p, "a.e2e.example", "profile: brief", true)
	n.start(t)
	roots := p.roots(t)
	n.wait(t, "a.e2e.example", roots)
	serials := map[string]bool{}
	until(t, "three renewals", func() bool {
		cs, err := n.handshake("a.e2e.example", roots)
		if err != nil {
			t.Fatalf("after %d certificates: %v", len(serials), err)
		}
		serials[cs.PeerCertificates[0].SerialNumber.String()] = true
		return len(serials) > 3
	})
	if !strings.Contains(p.program.log.String(), "is a replacement of") {
		t.Error("the authority was not told what is replaced")
	}

	// A long life, until the authority says otherwise.
	bin, _ := binary()
	n.configure(t, p, "long.e2e.example", "profile: default")
	if out, err := exec.Command(bin, "reload", "-config", n.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	leaf := n.wait(t, "long.e2e.example", roots)
	n.gateway.stop(t)
	body, _ := json.Marshal(map[string]string{
		"Certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})),
		"ARIResponse": `{"suggestedWindow":{"start":"2020-01-01T00:00:00Z","end":"2020-01-02T00:00:00Z"}}`,
	})
	resp, err := p.client.Post(fmt.Sprintf("https://127.0.0.1:%d/set-renewal-info/", p.admin), "application/json", bytes.NewReader(body))
	if err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	n.start(t)
	until(t, "the advised renewal", func() bool {
		now, err := n.served("long.e2e.example")
		return err == nil && now.SerialNumber.Cmp(leaf.SerialNumber) != 0
	})
	n.logs(t, "asks for the certificate to be renewed now")
}

// TestE2EACMEDown: without the directory the last certificate is served, or it is
// said that there is none; nothing else is shown instead.
func TestE2EACMEDown(t *testing.T) {
	t.Parallel()
	p := newPebble(t, nil)
	n := newACMENode(t, p, "a.e2e.example", "", true)
	n.start(t) // ready, without a certificate
	if _, err := n.served("a.e2e.example"); err == nil || !strings.Contains(err.Error(), "internal error") {
		t.Errorf("got %v, want the alert internal_error", err)
	}
	n.logs(t, "a handshake failed, for no certificate has been obtained yet", "no certificate could be obtained")
	if got := n.metric(t, `vazel_certificate_unavailable_total{name="a.e2e.example"}`); got != "1" {
		t.Errorf("counted %q handshakes without a certificate, want 1", got)
	}
	if got := n.metric(t, `vazel_certificate_renewals_total{name="a.e2e.example",result="failure"}`); got == "" || got == "0" {
		t.Errorf("counted %q failures", got)
	}
	p.start(t)
	first := n.wait(t, "a.e2e.example", p.roots(t))
	p.program.stop(t)
	n.gateway.stop(t)
	n.start(t)
	if now, err := n.served("a.e2e.example"); err != nil || !now.Equal(first) {
		t.Errorf("after a restart without the directory: %v, %v", now, err)
	}

	// A wrong directory: the reload is taken, the certificate stays, and the failure is told.
	bin, _ := binary()
	n.configure(t, p, "a.e2e.example", fmt.Sprintf("directory: https://127.0.0.1:%d/nothing", p.admin))
	if out, err := exec.Command(bin, "reload", "-config", n.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.logs(t, "the certificate could not be renewed; the present one is served")
	if now, err := n.served("a.e2e.example"); err != nil || !now.Equal(first) {
		t.Errorf("under a wrong directory: %v, %v", now, err)
	}

	// The authority comes back without any memory of the account.
	p.start(t)
	n.configure(t, p, "a.e2e.example, b.e2e.example", "")
	if out, err := exec.Command(bin, "reload", "-config", n.dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	n.wait(t, "b.e2e.example", p.roots(t))

	n.configure(t, p, "a.e2e.example", "directory: http://127.0.0.1/dir")
	if out, _ := exec.Command(bin, "check", "-config", n.dir).CombinedOutput(); !strings.Contains(string(out), "tls.acme.directory must be an https URL") {
		t.Errorf("check says %s", out)
	}
}

// TestE2EACMENodes: two nodes share a folder; one of them orders, both serve, also
// challenges of the other.
func TestE2EACMENodes(t *testing.T) {
	t.Parallel()
	p := newPebble(t, nil)
	p.start(t)
	shared := filepath.Join(t.TempDir(), "acme")
	one := newACMENode(t, p, "a.e2e.example, b.e2e.example, c.e2e.example", "storage: "+shared, true)
	two := newACMENode(t, p, "a.e2e.example, b.e2e.example, c.e2e.example", "storage: "+shared, false)
	two.start(t) // where challenges don't arrive
	one.start(t)
	roots := p.roots(t)
	for _, h := range []string{"a.e2e.example", "b.e2e.example", "c.e2e.example"} {
		x, y := one.wait(t, h, roots), two.wait(t, h, roots)
		if !x.Equal(y) {
			t.Errorf("%s: the nodes serve different certificates", h)
		}
	}
	if got := p.issued(); got != 3 {
		t.Errorf("%d certificates were issued for 3 hosts", got)
	}
	if got := strings.Count(p.program.log.String(), "Added order"); got > 6 {
		t.Errorf("%d orders for 3 hosts", got)
	}
	private(t, shared)
}

// TestE2EACMEReplace: what is stored but expired, unreadable or revoked is
// replaced; and OCSP answers are shown.
func TestE2EACMEReplace(t *testing.T) {
	t.Parallel()
	var revoked atomic.Pointer[big.Int]
	responder := httptest.NewUnstartedServer(nil)
	p := newPebble(t, map[string]any{"ocspResponderURL": "http://" + responder.Listener.Addr().String(), "keyAlgorithm": "rsa"})
	p.start(t)
	issuer, err := x509.ParseCertificate(decode(t, p.manage(t, "/intermediates/0")))
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS1PrivateKey(decode(t, p.manage(t, "/intermediate-keys/0")))
	if err != nil {
		t.Fatal(err)
	}
	serveOCSP(responder, issuer, key, &revoked)
	responder.Start()
	t.Cleanup(responder.Close)

	n := newACMENode(t, p, "a.e2e.example", "", true)
	n.start(t)
	roots := p.roots(t)
	first := n.wait(t, "a.e2e.example", roots)
	stapled := func() bool {
		cs, err := n.handshake("a.e2e.example", roots)
		if err != nil {
			t.Fatal(err)
		}
		a, err := ocsp.ParseResponse(cs.OCSPResponse, issuer)
		return err == nil && a.Status == ocsp.Good && a.SerialNumber.Cmp(cs.PeerCertificates[0].SerialNumber) == 0
	}
	until(t, "an OCSP answer in the handshake", stapled)
	if got := n.metric(t, `vazel_ocsp_staple_next_update_timestamp_seconds{name="a.e2e.example"}`); got == "" || got == "0" {
		t.Errorf("nextUpdate of the answer: %q", got)
	}
	n.gateway.stop(t)

	// Revoked while the gateway was down: the kept answer still says good, so the
	// responder is made to be asked again.
	revoked.Store(first.SerialNumber)
	if err := os.RemoveAll(filepath.Join(n.dir, "state", "ocsp")); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	var second *x509.Certificate
	until(t, "another certificate than the revoked one", func() bool {
		second = n.wait(t, "a.e2e.example", roots)
		return !second.Equal(first)
	})
	n.logs(t, "the certificate was revoked and is replaced")
	until(t, "an OCSP answer for the new certificate", stapled)
	n.gateway.stop(t)

	// Damaged.
	stored, err := filepath.Glob(filepath.Join(n.dir, "state", "acme", "certificates", "*", "a.e2e.example", "a.e2e.example.key"))
	if err != nil || len(stored) != 1 {
		t.Fatal(stored, err)
	}
	if err := os.WriteFile(stored[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	third := n.wait(t, "a.e2e.example", roots)
	if third.Equal(second) {
		t.Error("the damaged certificate is served")
	}
	n.logs(t, "can't be used and is replaced")
	n.gateway.stop(t)

	// Expired.
	ca, err := certs.NewDevCA("past")
	if err != nil {
		t.Fatal(err)
	}
	chain, priv, err := ca.Server("a.e2e.example")
	if err != nil {
		t.Fatal(err)
	}
	chain, priv = expire(t, ca, chain, priv)
	if err := os.WriteFile(strings.TrimSuffix(stored[0], ".key")+".crt", chain, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stored[0], priv, 0o600); err != nil {
		t.Fatal(err)
	}
	n.start(t)
	n.wait(t, "a.e2e.example", roots)
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
