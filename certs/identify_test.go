package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

type change = func(*x509.Certificate)

func dates(from, to time.Duration) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now().Add(from), time.Now().Add(to) }
}

func usage(l ...x509.ExtKeyUsage) change { return func(c *x509.Certificate) { c.ExtKeyUsage = l } }

func dns(l ...string) change { return func(c *x509.Certificate) { c.DNSNames = l } }

// TestIdentify holds the reason for every kind of chain that a client may show.
func TestIdentify(t *testing.T) {
	t.Parallel()
	meu := newAuthority(t, "MEU root", nil)
	meuSub := newAuthority(t, "MEU issuing", meu)
	meuSubSub := newAuthority(t, "MEU deep", meuSub)
	agkk := newAuthority(t, "AGKK root", nil)
	shared := newAuthority(t, "Shared trust service", nil)
	named := newAuthority(t, "Named by subject", nil)
	byName := newAuthority(t, "Named by alternative name", nil)
	stranger := newAuthority(t, "Stranger", nil)
	namesake := newAuthority(t, "MEU root", nil) // another key
	dead := newAuthority(t, "Dead root", nil, dates(-1000*day, -day))
	unborn := newAuthority(t, "Unborn root", nil, dates(day, 1000*day))
	narrow := newAuthority(t, "Narrow root", nil, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"narrow.example"}, true
	})
	flat := newAuthority(t, "Flat root", nil, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	flatSub := newAuthority(t, "Too deep", flat)
	serverOnly := newAuthority(t, "For servers only", meu, usage(x509.ExtKeyUsageServerAuth))
	deadSub := newAuthority(t, "Dead issuing", meu, dates(-1000*day, -day))
	unbornSub := newAuthority(t, "Unborn issuing", meu, dates(day, 1000*day))
	noCA := newAuthority(t, "No authority", meu, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })

	pinnedKey := newKey(t)
	pinned := newAuthority(t, "Pinned", nil)
	pin := pinOf(pinned.leafFor(t, &pinnedKey.PublicKey, subject(t, cn("x"))))
	qualified := func(types ...asn1.ObjectIdentifier) change {
		type statement struct {
			ID   asn1.ObjectIdentifier
			Info []asn1.ObjectIdentifier `asn1:"optional,omitempty"`
		}
		return func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidQCStatements, Value: marshal(t, []statement{{ID: oidQCCompliance}, {oidQCType, types}})}}
		}
	}
	s := build(t, newManager(t), Config{Organizations: map[string]Organization{
		"pinned":  {ID: unit.List{"NTRBG-20"}, SPKI: unit.List{pin}, CA: unit.List{write(t, pinned.cert)}},
		"servers": {ID: unit.List{"NTRBG-21"}, EKU: "any", CA: unit.List{write(t, shared.cert)}},
		"seal":    {ID: unit.List{"NTRBG-22"}, QC: &QC{Compliance: true, Type: "eseal"}, CA: unit.List{write(t, shared.cert)}},
		"meu":     {ID: unit.List{"NTRBG-1", "VATBG-1"}, CA: unit.List{write(t, meu.cert)}},
		"agkk":    {ID: unit.List{"NTRBG-2"}, CA: unit.List{write(t, agkk.cert), write(t, shared.cert)}},
		"nra":     {ID: unit.List{"NTRBG-3"}, CA: unit.List{write(t, shared.cert)}},
		"sofia":   {ID: unit.List{"NTRBG-4"}, CA: unit.List{write(t, shared.cert)}, ValidUntil: date(t, "2020-06-30")},
		"named":   {Subject: &SubjectMatch{O: "Named", C: "BG"}, CA: unit.List{write(t, named.cert)}},
		"byname":  {SAN: unit.List{"dns:*.byname.example", "uri:urn:egov:byname:*", "email:*@byname.example"}, CA: unit.List{write(t, byName.cert)}},
		"both":    {ID: unit.List{"NTRBG-5"}, SAN: unit.List{"dns:api.both.example"}, CA: unit.List{write(t, shared.cert)}},
		"dead":    {ID: unit.List{"NTRBG-6"}, CA: unit.List{write(t, dead.cert)}},
		"unborn":  {ID: unit.List{"NTRBG-7"}, CA: unit.List{write(t, unborn.cert)}},
		"narrow":  {ID: unit.List{"NTRBG-8"}, CA: unit.List{write(t, narrow.cert)}},
		"flat":    {ID: unit.List{"NTRBG-9"}, CA: unit.List{write(t, flat.cert)}},
	}})

	one := subject(t, orgID("NTRBG-1"), cn("client"))
	two := subject(t, orgID("NTRBG-2"))
	three := subject(t, orgID("NTRBG-3"))
	fullName := []at{{oidO, asn1.TagUTF8String, "Named"}, {oidC, asn1.TagPrintableString, "BG"}}
	chain := func(l ...*x509.Certificate) []*x509.Certificate { return l }
	smallRSA, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	bigN := new(big.Int).SetBit(big.NewInt(1), 2047, 1)
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaRoot := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "RSA issuing"}, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	weakSub := create(t, rsaRoot, meu.cert, &smallRSA.PublicKey, meu.key)
	underWeak := create(t, &x509.Certificate{
		SerialNumber: serial(), RawSubject: one, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, weakSub, &newKey(t).PublicKey, smallRSA)
	sha1 := create(t, &x509.Certificate{
		SerialNumber: serial(), RawSubject: one, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, SignatureAlgorithm: x509.SHA1WithRSA,
	}, weakSub, &newKey(t).PublicKey, smallRSA)
	long := func(n int) []*x509.Certificate {
		l := chain(meu.leaf(t, one))
		for len(l) < n {
			l = append(l, stranger.cert)
		}
		return l
	}
	forged := meu.leaf(t, one)
	forged = &x509.Certificate{Version: 3, SerialNumber: forged.SerialNumber, Raw: forged.Raw, RawTBSCertificate: append(slices.Clone(forged.RawTBSCertificate), 0), RawSubject: forged.RawSubject, RawIssuer: forged.RawIssuer,
		PublicKey: forged.PublicKey, SignatureAlgorithm: forged.SignatureAlgorithm, Signature: forged.Signature, NotBefore: forged.NotBefore, NotAfter: forged.NotAfter, ExtKeyUsage: forged.ExtKeyUsage}

	for _, tt := range []struct {
		name    string
		peers   []*x509.Certificate
		want    Reason // none: let in
		org     string // proven, or claimed where there is a reason
		id      string
		details string // part of it
	}{
		// Let in.
		{"identifier and authority fit", chain(meu.leaf(t, one)), "", "meu", "NTRBG-1", ""},
		{"second identifier", chain(meu.leaf(t, subject(t, orgID("VATBG-1")))), "", "meu", "VATBG-1", ""},
		{"PrintableString", chain(meu.leaf(t, subject(t, at{oidOrganizationIdentifier, asn1.TagPrintableString, "NTRBG-1"}))), "", "meu", "NTRBG-1", ""},
		{"intermediate", chain(meuSub.leaf(t, one), meuSub.cert), "", "meu", "NTRBG-1", ""},
		{"two intermediates in the wrong order", chain(meuSubSub.leaf(t, one), meuSub.cert, meuSubSub.cert), "", "meu", "NTRBG-1", ""},
		{"root sent along", chain(meu.leaf(t, one), meu.cert), "", "meu", "NTRBG-1", ""},
		{"second authority of an organization", chain(shared.leaf(t, two)), "", "agkk", "NTRBG-2", ""},
		{"shared authority", chain(shared.leaf(t, three)), "", "nra", "NTRBG-3", ""},
		{"Ed25519", chain(meu.leafFor(t, ed, one)), "", "meu", "NTRBG-1", ""},
		{"RSA of 2048 bits", chain(meu.leafFor(t, &rsa.PublicKey{N: bigN, E: 65537}, one)), "", "meu", "NTRBG-1", ""},
		{"no extended key usage: RFC 5280 allows all", chain(meu.leaf(t, one, usage())), "", "meu", "NTRBG-1", ""},
		{"any extended key usage", chain(meu.leaf(t, one, usage(x509.ExtKeyUsageAny))), "", "meu", "NTRBG-1", ""},
		{"client and server", chain(meu.leaf(t, one, usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))), "", "meu", "NTRBG-1", ""},
		{"as many certificates as allowed", long(maxChain), "", "meu", "NTRBG-1", ""},
		{"by subject", chain(named.leaf(t, subject(t, fullName...))), "", "named", "Named", ""},
		{"by domain name", chain(byName.leaf(t, subject(t, cn("x")), dns("API.byname.example"))), "", "byname", "API.byname.example", ""},
		{"by URI", chain(byName.leaf(t, subject(t, cn("x")), func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "urn", Opaque: "egov:byname:7"}} })), "", "byname", "urn:egov:byname:7", ""},
		{"by e-mail", chain(byName.leaf(t, subject(t, cn("x")), func(c *x509.Certificate) { c.EmailAddresses = []string{"noc@byname.example"} })), "", "byname", "noc@byname.example", ""},
		{"by identifier and name", chain(shared.leaf(t, subject(t, orgID("NTRBG-5")), dns("api.both.example"))), "", "both", "NTRBG-5", ""},
		{"within name constraints", chain(narrow.leaf(t, subject(t, orgID("NTRBG-8")), dns("a.narrow.example"))), "", "narrow", "NTRBG-8", ""},
		{"pinned key", chain(pinned.leafFor(t, &pinnedKey.PublicKey, subject(t, orgID("NTRBG-20")))), "", "pinned", "NTRBG-20", ""},
		{"for servers only, where that is enough", chain(shared.leaf(t, subject(t, orgID("NTRBG-21")), usage(x509.ExtKeyUsageServerAuth))), "", "servers", "NTRBG-21", ""},
		{"qualified seal", chain(shared.leaf(t, subject(t, orgID("NTRBG-22")), qualified(qcTypes["eseal"]))), "", "seal", "NTRBG-22", ""},

		// Refused.
		{"none", nil, NoClientCert, "", "", ""},
		{"too many certificates", long(maxChain + 1), BadCertificate, "", "", "at most 10"},
		{"too large", chain(meu.leaf(t, one), meu.leaf(t, one, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: make([]byte, maxChainBytes)}}
		})), BadCertificate, "", "", "bytes"},
		{"two identifiers", chain(meu.leaf(t, subject(t, orgID("NTRBG-1"), orgID("NTRBG-2")))), BadCertificate, "", "", "twice"},
		{"the same identifier twice", chain(meu.leaf(t, subject(t, orgID("NTRBG-1"), orgID("NTRBG-1")))), BadCertificate, "", "", "twice"},
		{"two identifiers in one RDN", chain(meu.leaf(t, marshal(t, []asn1.RawValue{rdn(t, orgID("NTRBG-1"), orgID("NTRBG-2"))}))), BadCertificate, "", "", "twice"},
		{"NUL in the identifier", chain(meu.leaf(t, subject(t, orgID("NTRBG-1\x00.evil")))), BadCertificate, "", "", "NUL"},
		{"empty identifier", chain(meu.leaf(t, subject(t, orgID("")))), BadCertificate, "", "", "empty"},
		{"empty identifier before another", chain(meu.leaf(t, subject(t, orgID(""), orgID("NTRBG-1")))), BadCertificate, "", "", ""},
		{"very long identifier", chain(meu.leaf(t, subject(t, orgID(strings.Repeat("N", maxAttribute+1))))), BadCertificate, "", "", "longer"},
		{"BMPString", chain(meu.leaf(t, subject(t, at{oidOrganizationIdentifier, asn1.TagBMPString, "\x00N\x00T\x00R\x00B\x00G\x00-\x001"}))), BadCertificate, "", "", "UTF8String"},
		{"TeletexString", chain(meu.leaf(t, subject(t, at{oidOrganizationIdentifier, asn1.TagT61String, "NTRBG-1"}))), BadCertificate, "", "", "UTF8String"},
		{"IA5String", chain(meu.leaf(t, subject(t, at{oidOrganizationIdentifier, asn1.TagIA5String, "NTRBG-1"}))), BadCertificate, "", "", "UTF8String"},
		{"an authority as client", chain(newAuthority(t, "x", meu, func(c *x509.Certificate) { c.RawSubject = one }).cert), BadCertificate, "", "", "authority"},
		{"RSA of 1024 bits", chain(meu.leafFor(t, &smallRSA.PublicKey, one)), BadCertificate, "", "", "1024"},
		{"RSA with exponent 3", chain(meu.leafFor(t, &rsa.PublicKey{N: bigN, E: 3}, one)), BadCertificate, "", "", "exponent"},
		{"P-224", chain(meu.leafFor(t, &p224.PublicKey, one)), BadCertificate, "", "", "224"},
		{"weak intermediate", chain(underWeak, weakSub), BadCertificate, "meu", "", "1024"},
		{"SHA-1", chain(sha1, weakSub), BadCertificate, "", "", "SHA1"},
		{"outside of name constraints", chain(narrow.leaf(t, subject(t, orgID("NTRBG-8")), dns("a.wide.example"))), BadCertificate, "narrow", "", ""},
		{"path too long", chain(flatSub.leaf(t, subject(t, orgID("NTRBG-9"))), flatSub.cert), BadCertificate, "flat", "", ""},
		{"unknown critical extension", chain(meu.leaf(t, one, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		})), BadCertificate, "meu", "", ""},

		{"unknown authority", chain(stranger.leaf(t, one)), UnknownCA, "meu", "", ""},
		{"unknown authority sent along", chain(stranger.leaf(t, one), stranger.cert), UnknownCA, "meu", "", ""},
		{"authority of the same name", chain(namesake.leaf(t, one), namesake.cert), UnknownCA, "meu", "", ""},
		{"unknown authority, expired", chain(stranger.leaf(t, one, dates(-2*day, -day))), UnknownCA, "meu", "", ""},
		{"unknown authority, no identifier", chain(stranger.leaf(t, subject(t, cn("x")))), UnknownCA, "", "", ""},
		{"intermediate missing", chain(meuSub.leaf(t, one)), UnknownCA, "meu", "", ""},
		{"issued by a client", chain(noCA.leaf(t, one), noCA.cert), UnknownCA, "meu", "", ""},
		{"broken signature", chain(forged), UnknownCA, "meu", "", ""},

		{"expired", chain(meu.leaf(t, one, dates(-2*day, -day))), Expired, "meu", "", "expired on"},
		{"not yet valid", chain(meu.leaf(t, one, dates(day, 2*day))), NotYetValid, "meu", "", "valid from"},
		{"intermediate expired", chain(deadSub.leaf(t, one), deadSub.cert), Expired, "meu", "", "chain"},
		{"intermediate not yet valid", chain(unbornSub.leaf(t, one), unbornSub.cert), NotYetValid, "meu", "", "chain"},
		{"authority expired", chain(dead.leaf(t, subject(t, orgID("NTRBG-6")))), Expired, "dead", "", ""},
		{"authority not yet valid", chain(unborn.leaf(t, subject(t, orgID("NTRBG-7")))), NotYetValid, "unborn", "", ""},
		{"expired, and for servers only", chain(meu.leaf(t, one, dates(-2*day, -day), usage(x509.ExtKeyUsageServerAuth))), Expired, "meu", "", ""},
		{"expired, under another organization's authority", chain(agkk.leaf(t, one, dates(-2*day, -day))), Expired, "meu", "", ""},

		{"for servers only", chain(meu.leaf(t, one, usage(x509.ExtKeyUsageServerAuth))), ServerOnly, "meu", "", "eku: any"},
		{"for servers and e-mail", chain(meu.leaf(t, one, usage(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageEmailProtection))), ServerOnly, "meu", "", "eku: any"},
		{"for e-mail only", chain(meu.leaf(t, one, usage(x509.ExtKeyUsageEmailProtection))), WrongUsage, "meu", "", ""},
		{"issued by an authority for servers only", chain(serverOnly.leaf(t, one), serverOnly.cert), WrongUsage, "meu", "", ""},
		{"key not for signatures", chain(meu.leaf(t, one, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })), WrongUsage, "meu", "", "keyUsage"},

		{"identifier of another organization", chain(meu.leaf(t, two)), WrongOrganization, "agkk", "", ""},
		{"authority of another organization", chain(agkk.leaf(t, one)), WrongOrganization, "meu", "", ""},
		{"identifier of nobody", chain(meu.leaf(t, subject(t, orgID("NTRBG-999")))), WrongOrganization, "", "", ""},
		{"identifier in other case", chain(meu.leaf(t, subject(t, orgID("ntrbg-1")))), WrongOrganization, "", "", ""},
		{"identifier with a space", chain(meu.leaf(t, subject(t, orgID("NTRBG-1 ")))), WrongOrganization, "", "", ""},
		{"identifier with a look-alike", chain(meu.leaf(t, subject(t, orgID("NTRВG-1")))), WrongOrganization, "", "", ""},
		{"identifier that starts alike", chain(meu.leaf(t, subject(t, orgID("NTRBG-10")))), WrongOrganization, "", "", ""},
		{"no identifier", chain(meu.leaf(t, subject(t, cn("x")))), WrongOrganization, "", "", ""},
		{"identifier as common name", chain(meu.leaf(t, subject(t, cn("NTRBG-1")))), WrongOrganization, "", "", ""},
		{"identifier inside of another attribute", chain(meu.leaf(t, subject(t, at{oidO, asn1.TagUTF8String, "X, 2.5.4.97=NTRBG-1"}))), WrongOrganization, "", "", ""},
		{"by subject, one attribute missing", chain(named.leaf(t, subject(t, fullName[0]))), WrongOrganization, "", "", ""},
		{"by subject, attribute twice", chain(named.leaf(t, subject(t, fullName[0], fullName[0], fullName[1]))), BadCertificate, "", "", "twice"},
		{"by subject, other encoding", chain(named.leaf(t, subject(t, at{oidO, asn1.TagBMPString, "\x00N\x00a\x00m\x00e\x00d"}, fullName[1]))), BadCertificate, "", "", "UTF8String"},
		{"by subject, under another authority", chain(meu.leaf(t, subject(t, fullName...))), WrongOrganization, "named", "", ""},
		{"by domain name, one label too many", chain(byName.leaf(t, subject(t, cn("x")), dns("a.b.byname.example"))), WrongOrganization, "", "", ""},
		{"by domain name, as a suffix", chain(byName.leaf(t, subject(t, cn("x")), dns("api.byname.example.evil.example"))), WrongOrganization, "", "", ""},
		{"by domain name, bare", chain(byName.leaf(t, subject(t, cn("x")), dns("byname.example"))), WrongOrganization, "", "", ""},
		{"domain name as common name", chain(byName.leaf(t, subject(t, cn("api.byname.example")))), WrongOrganization, "", "", ""},
		{"identifier fits, name does not", chain(shared.leaf(t, subject(t, orgID("NTRBG-5")), dns("api.other.example"))), WrongOrganization, "", "", ""},
		{"address as name", chain(byName.leaf(t, subject(t, cn("x")), func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })), WrongOrganization, "", "", ""},

		{"another key than the pinned one", chain(pinned.leaf(t, subject(t, orgID("NTRBG-20")))), WrongOrganization, "", "", ""},
		{"pinned key under another authority", chain(shared.leafFor(t, &pinnedKey.PublicKey, subject(t, orgID("NTRBG-20")))), WrongOrganization, "pinned", "", ""},
		{"any usage, but no signatures", chain(shared.leaf(t, subject(t, orgID("NTRBG-21")), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement })), WrongUsage, "servers", "", "keyUsage"},
		{"any usage is of no use to another organization", chain(shared.leaf(t, three, usage(x509.ExtKeyUsageServerAuth))), ServerOnly, "nra", "", "eku: any"},
		{"not qualified", chain(shared.leaf(t, subject(t, orgID("NTRBG-22")))), BadCertificate, "", "", "QcCompliance"},
		{"qualified for something else", chain(shared.leaf(t, subject(t, orgID("NTRBG-22")), qualified(qcTypes["web"]))), BadCertificate, "", "", "QcType"},
		{"unreadable qualified statements", chain(shared.leaf(t, subject(t, orgID("NTRBG-22")), func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidQCStatements, Value: []byte{1, 2, 3}}}
		})), BadCertificate, "", "", "can't be read"},

		{"agreement ended", chain(shared.leaf(t, subject(t, orgID("NTRBG-4")))), AgreementExpired, "sofia", "", "2020-06-30"},
		{"agreement ended, under another authority", chain(agkk.leaf(t, subject(t, orgID("NTRBG-4")))), WrongOrganization, "sofia", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := s.Identify(state(tt.peers...), time.Now())
			if got.Reason != tt.want || got.Claimed != tt.org {
				t.Fatalf("got reason %q, claimed %q (%s), want %q, %q", got.Reason, got.Claimed, got.Detail, tt.want, tt.org)
			}
			if !strings.Contains(got.Detail, tt.details) {
				t.Errorf("got detail %q, want it to hold %q", got.Detail, tt.details)
			}
			if tt.want != "" {
				if got.Organization != "" || got.Chain != nil {
					t.Errorf("got organization %q and a chain of %d from a refused certificate", got.Organization, len(got.Chain))
				}
				return
			}
			if got.Organization != tt.org || got.ID != tt.id {
				t.Errorf("got organization %q, id %q, want %q, %q", got.Organization, got.ID, tt.org, tt.id)
			}
			if len(got.Chain) == 0 || got.Chain[0] != got.Leaf {
				t.Errorf("got a chain of %d", len(got.Chain))
			}
		})
	}
}

// TestIdentifyTime holds the edges of the agreement's last day and of validity.
func TestIdentifyTime(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)
	})
	s := build(t, newManager(t), Config{Organizations: map[string]Organization{
		"a": {ID: unit.List{"A"}, CA: unit.List{write(t, ca.cert)}, ValidUntil: date(t, "2027-06-30")},
	}})
	from, to := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)
	leaf := ca.leaf(t, subject(t, orgID("A")), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to })
	for _, tt := range []struct {
		now  time.Time
		want Reason
	}{
		{from.Add(-time.Second), NotYetValid},
		{from, ""},
		{time.Date(2027, 6, 30, 23, 59, 59, 0, time.UTC), ""},
		{time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), AgreementExpired},
		{to, AgreementExpired},
		{to.Add(time.Second), Expired},
	} {
		if got := s.Identify(state(leaf), tt.now).Reason; got != tt.want {
			t.Errorf("at %s: got %q, want %q", tt.now, got, tt.want)
		}
	}
}

// TestIdentifyNeverSystemRoots makes sure that without organizations nobody is
// anybody, whatever the system trusts.
func TestIdentifyNeverSystemRoots(t *testing.T) {
	ca := newAuthority(t, "in the system's store", nil)
	t.Setenv("SSL_CERT_FILE", write(t, ca.cert))
	s := build(t, newManager(t), Config{})
	if got := s.Identify(state(ca.leaf(t, subject(t, orgID("A")))), time.Now()).Reason; got != UnknownCA {
		t.Errorf("got %q, want %q", got, UnknownCA)
	}
}

// FuzzIdentify changes certificates and what is sent with them, and has an
// authority sign the first again, as a careless one would. Whatever is let in
// says exactly what a configured organization demands, once, and was signed by
// exactly that organization's authority.
func FuzzIdentify(f *testing.F) {
	root, other, third := newAuthority(f, "root", nil), newAuthority(f, "other", nil), newAuthority(f, "third", nil)
	sub := newAuthority(f, "sub", root)
	authorities := map[string]*authority{"a": root, "b": third, "c": other}
	config := Config{Organizations: map[string]Organization{
		"a": {ID: unit.List{"NTRBG-1", "VATBG-1"}, CA: unit.List{write(f, root.cert)}},
		"b": {Subject: &SubjectMatch{CN: "b"}, CA: unit.List{write(f, third.cert)}, SAN: unit.List{"uri:urn:*", "dns:*.b.example"}},
		"c": {ID: unit.List{"NTRBG-2"}, EKU: "any", CA: unit.List{write(f, other.cert)}},
	}}
	s := build(f, newManager(f), config)
	good := root.leaf(f, subject(f, orgID("NTRBG-1")))
	second := sub.leaf(f, subject(f, orgID("NTRBG-1")))
	for i, c := range []*x509.Certificate{
		good, second, sub.cert, root.cert,
		root.leaf(f, subject(f, orgID("NTRBG-2"))),
		root.leaf(f, subject(f, orgID("NTRBG-1"), orgID("NTRBG-2"))),
		root.leaf(f, marshal(f, []asn1.RawValue{rdn(f, orgID("VATBG-1"), cn("x"))})),
		root.leaf(f, subject(f, at{oidOrganizationIdentifier, asn1.TagBMPString, "\x00N"})),
		third.leaf(f, subject(f, cn("b")), dns("x.b.example", "y.c.example")),
		third.leaf(f, subject(f, cn("b")), func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "urn", Opaque: "x"}} }),
		other.leaf(f, subject(f, orgID("NTRBG-2")), usage(x509.ExtKeyUsageServerAuth)),
	} {
		f.Add(c.Raw, uint8(i))
	}
	now := time.Now()
	f.Fuzz(func(t *testing.T, der []byte, by uint8) {
		show := func(peers ...*x509.Certificate) {
			leaf := peers[0]
			id := s.Identify(state(peers...), now)
			if again := s.Identify(state(peers...), now); again.Reason != id.Reason || again.Organization != id.Organization || again.ID != id.ID {
				t.Fatalf("got %q, %q at first and %q, %q then", id.Organization, id.Reason, again.Organization, again.Reason)
			}
			if (id.Reason == "") != (id.Organization != "") || (id.Reason == "") != (id.Chain != nil) {
				t.Fatalf("got reason %q with organization %q and a chain of %d", id.Reason, id.Organization, len(id.Chain))
			}
			if id.Reason != "" {
				return
			}
			// The chain: from the leaf, each signed by the next, to the authority.
			at := authorities[id.Organization].cert
			for i, c := range append(id.Chain, at) {
				if i == 0 && !c.Equal(leaf) || i > 0 && id.Chain[i-1].CheckSignatureFrom(c) != nil || i > 0 && !c.IsCA || now.Before(c.NotBefore) || now.After(c.NotAfter) {
					t.Fatalf("%q is proven by a chain that is broken at %d", id.Organization, i)
				}
			}
			// The name, by another reading than the one that decided.
			if o := config.Organizations[id.Organization]; len(o.ID) > 0 {
				if !slices.Contains(o.ID, id.ID) || bytes.Count(leaf.RawSubject, []byte{6, 3, 0x55, 4, 0x61}) != 1 || !bytes.Contains(leaf.RawSubject, append([]byte{byte(len(id.ID))}, id.ID...)) {
					t.Fatalf("%q is proven by %q in the subject %x", id.Organization, id.ID, leaf.RawSubject)
				}
			} else if leaf.Subject.CommonName != "b" || len(leaf.DNSNames)+len(leaf.URIs) == 0 {
				t.Fatalf("%q is proven by %s", id.Organization, leaf.Subject)
			}
			if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && id.Organization != "c" && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
				t.Fatalf("%q is proven by a certificate for %v", id.Organization, leaf.ExtKeyUsage)
			}
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		show(c)
		show(c, sub.cert)
		show(c, c, good)
		show(good, c)
		show(second, c, sub.cert)
		// Signed anew, by this authority or that, under its name.
		a := []*authority{root, sub, other, third}[by%4]
		var b tbs
		if rest, err := asn1.Unmarshal(c.RawTBSCertificate, &b); err != nil || len(rest) > 0 {
			return
		}
		again, err := x509.ParseCertificate(a.forge(t, c, func(b *tbs) { b.Issuer = asn1.RawValue{FullBytes: a.cert.RawSubject} }))
		if err != nil {
			return
		}
		show(again)
		show(again, sub.cert, root.cert)
		show(again, c, sub.cert)
	})
}
