package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// unreadable is the outcome of a certificate that the TLS handshake refuses,
// for x509 can't read it.
const unreadable Reason = "unreadable"

// corpusEntry is a chain that a client shows, in DER, and what comes of it.
type corpusEntry struct {
	name string
	sent [][]byte
	want Reason // none: let in
	org  string
}

// newCorpus makes an organization "meu" of NTRBG-1 under its own authority, and
// its neighbors, with chains that are good, bad and worse.
func newCorpus(t testing.TB) (Config, []corpusEntry) {
	t.Helper()
	root := newAuthority(t, "Root", nil)
	sub := newAuthority(t, "Issuing", root)
	other := newAuthority(t, "Other root", nil)
	shared := newAuthority(t, "Trust service", nil)
	byName := newAuthority(t, "Names", nil)
	stranger := newAuthority(t, "Stranger", nil)
	leafKey := newKey(t)

	config := Config{Organizations: map[string]Organization{
		"meu":   {ID: unit.List{"NTRBG-1"}, CA: unit.List{write(t, root.cert)}},
		"nra":   {ID: unit.List{"NTRBG-2"}, CA: unit.List{write(t, other.cert)}},
		"cn":    {Subject: &SubjectMatch{CN: "portal.cn.example", O: "CN"}, CA: unit.List{write(t, byName.cert)}},
		"dns":   {SAN: unit.List{"dns:*.dns.example"}, Subject: &SubjectMatch{O: "DNS"}, CA: unit.List{write(t, byName.cert)}},
		"any":   {ID: unit.List{"NTRBG-3"}, EKU: "any", CA: unit.List{write(t, shared.cert)}},
		"ended": {ID: unit.List{"NTRBG-4"}, CA: unit.List{write(t, shared.cert)}, ValidUntil: date(t, "2020-01-31")},
		"seal":  {ID: unit.List{"NTRBG-5"}, QC: &QC{Type: "eseal"}, CA: unit.List{write(t, shared.cert)}},
		"pin":   {SPKI: unit.List{pinOf(shared.leafFor(t, &leafKey.PublicKey, subject(t, cn("x"))))}, ID: unit.List{"NTRBG-6"}, CA: unit.List{write(t, shared.cert)}},
	}}

	one := subject(t, cn("client"), orgID("NTRBG-1"))
	ids := func(a ...at) []byte { return subject(t, append([]at{cn("client")}, a...)...) }
	as := func(tag int, v string) []byte { return ids(at{oidOrganizationIdentifier, tag, v}) }
	der := func(l ...*x509.Certificate) (b [][]byte) {
		for _, c := range l {
			b = append(b, c.Raw)
		}
		return b
	}
	good := root.leaf(t, one)
	under := func(a *authority, change ...change) [][]byte { return der(a.leaf(t, one, change...), a.cert) }
	portal := func(name at) [][]byte {
		return der(byName.leaf(t, subject(t, name, at{oidO, asn1.TagUTF8String, "CN"})))
	}
	ca := func(name string, parent *authority, change ...change) *authority {
		return newAuthority(t, name, parent, change...)
	}
	ext := func(id asn1.ObjectIdentifier, critical bool, value []byte) change {
		return func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Critical: critical, Value: value})
		}
	}
	forged := func(change func(*tbs)) [][]byte { return [][]byte{root.forge(t, good, change)} }
	ecKey := func(c elliptic.Curve) *ecdsa.PublicKey {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return &k.PublicKey
	}
	rsaKey := func(bits int) *rsa.PrivateKey {
		k, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	small, big2048 := rsaKey(1024), rsaKey(2048)
	// An intermediate with an RSA key, for old kinds of signatures.
	rsaSub := create(t, &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: "RSA issuing"}, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, root.cert, &big2048.PublicKey, root.key)
	byRSA := func(a x509.SignatureAlgorithm) *x509.Certificate {
		return create(t, &x509.Certificate{
			SerialNumber: serial(), RawSubject: one, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day), SignatureAlgorithm: a,
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, rsaSub, &leafKey.PublicKey, big2048)
	}
	md5 := resign(t, byRSA(x509.SHA256WithRSA), oidMD5WithRSA, func(*tbs) {}, md5Signer(t, big2048))

	// Authorities with flaws, all issued by the good root.
	flat := ca("Flat", root, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	belowFlat := ca("Below flat", flat)
	noFlag := ca("Not an authority", root, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, true })
	noBasic := ca("No basic constraints", root, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false })
	noSign := ca("May not sign", root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	dead := ca("Dead", root, dates(-100*day, -day))
	unborn := ca("Unborn", root, dates(day, 100*day))
	forServers := ca("For servers", root, usage(x509.ExtKeyUsageServerAuth))
	narrow := ca("Narrow", root, func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"narrow.example"}, true
	})
	without := ca("Without", root, func(c *x509.Certificate) {
		c.ExcludedDNSDomains, c.PermittedDNSDomainsCritical = []string{"secret.example"}, true
	})
	// Name constraints on the subject: [0] permitted {[4] directoryName}.
	dirConstraint := marshal(t, []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: marshal(t, []asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: subject(t, at{oidO, asn1.TagUTF8String, "Somebody else"})},
	})}})
	ofOthers := ca("Of others", root, ext(oidNameConstraints, true, dirConstraint))
	ofOthersMildly := ca("Of others, not critical", root, ext(oidNameConstraints, false, dirConstraint))
	strange := ca("Strange", root, ext(asn1.ObjectIdentifier{1, 2, 3, 4}, true, []byte{5, 0}))

	// Loops and crossings.
	loopA, loopB := ca("Loop A", nil), ca("Loop B", nil)
	loopAB := create(t, template("Loop A"), loopB.cert, &loopA.key.PublicKey, loopB.key)
	loopBA := create(t, template("Loop B"), loopA.cert, &loopB.key.PublicKey, loopA.key)
	crossed := ca("New root", nil)
	crossing := create(t, template("New root"), root.cert, &crossed.key.PublicKey, root.key)            // the root vouches for its successor
	foreignCrossing := create(t, template("Root"), other.cert, &root.key.PublicKey, other.key)          // another vouches for our root
	strangerCrossing := create(t, template("Stranger"), loopA.cert, &stranger.key.PublicKey, loopA.key) // worth nothing
	oneName := ca("One name", nil)
	var crowd [][]byte
	for range maxIssuers + 1 {
		crowd = append(crowd, create(t, template("One name"), stranger.cert, &oneName.key.PublicKey, stranger.key).Raw)
	}
	deep := []*authority{root}
	for i := range maxChain - 2 {
		deep = append(deep, ca(fmt.Sprintf("Level %d", i), deep[i]))
	}
	last := deep[len(deep)-1]
	longChain := [][]byte{last.leaf(t, one).Raw}
	for i := len(deep) - 1; i > 0; i-- {
		longChain = append(longChain, deep[i].cert.Raw)
	}
	many := longChain
	for range 3 {
		many = append(slices.Clone(many), stranger.cert.Raw)
	}
	self := &authority{key: leafKey}
	self.cert = create(t, &x509.Certificate{
		SerialNumber: serial(), RawSubject: one, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, &x509.Certificate{RawSubject: one}, &leafKey.PublicKey, leafKey)
	namesake := ca("Root", nil)
	client := &authority{root.leafFor(t, &leafKey.PublicKey, one), leafKey}
	issuerIsNamed := ca("x", root, func(c *x509.Certificate) { c.RawSubject = one })
	dirSAN := marshal(t, []asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: one}})
	var manyNames []asn1.RawValue
	for range maxNames + 1 {
		manyNames = append(manyNames, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte("a.dns.example")})
	}
	var manyAttributes []at
	for range maxAttributes {
		manyAttributes = append(manyAttributes, at{oidOU, asn1.TagUTF8String, "x"})
	}
	utf32 := func(s string) string {
		b := ""
		for _, r := range s {
			b += string([]byte{0, 0, 0, byte(r)})
		}
		return b
	}
	utf16 := func(s string) string {
		b := ""
		for _, r := range s {
			b += string([]byte{0, byte(r)})
		}
		return b
	}
	const universalString = 28
	bigN := new(big.Int).SetBit(big.NewInt(1), 2047, 1)
	bigN.SetBit(bigN, 0, 1)

	return config, []corpusEntry{
		// Controls, which get in.
		{"good", der(good), "", "meu"},
		{"good, under an intermediate", under(sub), "", "meu"},
		{"good, with the root sent along", under(root), "", "meu"},
		{"good, PrintableString", der(root.leaf(t, as(asn1.TagPrintableString, "NTRBG-1"))), "", "meu"},
		{"good, as deep as can be", longChain, "", "meu"},
		{"good, RSA", der(root.leafFor(t, &big2048.PublicKey, one)), "", "meu"},
		{"good, by RSA with SHA-256", der(byRSA(x509.SHA256WithRSA), rsaSub), "", "meu"},
		{"good, P-384", der(root.leafFor(t, ecKey(elliptic.P384()), one)), "", "meu"},
		{"good, client and server", der(root.leaf(t, one, usage(x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth))), "", "meu"},
		{"good, no extended usage, which allows all", der(root.leaf(t, one, usage())), "", "meu"},
		{"good, the root vouches for its successor", der(crossed.leaf(t, one), crossing), "", "meu"},
		{"good, within name constraints", under(narrow, dns("a.narrow.example")), "", "meu"},
		{"good, outside of what is excluded", under(without, dns("a.open.example")), "", "meu"},
		{"good, with what another vouches for sent along", der(good, foreignCrossing), "", "meu"},
		{"good, common name", portal(cn("portal.cn.example")), "", "cn"},
		{"good, alternative name", der(byName.leaf(t, subject(t, at{oidO, asn1.TagUTF8String, "DNS"}), dns("a.dns.example"))), "", "dns"},
		{"good, server certificate where that is enough", der(shared.leaf(t, ids(orgID("NTRBG-3")), usage(x509.ExtKeyUsageServerAuth))), "", "any"},
		{"good, pinned", der(shared.leafFor(t, &leafKey.PublicKey, ids(orgID("NTRBG-6")))), "", "pin"},

		// Time.
		{"expired", under(root, dates(-2*day, -day)), Expired, "meu"},
		{"expired a second ago", under(root, dates(-2*day, -time.Second)), Expired, "meu"},
		{"not yet valid", under(root, dates(day, 2*day)), NotYetValid, "meu"},
		{"expired intermediate", under(dead), Expired, "meu"},
		{"intermediate not yet valid", under(unborn), NotYetValid, "meu"},
		{"agreement ended", der(shared.leaf(t, ids(orgID("NTRBG-4")))), AgreementExpired, "ended"},

		// Usage.
		{"for servers only", under(root, usage(x509.ExtKeyUsageServerAuth)), ServerOnly, "meu"},
		{"for e-mail only", under(root, usage(x509.ExtKeyUsageEmailProtection)), WrongUsage, "meu"},
		{"for code only", under(root, usage(x509.ExtKeyUsageCodeSigning)), WrongUsage, "meu"},
		{"unknown usage", under(root, usage(), func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3, 4}} }), WrongUsage, "meu"},
		{"by an authority for servers", under(forServers), WrongUsage, "meu"},
		{"key for agreement only", under(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }), WrongUsage, "meu"},
		{"not a seal", der(shared.leaf(t, ids(orgID("NTRBG-5")))), BadCertificate, ""},

		// Whose authority.
		{"stranger", under(stranger), UnknownCA, "meu"},
		{"stranger of the root's name", under(namesake), UnknownCA, "meu"},
		{"self-signed", der(self.cert), UnknownCA, "meu"},
		{"self-signed, with the true root sent along", der(self.cert, root.cert), UnknownCA, "meu"},
		{"another organization's authority", under(other), WrongOrganization, "meu"},
		{"another organization's authority, which vouches for our root", der(other.leaf(t, one), foreignCrossing), WrongOrganization, "meu"},
		{"shared authority", under(shared), WrongOrganization, "meu"},
		{"intermediate left out", der(sub.leaf(t, one)), UnknownCA, "meu"},
		{"the key of a client as an authority", der(client.leaf(t, one), client.cert), UnknownCA, "meu"},
		{"another's pin", der(shared.leaf(t, ids(orgID("NTRBG-6")))), WrongOrganization, ""},
		{"crossed by a stranger", der(stranger.leaf(t, one), strangerCrossing, loopA.cert), UnknownCA, "meu"},

		// The chain.
		{"path length", der(belowFlat.leaf(t, one), belowFlat.cert, flat.cert), BadCertificate, "meu"},
		{"intermediate without the flag of an authority", under(noFlag), UnknownCA, "meu"},
		{"intermediate without basic constraints", under(noBasic), UnknownCA, "meu"},
		{"intermediate that may not sign", under(noSign), UnknownCA, "meu"},
		{"outside of name constraints", under(narrow, dns("a.wide.example")), BadCertificate, "meu"},
		{"excluded by name constraints", under(without, dns("a.secret.example")), BadCertificate, "meu"},
		{"name constraints on the subject", under(ofOthers), BadCertificate, "meu"},
		{"name constraints on the subject, not critical", under(ofOthersMildly), BadCertificate, "meu"},
		{"unknown critical extension of an intermediate", under(strange), BadCertificate, "meu"},
		{"loop", der(loopA.leaf(t, one), loopAB, loopBA), UnknownCA, "meu"},
		{"many authorities of one name", append(der(oneName.leaf(t, one)), crowd...), BadCertificate, ""},
		{"too many certificates", many, BadCertificate, ""},
		{"huge", under(root, ext(asn1.ObjectIdentifier{1, 2, 3, 4}, false, make([]byte, maxChainBytes))), BadCertificate, ""},
		{"the root itself", der(root.cert), BadCertificate, ""},
		{"an authority with the right identifier", der(issuerIsNamed.cert), BadCertificate, ""},

		// Cryptography.
		{"SHA-1", der(byRSA(x509.SHA1WithRSA), rsaSub), BadCertificate, ""},
		{"MD5", [][]byte{md5, rsaSub.Raw}, BadCertificate, ""},
		{"RSA of 1024 bits", der(root.leafFor(t, &small.PublicKey, one)), BadCertificate, ""},
		{"RSA with exponent 3", der(root.leafFor(t, &rsa.PublicKey{N: bigN, E: 3}, one)), BadCertificate, ""},
		{"P-224", der(root.leafFor(t, ecKey(elliptic.P224()), one)), BadCertificate, ""},

		// The identifier.
		{"two identifiers", der(root.leaf(t, ids(orgID("NTRBG-1"), orgID("NTRBG-2")))), BadCertificate, ""},
		{"one identifier twice", der(root.leaf(t, ids(orgID("NTRBG-1"), orgID("NTRBG-1")))), BadCertificate, ""},
		{"two identifiers in one RDN", der(root.leaf(t, marshal(t, []asn1.RawValue{rdn(t, orgID("NTRBG-1"), orgID("NTRBG-2"))}))), BadCertificate, ""},
		{"BMPString", der(root.leaf(t, as(asn1.TagBMPString, utf16("NTRBG-1")))), BadCertificate, ""},
		{"TeletexString", der(root.leaf(t, as(asn1.TagT61String, "NTRBG-1"))), BadCertificate, ""},
		{"UniversalString", [][]byte{root.forge(t, good, func(b *tbs) {
			b.Subject = asn1.RawValue{FullBytes: as(universalString, utf32("NTRBG-1"))}
		})}, unreadable, ""},
		{"IA5String", der(root.leaf(t, as(asn1.TagIA5String, "NTRBG-1"))), BadCertificate, ""},
		{"NUL", der(root.leaf(t, ids(orgID("NTRBG-1\x00")))), BadCertificate, ""},
		{"empty identifier", der(root.leaf(t, ids(orgID("")))), BadCertificate, ""},
		{"very long identifier", der(root.leaf(t, ids(orgID("NTRBG-1"+fmt.Sprintf("%0300d", 0))))), BadCertificate, ""},
		{"very many attributes", der(root.leaf(t, ids(append(manyAttributes, orgID("NTRBG-1"))...))), BadCertificate, ""},
		{"very many names", under(root, ext(oidSAN, false, marshal(t, manyNames))), BadCertificate, ""},
		{"identifier in other letters", der(root.leaf(t, ids(orgID("ntrbg-1")))), WrongOrganization, ""},
		{"identifier with a space behind", der(root.leaf(t, ids(orgID("NTRBG-1 ")))), WrongOrganization, ""},
		{"identifier with a space before", der(root.leaf(t, ids(orgID(" NTRBG-1")))), WrongOrganization, ""},
		{"identifier with a Cyrillic letter", der(root.leaf(t, ids(orgID("NTRВG-1")))), WrongOrganization, ""},
		{"identifier with a soft hyphen", der(root.leaf(t, ids(orgID("NTRBG\u00ad-1")))), WrongOrganization, ""},
		{"identifier that goes on", der(root.leaf(t, ids(orgID("NTRBG-11")))), WrongOrganization, ""},
		{"identifier of another organization", der(root.leaf(t, ids(orgID("NTRBG-2")))), WrongOrganization, "nra"},
		{"identifier as common name", der(root.leaf(t, subject(t, cn("NTRBG-1")))), WrongOrganization, ""},
		{"identifier in the issuer only", der(issuerIsNamed.leaf(t, subject(t, cn("client"))), issuerIsNamed.cert), WrongOrganization, ""},
		{"identifier in an alternative name only", der(root.leaf(t, subject(t, cn("client")), ext(oidSAN, false, dirSAN))), WrongOrganization, ""},
		{"empty subject", der(root.leaf(t, []byte{0x30, 0}, dns("a.example"))), WrongOrganization, ""},

		// Names.
		{"common name with a Cyrillic letter", portal(cn("portаl.cn.example")), WrongOrganization, ""},
		{"common name with a space behind", portal(cn("portal.cn.example ")), WrongOrganization, ""},
		{"common name in capitals", portal(cn("PORTAL.CN.EXAMPLE")), WrongOrganization, ""},
		{"common name with NUL", portal(cn("portal.cn.example\x00.evil")), BadCertificate, ""},
		{"common name as BMPString", portal(at{oidCN, asn1.TagBMPString, utf16("portal.cn.example")}), BadCertificate, ""},
		{"common name twice", der(byName.leaf(t, subject(t, cn("portal.cn.example"), cn("portal.cn.example"), at{oidO, asn1.TagUTF8String, "CN"}))), BadCertificate, ""},
		{"alternative name with NUL", der(byName.leaf(t, subject(t, at{oidO, asn1.TagUTF8String, "DNS"}), ext(oidSAN, false, marshal(t, []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte("a\x00.dns.example")}})))), WrongOrganization, ""},
		{"alternative name of another kind", der(byName.leaf(t, subject(t, at{oidO, asn1.TagUTF8String, "DNS"}), func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "dns", Opaque: "a.dns.example"}} })), WrongOrganization, ""},

		// What the standard forbids.
		{"unknown critical extension", under(root, ext(asn1.ObjectIdentifier{1, 2, 3, 4}, true, []byte{5, 0})), BadCertificate, "meu"},
		{"extension twice", forged(func(b *tbs) {
			e := extension(t, asn1.ObjectIdentifier{1, 2, 3, 4}, false, []byte{5, 0})
			b.Extensions = asn1.RawValue{Class: 2, Tag: 3, IsCompound: true, Bytes: marshal(t, asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: slices.Concat(e, e)})}
		}), unreadable, ""},
		{"negative serial number", forged(func(b *tbs) { b.Serial = asn1.RawValue{FullBytes: []byte{2, 1, 0xff}} }), unreadable, ""},
		{"serial number zero", forged(func(b *tbs) { b.Serial = asn1.RawValue{FullBytes: []byte{2, 1, 0}} }), BadCertificate, ""},
		{"version 1", forged(func(b *tbs) { b.Version, b.Extensions = asn1.RawValue{}, asn1.RawValue{} }), BadCertificate, ""},
		{"version 4", forged(func(b *tbs) { b.Version.FullBytes = []byte{0xa0, 3, 2, 1, 3} }), unreadable, ""},
		{"broken signature", [][]byte{broken(good.Raw)}, UnknownCA, "meu"},
		{"cut off", [][]byte{good.Raw[:len(good.Raw)-1]}, unreadable, ""},
		{"nothing", [][]byte{{}}, unreadable, ""},
	}
}

// template is an authority's certificate that is good for a day.
func template(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-day), NotAfter: time.Now().Add(day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

func broken(der []byte) []byte {
	b := slices.Clone(der)
	b[len(b)-1] ^= 1
	return b
}

// TestCorpus shows every chain of the corpus: twice, so that what is kept of the
// first look decides nothing else, and after all the others.
func TestCorpus(t *testing.T) {
	t.Parallel()
	config, entries := newCorpus(t)
	s := build(t, newManager(t), config)
	for _, e := range append(entries, entries...) {
		t.Run(e.name, func(t *testing.T) {
			var peers []*x509.Certificate
			for i, b := range e.sent {
				c, err := x509.ParseCertificate(b)
				if (err != nil) != (e.want == unreadable && i == 0) {
					t.Fatalf("certificate %d: %v", i, err)
				}
				if err != nil {
					return
				}
				peers = append(peers, c)
			}
			got := s.Identify(state(peers...), time.Now())
			if got.Reason != e.want || got.Claimed != e.org {
				t.Errorf("got reason %q, claimed %q (%s), want %q, %q", got.Reason, got.Claimed, got.Detail, e.want, e.org)
			}
			if (got.Organization != "") != (e.want == "") || (got.Chain != nil) != (e.want == "") {
				t.Errorf("got organization %q and a chain of %d for reason %q", got.Organization, len(got.Chain), got.Reason)
			}
		})
	}
	if n := len(entries); n < 40 {
		t.Errorf("only %d chains", n)
	}
}
