package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
)

// authority signs certificates of any kind, right or wrong.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority makes an authority under parent, or a root.
func newAuthority(t testing.TB, name string, parent *authority, change ...func(*x509.Certificate)) *authority {
	t.Helper()
	key := newKey(t)
	c := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().AddDate(-5, 0, 0), NotAfter: time.Now().AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, f := range change {
		f(c)
	}
	by, signer := c, key
	if parent != nil {
		by, signer = parent.cert, parent.key
	}
	return &authority{create(t, c, by, &key.PublicKey, signer), key}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func create(t testing.TB, c, parent *x509.Certificate, pub any, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// leaf issues a client certificate with a subject of the given attributes.
func (a *authority) leaf(t testing.TB, subject []byte, change ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	return a.leafFor(t, &newKey(t).PublicKey, subject, change...)
}

func (a *authority) leafFor(t testing.TB, pub any, subject []byte, change ...func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: serial(), RawSubject: subject,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	for _, f := range change {
		f(c)
	}
	return create(t, c, a.cert, pub, a.key)
}

// at is an attribute as it is to stand in the subject.
type at struct {
	oid   asn1.ObjectIdentifier
	tag   int
	value string
}

func orgID(v string) at { return at{oidOrganizationIdentifier, asn1.TagUTF8String, v} }
func cn(v string) at    { return at{oidCN, asn1.TagUTF8String, v} }

// subject encodes attributes, each in an RDN of its own.
func subject(t testing.TB, l ...at) []byte {
	t.Helper()
	var rdns []asn1.RawValue
	for _, a := range l {
		rdns = append(rdns, rdn(t, a))
	}
	return marshal(t, rdns)
}

// rdn encodes one set of attributes.
func rdn(t testing.TB, l ...at) asn1.RawValue {
	t.Helper()
	var b []byte
	for _, a := range l {
		b = append(b, marshal(t, struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}{a.oid, asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)}})...)
	}
	return asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: b}
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write stores certificates as a PEM file and returns its path.
func write(t testing.TB, l ...*x509.Certificate) string {
	t.Helper()
	var b []byte
	for _, c := range l {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return writeFile(t, b)
}

func writeFile(t testing.TB, b []byte) string {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "*.pem")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func newManager(t testing.TB) *Manager {
	t.Helper()
	return NewManager(Options{Log: zap.NewNop(), Registerer: prometheus.NewPedanticRegistry(), StateDir: filepath.Join(t.TempDir(), "state")})
}

func build(t testing.TB, m *Manager, c Config) *Set {
	t.Helper()
	s, err := m.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keyPair makes a KeyPair of files.
func keyPair(t testing.TB, cert, key []byte) KeyPair {
	t.Helper()
	var s unit.Secret
	if err := s.UnmarshalText([]byte("${env:KEY}")); err != nil {
		t.Fatal(err)
	}
	s.Resolve(string(key))
	return KeyPair{Cert: writeFile(t, cert), Key: s}
}

func date(t testing.TB, s string) unit.Date {
	t.Helper()
	var d unit.Date
	if err := d.UnmarshalText([]byte(s)); err != nil {
		t.Fatal(err)
	}
	return d
}

func state(l ...*x509.Certificate) *tls.ConnectionState {
	return &tls.ConnectionState{PeerCertificates: l}
}

const day = 24 * time.Hour

// damage breaks the first certificate of a PEM file.
func damage(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[60] = '!'
	return writeFile(t, b)
}
