package certs

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/crypto/ocsp"
)

// issuerOfServers answers OCSP questions with whatever answer makes of them.
type issuerOfServers struct {
	ca     *authority
	url    string
	asked  atomic.Int64
	answer atomic.Pointer[func(q *ocsp.Request, w http.ResponseWriter)]
}

func newIssuerOfServers(t *testing.T) *issuerOfServers {
	t.Helper()
	r := &issuerOfServers{ca: newAuthority(t, "Server CA", nil)}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		b, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		q, err := ocsp.ParseRequest(b)
		if err != nil {
			t.Error(err)
			return
		}
		(*r.answer.Load())(q, w)
	}))
	t.Cleanup(s.Close)
	r.url = s.URL
	r.answers(r.sign(t, nil))
	return r
}

func (r *issuerOfServers) answers(f func(*ocsp.Request, http.ResponseWriter)) { r.answer.Store(&f) }

// sign answers good, but for what change makes of it.
func (r *issuerOfServers) sign(t *testing.T, change func(*ocsp.Response)) func(*ocsp.Request, http.ResponseWriter) {
	return func(q *ocsp.Request, w http.ResponseWriter) {
		a := ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
		if change != nil {
			change(&a)
		}
		r.write(t, w, a, r.ca.cert, r.ca.key)
	}
}

func (r *issuerOfServers) write(t *testing.T, w http.ResponseWriter, a ocsp.Response, by *x509.Certificate, key *ecdsa.PrivateKey) {
	b, err := ocsp.CreateResponse(r.ca.cert, by, a, key)
	if err != nil {
		t.Error(err)
	}
	w.Write(b)
}

// config serves one certificate of the responder's authority.
func (r *issuerOfServers) config(t *testing.T, withIssuer bool) Config {
	t.Helper()
	key := newKey(t)
	leaf := create(t, &x509.Certificate{
		SerialNumber: serial(), DNSNames: []string{"a.example"}, OCSPServer: []string{r.url},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(day), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, r.ca.cert, &key.PublicKey, r.ca.key)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	chain := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	if withIssuer {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.ca.cert.Raw})...)
	}
	return Config{
		TLS:   TLS{Certificates: []KeyPair{keyPair(t, chain, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))}},
		Hosts: []Host{{Name: "a.example", Service: "a"}},
	}
}

// running does what Manager.Run does for staples.
func running(t *testing.T, m *Manager) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.staples.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func (r *issuerOfServers) dial(t *testing.T, srv *server) []byte {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(r.ca.cert)
	client, _, err := srv.dial(t, &tls.Config{ServerName: "a.example", RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	return client.OCSPResponse
}

// TestStaple: a certificate from a file is shown with the answer of its
// responder, after a reload and a restart without the responder as well, and no
// longer once its time is over.
func TestStaple(t *testing.T) {
	t.Parallel()
	r := newIssuerOfServers(t)
	m := newManager(t)
	config := r.config(t, true)
	s := build(t, m, config)
	m.Activate(s)
	srv := serve(t, s)
	if got := r.dial(t, srv); got != nil {
		t.Error("an answer was shown that nobody gave")
	}
	running(t, m)
	waitFor(t, "an answer", func() bool { return r.dial(t, srv) != nil })
	if a, err := ocsp.ParseResponseForCert(r.dial(t, srv), s.certificates[0].pair.Leaf, r.ca.cert); err != nil || a.Status != ocsp.Good {
		t.Errorf("got %v, %v", a, err)
	}
	asked := r.asked.Load()

	s = build(t, m, config)
	if got := r.dial(t, serve(t, s)); got == nil {
		t.Error("a reload lost the answer")
	}
	again := NewManager(Options{Log: m.log, Registerer: prometheus.NewPedanticRegistry(), StateDir: m.stateDir})
	s = build(t, again, config)
	srv = serve(t, s)
	if got := r.dial(t, srv); got == nil {
		t.Error("a restart lost the answer")
	}
	if got := r.asked.Load(); got != asked {
		t.Errorf("the responder was asked %d times more, want none", got-asked)
	}

	again.Activate(s)
	c := s.certificates[0].stapled
	c.due = time.Now().Add(time.Hour)
	c.next.Store(time.Now().Unix() + 1)
	running(t, again)
	waitFor(t, "the end of the answer", func() bool { return r.dial(t, srv) == nil })
}

// TestStapleNeverBlocks: a responder that hangs costs the answer, not the handshake.
func TestStapleNeverBlocks(t *testing.T) {
	t.Parallel()
	r := newIssuerOfServers(t)
	hang := make(chan struct{})
	r.answers(func(*ocsp.Request, http.ResponseWriter) { <-hang })
	m := newManager(t)
	s := build(t, m, r.config(t, true))
	m.Activate(s)
	running(t, m)
	t.Cleanup(func() { close(hang) })
	waitFor(t, "a question", func() bool { return r.asked.Load() > 0 })
	if got := r.dial(t, serve(t, s)); got != nil {
		t.Error("an answer was shown that nobody gave")
	}
	want := "# HELP vazel_ocsp_staple_next_update_timestamp_seconds nextUpdate of the OCSP answer that was got last for a server certificate whose issuer names a responder; 0: none yet. In the past: no longer shown.\n# TYPE vazel_ocsp_staple_next_update_timestamp_seconds gauge\nvazel_ocsp_staple_next_update_timestamp_seconds{name=\"" + s.certificates[0].name + "\"} 0\n"
	if err := testutil.CollectAndCompare(newCollector(m), strings.NewReader(want), "vazel_ocsp_staple_next_update_timestamp_seconds"); err != nil {
		t.Error(err)
	}
}

// TestStapleAnswers lists what is not shown.
func TestStapleAnswers(t *testing.T) {
	t.Parallel()
	r := newIssuerOfServers(t)
	other := newAuthority(t, "Other CA", nil)
	delegate := func(change func(*x509.Certificate)) func(*ocsp.Request, http.ResponseWriter) {
		key := newKey(t)
		c := &x509.Certificate{
			SerialNumber: serial(), Subject: pkix.Name{CommonName: "responder"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning},
		}
		if change != nil {
			change(c)
		}
		by := create(t, c, r.ca.cert, &key.PublicKey, r.ca.key)
		return func(q *ocsp.Request, w http.ResponseWriter) {
			r.write(t, w, ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), Certificate: by}, by, key)
		}
	}
	for _, tt := range []struct {
		name   string
		answer func(*ocsp.Request, http.ResponseWriter)
		want   string
	}{
		{"good", r.sign(t, nil), ""},
		{"of a responder that may", delegate(nil), ""},
		{"of a responder that may not", delegate(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), "may not sign answers"},
		{"of a responder whose time is over", delegate(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "expired"},
		{"about another certificate", r.sign(t, func(a *ocsp.Response) { a.SerialNumber = serial() }), "no response matching"},
		{"signed by someone else", func(q *ocsp.Request, w http.ResponseWriter) {
			r.write(t, w, ocsp.Response{Status: ocsp.Good, SerialNumber: q.SerialNumber, ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}, r.ca.cert, other.key)
		}, "bad OCSP signature"},
		{"old", r.sign(t, func(a *ocsp.Response) { a.NextUpdate = time.Now().Add(-time.Second) }), "held until"},
		{"from the future", r.sign(t, func(a *ocsp.Response) { a.ThisUpdate = time.Now().Add(30 * time.Minute) }), "from the future"},
		{"without an end", r.sign(t, func(a *ocsp.Response) { a.NextUpdate = time.Time{} }), "no nextUpdate"},
		{"refused", func(_ *ocsp.Request, w http.ResponseWriter) { w.Write(ocsp.TryLaterErrorResponse) }, "try later"},
		{"status", func(_ *ocsp.Request, w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, "502"},
		{"endless", func(_ *ocsp.Request, w http.ResponseWriter) { w.Write(bytes.Repeat([]byte("x"), maxStaple+1)) }, "more than 64 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r.answers(tt.answer)
			m := newManager(t)
			c := build(t, m, r.config(t, true)).certificates[0].stapled
			_, _, err := m.staples.ask(t.Context(), c)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}

	// Unknown and revoked are proper answers, but none to show.
	for _, status := range []int{ocsp.Unknown, ocsp.Revoked} {
		r.answers(r.sign(t, func(a *ocsp.Response) { a.Status, a.RevokedAt = status, time.Now().Add(-time.Hour) }))
		m := newManager(t)
		c := build(t, m, r.config(t, true)).certificates[0].stapled
		m.staples.refresh(t.Context(), c)
		if got := c.revoked.Load(); got != (status == ocsp.Revoked) || c.current().OCSPStaple != nil {
			t.Errorf("status %d: revoked %v, shown %v", status, got, c.current().OCSPStaple != nil)
		}
		if wait := time.Until(c.due); wait < 4*time.Second {
			t.Errorf("status %d: asked again after %s", status, wait)
		}
	}

	// Without the issuer in the file, and without a word where it is.
	m := newManager(t)
	c := build(t, m, r.config(t, false)).certificates[0].stapled
	if _, _, err := m.staples.ask(t.Context(), c); err == nil || !strings.Contains(err.Error(), "add it to the file") {
		t.Errorf("got %v", err)
	}
}
