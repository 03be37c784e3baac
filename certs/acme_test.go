package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
)

// acmeNode serves a host whose certificate is to come from a directory that is
// out of reach.
func acmeNode(t *testing.T) (*Manager, Config) {
	t.Helper()
	m := newManager(t)
	t.Cleanup(m.acme.stop)
	return m, Config{
		TLS:   TLS{ACME: &ACME{Directory: "https://127.0.0.1:1/directory", Storage: t.TempDir()}},
		Hosts: []Host{{Name: "a.example", Service: "a"}},
	}
}

// held waits for a certificate of a host to be in use.
func held(t *testing.T, m *Manager, host string) *stapled {
	t.Helper()
	waitFor(t, "the certificate of "+host, func() bool { return m.acme.heldFor(host) != nil })
	return m.acme.heldFor(host)
}

// waitFor polls for what other goroutines do.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 10s", what)
		}
	}
}

// TestACMEDirectoryDown starts without the directory: handshakes fail and say
// so, and other requests than challenges pass.
func TestACMEDirectoryDown(t *testing.T) {
	t.Parallel()
	m, config := acmeNode(t)
	s := build(t, m, config)
	srv := serve(t, s)
	m.Activate(s)
	for _, sni := range []string{"a.example", "unknown.example"} {
		if _, _, err := srv.dial(t, &tls.Config{ServerName: sni}); err == nil {
			t.Errorf("%s: got a handshake without a certificate", sni)
		}
	}
	if got := testutil.ToFloat64(m.acme.unavailable.WithLabelValues("a.example")); got != 2 {
		t.Errorf("counted %v handshakes without a certificate, want 2", got)
	}
	if _, err := m.acme.certificate("a.example"); !errors.Is(err, ErrNoCertificate) {
		t.Errorf("got %v, want ErrNoCertificate", err)
	}
	passed := 0
	h := m.HTTPChallenge(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed++ }))
	for _, url := range []string{"http://a.example/", "http://b.example/.well-known/acme-challenge/x", "http://a.example/.well-known/acme-challenge/../../x"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, url, nil))
	}
	if passed != 3 {
		t.Errorf("%d of 3 requests were passed on", passed)
	}
}

// TestACMEStored starts without the directory but with a certificate that was
// obtained before: it is served.
func TestACMEStored(t *testing.T) {
	t.Parallel()
	m, config := acmeNode(t)
	n := newNode(t)
	cert, key, err := n.ca.Server("a.example")
	if err != nil {
		t.Fatal(err)
	}
	storage := &certmagic.FileStorage{Path: config.TLS.ACME.Storage}
	issuer := certmagic.NewACMEIssuer(&certmagic.Config{Storage: storage, Logger: zap.NewNop()}, certmagic.ACMEIssuer{CA: config.TLS.ACME.Directory, Logger: zap.NewNop()})
	for path, b := range map[string][]byte{
		certmagic.StorageKeys.SiteCert(issuer.IssuerKey(), "a.example"):       cert,
		certmagic.StorageKeys.SitePrivateKey(issuer.IssuerKey(), "a.example"): key,
		certmagic.StorageKeys.SiteMeta(issuer.IssuerKey(), "a.example"):       []byte(`{"sans":["a.example"]}`),
	} {
		if err := storage.Store(context.Background(), path, b); err != nil {
			t.Fatal(err)
		}
	}
	s := build(t, m, config)
	m.Activate(s)
	held(t, m, "a.example")
	srv := serve(t, s)
	for _, sni := range []string{"a.example", "A.example"} {
		if _, _, err := srv.dial(t, &tls.Config{ServerName: sni, RootCAs: n.roots}); err != nil {
			t.Errorf("%s: %v", sni, err)
		}
	}
	client, _, err := srv.dial(t, &tls.Config{ServerName: "unknown.example", InsecureSkipVerify: true})
	if err != nil || client.PeerCertificates[0].DNSNames[0] != "a.example" {
		t.Errorf("unknown name: %v", err)
	}

	// A host that is no longer configured is let go.
	config.Hosts = []Host{{Name: "b.example", Service: "b"}}
	m.Activate(build(t, m, config))
	if m.acme.heldFor("a.example") != nil {
		t.Error("the certificate of a former host is still held")
	}
	m.Activate(build(t, m, Config{}))
	if m.acme.current.Load() != nil {
		t.Error("ACME goes on without being configured")
	}
}

// TestACMEOnlyConfiguredHosts makes sure that a challenge handshake for another
// name reaches nothing of ACME.
func TestACMEOnlyConfiguredHosts(t *testing.T) {
	t.Parallel()
	m, config := acmeNode(t)
	s := build(t, m, config)
	m.Activate(s)
	for sni, want := range map[string]bool{"a.example": true, "b.example": false, "": false} {
		c, err := s.ConfigFor(&tls.ClientHelloInfo{ServerName: sni, SupportedProtos: []string{ProtocolACME}}, []string{"h2"})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.NextProtos[0] == ProtocolACME; got != want {
			t.Errorf("%q: challenge: got %v, want %v", sni, got, want)
		}
	}
}

func TestCollector(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	ca := &authority{n.ca.Certificate, n.ca.key}
	o := n.config.Organizations["meu"]
	o.CRL = CRLs{{File: writeFile(t, ca.crl(t, nil, ca.cert))}}
	n.config.Organizations["meu"] = o
	c := newCollector(n.m)
	if got := testutil.CollectAndCount(c); got != 0 {
		t.Errorf("got %d series before anything is active", got)
	}
	n.m.Activate(build(t, n.m, n.config))
	if got := testutil.CollectAndCount(c, "vazel_certificate_not_after_timestamp_seconds"); got != 3 {
		t.Errorf("got %d certificates, want 2 of servers and 1 authority", got)
	}
	want := "# HELP vazel_revocation_list_entries Certificates on the revocation list.\n# TYPE vazel_revocation_list_entries gauge\nvazel_revocation_list_entries{ca=\"meu\"} 1\n"
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "vazel_revocation_list_entries"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v", problems, err)
	}
	n.m.Activate(build(t, n.m, Config{}))
	if got := testutil.CollectAndCount(c, "vazel_certificate_not_after_timestamp_seconds", "vazel_revocation_list_entries"); got != 0 {
		t.Errorf("got %d series of what is gone", got)
	}
}

// TestRunEnds makes sure that nothing is left behind.
func TestRunEnds(t *testing.T) {
	t.Parallel()
	m, config := acmeNode(t)
	m.Activate(build(t, m, config))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := m.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if m.acme.current.Load() != nil {
		t.Error("ACME goes on after Run")
	}
	m.Activate(build(t, m, config))
	if m.acme.current.Load() != nil {
		t.Error("ACME was started after Run")
	}
}
