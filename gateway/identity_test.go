package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

var organizationIdentifier = asn1.ObjectIdentifier{2, 5, 4, 97}

// shown is a client certificate that an authority issues after some changes.
func (n *node) shown(ca *certs.DevCA, change func(*x509.Certificate), ids ...asn1.RawValue) *tls.Certificate {
	n.t.Helper()
	t := &x509.Certificate{
		SerialNumber: big.NewInt(4711), Subject: pkix.Name{CommonName: "system"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	for _, id := range ids {
		t.Subject.ExtraNames = append(t.Subject.ExtraNames, pkix.AttributeTypeAndValue{Type: organizationIdentifier, Value: id})
	}
	if change != nil {
		change(t)
	}
	cert, key, err := ca.Issue(t)
	if err != nil {
		n.t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		n.t.Fatal(err)
	}
	return &pair
}

func utf8String(s string) asn1.RawValue {
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s)}
}

// TestIdentityOnTheWire shows the most telling chains in real handshakes: the
// corpus of package certs has all of them.
func TestIdentityOnTheWire(t *testing.T) {
	n := newNode(t, nil)
	nra := utf8String("NTRBG-100000003")
	with := func(change func(*x509.Certificate)) *tls.Certificate { return n.shown(n.orgCA, change, nra) }
	selfKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	self := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{ExtraNames: []pkix.AttributeTypeAndValue{{Type: organizationIdentifier, Value: nra}}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, self, self, &selfKey.PublicKey, selfKey)
	if err != nil {
		t.Fatal(err)
	}
	crowded := with(nil)
	for range 12 {
		crowded.Certificate = append(crowded.Certificate, n.otherCA.Certificate.Raw)
	}
	for _, tt := range []struct {
		name, reason string // reason "": let in
		cert         *tls.Certificate
	}{
		{"good", "", with(nil)},
		{"PrintableString", "", n.shown(n.orgCA, nil, asn1.RawValue{Tag: asn1.TagPrintableString, Bytes: nra.Bytes})},
		{"with the root sent along", "", func() *tls.Certificate {
			c := with(nil)
			c.Certificate = append(c.Certificate, n.orgCA.Certificate.Raw)
			return c
		}()},
		{"for servers only", "server_only_certificate", with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
		{"for e-mail only", "wrong_usage", with(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} })},
		{"an authority as client", "bad_certificate", with(func(c *x509.Certificate) { c.IsCA = true })},
		{"two identifiers", "bad_certificate", n.shown(n.orgCA, nil, nra, utf8String("NTRBG-100000004"))},
		{"BMPString", "bad_certificate", n.shown(n.orgCA, nil, asn1.RawValue{Tag: asn1.TagBMPString, Bytes: []byte("\x00N\x00T")})},
		{"NUL", "bad_certificate", n.shown(n.orgCA, nil, utf8String("NTRBG-100000003\x00"))},
		{"unknown critical extension", "bad_certificate", with(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		})},
		{"too many certificates", "bad_certificate", crowded},
		{"look-alike", "wrong_organization", n.shown(n.orgCA, nil, utf8String("NTRВG-100000003"))},
		{"in small letters", "wrong_organization", n.shown(n.orgCA, nil, utf8String("ntrbg-100000003"))},
		{"as common name", "wrong_organization", n.shown(n.orgCA, func(c *x509.Certificate) { c.Subject.CommonName = "NTRBG-100000003" })},
		{"self-signed", "unknown_ca", &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: selfKey}},
		{"self-signed, with the true root sent along", "unknown_ca", &tls.Certificate{Certificate: [][]byte{der, n.orgCA.Certificate.Raw}, PrivateKey: selfKey}},
	} {
		for _, p := range protocols {
			resp, got := n.do(n.dial(p, "inner.example", tt.cert), "GET", "https://inner.example/", nil)
			if tt.reason == "" && resp.StatusCode != 200 || tt.reason != "" && (resp.StatusCode != 403 || !strings.Contains(got, `"reason":"`+tt.reason+`"`)) {
				t.Errorf("%s over %s: %d %s, want %q", tt.name, p, resp.StatusCode, got, tt.reason)
			}
		}
		if heads := n.upstream.take(); (len(heads) > 0) != (tt.reason == "") {
			t.Errorf("%s: the upstream got %d requests", tt.name, len(heads))
		}
	}
	if got := n.metric(fmt.Sprintf(`vazel_mtls_rejections_total{listener="%s",organization="nra",reason="server_only_certificate"}`, n.https)); got != "3" {
		t.Errorf("vazel_mtls_rejections_total is %q, want 3", got)
	}
}

// TestUnreadableCertificates: what can't be read as a certificate ends the
// handshake, and is counted.
func TestUnreadableCertificates(t *testing.T) {
	n := newNode(t, nil)
	good := n.client(n.orgCA, "NTRBG-100000003")
	leaf := good.Leaf
	serial, err := asn1.Marshal(leaf.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	negative := []byte(strings.Replace(string(leaf.Raw), string(serial), string(serial[:2])+"\xff"+string(serial[3:]), 1))
	for name, der := range map[string][]byte{"negative serial number": negative, "cut off": leaf.Raw[:len(leaf.Raw)-5], "nonsense": []byte("nonsense"), "zeroes": make([]byte, 100)} {
		for _, p := range protocols {
			c := n.dial(p, "inner.example", &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: good.PrivateKey, Leaf: leaf})
			if resp, err := c.Get("https://inner.example/"); err == nil {
				resp.Body.Close()
				t.Errorf("%s over %s: %d", name, p, resp.StatusCode)
			}
		}
	}
	if heads := n.upstream.take(); len(heads) > 0 {
		t.Errorf("the upstream got %q", heads)
	}
	// The client may know before the gateway has counted.
	n.eventually(fmt.Sprintf(`vazel_tls_handshake_errors_total{listener="%s",reason="bad_certificate"}`, n.https), "8")
}

// TestRequirePQ: a service and an organization that demand a post-quantum key
// exchange, over every protocol, and a reload that takes the demand back.
func TestRequirePQ(t *testing.T) {
	n := newNode(t, nil)
	configure := func(service, organization bool) {
		t.Helper()
		n.config(
			fmt.Sprintf("  quantum: {id: NTRBG-100000005, ca: org-ca.pem, require_pq: %v}", organization),
			fmt.Sprintf(strings.Replace(testServices, "allow: [nra, sofia]", "allow: [nra, sofia, quantum]", 1), n.upstream.address),
			fmt.Sprintf("  third:\n    owner: meu\n    hosts: [third.example]\n    upstreams: [\"http://%s\"]\n    require_pq: %v\n    routes: [{paths: [/]}, {paths: [/plain], require_pq: false}]", n.upstream.address, service))
		if err := n.apply(); err != nil {
			t.Fatal(err)
		}
	}
	configure(true, true)
	classic := []tls.CurveID{tls.CurveP256}
	quantum, nra := n.client(n.orgCA, "NTRBG-100000005"), n.client(n.orgCA, "NTRBG-100000003")
	try := func(what, host, path string, cert *tls.Certificate, curves []tls.CurveID, reason string) {
		t.Helper()
		for _, p := range protocols {
			resp, got := n.do(n.dialWith(p, host, cert, curves), "GET", "https://"+host+path, nil)
			if reason == "" && resp.StatusCode != 200 || reason != "" && (resp.StatusCode != 403 || !strings.Contains(got, `"reason":"`+reason+`"`) || !strings.Contains(got, `"key_exchange":"CurveP256"`)) {
				t.Errorf("%s over %s: %d %s, want %q", what, p, resp.StatusCode, got, reason)
			}
		}
	}
	for _, g := range []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768} {
		try("service, "+g.String(), "third.example", "/", nil, []tls.CurveID{g}, "")
	}
	try("service, classic", "third.example", "/", nil, classic, "pq_required")
	try("route that takes it back", "third.example", "/plain", nil, classic, "")
	try("organization, hybrid", "inner.example", "/both", quantum, nil, "")
	try("organization, classic", "inner.example", "/both", quantum, classic, "pq_required")
	try("another organization, classic", "inner.example", "/both", nra, classic, "")
	if got := n.metric(fmt.Sprintf(`vazel_mtls_rejections_total{listener="%s",organization="quantum",reason="pq_required"}`, n.https)); got != "3" {
		t.Errorf("vazel_mtls_rejections_total is %q, want 3", got)
	}
	configure(false, false)
	try("service, no longer", "third.example", "/", nil, classic, "")
	try("organization, no longer", "inner.example", "/both", quantum, classic, "")
}
