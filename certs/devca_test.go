package certs

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

func TestDevCA(t *testing.T) {
	t.Parallel()
	made, err := NewDevCA("Development")
	if err != nil {
		t.Fatal(err)
	}
	ca, err := LoadDevCA(made.CertPEM(), made.KeyPEM())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Server("a.example", "127.0.0.1", "::1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made.CertPEM())
	for _, name := range []string{"a.example", "127.0.0.1", "[::1]"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	crl, err := ca.CRL(time.Now().Add(time.Hour), pair.Leaf.SerialNumber)
	if err != nil {
		t.Fatal(err)
	}
	s, err := (&list{issuers: []*x509.Certificate{made.Certificate}}).parse(crl, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if s.revoked.len() != 1 {
		t.Errorf("got %d entries", s.revoked.len())
	}
	if _, _, err := ca.Server(); err == nil {
		t.Error("got a server certificate for no host")
	}
}
