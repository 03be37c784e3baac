package certs

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vazel-gateway/vazel/config/unit"
)

// crl signs a list of the given certificates.
func (a *authority) crl(t testing.TB, change func(*x509.RevocationList), revoked ...*x509.Certificate) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(10), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: time.Now()})
	}
	if change != nil {
		change(l)
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func oneOrganization(t testing.TB, ca *authority, crl *CRL, r *Revocation) Config {
	t.Helper()
	o := Organization{ID: unit.List{"A"}, CA: unit.List{write(t, ca.cert)}, Revocation: r}
	if crl != nil {
		o.CRL = CRLs{*crl}
	}
	return Config{Organizations: map[string]Organization{"a": o}}
}

// TestRevocation holds every mode against every state of the list.
func TestRevocation(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	sub := newAuthority(t, "sub", ca)
	good, bad := ca.leaf(t, subject(t, orgID("A"))), ca.leaf(t, subject(t, orgID("A")))
	below := sub.leaf(t, subject(t, orgID("A")))
	fresh := ca.crl(t, nil, bad)
	next := func(d time.Duration) []byte {
		return ca.crl(t, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(d) }, bad)
	}
	const none = "unavailable"
	for _, tt := range []struct {
		name                    string
		list                    []byte // nil: a URL that was never fetched
		maxAge                  time.Duration
		require, grace, observe string // for a good certificate
		revoked                 Reason // for a revoked one, in mode require
	}{
		{"fresh", fresh, 0, "", "", "", Revoked},
		{"PEM", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: fresh}), 0, "", "", "", Revoked},
		{"never got", nil, 0, none, none, "", RevocationUnknown},
		{"stale for a minute", next(-time.Minute), 0, none, "", "", Revoked},
		{"stale for longer than the grace", next(-50 * time.Minute), 0, none, none, "", Revoked},
		{"older than max_age", fresh, time.Nanosecond, none, "", "", Revoked},
		{"younger than max_age", fresh, time.Hour, "", "", "", Revoked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := &CRL{URL: "http://127.0.0.1:1/never.crl", MaxAge: unit.Duration(tt.maxAge)}
			if tt.list != nil {
				c.URL, c.File = "", writeFile(t, tt.list)
			}
			for mode, want := range map[string]string{"": tt.require, modeRequire: tt.require, modeGrace: tt.grace, modeObserve: tt.observe} {
				policy := &Revocation{Mode: mode}
				if mode == modeGrace {
					policy.Grace = unit.Duration(30 * time.Minute)
				}
				m := newManager(t)
				s := build(t, m, oneOrganization(t, ca, c, policy))
				got := s.Identify(state(good), time.Now())
				if want == none != (got.Reason == RevocationUnknown) || want == "" && got.Organization != "a" {
					t.Errorf("mode %q: got %q (%s), want %q", mode, got.Reason, got.Detail, want)
				}
				unknown := tt.require == none
				if n := testutil.CollectAndCount(m.lists.unknown); n != 2 {
					t.Errorf("got %d series", n)
				}
				counted := testutil.ToFloat64(m.lists.unknown.WithLabelValues("a", "admitted")) + testutil.ToFloat64(m.lists.unknown.WithLabelValues("a", "refused"))
				if unknown != (counted == 1) {
					t.Errorf("mode %q: counted %v", mode, counted)
				}
				if unknown && got.Detail == "" {
					t.Errorf("mode %q: nothing is said of the unknown status", mode)
				}
				got = s.Identify(state(bad), time.Now())
				if tt.list != nil && got.Reason != Revoked {
					t.Errorf("mode %q: a revoked certificate got %q", mode, got.Reason)
				}
				if mode == "" && got.Reason != tt.revoked {
					t.Errorf("a revoked certificate got %q, want %q", got.Reason, tt.revoked)
				}
			}
		})
	}
	t.Run("issued by an intermediate that has no list", func(t *testing.T) {
		s := build(t, newManager(t), oneOrganization(t, ca, &CRL{File: writeFile(t, fresh)}, nil))
		if got := s.Identify(state(below, sub.cert), time.Now()); got.Reason != RevocationUnknown {
			t.Errorf("got %q", got.Reason)
		}
	})
}

// TestListOfNamesake makes sure that a list says nothing of an authority with
// the same name and another key.
func TestListOfNamesake(t *testing.T) {
	t.Parallel()
	ca, renewed := newAuthority(t, "root", nil), newAuthority(t, "root", nil)
	c := oneOrganization(t, ca, &CRL{File: writeFile(t, ca.crl(t, nil))}, nil)
	o := c.Organizations["a"]
	o.CA = append(o.CA, write(t, renewed.cert))
	c.Organizations["a"] = o
	s := build(t, newManager(t), c)
	for by, want := range map[*authority]Reason{ca: "", renewed: RevocationUnknown} {
		if got := s.Identify(state(by.leaf(t, subject(t, orgID("A")))), time.Now()).Reason; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestListRefused holds which lists are not believed.
func TestListRefused(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	namesake := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	extra := func(l ...pkix.Extension) func(*x509.RevocationList) {
		return func(c *x509.RevocationList) { c.ExtraExtensions = l }
	}
	idp := func(tag int, content ...byte) func(*x509.RevocationList) {
		v := marshal(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: content})
		return extra(pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: marshal(t, asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: v})})
	}
	broken := ca.crl(t, nil, leaf)
	broken[len(broken)-1] ^= 1
	for _, tt := range []struct {
		name string
		list []byte
		want string // none: believed
	}{
		{"good", ca.crl(t, nil, leaf), ""},
		{"only for clients and servers", ca.crl(t, idp(1, 0xff)), ""},
		{"garbage", []byte("not a list"), "not a revocation list"},
		{"a certificate", leaf.Raw, "not a revocation list"},
		{"signature broken", broken, "not signed by"},
		{"authority of the same name", namesake.crl(t, nil), "not signed by"},
		{"from the future", ca.crl(t, func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
		}), "future"},
		{"delta", ca.crl(t, extra(pkix.Extension{Id: oidDeltaCRL, Critical: true, Value: []byte{2, 1, 1}})), "delta"},
		{"only for authorities", ca.crl(t, idp(2, 0xff)), ""},
		{"only attribute certificates", ca.crl(t, idp(5, 0xff)), "indirect or covers only"},
		{"a part without a URL", ca.crl(t, point(t, 4, "")), "does not say by a URL"},
		{"signed by SHA-1", sha1List(t), "proves nothing any more"},
		{"with bytes after its end", append(ca.crl(t, nil), 0), "not a revocation list"},
		{"two lists", append(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: ca.crl(t, nil)}), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: ca.crl(t, nil)})...), "more than one list"},
		{"cut short", ca.crl(t, nil)[:100], "not a revocation list"},
		{"only some reasons", ca.crl(t, idp(3, 6, 0x40)), "indirect or covers only"},
		{"indirect", ca.crl(t, idp(4, 0xff)), "indirect or covers only"},
		{"unreadable distribution point", ca.crl(t, extra(pkix.Extension{Id: oidIssuingDistributionPoint, Critical: true, Value: []byte{1, 2, 3}})), "can't be read"},
		{"unknown critical extension", ca.crl(t, extra(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})), "critical extension 1.2.3"},
		{"unknown critical extension of an entry", ca.crl(t, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{SerialNumber: big.NewInt(7), RevocationTime: time.Now(),
				ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}}}
		}), "entry 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := newManager(t).Build(oneOrganization(t, ca, &CRL{File: writeFile(t, tt.list)}, nil))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// sha1List is a list that claims to be signed by SHA-1.
func sha1List(t testing.TB) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour), SignatureAlgorithm: x509.SHA256WithRSA}
	ca := &x509.Certificate{SerialNumber: serial(), RawSubject: subject(t, cn("root")), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	der, err := x509.CreateRevocationList(rand.Reader, l, create(t, ca, ca, &key.PublicKey, key), key)
	if err != nil {
		t.Fatal(err)
	}
	// sha256WithRSAEncryption and sha1WithRSAEncryption differ in one number.
	oid := []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01}
	return bytes.ReplaceAll(der, append(oid, 11), append(bytes.Clone(oid), 5))
}

// point says of a list that it is the part of a distribution point.
func point(t testing.TB, tag int, name string) func(*x509.RevocationList) {
	t.Helper()
	inner := marshal(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, Bytes: []byte(name)})
	for range 2 {
		inner = marshal(t, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: inner})
	}
	v := marshal(t, asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: inner})
	return func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: v}}
	}
}

// TestListScope makes sure that a list which is only a part says nothing of
// certificates that it does not cover, but that what stands on it is revoked.
func TestListScope(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	of := func(urls ...string) *x509.Certificate {
		return ca.leaf(t, subject(t, orgID("A")), func(c *x509.Certificate) { c.CRLDistributionPoints = urls })
	}
	one, two, both, none := of("http://x/1.crl"), of("http://x/2.crl"), of("http://x/0.crl", "http://x/1.crl"), of()
	part := func(name string, revoked ...*x509.Certificate) CRL {
		return CRL{File: writeFile(t, ca.crl(t, point(t, 6, name), revoked...))}
	}
	for name, tt := range map[string]struct {
		lists CRLs
		leaf  *x509.Certificate
		want  Reason
	}{
		"its part":                  {CRLs{part("http://x/1.crl")}, one, ""},
		"one of its parts":          {CRLs{part("http://x/1.crl")}, both, ""},
		"another part":              {CRLs{part("http://x/1.crl")}, two, RevocationUnknown},
		"no part":                   {CRLs{part("http://x/1.crl")}, none, RevocationUnknown},
		"both parts":                {CRLs{part("http://x/1.crl"), part("http://x/2.crl")}, two, ""},
		"revoked in its part":       {CRLs{part("http://x/1.crl"), part("http://x/2.crl", two)}, two, Revoked},
		"revoked in another part":   {CRLs{part("http://x/1.crl", two), part("http://x/2.crl")}, two, Revoked},
		"the whole beside the part": {CRLs{part("http://x/1.crl"), {File: writeFile(t, ca.crl(t, nil))}}, none, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := oneOrganization(t, ca, nil, nil)
			o := c.Organizations["a"]
			o.CRL = tt.lists
			c.Organizations["a"] = o
			if got := build(t, newManager(t), c).Identify(state(tt.leaf), time.Now()); got.Reason != tt.want {
				t.Errorf("got %q (%s), want %q", got.Reason, got.Detail, tt.want)
			}
		})
	}
}

// TestListsOfChain makes sure that the status of each certificate of a chain has
// to be known, and that an authority which is revoked proves nobody.
func TestListsOfChain(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root", nil)
	sub := newAuthority(t, "sub", root)
	stranger := newAuthority(t, "stranger", nil)
	leaf := sub.leaf(t, subject(t, orgID("A")))
	file := func(ca *authority, revoked ...*x509.Certificate) CRL {
		return CRL{File: writeFile(t, ca.crl(t, nil, revoked...))}
	}
	below := func(c CRL) CRL { c.Issuer = write(t, sub.cert); return c }
	onlyUsers := marshal(t, asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: []byte{0x81, 1, 0xff}})
	users := CRL{File: writeFile(t, root.crl(t, func(l *x509.RevocationList) {
		l.ExtraExtensions = []pkix.Extension{{Id: oidIssuingDistributionPoint, Critical: true, Value: onlyUsers}}
	}))}
	for _, tt := range []struct {
		name  string
		cas   []*x509.Certificate
		lists CRLs
		want  Reason // or the error of Build
	}{
		{"both", []*x509.Certificate{root.cert}, CRLs{file(root), below(file(sub))}, ""},
		{"only the root's", []*x509.Certificate{root.cert}, CRLs{file(root)}, RevocationUnknown},
		{"only the intermediate's", []*x509.Certificate{root.cert}, CRLs{below(file(sub))}, RevocationUnknown},
		{"the root's says nothing of authorities", []*x509.Certificate{root.cert}, CRLs{users, below(file(sub))}, RevocationUnknown},
		{"leaf revoked", []*x509.Certificate{root.cert}, CRLs{file(root), below(file(sub, leaf))}, Revoked},
		{"intermediate revoked", []*x509.Certificate{root.cert}, CRLs{file(root, sub.cert), below(file(sub))}, Revoked},
		{"intermediate revoked, its list missing", []*x509.Certificate{root.cert}, CRLs{file(root, sub.cert)}, Revoked},
		{"intermediate is the anchor", []*x509.Certificate{sub.cert}, CRLs{file(sub)}, ""},
		{"both are anchors", []*x509.Certificate{root.cert, sub.cert}, CRLs{file(sub)}, ""},
		{"both are anchors, one is revoked", []*x509.Certificate{root.cert, sub.cert}, CRLs{file(sub), file(root, sub.cert)}, Revoked},
		{"issuer not written", []*x509.Certificate{root.cert}, CRLs{file(root), file(sub)}, "not signed by an authority"},
		{"issuer is a stranger", []*x509.Certificate{root.cert}, CRLs{{File: file(stranger).File, Issuer: write(t, stranger.cert)}}, "not below an authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := oneOrganization(t, root, nil, nil)
			o := c.Organizations["a"]
			o.CA, o.CRL = unit.List{write(t, tt.cas...)}, tt.lists
			c.Organizations["a"] = o
			s, err := newManager(t).Build(c)
			if err != nil {
				if !strings.Contains(err.Error(), string(tt.want)) || tt.want == "" {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			if got := s.Identify(state(leaf, sub.cert), time.Now()); got.Reason != tt.want {
				t.Errorf("got %q (%s), want %q", got.Reason, got.Detail, tt.want)
			}
		})
	}
}

// TestListFromURL follows a list through its life: not got yet, got, renewed,
// rolled back, out of reach, and read from disk by the next process.
func TestListFromURL(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	numbered := func(n int64, revoked ...*x509.Certificate) []byte {
		return ca.crl(t, func(l *x509.RevocationList) { l.Number = big.NewInt(n) }, revoked...)
	}
	var answer atomic.Pointer[[]byte]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b := answer.Load(); b != nil {
			w.Write(*b)
			return
		}
		http.Error(w, "out of order", http.StatusServiceUnavailable)
	}))
	defer srv.Close()
	m := newManager(t)
	changes := 0
	m.OnTrustChange(func([]string) { changes++ })
	config := oneOrganization(t, ca, &CRL{URL: srv.URL + "/a.crl"}, nil)
	s := build(t, m, config)
	m.Activate(s)
	l := s.organizations[0].lists[0]
	step := func(what string, list []byte, want Reason, changed bool) {
		t.Helper()
		if list == nil {
			answer.Store(nil)
		} else {
			answer.Store(&list)
		}
		before, epoch := changes, s.Epoch()
		m.lists.refresh(t.Context(), l)
		if got := s.Identify(state(leaf), time.Now()); got.Reason != want {
			t.Errorf("%s: got %q (%s), want %q", what, got.Reason, got.Detail, want)
		}
		if got := changes > before; got != changed || changed != (s.Epoch() != epoch) {
			t.Errorf("%s: trust changed: got %v, want %v", what, got, changed)
		}
		if !l.next.After(time.Now()) {
			t.Errorf("%s: the next attempt is not in the future", what)
		}
	}
	step("out of reach from the start", nil, RevocationUnknown, false)
	step("first list", numbered(2), "", true)
	step("the same list", numbered(2), "", false)
	step("out of reach", nil, "", false)
	step("garbage", []byte("<html>"), "", false)
	step("revoked", numbered(3, leaf), Revoked, true)
	step("rolled back", numbered(2), Revoked, false)
	step("rolled back under the same number", ca.crl(t, func(l *x509.RevocationList) {
		l.Number, l.ThisUpdate = big.NewInt(3), time.Now().Add(-2*time.Hour)
	}), Revoked, false)
	step("out of reach again", nil, Revoked, false)

	got := testutil.ToFloat64(m.lists.fetches.WithLabelValues("a", "failure"))
	if want := 6.0; got != want {
		t.Errorf("counted %v failures, want %v", got, want)
	}

	next := newManager(t)
	next.stateDir = m.stateDir
	if got := build(t, next, config).Identify(state(leaf), time.Now()); got.Reason != Revoked {
		t.Errorf("next process, authority out of reach: got %q, want %q", got.Reason, Revoked)
	}
	kept, err := filepath.Glob(filepath.Join(m.stateDir, "crl", "*"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("got %q kept", kept)
	}
	if err := os.WriteFile(kept[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	next = newManager(t)
	next.stateDir = m.stateDir
	if got := build(t, next, config).Identify(state(leaf), time.Now()); got.Reason != RevocationUnknown {
		t.Errorf("next process with a damaged copy: got %q, want %q", got.Reason, RevocationUnknown)
	}
}

// TestListNotRolledBackByDetour makes sure that a list which was signed for
// another part, or by another authority, opens no way back to an older one.
func TestListNotRolledBackByDetour(t *testing.T) {
	t.Parallel()
	ca, second := newAuthority(t, "root", nil), newAuthority(t, "second", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	at := func(age time.Duration) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) { l.ThisUpdate = time.Now().Add(-age) }
	}
	part := func(l *x509.RevocationList) { at(time.Minute)(l); point(t, 6, "http://x/2.crl")(l) }
	for name, detour := range map[string][]byte{"another authority": second.crl(t, at(time.Minute)), "another part": ca.crl(t, part)} {
		l := &list{issuers: []*x509.Certificate{ca.cert, second.cert}}
		for _, step := range []struct {
			list []byte
			want error
		}{{ca.crl(t, at(2*time.Minute), leaf), nil}, {detour, nil}, {ca.crl(t, at(time.Hour)), errOlder}} {
			s, err := l.parse(step.list, time.Now())
			if !errors.Is(err, step.want) {
				t.Fatalf("%s: got %v, want %v", name, err, step.want)
			}
			if err == nil {
				l.state.Store(s)
			}
		}
	}
}

// TestListFileChange makes sure that a changed file acts, and that Build alone
// changes nothing.
func TestListFileChange(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	file := writeFile(t, ca.crl(t, nil))
	m := newManager(t)
	changed := make(chan struct{}, 10)
	m.OnTrustChange(func([]string) { changed <- struct{}{} })
	config := oneOrganization(t, ca, &CRL{File: file}, nil)
	s := build(t, m, config)
	m.Activate(s)
	if got := s.Identify(state(leaf), time.Now()).Reason; got != "" {
		t.Fatalf("got %q", got)
	}
	if err := os.WriteFile(file, ca.crl(t, func(l *x509.RevocationList) { l.Number = big.NewInt(11) }, leaf), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	second := build(t, m, config)
	if second.TrustID() != s.TrustID() {
		t.Error("a changed list changed the TrustID")
	}
	if got := s.Identify(state(leaf), time.Now()).Reason; got != "" {
		t.Errorf("after Build alone: got %q", got)
	}
	m.Activate(second)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	defer func() { cancel(); <-done }()
	<-changed
	for _, set := range []*Set{s, second} {
		if got := set.Identify(state(leaf), time.Now()).Reason; got != Revoked {
			t.Errorf("got %q, want %q", got, Revoked)
		}
	}
}

// TestListFileActs follows a file: each change acts within a second, what is no
// list or takes something back does not, not even after a restart.
func TestListFileActs(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	file := filepath.Join(t.TempDir(), "a.crl")
	put := func(b []byte) {
		t.Helper()
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	list := func(n int64, revoked ...*x509.Certificate) []byte {
		return ca.crl(t, func(l *x509.RevocationList) { l.Number = big.NewInt(n) }, revoked...)
	}
	first := list(1)
	put(first)
	m := newManager(t)
	changed := make(chan struct{}, 10)
	m.OnTrustChange(func([]string) { changed <- struct{}{} })
	config := oneOrganization(t, ca, &CRL{File: file}, nil)
	s := build(t, m, config)
	m.Activate(s)
	stop := start(t, m)
	within := func(what string, want Reason) {
		t.Helper()
		begin := time.Now()
		<-changed
		if took := time.Since(begin); took > time.Second {
			t.Errorf("%s: acted after %s", what, took)
		}
		if got := s.Identify(state(leaf), time.Now()).Reason; got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	failures := m.lists.fetches.WithLabelValues("a", "failure")
	untouched := func(what string, want Reason) {
		t.Helper()
		before := testutil.ToFloat64(failures)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for range 250 {
			if <-tick.C; testutil.ToFloat64(failures) > before {
				break
			}
		}
		if got := s.Identify(state(leaf), time.Now()).Reason; got != want || testutil.ToFloat64(failures) == before {
			t.Errorf("%s: got %q, want %q; counted as failure: %v", what, got, want, testutil.ToFloat64(failures) != before)
		}
	}
	put(list(2, leaf))
	within("revoked", Revoked)
	put([]byte("half a li"))
	untouched("half written", Revoked)
	put(first)
	untouched("rolled back", Revoked)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	untouched("removed", Revoked)
	put(list(3))
	within("there again, and lifted", "")
	put(list(4, leaf))
	within("revoked again", Revoked)
	stop()
	put(first)
	next := newManager(t)
	next.stateDir = m.stateDir
	if got := build(t, next, config).Identify(state(leaf), time.Now()).Reason; got != Revoked {
		t.Errorf("rolled back before a restart: got %q, want %q", got, Revoked)
	}
}

// TestTimeChangesTrust makes sure that what only time changes is told.
func TestTimeChangesTrust(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"agreement", "stale list"} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca := newAuthority(t, "root", nil)
				leaf := ca.leaf(t, subject(t, orgID("A")), dates(-day, 100*day))
				config := oneOrganization(t, ca, nil, nil)
				o := config.Organizations["a"]
				want, after := AgreementExpired, 24*time.Hour
				if what == "agreement" {
					o.ValidUntil = date(t, time.Now().UTC().Format(time.DateOnly))
				} else {
					o.CRL = CRLs{{File: writeFile(t, ca.crl(t, nil))}}
					want, after = RevocationUnknown, time.Hour
				}
				config.Organizations["a"] = o
				m := newManager(t)
				told := make(chan time.Time, 10)
				m.OnTrustChange(func([]string) { told <- time.Now() })
				s := build(t, m, config)
				m.Activate(s)
				start, epoch := time.Now(), s.Epoch()
				if got := s.Identify(state(leaf), start); got.Reason != "" {
					t.Fatalf("got %q (%s)", got.Reason, got.Detail)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() { defer close(done); m.Run(ctx) }()
				at := <-told
				cancel()
				<-done
				if got := at.Sub(start.Add(after)); got < 0 || got > time.Second {
					t.Errorf("told %s after the moment, want within a second", got)
				}
				if s.Epoch() == epoch {
					t.Error("the epoch stayed")
				}
				if got := s.Identify(state(leaf), at).Reason; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		})
	}
}

// TestLargeList makes sure that a large list loads fast and is quick to ask.
func TestLargeList(t *testing.T) {
	t.Parallel()
	o, leaf := largeList(t)
	if n := o.lists[0].state.Load().revoked.len(); n != 100_000 {
		t.Fatalf("got %d entries", n)
	}
	if got := o.judge([]*x509.Certificate{leaf, o.cas[0]}, time.Now()).reason; got != Revoked {
		t.Errorf("got %q", got)
	}
}

func largeList(t testing.TB) (*organization, *x509.Certificate) {
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	der := ca.crl(t, func(l *x509.RevocationList) {
		for i := range 99_999 {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(int64(i + 1)), RevocationTime: time.Now()})
		}
	}, leaf)
	s := build(t, newManager(t), oneOrganization(t, ca, &CRL{File: writeFile(t, der)}, nil))
	return s.organizations[0], leaf
}

func BenchmarkListLoad(b *testing.B) {
	ca := newAuthority(b, "root", nil)
	der := ca.crl(b, func(l *x509.RevocationList) {
		for i := range 100_000 {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(int64(i + 1)), RevocationTime: time.Now()})
		}
	})
	b.ReportMetric(float64(len(der))/100_000, "DER-bytes/entry")
	for b.Loop() {
		if _, err := parseList(der, []*x509.Certificate{ca.cert}, time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkListLookup(b *testing.B) {
	o, leaf := largeList(b)
	chain, now := []*x509.Certificate{leaf, o.cas[0]}, time.Now()
	for b.Loop() {
		if o.judge(chain, now).reason != Revoked {
			b.Fatal("not found")
		}
	}
}

// FuzzCRL makes sure that nothing panics, and that no list counts but the very
// bytes that the authority has signed.
func FuzzCRL(f *testing.F) {
	ca, other := newAuthority(f, "root", nil), newAuthority(f, "root", nil)
	true1 := ca.crl(f, nil, ca.cert)
	_, signed, _, _ := splitList(true1)
	f.Add(true1)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: true1}))
	f.Add(other.crl(f, nil, ca.cert))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: other.crl(f, nil)}))
	f.Add([]byte("-----BEGIN X509 CRL-----"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseList(b, []*x509.Certificate{ca.cert}, time.Now())
		if err != nil {
			return
		}
		if block, _ := pem.Decode(b); block != nil {
			b = block.Bytes
		}
		if _, got, _, _ := splitList(b); !bytes.Equal(got, signed) || s.revoked.len() != 1 || !s.revoked.has(ca.cert.SerialNumber) {
			t.Errorf("believed a list of %d entries that the authority has not signed", s.revoked.len())
		}
	})
}
