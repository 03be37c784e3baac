package certs

import (
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestTrustID makes sure that everything that decides identities, and nothing
// else, has a part in the TrustID.
func TestTrustID(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "root", nil), newAuthority(t, "other", nil)
	m := newManager(t)
	base := func() Organization {
		return Organization{ID: unit.List{"A", "B"}, CA: unit.List{write(t, ca.cert)}, CRL: CRLs{{URL: "http://127.0.0.1:1/a.crl"}}}
	}
	id := func(change func(*Organization)) string {
		t.Helper()
		o := base()
		change(&o)
		return build(t, m, Config{Organizations: map[string]Organization{"a": o}}).TrustID()
	}
	first := id(func(*Organization) {})
	for what, change := range map[string]func(*Organization){
		"nothing":                  func(*Organization) {},
		"the name for people":      func(o *Organization) { o.Name = "A" },
		"the place of the CA file": func(o *Organization) { o.CA = unit.List{write(t, ca.cert)} },
		"a policy that is default": func(o *Organization) { o.Revocation = &Revocation{Mode: modeRequire} },
	} {
		if got := id(change); got != first {
			t.Errorf("%s: got another TrustID", what)
		}
	}
	seen := map[string]string{first: "nothing"}
	for what, change := range map[string]func(*Organization){
		"an identifier less":            func(o *Organization) { o.ID = unit.List{"A"} },
		"identifiers that run together": func(o *Organization) { o.ID = unit.List{"A B"} },
		"an authority more":             func(o *Organization) { o.CA = append(o.CA, write(t, other.cert)) },
		"another authority":             func(o *Organization) { o.CA = unit.List{write(t, other.cert)} },
		"subject":                       func(o *Organization) { o.Subject = &SubjectMatch{CN: "A"} },
		"another subject":               func(o *Organization) { o.Subject = &SubjectMatch{O: "A"} },
		"names":                         func(o *Organization) { o.SAN = unit.List{"dns:a.example"} },
		"pin":                           func(o *Organization) { o.SPKI = unit.List{pinOf(ca.cert)} },
		"usage":                         func(o *Organization) { o.EKU = "any" },
		"qualified":                     func(o *Organization) { o.QC = &QC{Compliance: true} },
		"the end of the agreement":      func(o *Organization) { o.ValidUntil = date(t, "2099-01-01") },
		"no list":                       func(o *Organization) { o.CRL = nil },
		"another list":                  func(o *Organization) { o.CRL[0].URL += "x" },
		"the list's age":                func(o *Organization) { o.CRL[0].MaxAge = unit.Duration(time.Hour) },
		"a list more":                   func(o *Organization) { o.CRL = append(o.CRL, CRL{URL: "http://127.0.0.1:1/b.crl"}) },
		"a responder":                   func(o *Organization) { o.OCSP = &OCSP{URL: "http://127.0.0.1:1/"} },
		"the certificate's responder":   func(o *Organization) { o.OCSP = &OCSP{FromCertificate: true} },
		"grace":                         func(o *Organization) { o.Revocation = &Revocation{Mode: modeGrace} },
		"more grace": func(o *Organization) {
			o.Revocation = &Revocation{Mode: modeGrace, Grace: unit.Duration(48 * time.Hour)}
		},
		"observe": func(o *Organization) { o.Revocation = &Revocation{Mode: modeObserve} },
	} {
		got := id(change)
		if former, ok := seen[got]; ok {
			t.Errorf("%s: got the TrustID of %s", what, former)
		}
		seen[got] = what
	}
}
