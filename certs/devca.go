package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

// DevCA is a certification authority for development and tests. Nothing real
// may ever trust it: its key lies on disk.
type DevCA struct {
	Certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	number      int64
}

// NewDevCA makes an authority that is good for a year.
func NewDevCA(name string) (*DevCA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name, Organization: []string{"Development only"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	return &DevCA{Certificate: c, key: key}, err
}

// LoadDevCA reads an authority back from its certificate and key in PEM.
func LoadDevCA(certPEM, keyPEM []byte) (*DevCA, error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an elliptic-curve key")
	}
	return &DevCA{Certificate: pair.Leaf, key: key}, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the system has no randomness
	}
	return n.Add(n, big.NewInt(1))
}

// CertPEM is the authority's certificate.
func (ca *DevCA) CertPEM() []byte { return certPEM(ca.Certificate.Raw) }

// KeyPEM is the authority's key.
func (ca *DevCA) KeyPEM() []byte { return keyPEM(ca.key) }

// Server issues a server certificate for hosts: names, *.names and addresses.
func (ca *DevCA) Server(hosts ...string) (cert, key []byte, err error) {
	if len(hosts) == 0 {
		return nil, nil, errors.New("a server certificate needs a host")
	}
	t := ca.template(pkix.Name{CommonName: hosts[0]}, x509.ExtKeyUsageServerAuth)
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, h)
		}
	}
	return ca.Issue(t)
}

// ClientSpec is what a client certificate shall say.
type ClientSpec struct {
	CN, O          string
	OrganizationID string // organizationIdentifier; none if empty
	DNS            []string
	NotBefore      time.Time // default: an hour ago
	NotAfter       time.Time // default: in 90 days
	Usage          []x509.ExtKeyUsage
}

// Client issues a client certificate.
func (ca *DevCA) Client(s ClientSpec) (cert, key []byte, err error) {
	name := pkix.Name{CommonName: s.CN, Country: []string{"BG"}}
	if s.O != "" {
		name.Organization = []string{s.O}
	}
	if s.OrganizationID != "" {
		name.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidOrganizationIdentifier, Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(s.OrganizationID)}}}
	}
	t := ca.template(name, x509.ExtKeyUsageClientAuth)
	t.DNSNames = s.DNS
	if !s.NotBefore.IsZero() {
		t.NotBefore = s.NotBefore
	}
	if !s.NotAfter.IsZero() {
		t.NotAfter = s.NotAfter
	}
	if s.Usage != nil {
		t.ExtKeyUsage = s.Usage
	}
	return ca.Issue(t)
}

func (ca *DevCA) template(name pkix.Name, usage x509.ExtKeyUsage) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial(), Subject: name, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(0, 0, 90),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, BasicConstraintsValid: true,
	}
}

// Issue signs t for a new key.
func (ca *DevCA) Issue(t *x509.Certificate) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, ca.Certificate, &k.PublicKey, ca.key)
	if err != nil {
		return nil, nil, fmt.Errorf("issue a certificate: %w", err)
	}
	return certPEM(der), keyPEM(k), nil
}

// CRL makes a revocation list of the given serial numbers.
func (ca *DevCA) CRL(next time.Time, revoked ...*big.Int) ([]byte, error) {
	ca.number++
	l := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano() + ca.number), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: next}
	if next.Before(l.ThisUpdate) { // a stale one
		l.ThisUpdate = next.Add(-time.Minute)
	}
	for _, n := range revoked {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: time.Now()})
	}
	return x509.CreateRevocationList(rand.Reader, l, ca.Certificate, ca.key)
}

// Revoke puts certificates on the revocation list of a file, which it makes if
// there is none, and which is good for 90 days. What stands on the list stays there.
func (ca *DevCA) Revoke(file string, revoked ...*x509.Certificate) error {
	var serials []*big.Int
	switch b, err := os.ReadFile(file); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	default:
		l, err := x509.ParseRevocationList(b)
		if err == nil {
			err = l.CheckSignatureFrom(ca.Certificate)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if len(revoked) == 0 && time.Now().Before(l.NextUpdate.AddDate(0, 0, -30)) {
			return nil
		}
		for _, e := range l.RevokedCertificateEntries {
			serials = append(serials, e.SerialNumber)
		}
	}
	for _, c := range revoked {
		if !slices.ContainsFunc(serials, func(n *big.Int) bool { return n.Cmp(c.SerialNumber) == 0 }) {
			serials = append(serials, c.SerialNumber)
		}
	}
	list, err := ca.CRL(time.Now().AddDate(0, 0, 90), serials...)
	if err != nil {
		return err
	}
	if err := fetch.WriteWhole(file, list); err != nil {
		return err
	}
	return os.Chmod(file, 0o644)
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(k *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		panic(err) // an elliptic-curve key can always be written
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
