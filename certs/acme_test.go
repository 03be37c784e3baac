package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
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

func TestACMEProblems(t *testing.T) {
	t.Parallel()
	secret := func(value string) (s unit.Secret) {
		if err := s.UnmarshalText([]byte("${env:X}")); err != nil {
			t.Fatal(err)
		}
		s.Resolve(value)
		return s
	}
	update := func() *ACMEDNS {
		return &ACMEDNS{RFC2136: &RFC2136{Server: "127.0.0.1:53", KeyName: "k", Secret: secret("c2VjcmV0\n")}}
	}
	for _, tt := range []struct {
		name   string
		change func(*ACME)
		want   string // empty: fine
	}{
		{"plain", func(*ACME) {}, ""},
		{"directory", func(c *ACME) { c.Directory = "http://ca.example/dir" }, "directory: tls.acme.directory must be an https URL"},
		{"binding", func(c *ACME) { c.EAB = EAB{"kid", secret("c2VjcmV0\n")} }, ""},
		{"binding, padded", func(c *ACME) { c.EAB = EAB{"kid", secret("c2VjcmV0MQ==")} }, ""},
		{"binding without a key", func(c *ACME) { c.EAB.KeyID = "kid" }, "eab: tls.acme.eab needs both"},
		{"binding with an empty key", func(c *ACME) { c.EAB = EAB{"kid", secret("\n")} }, "eab: tls.acme.eab: the key that ${env:X} refers to is not in base64url"},
		{"binding with something else", func(c *ACME) { c.EAB = EAB{"kid", secret("my passphrase")} }, "eab: tls.acme.eab: the key that ${env:X}"},
		{"unknown challenge", func(c *ACME) { c.Challenges = []string{"http-01", "http-02"} }, `challenges: tls.acme.challenges: "http-02" is not known`},
		{"challenge twice", func(c *ACME) { c.Challenges = []string{"http-01", "http-01"} }, "challenges: tls.acme.challenges: http-01 stands there twice"},
		{"dns-01 without dns", func(c *ACME) { c.Challenges = []string{"dns-01"} }, "challenges: tls.acme.challenges: dns-01 needs tls.acme.dns"},
		{"dns without dns-01", func(c *ACME) { c.Challenges, c.DNS = []string{"http-01"}, update() }, "dns: tls.acme.dns is of no use"},
		{"dns", func(c *ACME) { c.DNS = update() }, ""},
		{"dns without a provider", func(c *ACME) { c.DNS = &ACMEDNS{} }, "dns: tls.acme.dns: rfc2136 is missing"},
		{"server without port", func(c *ACME) { c.DNS = update(); c.DNS.RFC2136.Server = "ns.example" }, `rfc2136: server: "ns.example" is not host:port`},
		{"check without port", func(c *ACME) { c.DNS = update(); c.DNS.Check = []string{"ns.example"} }, `check: "ns.example" is not host:port`},
		{"algorithm", func(c *ACME) { c.DNS = update(); c.DNS.RFC2136.Algorithm = "hmac-md5" }, `algorithm "hmac-md5" is not known`},
		{"no key", func(c *ACME) { c.DNS = update(); c.DNS.RFC2136.Secret = unit.Secret{} }, "needs key_name and secret"},
		{"key in another form", func(c *ACME) { c.DNS = update(); c.DNS.RFC2136.Secret = secret("no base64") }, "the key that ${env:X} refers to is not in base64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := ACME{Directory: "https://ca.example/dir"}
			tt.change(&c)
			got := ""
			for _, p := range c.Problems() {
				got += p.Key + ": " + p.Err.Error()
			}
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if strings.Contains(got, "my passphrase") || strings.Contains(got, "no base64\"") {
				t.Errorf("the message shows a secret: %s", got)
			}
		})
	}
}

func TestACMEByDNS(t *testing.T) {
	t.Parallel()
	dns := &ACMEDNS{}
	for _, tt := range []struct {
		c                       ACME
		host, wildcard, allowed bool // proven by dns-01; wildcards are possible
	}{
		{ACME{}, false, true, false},
		{ACME{DNS: dns}, false, true, true},
		{ACME{DNS: dns, Challenges: []string{"dns-01"}}, true, true, true},
		{ACME{DNS: dns, Challenges: []string{"dns-01", "http-01"}}, false, true, true},
		{ACME{Challenges: []string{"tls-alpn-01"}}, false, true, false},
	} {
		if h, w, a := tt.c.byDNS("a.example"), tt.c.byDNS("*.example"), tt.c.Wildcards(); h != tt.host || w != tt.wildcard || a != tt.allowed {
			t.Errorf("%v: got %v %v %v, want %v %v %v", tt.c.Challenges, h, w, a, tt.host, tt.wildcard, tt.allowed)
		}
	}
}

// TestACMEWildcard: a wildcard host is taken only if it can be proven.
func TestACMEWildcard(t *testing.T) {
	t.Parallel()
	m, config := acmeNode(t)
	config.Hosts = []Host{{Name: "*.example", Service: "w"}}
	if _, err := m.Build(config); err == nil || !strings.Contains(err.Error(), "only by dns-01") {
		t.Errorf("got %v", err)
	}
}

func TestRenewalPlan(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	window := func(start, end, selected time.Duration) (i acme.RenewalInfo) {
		i.SuggestedWindow.Start, i.SuggestedWindow.End, i.SelectedTime = begin.Add(start), begin.Add(end), begin.Add(selected)
		return i
	}
	for _, tt := range []struct {
		name string
		life time.Duration
		ari  acme.RenewalInfo
		want time.Duration // after begin
	}{
		{"two thirds", 90 * day, acme.RenewalInfo{}, 60 * day},
		{"advised earlier", 90 * day, window(10*day, 12*day, 11*day), 11 * day},
		{"advised later", 90 * day, window(70*day, 80*day, 75*day), 75 * day},
		{"advised to the last day", 90 * day, window(89*day, 90*day, 89*day), 90*day - 90*day/20},
		{"brief, advised to the last second", 12 * time.Minute, window(0, 12*time.Minute, 12*time.Minute), 8 * time.Minute},
		{"a day", day, window(0, day, day), day - 72*time.Minute},
		{"ten hours", 10 * time.Hour, window(0, 10*time.Hour, 10*time.Hour), 9 * time.Hour},
	} {
		p := renewalPlan{notBefore: begin, notAfter: begin.Add(tt.life), ari: tt.ari}
		if got := p.renew().Sub(begin).Round(time.Second); got != tt.want {
			t.Errorf("%s: after %s, want %s", tt.name, got, tt.want)
		}
	}
	p := renewalPlan{notBefore: begin, notAfter: begin.Add(90 * day)}
	for at, want := range map[time.Duration]time.Duration{0: lookEvery, 60*day - time.Minute: time.Minute, 80 * day: checkEvery} {
		if got := p.wait(begin.Add(at)); got < want || got > want+checkEvery {
			t.Errorf("after %s: waits %s, want %s", at, got, want)
		}
	}
}

func TestPause(t *testing.T) {
	t.Parallel()
	down := fmt.Errorf("directory: %w", &net.OpError{Op: "dial", Err: errors.New("refused")})
	limited := fmt.Errorf("order: %w", acme.Problem{Status: 429, Type: acme.ProblemTypeRateLimited})
	for _, tt := range []struct {
		err      error
		failures int
		want     time.Duration
	}{
		{down, 0, 2 * time.Second}, {down, 3, 16 * time.Second}, {down, 100, time.Minute},
		{limited, 0, time.Minute}, {limited, 2, 4 * time.Minute}, {limited, 100, time.Hour},
		{acme.Problem{Status: 503}, 0, 2 * time.Second},
		{errors.New("anything"), 0, 2 * time.Second}, {errors.New("anything"), 100, 10 * time.Minute},
	} {
		if got := pause(tt.err, tt.failures); got < tt.want*9/10 || got > tt.want*11/10+1 {
			t.Errorf("%v, %d failures: %s, want about %s", tt.err, tt.failures, got, tt.want)
		}
	}
}

// TestACMEStorageRights: what others could read before is closed to them.
func TestACMEStorageRights(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "b")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := privateFolder(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}
}
