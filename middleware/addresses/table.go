package addresses

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"slices"
)

// table holds addresses as disjoint ranges in order. It is immutable. All that is
// asked of it is whether an address is inside, so it needs neither a trie nor
// pointers: eight bytes for an IPv4 entry, and nothing for the collector to walk.
type table struct {
	entries int // as listed
	four    []range4
	six     []range6
	index4  []uint32 // by the upper half of an IPv4 address: ranges that end before it; nil for few

	// Likewise for IPv6, by up to 16 of the bits in which the ranges differ.
	index6 []uint32
	base6  uint64
	shift6 int
}

type range4 struct{ first, last uint32 }

type range6 struct{ first, last wide }

// wide is an IPv6 address.
type wide struct{ hi, lo uint64 }

func (a wide) less(b wide) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func wideOf(a netip.Addr) wide {
	b := a.As16()
	return wide{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

func fourOf(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// indexFrom is how many ranges of a family are worth an index of 256 KiB.
const indexFrom = 1024

// contains reports whether a is inside. An IPv4 address in IPv6 form is one of IPv4.
func (t *table) contains(a netip.Addr) bool {
	if a = a.Unmap(); a.Is4() {
		return t.contains4(fourOf(a))
	}
	return a.Is6() && t.contains6(wideOf(a))
}

func (t *table) contains4(a uint32) bool {
	lo, hi := 0, len(t.four)
	if t.index4 != nil {
		lo, hi = int(t.index4[a>>16]), int(t.index4[a>>16+1])
	}
	for lo < hi { // the first range that does not end before a
		if mid := int(uint(lo+hi) >> 1); t.four[mid].last < a {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(t.four) && t.four[lo].first <= a
}

func (t *table) contains6(a wide) bool {
	lo, hi := 0, len(t.six)
	if t.index6 != nil {
		i := (a.hi - t.base6) >> t.shift6
		if a.hi < t.base6 || i >= uint64(len(t.index6)-1) {
			return false
		}
		lo, hi = int(t.index6[i]), int(t.index6[i+1])
	}
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); t.six[mid].last.less(a) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(t.six) && !a.less(t.six[lo].first)
}

// add takes one more range of one family. The table must be finished afterwards.
func (t *table) add(first, last netip.Addr) {
	t.entries++
	if first.Is4() {
		t.four = append(t.four, range4{fourOf(first), fourOf(last)})
	} else {
		t.six = append(t.six, range6{wideOf(first), wideOf(last)})
	}
}

func (t *table) addPrefix(p netip.Prefix) { t.add(p.Masked().Addr(), lastOf(p)) }

// lastOf is the last address of a prefix.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// finish puts the ranges in order and joins those that meet.
func (t *table) finish() {
	slices.SortFunc(t.four, func(a, b range4) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	four := t.four[:0]
	for _, r := range t.four {
		if n := len(four); n > 0 && (four[n-1].last == math.MaxUint32 || r.first <= four[n-1].last+1) {
			four[n-1].last = max(four[n-1].last, r.last)
		} else {
			four = append(four, r)
		}
	}
	t.four = slices.Clip(four)
	slices.SortFunc(t.six, func(a, b range6) int {
		if a.first.less(b.first) {
			return -1
		}
		return 1
	})
	six := t.six[:0]
	for _, r := range t.six {
		if n := len(six); n > 0 && !six[n-1].last.less(r.first) {
			if six[n-1].last.less(r.last) {
				six[n-1].last = r.last
			}
		} else {
			six = append(six, r)
		}
	}
	t.six = slices.Clip(six)
	t.makeIndex()
}

// makeIndex lets searches begin where few ranges are left.
func (t *table) makeIndex() {
	if len(t.four) >= indexFrom {
		t.index4 = make([]uint32, 1<<16+1)
		i := 0
		for half := range t.index4 {
			for i < len(t.four) && uint64(t.four[i].last) < uint64(half)<<16 {
				i++
			}
			t.index4[half] = uint32(i)
		}
	}
	if n := len(t.six); n >= indexFrom {
		t.base6 = t.six[0].first.hi
		span := t.six[n-1].last.hi - t.base6
		t.shift6 = max(0, bits.Len64(span)-16)
		t.index6 = make([]uint32, span>>t.shift6+2)
		i := 0
		for part := range t.index6 {
			for i < n && (t.six[i].last.hi-t.base6)>>t.shift6 < uint64(part) {
				i++
			}
			t.index6[part] = uint32(i)
		}
	}
}
