package addresses

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// randomPrefix is one of few addresses, so that prefixes meet and overlap.
func randomPrefix(r *rand.Rand) netip.Prefix {
	if r.IntN(2) == 0 {
		a := netip.AddrFrom4([4]byte{10, byte(r.IntN(3)), byte(r.IntN(8)), byte(r.IntN(256))})
		return netip.PrefixFrom(a, 14+r.IntN(19)).Masked()
	}
	b := [16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, byte(r.IntN(4)), byte(r.IntN(4)), 15: byte(r.IntN(256))}
	return netip.PrefixFrom(netip.AddrFrom16(b), 40+r.IntN(89)).Masked()
}

// TestTable compares tables with what net/netip says of each of their prefixes.
func TestTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 24 {
		var all []netip.Prefix
		table := &table{}
		for range []int{1, 10, 100, 3000}[round%4] {
			p := randomPrefix(r)
			all = append(all, p)
			table.addPrefix(p)
		}
		table.finish()
		for range 400 {
			p := randomPrefix(r)
			for _, a := range []netip.Addr{p.Addr(), p.Addr().Prev(), lastOf(p), lastOf(p).Next()} {
				want := false
				for _, p := range all {
					want = want || p.Contains(a)
				}
				if got := table.contains(a); got != want {
					t.Fatalf("round %d: %v is inside: got %v, want %v", round, a, got, want)
				}
				if a.Is4() && table.contains(netip.AddrFrom16(a.As16())) != want {
					t.Fatalf("round %d: %v in IPv6 form is not what it is itself", round, a)
				}
			}
		}
	}
}

// TestTableIndex: the index of large tables changes no answer, least at its ends.
func TestTableIndex(t *testing.T) {
	large := &table{}
	for i := range uint32(5000) {
		a := i * 858_993 // over the whole space
		large.add(netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}), netip.AddrFrom4([4]byte{byte(a >> 24), byte(a >> 16), byte(a >> 8), byte(a)}))
	}
	large.addPrefix(netip.MustParsePrefix("255.255.0.0/16"))
	large.addPrefix(netip.MustParsePrefix("64.0.0.0/6")) // over many entries of the index
	large.finish()
	if large.index4 == nil {
		t.Fatal("no index")
	}
	small := &table{four: large.four}
	r := rand.New(rand.NewPCG(3, 4))
	check := func(a uint32) {
		if got, want := large.contains4(a), small.contains4(a); got != want {
			t.Fatalf("%08x: got %v, want %v", a, got, want)
		}
	}
	for _, x := range large.four {
		for _, a := range []uint32{x.first - 1, x.first, x.last, x.last + 1} {
			check(a)
		}
	}
	for range 100_000 {
		check(r.Uint32())
	}
	for _, a := range []uint32{0, 1, 0xffff, 0x10000, 0xfffeffff, 0xffff0000, 0xffffffff} {
		check(a)
	}
}

// TestTableIndex6 is TestTableIndex for IPv6: ranges in one network, over the
// whole space, and at its end.
func TestTableIndex6(t *testing.T) {
	for name, random := range map[string]func(r *rand.Rand) wide{
		"one network":     func(r *rand.Rand) wide { return wide{0x20010db8<<32 | r.Uint64()>>32, r.Uint64()} },
		"one /64":         func(r *rand.Rand) wide { return wide{0x20010db8 << 32, r.Uint64()} },
		"the whole space": func(r *rand.Rand) wide { return wide{r.Uint64(), r.Uint64()} },
		"the end":         func(r *rand.Rand) wide { return wide{^(r.Uint64() >> 50), ^(r.Uint64() >> 8)} },
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(9, 10))
			large := &table{}
			for range 3000 {
				a := random(r)
				last := a
				last.lo |= r.Uint64() >> r.IntN(64)
				if r.IntN(4) == 0 {
					last = wide{a.hi | r.Uint64()>>(40+r.IntN(24)), ^uint64(0)}
				}
				large.six = append(large.six, range6{a, last})
			}
			all := append([]range6{}, large.six...)
			large.finish()
			if len(large.six) >= indexFrom != (large.index6 != nil) {
				t.Fatalf("%d ranges, index %v", len(large.six), large.index6 != nil)
			}
			plain := &table{six: large.six}
			check := func(a wide) {
				got, want := large.contains6(a), plain.contains6(a)
				if got != want {
					t.Fatalf("%x: got %v, want %v", a, got, want)
				}
			}
			for _, x := range all {
				for _, a := range []wide{x.first, x.last, {x.first.hi - 1, x.first.lo}, {x.last.hi + 1, 0}, {x.first.hi, x.first.lo - 1}} {
					check(a)
				}
				if !large.contains6(x.first) || !large.contains6(x.last) {
					t.Fatalf("%x is not inside", x)
				}
			}
			for range 20_000 {
				check(random(r))
				check(wide{r.Uint64(), r.Uint64()})
			}
			check(wide{})
			check(wide{^uint64(0), ^uint64(0)})
		})
	}
}

func TestTableOfNothing(t *testing.T) {
	empty := &table{}
	empty.finish()
	for _, a := range []string{"0.0.0.0", "255.255.255.255", "::", "::ffff:1.2.3.4", "fe80::1%eth0"} {
		if empty.contains(netip.MustParseAddr(a)) {
			t.Errorf("%s is in an empty table", a)
		}
	}
	if empty.contains(netip.Addr{}) {
		t.Error("no address is in an empty table")
	}
	all := &table{}
	all.addPrefix(netip.MustParsePrefix("0.0.0.0/0"))
	all.addPrefix(netip.MustParsePrefix("::/0"))
	all.finish()
	for _, a := range []string{"0.0.0.0", "255.255.255.255", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		if !all.contains(netip.MustParseAddr(a)) {
			t.Errorf("%s is not in a table of everything", a)
		}
	}
	if all.contains(netip.Addr{}) {
		t.Error("no address at all is in a table of everything")
	}
}
