package certs

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestKeptChains attacks the kept chains: each client comes after a good one
// warmed them.
func TestKeptChains(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "root", nil), newAuthority(t, "root", nil) // of one name
	sub := newAuthority(t, "sub", ca)
	fakeSub := newAuthority(t, "sub", other)
	id := subject(t, orgID("A"))
	key := newKey(t)
	start := time.Now()
	same := func(c *x509.Certificate) {
		c.SerialNumber = serial()
		c.NotBefore, c.NotAfter = start.Add(-time.Hour), start.Add(30*time.Second)
	}
	good := sub.leafFor(t, &key.PublicKey, id, same)
	forged := fakeSub.leafFor(t, &key.PublicKey, id, same)
	number := func(c *x509.Certificate) { c.SerialNumber = good.SerialNumber }
	twin := fakeSub.leafFor(t, &key.PublicKey, id, same, number)
	altered := func(c *x509.Certificate, at int) *x509.Certificate {
		raw := slices.Clone(c.Raw)
		raw[at] ^= 1
		p, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	brokenSignature := altered(good, len(good.Raw)-1)
	long := sub.leaf(t, id, dates(-time.Hour, 100*time.Hour))
	l := func(c ...*x509.Certificate) []*x509.Certificate { return c }
	for _, tt := range []struct {
		name  string
		peers []*x509.Certificate
		after time.Duration
		want  Reason
	}{
		{"the same again", l(good, sub.cert), time.Second, ""},
		{"another leaf with the same key and name", l(forged, fakeSub.cert), time.Second, UnknownCA},
		{"and the same serial number", l(twin, fakeSub.cert), time.Second, UnknownCA},
		{"under the true intermediate", l(twin, sub.cert), time.Second, UnknownCA},
		{"with its signature altered", l(brokenSignature, sub.cert), time.Second, UnknownCA},
		{"without the intermediate", l(good), time.Second, UnknownCA},
		{"with another intermediate", l(good, fakeSub.cert), time.Second, UnknownCA},
		{"the good one second", l(twin, good, sub.cert), time.Second, UnknownCA},
		{"after it expired", l(good, sub.cert), 31 * time.Second, Expired},
		{"before it was valid", l(good, sub.cert), -2 * time.Hour, NotYetValid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := build(t, newManager(t), oneOrganization(t, ca, nil, nil))
			for range 2 {
				if got := s.Identify(state(good, sub.cert), start); got.Reason != "" {
					t.Fatalf("got %q (%s)", got.Reason, got.Detail)
				}
			}
			if len(s.chains.kept) != 1 {
				t.Fatalf("%d chains are kept", len(s.chains.kept))
			}
			if got := s.Identify(state(tt.peers...), start.Add(tt.after)); got.Reason != tt.want {
				t.Errorf("got %q (%s), want %q", got.Reason, got.Detail, tt.want)
			}
		})
	}

	t.Run("revoked", func(t *testing.T) {
		t.Parallel()
		m := newManager(t)
		c := oneOrganization(t, ca, &CRL{File: writeFile(t, ca.crl(t, nil))}, nil)
		direct := ca.leaf(t, id)
		s := build(t, m, c)
		if got := s.Identify(state(direct), start).Reason; got != "" {
			t.Fatalf("got %q", got)
		}
		list := s.organizations[0].lists[0]
		next, err := list.parse(ca.crl(t, nil, direct), start)
		if err != nil {
			t.Fatal(err)
		}
		list.state.Store(next)
		if got := s.Identify(state(direct), start).Reason; got != Revoked {
			t.Errorf("got %q, want %q", got, Revoked)
		}
	})
	t.Run("the agreement ended", func(t *testing.T) {
		t.Parallel()
		c := oneOrganization(t, ca, nil, nil)
		o := c.Organizations["a"]
		o.ValidUntil = date(t, start.UTC().Format(time.DateOnly))
		c.Organizations["a"] = o
		s := build(t, newManager(t), c)
		leaf := ca.leaf(t, id, dates(-72*time.Hour, 72*time.Hour))
		end := o.ValidUntil.End()
		for now, want := range map[time.Time]Reason{end.Add(-time.Second): "", end: AgreementExpired} {
			if got := s.Identify(state(leaf), now).Reason; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	})
	t.Run("authority exchanged", func(t *testing.T) {
		t.Parallel()
		m := newManager(t)
		s := build(t, m, oneOrganization(t, ca, nil, nil))
		if got := s.Identify(state(long, sub.cert), start).Reason; got != "" {
			t.Fatalf("got %q", got)
		}
		s = build(t, m, oneOrganization(t, other, nil, nil))
		if got := s.Identify(state(long, sub.cert), start).Reason; got != UnknownCA {
			t.Errorf("got %q, want %q", got, UnknownCA)
		}
	})
	t.Run("another organization of the same identifier", func(t *testing.T) {
		t.Parallel()
		s := build(t, newManager(t), Config{Organizations: map[string]Organization{
			"a": {ID: unit.List{"A"}, CA: unit.List{write(t, ca.cert)}},
			"b": {ID: unit.List{"A"}, CA: unit.List{write(t, other.cert)}},
		}})
		for range 2 {
			if got := s.Identify(state(long, sub.cert), start).Organization; got != "a" {
				t.Errorf("got %q, want a", got)
			}
			if got := s.Identify(state(other.leaf(t, id)), start).Organization; got != "b" {
				t.Errorf("got %q, want b", got)
			}
		}
	})
	t.Run("bounded", func(t *testing.T) {
		t.Parallel()
		var cs chains
		for i := range maxChains + 10 {
			cs.put(chainKey{sent: [32]byte{byte(i), byte(i >> 8)}}, l(good, ca.cert), l(good), start)
		}
		if n := len(cs.kept); n > maxChains {
			t.Errorf("%d chains are kept", n)
		}
		if cs.get(chainKey{sent: [32]byte{0xff, 0xff}}, l(good), start) != nil {
			t.Error("got a chain that nobody put")
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	ca := newAuthority(b, "root", nil)
	sub := newAuthority(b, "sub", ca)
	peers := state(sub.leaf(b, subject(b, orgID("A"))), sub.cert)
	s := build(b, newManager(b), oneOrganization(b, ca, nil, nil))
	now := time.Now()
	b.Run("kept", func(b *testing.B) {
		for b.Loop() {
			s.Identify(peers, now)
		}
	})
	b.Run("verified", func(b *testing.B) {
		for b.Loop() {
			s.chains.kept = nil
			s.Identify(peers, now)
		}
	})
}
