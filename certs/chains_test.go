package certs

import (
	"crypto/x509"
	"slices"
	"sync"
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

// TestKeptChainsMemory makes sure that a client with a good certificate can't
// fill memory with what it sends beside it.
func TestKeptChainsMemory(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	sub := newAuthority(t, "sub", ca)
	junk := newAuthority(t, "junk", nil)
	leaf := sub.leaf(t, subject(t, orgID("A")))
	s := build(t, newManager(t), oneOrganization(t, ca, nil, nil))
	got := s.Identify(state(leaf, junk.cert, sub.cert), time.Now())
	if got.Reason != "" {
		t.Fatalf("got %q (%s)", got.Reason, got.Detail)
	}
	for _, e := range s.chains.kept {
		if e.n != 2 || e.at[0] != 0 || e.at[1] != 2 || e.anchor != s.organizations[0].cas[0] {
			t.Errorf("kept %+v, want the positions 0 and 2 and the configured authority", e)
		}
	}
	// The chain is made of what the next connection sent, not of what the first did.
	again := func(c *x509.Certificate) *x509.Certificate {
		p, err := x509.ParseCertificate(slices.Clone(c.Raw))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	second := []*x509.Certificate{again(leaf), again(junk.cert), again(sub.cert)}
	next := s.Identify(state(second...), time.Now())
	if len(s.chains.kept) != 1 || len(next.Chain) != 2 || next.Chain[0] != second[0] || next.Chain[1] != second[2] {
		t.Errorf("got a chain of %d, %d kept", len(next.Chain), len(s.chains.kept))
	}
	// Whoever appends to a chain changes nothing for others.
	_ = append(next.Chain, junk.cert)
	if third := s.Identify(state(second...), time.Now()); third.Reason != "" {
		t.Errorf("got %q", third.Reason)
	}
	// Other junk is another entry; in other order it is so as well.
	s.Identify(state(leaf, sub.cert, junk.cert), time.Now())
	if n := len(s.chains.kept); n != 2 {
		t.Errorf("%d chains are kept, want 2", n)
	}
}

// TestKeptChainsClock sets the wall clock back and forward: monotonic readings,
// as time.Now has them, must not hide it.
func TestKeptChainsClock(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	chain, sent := []*x509.Certificate{leaf, ca.cert}, []*x509.Certificate{leaf}
	now := time.Now() // with a monotonic reading
	for _, tt := range []struct {
		name string
		at   time.Time
		want bool
	}{
		{"at once", now, true},
		{"a while later", now.Add(chainAge), true},
		{"too late", now.Add(chainAge + time.Millisecond), false},
		{"set back", now.Round(0).Add(-time.Millisecond), false},
		{"set back by a year", now.Round(0).AddDate(-1, 0, 0), false},
		{"set forward by a year", now.Round(0).AddDate(1, 0, 0), false},
	} {
		var cs chains
		cs.put(chainKey{}, chain, sent, now)
		if got := cs.get(chainKey{}, sent, tt.at) != nil; got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
	var cs chains
	cs.put(chainKey{}, chain, sent, now)
	for _, e := range cs.kept {
		if e.from.String() != now.Round(0).String() || e.to.String() != now.Round(0).Add(chainAge).String() {
			t.Errorf("kept from %s to %s, with a monotonic reading", e.from, e.to)
		}
	}
	// Should two clients' bytes ever have one digest, the shorter one gets nothing.
	if cs.get(chainKey{}, nil, now) != nil {
		t.Error("got a chain without its certificates")
	}
}

// TestKeptChainsAtOnce has good and bad clients come at the same time; run with
// -race.
func TestKeptChainsAtOnce(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "root", nil), newAuthority(t, "root", nil)
	id := subject(t, orgID("A"))
	key := newKey(t)
	good, bad := ca.leafFor(t, &key.PublicKey, id), other.leafFor(t, &key.PublicKey, id)
	s := build(t, newManager(t), Config{Organizations: map[string]Organization{
		"a": {ID: unit.List{"A"}, CA: unit.List{write(t, ca.cert)}},
		"b": {ID: unit.List{"B"}, CA: unit.List{write(t, other.cert)}},
	}})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				if i%2 == 0 {
					if got := s.Identify(state(good), time.Now()); got.Organization != "a" {
						t.Errorf("got %q, %q", got.Organization, got.Reason)
					}
				} else if got := s.Identify(state(bad), time.Now()); got.Reason != WrongOrganization {
					t.Errorf("got %q, %q", got.Organization, got.Reason)
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.chains.kept); n != 1 {
		t.Errorf("%d chains are kept, want 1: bad ones are not", n)
	}
}
