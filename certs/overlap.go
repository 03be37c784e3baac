package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
)

// Overlap is two organizations that one certificate could prove.
type Overlap struct {
	A, B string // configured keys, in order
	Why  string
}

func (o Overlap) Error() string {
	return fmt.Sprintf("organizations %q and %q: one certificate could prove both: %s", o.A, o.B, o.Why)
}

// Overlaps finds organizations that one certificate could prove. What of an
// organization can't be read is left to Build to complain of.
func Overlaps(all map[string]Organization) []Overlap {
	var l []*organization
	for _, key := range slices.Sorted(maps.Keys(all)) {
		c := all[key]
		if len(c.Check()) > 0 { // a mistake of its own, without which it may be another
			continue
		}
		o := &organization{key: key, ids: c.ID, subject: c.Subject, pins: c.SPKI}
		o.readNames(c)
		for _, path := range c.CA {
			if cas, err := LoadCAs(path); err == nil {
				o.cas = append(o.cas, cas...)
			}
		}
		l = append(l, o)
	}
	return overlaps(l)
}

func overlaps(l []*organization) (found []Overlap) {
	var known []*x509.Certificate
	for _, o := range l {
		known = append(known, o.cas...)
	}
	for i, a := range l {
		for _, b := range l[i+1:] {
			if why := sameNames(a, b); why != "" && shareAuthority(a, b, known) {
				found = append(found, Overlap{a.key, b.key, why})
			}
		}
	}
	return found
}

// sameNames says which names could stand for both; "" if none can. One key, one
// identifier and one value of each demanded attribute is all that a certificate
// has. Of alternative names it may have several: one that has a name of each
// organization is refused when it comes.
func sameNames(a, b *organization) string {
	pin, pins := common(a.pins, b.pins)
	id, ids := common(a.ids, b.ids)
	if pins && pin == "" || ids && id == "" {
		return ""
	}
	subjects := a.subject != nil && b.subject != nil
	if subjects {
		for i, v := range a.subject.values() {
			if w := b.subject.values()[i]; v.value != "" && w.value != "" && v.value != w.value {
				return ""
			}
		}
	}
	names := ""
	if len(a.san) > 0 && len(b.san) > 0 {
		for _, p := range a.san {
			for _, q := range b.san {
				if p.kind == q.kind && globsMeet(p.text, q.text) {
					names = fmt.Sprintf("the patterns %s:%s and %s:%s fit one name under an authority that they share", p.kind, p.text, q.kind, q.text)
				}
			}
		}
		if names == "" {
			return ""
		}
	}
	switch {
	case ids:
		return fmt.Sprintf("both have the id %s under an authority that they share", id)
	case pins:
		return fmt.Sprintf("both have the pin %s under an authority that they share", pin)
	case names != "":
		return names
	case subjects:
		return "one subject can have all that both demand, under an authority that they share; give both an id"
	}
	return "they share an authority, and nothing that they ask for tells them apart; give both an id"
}

// common is a value that both lists have, and whether both have any.
func common(a, b []string) (string, bool) {
	for _, v := range a {
		if slices.Contains(b, v) {
			return v, true
		}
	}
	return "", len(a) > 0 && len(b) > 0
}

// shareAuthority reports whether an authority of one counts for the other as
// well: it is the same, or stands above one of the other's, as far as the
// configured authorities show. Where a certificate not configured here stands
// between the two, it does not show; then a certificate that proves both is
// refused when it comes.
func shareAuthority(a, b *organization, known []*x509.Certificate) bool {
	for _, x := range a.cas {
		for _, y := range b.cas {
			if bytes.Equal(x.RawSubjectPublicKeyInfo, y.RawSubjectPublicKeyInfo) || above(x, y, known) || above(y, x, known) {
				return true
			}
		}
	}
	return false
}

// above reports whether x issued y, or one of the known authorities above y.
func above(x, y *x509.Certificate, known []*x509.Certificate) bool {
	seen := map[string]bool{}
	for todo := []*x509.Certificate{y}; len(todo) > 0; {
		c := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[string(c.Raw)] {
			continue
		}
		seen[string(c.Raw)] = true
		if issued(x, c) {
			return true
		}
		for _, k := range known {
			// A key may have several certificates; what stands above one stands above it.
			if issued(k, c) || !seen[string(k.Raw)] && bytes.Equal(k.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo) {
				todo = append(todo, k)
			}
		}
	}
	return false
}

func issued(by, c *x509.Certificate) bool {
	return bytes.Equal(by.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(by) == nil
}

// globsMeet reports whether some text may fit both patterns. It errs on the side
// of yes.
func globsMeet(p, q string) bool {
	type at struct{ i, j int }
	todo, seen := []at{{}}, map[at]bool{}
	for len(todo) > 0 {
		x := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[x] {
			continue
		}
		seen[x] = true
		if x.i == len(p) && x.j == len(q) {
			return true
		}
		pStar, qStar := x.i < len(p) && p[x.i] == '*', x.j < len(q) && q[x.j] == '*'
		if pStar {
			todo = append(todo, at{x.i + 1, x.j})
			if x.j < len(q) {
				todo = append(todo, at{x.i, x.j + 1})
			}
		}
		if qStar {
			todo = append(todo, at{x.i, x.j + 1})
			if x.i < len(p) {
				todo = append(todo, at{x.i + 1, x.j})
			}
		}
		if x.i < len(p) && x.j < len(q) && p[x.i] == q[x.j] {
			todo = append(todo, at{x.i + 1, x.j + 1})
		}
	}
	return false
}
