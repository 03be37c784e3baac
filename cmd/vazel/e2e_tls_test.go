//go:build e2e

package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
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
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

// tlsNode is a program with one TLS profile, in front of a page.
type tlsNode struct {
	dir, https, admin string
	leaf              *x509.Certificate
	roots             *x509.CertPool
}

func newTLSNode(t *testing.T, profile string) *tlsNode {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html><title>t</title><p>Reached")
	}))
	t.Cleanup(page.Close)
	n := &tlsNode{dir: t.TempDir(), https: fmt.Sprintf("127.0.0.1:%d", port(t)), admin: fmt.Sprintf("127.0.0.1:%d", port(t)), roots: x509.NewCertPool()}
	ca, err := certs.NewDevCA("e2e")
	if err != nil {
		t.Fatal(err)
	}
	n.roots.AddCert(ca.Certificate)
	cert, key, err := ca.Issue(&x509.Certificate{
		SerialNumber: new(big.Int).Lsh(big.NewInt(time.Now().UnixNano()), 64), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 90), BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, CRLDistributionPoints: []string{"http://crl.e2e.example/e2e.crl"},
	})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	n.leaf = pair.Leaf
	for name, b := range map[string][]byte{"server.pem": cert, "server.key": key, "ca.pem": ca.CertPEM(), "vazel.yaml": []byte(fmt.Sprintf(`version: 1
listen: [{address: %q, protocols: [h1, h2, h3]}]
admin: {listen: %q}
access_log: {output: "off"}
audit_log: {output: "off"}
tls: {profile: %s, certificates: [{cert: server.pem, key: "${file:server.key}"}]}
organizations: {org: {id: NTRBG-1, ca: ca.pem}}
services:
  page:
    owner: org
    hosts: [localhost, 127.0.0.1]
    upstreams: [%q]
`, n.https, n.admin, profile, page.URL))} {
		if err := os.WriteFile(filepath.Join(n.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start(t, n.dir, bin, "run", "-config", n.dir, "-watch=false")
	until(t, "ready", func() bool {
		resp, err := http.Get("http://" + n.admin + "/-/ready")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	return n
}

// counted says whether there is a series of a metric with a label.
func (n *tlsNode) counted(t *testing.T, name, label string) bool {
	t.Helper()
	_, b := fetch(t, http.DefaultClient, "http://"+n.admin+"/metrics")
	for line := range strings.SplitSeq(string(b), "\n") {
		if strings.HasPrefix(line, name+"{") && strings.Contains(line, label) {
			return true
		}
	}
	return false
}

// TestE2ETestssl: testssl.sh finds nothing above "low".
func TestE2ETestssl(t *testing.T) {
	testssl := need(t, "testssl", "testssl.sh")
	for _, profile := range []string{"intermediate", "ncsc-nl-2025-05"} {
		t.Run(profile, func(t *testing.T) {
			t.Parallel()
			n := newTLSNode(t, profile)
			out := filepath.Join(n.dir, "testssl.json")
			ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
			defer cancel()
			// Versions, standard ciphers, preference, defaults and all known
			// vulnerabilities; what it can say of headers is the service's.
			cmd := exec.CommandContext(ctx, testssl, "--quiet", "--warnings", "batch", "--color", "0", "--ip", "one", "--fast", "--add-ca", filepath.Join(n.dir, "ca.pem"),
				"-p", "-s", "-P", "-S", "-U", "--jsonfile", out, n.https)
			cmd.WaitDelay = time.Second
			if log, err := cmd.CombinedOutput(); ctx.Err() != nil {
				t.Fatalf("%v:\n%s", err, log)
			} // its exit code counts what it found
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			var found []struct{ ID, Severity, Finding string }
			if err := json.Unmarshal(b, &found); err != nil {
				t.Fatalf("%v:\n%s", err, b)
			}
			seen := map[string]string{}
			for _, f := range found {
				seen[f.ID] = f.Finding
				switch f.Severity {
				case "OK", "INFO", "LOW", "DEBUG":
				case "WARN": // what it could not try
					t.Logf("%s: %s", f.ID, f.Finding)
				default:
					t.Errorf("%s: %s: %s", f.Severity, f.ID, f.Finding)
				}
			}
			// It really looked.
			for id, want := range map[string]string{
				"TLS1": "not offered", "TLS1_1": "not offered", "TLS1_2": "offered", "TLS1_3": "offered", "secure_client_renego": "not vulnerable", "heartbleed": "not vulnerable",
				"cert_chain_of_trust": "passed", "cipherlist_STRONG": "offered", "cipherlist_AVERAGE": "not offered", "cipherlist_3DES_IDEA": "not offered",
			} {
				if !strings.Contains(seen[id], want) {
					t.Errorf("%s: got %q, want %q in it", id, seen[id], want)
				}
			}
		})
	}
}

// TestE2EChromium: a browser uses the post-quantum key exchange, over TCP and QUIC.
func TestE2EChromium(t *testing.T) {
	chromium := need(t, "chromium", "chromium")
	n := newTLSNode(t, "intermediate")
	spki := sha256.Sum256(n.leaf.RawSubjectPublicKeyInfo)
	visit := func(more ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		args := append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--user-data-dir=" + t.TempDir(),
			"--ignore-certificate-errors-spki-list=" + base64.StdEncoding.EncodeToString(spki[:]), "--dump-dom"}, more...)
		_, at, _ := net.SplitHostPort(n.https)
		cmd := exec.CommandContext(ctx, chromium, append(args, "https://localhost:"+at+"/")...)
		cmd.WaitDelay = time.Second
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("chromium: %v: %s", err, out)
		}
		return string(out)
	}
	if got := visit(); !strings.Contains(got, "Reached") {
		t.Fatalf("got %s", got)
	}
	if !n.counted(t, "vazel_tls_handshakes_total", `group="X25519MLKEM768"`) {
		t.Error("Chromium made no handshake with X25519MLKEM768")
	}
	if n.counted(t, "vazel_connections_total", `transport="quic"`) {
		t.Fatal("the first visit went over QUIC already")
	}
	_, at, _ := net.SplitHostPort(n.https)
	if got := visit("--origin-to-force-quic-on=localhost:"+at, "--host-resolver-rules=MAP localhost 127.0.0.1"); !strings.Contains(got, "Reached") {
		t.Fatalf("over QUIC: got %s", got)
	}
	if !n.counted(t, "vazel_connections_total", `transport="quic"`) {
		t.Error("the second visit did not go over QUIC")
	}
	if n.counted(t, "vazel_tls_handshakes_total", `group="X25519"`) {
		t.Error("Chromium made a handshake without the hybrid")
	}
}

// TestE2EOpenSSL: what OpenSSL can choose and Go's client can't, and a hybrid if
// it has one (from version 3.5 on).
func TestE2EOpenSSL(t *testing.T) {
	openssl := need(t, "openssl", "openssl")
	try := func(n *tlsNode, args ...string) (string, bool) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, openssl, append([]string{"s_client", "-connect", n.https, "-servername", "localhost", "-CAfile", filepath.Join(n.dir, "ca.pem"), "-verify_return_error", "-brief"}, args...)...)
		cmd.WaitDelay = time.Second
		out, err := cmd.CombinedOutput()
		return string(out), err == nil
	}
	list, err := exec.Command(openssl, "list", "-kem-algorithms").CombinedOutput()
	hybrid := err == nil && strings.Contains(string(list), "X25519MLKEM768")
	for _, profile := range certs.Profiles() {
		t.Run(profile, func(t *testing.T) {
			n := newTLSNode(t, profile)
			// Go decides alone which suites of TLS 1.3 it has; the manual says so.
			for _, suite := range []string{"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"} {
				if out, ok := try(n, "-tls1_3", "-ciphersuites", suite); !ok || !strings.Contains(out, suite) {
					t.Errorf("%s: %s", suite, out)
				}
			}
			old := []string{"-cipher", "ALL:@SECLEVEL=0"} // else OpenSSL itself refuses to try
			for _, args := range [][]string{
				append([]string{"-tls1"}, old...), append([]string{"-tls1_1"}, old...),
				{"-tls1_2", "-cipher", "AES128-GCM-SHA256"}, {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"}, {"-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"},
				{"-tls1_2", "-cipher", "ECDHE:@SECLEVEL=0", "-sigalgs", "ECDSA+SHA1"}, {"-tls1_3", "-groups", "ffdhe2048"},
			} {
				if out, ok := try(n, args...); ok {
					t.Errorf("%v: %s", args, out)
				}
			}
			if hybrid {
				if out, ok := try(n, "-groups", "X25519MLKEM768:SecP256r1MLKEM768"); !ok {
					t.Errorf("hybrid: %s", out)
				}
				if !n.counted(t, "vazel_tls_handshakes_total", "MLKEM") {
					t.Error("OpenSSL made no handshake with a hybrid")
				}
			} else {
				t.Log("this OpenSSL has no hybrid; those from 3.5 on do")
			}
		})
	}
}
