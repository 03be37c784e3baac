package addresses

import (
	"fmt"
	"net/netip"
)

// Verdict is what rules say of an address.
type Verdict int

// Unknown is the verdict where it takes a list that is not there, or too old to decide by.
const (
	Allowed Verdict = iota
	Denied
	Unknown
)

// Judgment is a verdict and, for operators, what brought it about.
type Judgment struct {
	Verdict Verdict
	By      string // deny_from or allow_from, or "" of what is allowed
	Why     string
}

// Rules decide by networks. They are immutable; the sets that they name are not.
type Rules struct {
	deny, allow *matcher
	only        bool // what is not allowed is denied
}

// matcher is a list of sets and literal networks.
type matcher struct {
	literal *table
	sets    []*Set
}

// Rules makes rules of what deny_from and allow_from list: names of sets and
// networks. They are nil if there is nothing to decide.
func (b *Book) Rules(deny, allow []string) (*Rules, error) {
	r := &Rules{only: len(allow) > 0}
	var err error
	if r.deny, err = b.matcher(deny); err != nil {
		return nil, fmt.Errorf("deny_from: %w", err)
	}
	if r.allow, err = b.matcher(allow); err != nil {
		return nil, fmt.Errorf("allow_from: %w", err)
	}
	if len(deny) == 0 && !r.only {
		return nil, nil
	}
	return r, nil
}

func (b *Book) matcher(list []string) (*matcher, error) {
	m := &matcher{literal: &table{}}
	for _, w := range list {
		if p, err := ParsePrefix(w); err == nil {
			m.literal.addPrefix(p)
		} else if s := b.set(w); s != nil {
			m.sets = append(m.sets, s)
		} else {
			return nil, fmt.Errorf("%q is neither an address set nor a network", w)
		}
	}
	m.literal.finish()
	return m, nil
}

// Judge decides about an address. Denying wins over allowing; what the lists at
// hand decide needs none that is missing. Nil rules allow everybody.
func (r *Rules) Judge(a netip.Addr) Judgment {
	if r == nil {
		return Judgment{}
	}
	a = a.Unmap()
	in, by, unknown := r.deny.find(a, true)
	switch {
	case in:
		return Judgment{Denied, "deny_from", by}
	case unknown != "":
		return Judgment{Unknown, "deny_from", unknown}
	case !r.only:
		return Judgment{}
	}
	in, _, unknown = r.allow.find(a, false)
	switch {
	case in:
		return Judgment{}
	case unknown != "":
		return Judgment{Unknown, "allow_from", unknown}
	}
	return Judgment{Denied, "allow_from", "no network of allow_from"}
}

// find reports whether a is listed and by what, or why that can't be known.
func (m *matcher) find(a netip.Addr, denying bool) (in bool, by, unknown string) {
	if m.literal.contains(a) {
		return true, "a network of the configuration", ""
	}
	for _, s := range m.sets {
		t, known := s.list(denying)
		if t != nil && t.contains(a) {
			if denying {
				s.hits.denied.Inc()
			} else {
				s.hits.allowed.Inc()
			}
			return true, s.inside, ""
		}
		if !known {
			unknown = s.unusable
		}
	}
	return false, "", unknown
}

func (b *Book) set(name string) *Set {
	if b == nil {
		return nil
	}
	return b.sets[name]
}
