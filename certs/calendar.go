package certs

import (
	"cmp"
	"crypto/x509"
	"slices"
	"time"
)

// Due is something that ends at a known time.
type Due struct {
	Kind   string    `json:"kind"` // server, ca, client, upstream, crl, ocsp
	Name   string    `json:"name"` // as configured: a file, a host, an organization
	Text   string    `json:"text"` // the subject, or where a list comes from
	Ends   time.Time `json:"ends"` // zero: nothing is there
	Serial string    `json:"serial,omitempty"`
	Bad    bool      `json:"bad,omitempty"` // it is missing, stale, or its file can't be used
}

// Calendar is what ends and when, of the set in force: what ends first comes
// first.
func (m *Manager) Calendar(now time.Time) []Due {
	s := m.active.Load()
	if s == nil {
		return nil
	}
	var all []Due
	one := func(kind, name string, x *x509.Certificate, bad bool) {
		d := Due{Kind: kind, Name: name, Bad: bad || x == nil}
		if x != nil {
			d.Text, d.Ends, d.Serial = readableText(x.Subject.String()), x.NotAfter.UTC(), x.SerialNumber.Text(16)
		}
		if !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	server := func(name string, x *stapled, bad bool) {
		if x == nil {
			one("server", name, nil, true)
			return
		}
		one("server", name, x.pair.Leaf, bad)
		if x.responder != "" {
			d := Due{Kind: "ocsp", Name: name, Text: x.responder}
			if next := x.next.Load(); next > 0 {
				d.Ends = time.Unix(next, 0).UTC()
			}
			d.Bad = !d.Ends.After(now)
			all = append(all, d)
		}
	}
	for _, f := range s.certificates {
		server(f.name, f.stapled, f.bad != nil)
	}
	for _, host := range s.acmeHosts {
		server(host, m.acme.heldFor(host), false)
	}
	for _, o := range s.others {
		one(o.kind, o.name, o.cert, false)
	}
	for _, o := range s.organizations {
		for _, ca := range o.cas {
			one("ca", o.key, ca, false)
		}
		for _, l := range o.listStatus(now) {
			all = append(all, Due{Kind: "crl", Name: o.key, Text: l.Source, Ends: l.NextUpdate, Bad: l.State != "fresh"})
		}
		for _, c := range m.Seen(o.key, now) {
			if !c.Replaced {
				all = append(all, Due{Kind: "client", Name: o.key, Text: c.Subject, Ends: c.NotAfter, Serial: c.Serial})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Due) int {
		return cmp.Or(a.Ends.Compare(b.Ends), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return all
}
