package certs

import (
	"context"
	"crypto"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/crypto/ocsp"

	"github.com/vazel-gateway/vazel/config/unit"
)

// answerer is an OCSP responder over HTTP whose answers a test decides.
type answerer struct {
	*httptest.Server
	mu     sync.Mutex
	answer func(*ocsp.Request) []byte // nil: out of order
	asked  int
}

func newAnswerer(t testing.TB) *answerer {
	t.Helper()
	a := &answerer{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		q, err := ocsp.ParseRequest(b)
		a.mu.Lock()
		f := a.answer
		a.asked++
		a.mu.Unlock()
		if err != nil || f == nil || r.Header.Get("Content-Type") != "application/ocsp-request" {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		w.Write(f(q))
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *answerer) set(f func(*ocsp.Request) []byte) {
	a.mu.Lock()
	a.answer = f
	a.mu.Unlock()
}

func (a *answerer) times() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

// ocsp signs an answer about cert.
func (a *authority) ocsp(t testing.TB, cert *x509.Certificate, status int, change ...func(*ocsp.Response)) []byte {
	t.Helper()
	return a.ocspBy(t, a.cert, nil, a.key, cert, status, change...)
}

func (a *authority) ocspBy(t testing.TB, by, sent *x509.Certificate, key crypto.Signer, cert *x509.Certificate, status int, change ...func(*ocsp.Response)) []byte {
	t.Helper()
	r := ocsp.Response{
		Status: status, SerialNumber: cert.SerialNumber, ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour),
		Certificate: sent, IssuerHash: crypto.SHA256, RevokedAt: time.Now(),
	}
	for _, f := range change {
		f(&r)
	}
	b, err := ocsp.CreateResponse(a.cert, by, r, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestOCSPAnswer holds which answers are believed, and what they say.
func TestOCSPAnswer(t *testing.T) {
	t.Parallel()
	ca, other, namesake := newAuthority(t, "root", nil), newAuthority(t, "other", nil), newAuthority(t, "root", nil)
	leaf, second := ca.leaf(t, subject(t, orgID("A"))), ca.leaf(t, subject(t, orgID("B")))
	foreign := other.leaf(t, subject(t, orgID("A")), func(c *x509.Certificate) { c.SerialNumber = leaf.SerialNumber })
	delegate := func(by *authority, change ...func(*x509.Certificate)) ([]byte, error) {
		key := newKey(t)
		change = append([]func(*x509.Certificate){func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }}, change...)
		c := by.leafFor(t, &key.PublicKey, subject(t, cn("responder")), change...)
		return ca.ocspBy(t, c, c, key, leaf, ocsp.Good), nil
	}
	must := func(b []byte, _ error) []byte { return b }
	broken := ca.ocsp(t, leaf, ocsp.Good)
	broken[len(broken)-1] ^= 1
	usage := func(u ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = u }
	}
	for _, tt := range []struct {
		name   string
		answer []byte
		status int
		want   string // why it is not believed
	}{
		{"good", ca.ocsp(t, leaf, ocsp.Good), ocsp.Good, ""},
		{"revoked", ca.ocsp(t, leaf, ocsp.Revoked), ocsp.Revoked, ""},
		{"unknown", ca.ocsp(t, leaf, ocsp.Unknown), ocsp.Unknown, ""},
		{"named by SHA-1", ca.ocsp(t, leaf, ocsp.Good, func(r *ocsp.Response) { r.IssuerHash = crypto.SHA1 }), ocsp.Good, ""},
		{"with the issuer's certificate", ca.ocspBy(t, ca.cert, ca.cert, ca.key, leaf, ocsp.Good), ocsp.Good, ""},
		{"by a responder", must(delegate(ca)), ocsp.Good, ""},
		{"by a responder of another authority", must(delegate(other)), 0, "of another authority"},
		{"by a responder of a namesake", must(delegate(namesake)), 0, "not of the certificate's issuer"},
		{"by a client of the authority", must(delegate(ca, usage(x509.ExtKeyUsageClientAuth))), 0, "OCSPSigning"},
		{"by a certificate for anything", must(delegate(ca, usage(x509.ExtKeyUsageAny))), 0, "OCSPSigning"},
		{"by a certificate without usage", must(delegate(ca, usage())), 0, "OCSPSigning"},
		{"by a responder whose time is over", must(delegate(ca, dates(-2*day, -day))), 0, "expired"},
		{"by a responder of tomorrow", must(delegate(ca, dates(day, 2*day))), 0, "expired"},
		{"by a responder that may not sign", must(delegate(ca, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })), 0, "not for signatures"},
		{"by a namesake", namesake.ocsp(t, leaf, ocsp.Good), 0, "not signed by"},
		{"by a namesake with the issuer's certificate", ca.ocspBy(t, namesake.cert, ca.cert, namesake.key, leaf, ocsp.Good), 0, "bad signature"},
		{"by another authority", other.ocsp(t, foreign, ocsp.Good), 0, "not signed by"},
		{"about another certificate", ca.ocsp(t, second, ocsp.Good), 0, "no response matching"},
		{"about the number of another issuer", (&authority{other.cert, ca.key}).ocspBy(t, ca.cert, nil, ca.key, leaf, ocsp.Good), 0, "of another issuer"},
		{"from the future", ca.ocsp(t, leaf, ocsp.Good, func(r *ocsp.Response) { r.ThisUpdate = time.Now().Add(time.Hour) }), 0, "future"},
		{"broken", broken, 0, "not signed by"},
		{"try later", ocsp.TryLaterErrorResponse, 0, "try later"},
		{"unauthorized", ocsp.UnauthorizedErrorResponse, 0, "unauthorized"},
		{"a page", []byte("<html>"), 0, "asn1"},
		{"nothing", nil, 0, "asn1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := parseOCSP(tt.answer, leaf, ca.cert, time.Now())
			switch {
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want %q", err, tt.want)
			case tt.want == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.want == "" && got.status != tt.status:
				t.Errorf("got status %d, want %d", got.status, tt.status)
			}
		})
	}
}

func withOCSP(t testing.TB, ca *authority, o OCSP, r *Revocation) Config {
	t.Helper()
	c := oneOrganization(t, ca, nil, r)
	org := c.Organizations["a"]
	org.OCSP = &o
	c.Organizations["a"] = org
	return c
}

// start runs a manager until the test ends.
func start(t testing.TB, m *Manager) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

// TestOCSPFirstLook holds what the first request of a certificate gets, in every
// mode and for every answer.
func TestOCSPFirstLook(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	for _, tt := range []struct {
		name                    string
		answer                  []byte // nil: out of order
		require, grace, observe Reason
	}{
		{"good", ca.ocsp(t, leaf, ocsp.Good), "", "", ""},
		{"revoked", ca.ocsp(t, leaf, ocsp.Revoked), Revoked, Revoked, Revoked},
		{"unknown", ca.ocsp(t, leaf, ocsp.Unknown), RevocationUnknown, RevocationUnknown, ""},
		{"out of order", nil, RevocationUnknown, RevocationUnknown, ""},
		{"stale", ca.ocsp(t, leaf, ocsp.Good, func(r *ocsp.Response) { r.NextUpdate = time.Now().Add(-time.Second) }), RevocationUnknown, RevocationUnknown, ""},
		{"not about it", ca.ocsp(t, ca.cert, ocsp.Good), RevocationUnknown, RevocationUnknown, ""},
		{"without nextUpdate", ca.ocsp(t, leaf, ocsp.Good, func(r *ocsp.Response) { r.NextUpdate = time.Time{} }), "", "", ""},
		{"without nextUpdate, of yesterday", ca.ocsp(t, leaf, ocsp.Good, func(r *ocsp.Response) { r.ThisUpdate, r.NextUpdate = time.Now().Add(-day), time.Time{} }), RevocationUnknown, RevocationUnknown, ""},
	} {
		for mode, want := range map[string]Reason{modeRequire: tt.require, modeGrace: tt.grace, modeObserve: tt.observe} {
			t.Run(tt.name+"/"+mode, func(t *testing.T) {
				t.Parallel()
				srv := newAnswerer(t)
				if tt.answer != nil {
					srv.set(func(*ocsp.Request) []byte { return tt.answer })
				}
				m := newManager(t)
				s := build(t, m, withOCSP(t, ca, OCSP{URL: srv.URL}, &Revocation{Mode: mode}))
				m.Activate(s)
				if id := s.Identify(state(leaf), time.Now()); mode != modeObserve && id.Reason != RevocationUnknown || !id.Passing {
					t.Errorf("before anybody was asked: got %q, passing %v", id.Reason, id.Passing)
				}
				start(t, m)
				id := s.Prove(t.Context(), state(leaf), time.Now())
				if id.Reason != want {
					t.Errorf("got %q (%s), want %q", id.Reason, id.Detail, want)
				}
				if want == "" && tt.observe == "" && tt.require != "" && !strings.Contains(id.Detail, "observe") {
					t.Errorf("nothing is said of the unknown status: %q", id.Detail)
				}
				if got := srv.times(); got != 1 {
					t.Errorf("asked %d times, want once", got)
				}
				result := map[string]string{"out of order": "failure", "stale": "invalid", "not about it": "invalid", "unknown": "unknown", "revoked": "revoked"}[tt.name]
				if result != "" && testutil.ToFloat64(m.responders.requests.WithLabelValues("a", result)) != 1 {
					t.Errorf("not counted as %s", result)
				}
				if id := s.Identify(state(leaf), time.Now()); id.Reason != want {
					t.Errorf("the next request: got %q, want %q", id.Reason, want)
				}
			})
		}
	}
}

// TestOCSPWaitIsBounded makes sure that a responder which never answers delays a
// request for two seconds, and later ones no longer than that.
func TestOCSPWaitIsBounded(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	hang := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer srv.Close()
	defer close(hang)
	m := newManager(t)
	s := build(t, m, withOCSP(t, ca, OCSP{URL: srv.URL}, nil))
	m.Activate(s)
	defer start(t, m)()
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			begin := time.Now()
			id := s.Prove(t.Context(), state(leaf), begin)
			if took := time.Since(begin); id.Reason != RevocationUnknown || took < ocspFirst || took > ocspFirst+2*time.Second {
				t.Errorf("got %q after %s", id.Reason, took)
			}
		})
	}
	wg.Wait()
	left, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	if id := s.Prove(left, state(leaf), begin); id.Reason != RevocationUnknown || time.Since(begin) > time.Second {
		t.Errorf("a client that left was waited for")
	}
}

// TestOCSPLife follows one certificate: good, revoked, a replayed answer, and
// the next process.
func TestOCSPLife(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	srv := newAnswerer(t)
	m := newManager(t)
	changes := 0
	m.OnTrustChange(func([]string) { changes++ })
	config := withOCSP(t, ca, OCSP{URL: srv.URL}, nil)
	s := build(t, m, config)
	r := s.organizations[0].responder
	s.Identify(state(leaf), time.Now())
	entry := r.held[ocspKey(leaf, ca.cert)]
	now := time.Now() // one for all, as answers count in seconds
	at := func(d time.Duration) func(*ocsp.Response) {
		return func(r *ocsp.Response) { r.ThisUpdate = now.Add(d) }
	}
	step := func(what string, answer []byte, want Reason, changed bool) {
		t.Helper()
		srv.set(nil)
		if answer != nil {
			srv.set(func(*ocsp.Request) []byte { return answer })
		}
		before := changes
		m.responders.ask(t.Context(), r, entry)
		if got := s.Identify(state(leaf), time.Now()); got.Reason != want {
			t.Errorf("%s: got %q (%s), want %q", what, got.Reason, got.Detail, want)
		}
		if got := changes > before; got != changed {
			t.Errorf("%s: trust changed: got %v, want %v", what, got, changed)
		}
		if !entry.next.After(time.Now()) || entry.next.After(time.Now().Add(2*time.Hour)) {
			t.Errorf("%s: asked again at %s", what, entry.next)
		}
	}
	good := ca.ocsp(t, leaf, ocsp.Good, at(-30*time.Minute))
	step("out of order from the start", nil, RevocationUnknown, false)
	step("good", good, "", false)
	step("out of order", nil, "", false)
	step("lies", newAuthority(t, "root", nil).ocsp(t, leaf, ocsp.Revoked), "", false)
	step("revoked", ca.ocsp(t, leaf, ocsp.Revoked, at(-20*time.Minute)), Revoked, true)
	step("the former answer again", good, Revoked, false)
	step("good of the same moment", ca.ocsp(t, leaf, ocsp.Good, at(-20*time.Minute)), Revoked, false)
	step("out of order again", nil, Revoked, false)

	next := newManager(t)
	next.stateDir = m.stateDir
	srv.set(nil)
	s = build(t, next, config)
	next.Activate(s)
	defer start(t, next)()
	if got := s.Prove(t.Context(), state(leaf), time.Now()).Reason; got != Revoked {
		t.Errorf("next process, responder out of order: got %q, want %q", got, Revoked)
	}
	files, _ := filepath.Glob(filepath.Join(m.stateDir, "ocsp", "*", "*.der"))
	if len(files) != 1 {
		t.Fatalf("got %q kept", files)
	}
	if err := os.WriteFile(files[0], newAuthority(t, "root", nil).ocsp(t, leaf, ocsp.Good), 0o600); err != nil {
		t.Fatal(err)
	}
	third := newManager(t)
	third.stateDir = m.stateDir
	s = build(t, third, config)
	third.Activate(s)
	defer start(t, third)()
	if got := s.Prove(t.Context(), state(leaf), time.Now()).Reason; got != RevocationUnknown {
		t.Errorf("next process with a forged copy: got %q, want %q", got, RevocationUnknown)
	}
}

// TestOCSPBecomesStale makes sure that an answer which ends by time alone is told.
func TestOCSPBecomesStale(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	srv := newAnswerer(t)
	srv.set(func(*ocsp.Request) []byte { return ca.ocsp(t, leaf, ocsp.Good) })
	for mode, want := range map[string]Reason{modeRequire: RevocationUnknown, modeGrace: ""} {
		m := newManager(t)
		told := make(chan struct{}, 10)
		m.OnTrustChange(func([]string) { told <- struct{}{} })
		s := build(t, m, withOCSP(t, ca, OCSP{URL: srv.URL, MaxAge: unit.Duration(time.Second)}, &Revocation{Mode: mode}))
		m.Activate(s)
		defer start(t, m)()
		if got := s.Prove(t.Context(), state(leaf), time.Now()); got.Reason != "" {
			t.Fatalf("%s: got %q (%s)", mode, got.Reason, got.Detail)
		}
		if mode == modeRequire {
			<-told
		}
		later := time.Now().Add(2 * time.Second)
		if got := s.Identify(state(leaf), later); got.Reason != want || got.Detail == "" {
			t.Errorf("%s: got %q (%s), want %q", mode, got.Reason, got.Detail, want)
		}
		if got := s.Identify(state(leaf), later.Add(25*time.Hour-time.Hour)).Reason; mode == modeGrace && got == "" {
			t.Errorf("after the grace: got %q", got)
		}
	}
}

// TestOCSPFromCertificate makes sure that a certificate can't send the gateway
// into its own network.
func TestOCSPFromCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	srv := newAnswerer(t)
	for _, url := range []string{srv.URL, strings.Replace(srv.URL, "127.0.0.1", "localhost", 1), strings.Replace(srv.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), "http://10.0.0.1/", "http://169.254.169.254/", "file:///etc/passwd", ""} {
		leaf := ca.leaf(t, subject(t, orgID("A")), func(c *x509.Certificate) {
			if url != "" {
				c.OCSPServer = []string{url}
			}
		})
		srv.set(func(*ocsp.Request) []byte { return ca.ocsp(t, leaf, ocsp.Good) })
		m := newManager(t)
		s := build(t, m, withOCSP(t, ca, OCSP{FromCertificate: true}, nil))
		m.Activate(s)
		stop := start(t, m)
		if id := s.Prove(t.Context(), state(leaf), time.Now()); id.Reason != RevocationUnknown {
			t.Errorf("%s: got %q", url, id.Reason)
		}
		stop()
	}
	if got := srv.times(); got != 0 {
		t.Errorf("asked %d times, want never", got)
	}
}

// TestOCSPBesideList holds how the two go together: one that says revoked
// is believed, and one that knows the certificate to be good is enough.
func TestOCSPBesideList(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	fresh, listed := ca.crl(t, nil), ca.crl(t, nil, leaf)
	stale := ca.crl(t, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Minute) })
	for _, tt := range []struct {
		name         string
		list, answer []byte
		want         Reason
	}{
		{"both good", fresh, ca.ocsp(t, leaf, ocsp.Good), ""},
		{"listed", listed, ca.ocsp(t, leaf, ocsp.Good), Revoked},
		{"answered", fresh, ca.ocsp(t, leaf, ocsp.Revoked), Revoked},
		{"no answer", fresh, nil, ""},
		{"stale list", stale, ca.ocsp(t, leaf, ocsp.Good), ""},
		{"neither", stale, nil, RevocationUnknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			srv := newAnswerer(t)
			if tt.answer != nil {
				srv.set(func(*ocsp.Request) []byte { return tt.answer })
			}
			c := withOCSP(t, ca, OCSP{URL: srv.URL}, nil)
			o := c.Organizations["a"]
			o.CRL = CRLs{{File: writeFile(t, tt.list)}}
			c.Organizations["a"] = o
			m := newManager(t)
			s := build(t, m, c)
			m.Activate(s)
			defer start(t, m)()
			s.Prove(t.Context(), state(leaf), time.Now())
			if _, _, pending := s.organizations[0].responder.status(leaf, ca.cert, time.Now()); pending != nil {
				<-pending
			}
			if got := s.Prove(t.Context(), state(leaf), time.Now()); got.Reason != tt.want {
				t.Errorf("got %q (%s), want %q", got.Reason, got.Detail, tt.want)
			}
		})
	}
}

// TestOCSPBound makes sure that certificates are forgotten, and revoked ones last.
func TestOCSPBound(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	m := newManager(t)
	r := build(t, m, withOCSP(t, ca, OCSP{URL: "http://127.0.0.1:1/"}, nil)).organizations[0].responder
	begin := time.Now()
	var first [32]byte
	for i := range maxAnswers {
		key := [32]byte{byte(i), byte(i >> 8), byte(i >> 16), 1}
		e := &ocspEntry{cert: ca.cert, first: make(chan struct{}), used: begin.Add(time.Duration(i)), answer: &ocspAnswer{status: ocsp.Good}}
		if i == 0 {
			first, e.answer = key, &ocspAnswer{status: ocsp.Revoked}
		}
		r.held[key] = e
	}
	r.status(ca.leaf(t, subject(t, orgID("A"))), ca.cert, begin)
	if len(r.held) != maxAnswers || r.held[first] == nil {
		t.Errorf("got %d certificates; the revoked one is kept: %v", len(r.held), r.held[first] != nil)
	}
	told := 0
	m.OnTrustChange(func([]string) { told++ })
	m.responders.sweep(r, begin.Add(ocspUnused+time.Hour))
	if len(r.held) != 0 || told != 1 {
		t.Errorf("after a day: got %d certificates, told %d times", len(r.held), told)
	}
}

// FuzzOCSP makes sure that nothing panics, and that no answer counts but the
// very bytes that the authority has signed.
func FuzzOCSP(f *testing.F) {
	ca, other := newAuthority(f, "root", nil), newAuthority(f, "root", nil)
	leaf, second := ca.leaf(f, subject(f, orgID("A"))), ca.leaf(f, subject(f, orgID("B")))
	key := newKey(f)
	client := ca.leafFor(f, &key.PublicKey, subject(f, orgID("A")))
	signed := ca.ocsp(f, leaf, ocsp.Revoked)
	r, err := ocsp.ParseResponse(signed, ca.cert)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add(ca.ocsp(f, second, ocsp.Good))
	f.Add(other.ocsp(f, leaf, ocsp.Good))
	f.Add(ca.ocspBy(f, client, client, key, leaf, ocsp.Good))
	f.Add(ocsp.UnauthorizedErrorResponse)
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := parseOCSP(b, leaf, ca.cert, time.Now())
		if err != nil {
			return
		}
		got, err := ocsp.ParseResponse(b, nil)
		if err != nil || string(got.TBSResponseData) != string(r.TBSResponseData) || a.status != ocsp.Revoked {
			t.Errorf("believed an answer that the authority has not signed")
		}
	})
}
