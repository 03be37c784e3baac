//go:build e2e

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/vazel-gateway/vazel/certs"
)

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
	if err := os.RemoveAll(filepath.Join(n.dir, "state", "staples")); err != nil {
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
