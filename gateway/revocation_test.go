package gateway

import (
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// revocation gives both organizations more settings and applies them.
func (n *node) revocation(extra string) {
	n.t.Helper()
	n.config(fmt.Sprintf(testServices, n.upstream.address))
	path := filepath.Join(n.dir, "vazel.yaml")
	b, err := os.ReadFile(path)
	if err != nil {
		n.t.Fatal(err)
	}
	n.write("vazel.yaml", strings.ReplaceAll(string(b), "ca: org-ca.pem}", "ca: org-ca.pem, "+extra+"}"))
	if err := n.apply(); err != nil {
		n.t.Fatal(err)
	}
}

// list writes the revocation list.
func (n *node) list(next time.Time, revoked ...*tls.Certificate) {
	n.t.Helper()
	var serials []*big.Int
	for _, c := range revoked {
		serials = append(serials, c.Leaf.SerialNumber)
	}
	b, err := n.orgCA.CRL(next, serials...)
	if err != nil {
		n.t.Fatal(err)
	}
	n.write("org.crl.new", string(b))
	if err := os.Rename(filepath.Join(n.dir, "org.crl.new"), filepath.Join(n.dir, "org.crl")); err != nil {
		n.t.Fatal(err)
	}
}

// TestRevocationActs makes sure that a certificate which is put on the list is
// refused within a second, on connections that are open too, and nobody else's.
func TestRevocationActs(t *testing.T) {
	n := newNode(t, nil)
	n.list(time.Now().Add(time.Hour))
	n.revocation("crl: {file: org.crl}")
	nra, sofia := n.client(n.orgCA, "NTRBG-100000003"), n.client(n.orgCA, "NTRBG-100000004")
	type caller struct {
		protocol     string
		nra, bystand *http.Client
	}
	var callers []caller
	status := func(c *http.Client, path string) (int, string) {
		resp, err := c.Get("https://inner.example" + path)
		if err != nil {
			return 0, err.Error() // the connection was closed under the request
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	for _, p := range protocols {
		c := caller{p, n.dial(p, "inner.example", nra), n.dial(p, "inner.example", sofia)}
		for _, x := range []*http.Client{c.nra, c.bystand} {
			if got, body := status(x, "/both"); got != http.StatusOK {
				t.Fatalf("%s: got %d %s", p, got, body)
			}
		}
		callers = append(callers, c)
	}
	open := n.gateway.conns.len()
	n.list(time.Now().Add(time.Hour), nra)
	begin := time.Now()
	for {
		got, body := status(callers[0].nra, "/both")
		if got == http.StatusForbidden && strings.Contains(body, "revoked") {
			break
		}
		if time.Since(begin) > time.Second {
			t.Fatalf("after a second: got %d %s", got, body)
		}
	}
	for _, c := range callers {
		if got, body := status(c.nra, "/both"); got != http.StatusForbidden && got != 0 || got != 0 && !strings.Contains(body, "revoked") {
			t.Errorf("%s: got %d %s", c.protocol, got, body)
		}
		if got, _ := status(c.bystand, "/both"); got != http.StatusOK {
			t.Errorf("%s, another organization: got %d", c.protocol, got)
		}
	}
	if got := n.metric(`vazel_revocation_list_entries{ca="nra"}`); got != "1" {
		t.Errorf("entries: got %s", got)
	}
	if got := n.metric(`vazel_revocation_mode_info{ca="nra",mode="require"}`); got != "1" {
		t.Errorf("mode: got %s", got)
	}
	for deadline := time.Now().Add(5 * time.Second); n.gateway.conns.len() > open; runtime.Gosched() { // clients are given a moment to read GOAWAY
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are open, before it were %d: somebody else's was closed", n.gateway.conns.len(), open)
		}
	}
}

// TestRevocationModes holds what a caller gets, and what the metrics say, in each
// mode and state of the list.
func TestRevocationModes(t *testing.T) {
	states := map[string]struct {
		crl   func(n *node) string
		fresh string
	}{
		"fresh":                           {func(n *node) string { n.list(time.Now().Add(time.Hour)); return "crl: {file: org.crl}" }, "1"},
		"stale":                           {func(n *node) string { n.list(time.Now().Add(-time.Minute)); return "crl: {file: org.crl}" }, "0"},
		"stale for longer than the grace": {func(n *node) string { n.list(time.Now().Add(-3 * time.Hour)); return "crl: {file: org.crl}" }, "0"},
		"never got":                       {func(n *node) string { return "crl: {url: \"http://127.0.0.1:1/never.crl\"}" }, "0"},
	}
	want := map[string]map[string]int{
		"fresh":                           {"require": 200, "grace": 200, "observe": 200},
		"stale":                           {"require": 403, "grace": 200, "observe": 200},
		"stale for longer than the grace": {"require": 403, "grace": 403, "observe": 200},
		"never got":                       {"require": 403, "grace": 403, "observe": 200},
	}
	for name, st := range states {
		n := newNode(t, nil) // of its own, for a list is kept
		cert := n.client(n.orgCA, "NTRBG-100000003")
		crl := st.crl(n)
		for mode, code := range want[name] {
			policy := "{mode: " + mode + "}"
			if mode == "grace" {
				policy = "{mode: grace, grace: 2h}"
			}
			n.config(fmt.Sprintf(testServices, n.upstream.address))
			if err := n.apply(); err != nil { // lets go of the former list
				t.Fatal(err)
			}
			n.revocation(crl + ", revocation: " + policy)
			before := n.metric(`vazel_revocation_status_unknown_total{ca="nra",outcome="` + map[bool]string{true: "admitted", false: "refused"}[code == 200] + `"}`)
			resp, body := n.do(n.dial("h1", "inner.example", cert), "GET", "https://inner.example/", nil)
			if resp.StatusCode != code || code == 403 && !strings.Contains(body, "revocation_unavailable") {
				t.Errorf("%s, %s: got %d %s", name, mode, resp.StatusCode, body)
			}
			if got := n.metric(`vazel_revocation_list_fresh{ca="nra"}`); got != st.fresh {
				t.Errorf("%s, %s: fresh: got %s, want %s", name, mode, got, st.fresh)
			}
			if got := n.metric(`vazel_revocation_mode_info{ca="nra",mode="` + mode + `"}`); got != "1" {
				t.Errorf("%s, %s: mode: got %q", name, mode, got)
			}
			after := n.metric(`vazel_revocation_status_unknown_total{ca="nra",outcome="` + map[bool]string{true: "admitted", false: "refused"}[code == 200] + `"}`)
			if (before != after) != (name != "fresh") {
				t.Errorf("%s, %s: counted %s, before %s", name, mode, after, before)
			}
		}
	}
}

// TestOCSP makes sure that the first request of a certificate waits for the
// responder, and that what it says decides.
func TestOCSP(t *testing.T) {
	n := newNode(t, nil)
	good, revoked := n.client(n.orgCA, "NTRBG-100000003"), n.client(n.orgCA, "NTRBG-100000003")
	key := n.orgCA.KeyPEM()
	pair, err := tls.X509KeyPair(n.orgCA.CertPEM(), key)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		q, err := ocsp.ParseRequest(b)
		if err != nil {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		a := ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour), RevokedAt: time.Now(), IssuerHash: crypto.SHA256}
		if q.SerialNumber.Cmp(revoked.Leaf.SerialNumber) == 0 {
			a.Status = ocsp.Revoked
		}
		der, err := ocsp.CreateResponse(n.orgCA.Certificate, n.orgCA.Certificate, a, pair.PrivateKey.(crypto.Signer))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Write(der)
	}))
	defer srv.Close()
	n.revocation(fmt.Sprintf("ocsp: {url: %q}", srv.URL))
	for _, p := range protocols {
		if resp, body := n.do(n.dial(p, "inner.example", good), "GET", "https://inner.example/", nil); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: got %d %s", p, resp.StatusCode, body)
		}
		if resp, body := n.do(n.dial(p, "inner.example", revoked), "GET", "https://inner.example/", nil); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "revoked") {
			t.Errorf("%s, revoked: got %d %s", p, resp.StatusCode, body)
		}
	}
	for series, want := range map[string]string{
		`vazel_ocsp_requests_total{ca="nra",result="good"}`:    "1",
		`vazel_ocsp_requests_total{ca="nra",result="revoked"}`: "1",
		`vazel_ocsp_certificates{ca="nra",status="good"}`:      "1",
	} {
		if got := n.metric(series); got != want {
			t.Errorf("%s: got %s, want %s", series, got, want)
		}
	}
	srv.Close()
	begin := time.Now()
	other := n.client(n.orgCA, "NTRBG-100000003")
	if resp, body := n.do(n.dial("h1", "inner.example", other), "GET", "https://inner.example/", nil); resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "revocation_unavailable") || time.Since(begin) > 5*time.Second {
		t.Errorf("without a responder: got %d %s after %s", resp.StatusCode, body, time.Since(begin))
	}
	if resp, body := n.do(n.dial("h1", "inner.example", good), "GET", "https://inner.example/", nil); resp.StatusCode != http.StatusOK {
		t.Errorf("without a responder, known: got %d %s", resp.StatusCode, body)
	}
}
