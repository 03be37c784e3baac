package certs

import (
	"crypto"
	"crypto/ecdsa"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"testing"
)

// tbs is the part of a certificate that is signed, in raw pieces: what a
// library would never write can be put in.
type tbs struct {
	Version    asn1.RawValue `asn1:"optional,explicit,tag:0"`
	Serial     asn1.RawValue
	Algorithm  asn1.RawValue
	Issuer     asn1.RawValue
	Validity   asn1.RawValue
	Subject    asn1.RawValue
	Key        asn1.RawValue
	Extensions asn1.RawValue `asn1:"optional"`
}

var (
	oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}
	oidMD5WithRSA      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}
)

// forge changes a certificate and has the authority sign it again. The result
// need not be one that x509 reads.
func (a *authority) forge(t testing.TB, c *x509.Certificate, change func(*tbs)) []byte {
	t.Helper()
	return resign(t, c, oidECDSAWithSHA256, change, func(body []byte) []byte {
		sum := sha256.Sum256(body)
		sig, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return sig
	})
}

// resign changes a certificate and signs it with any algorithm.
func resign(t testing.TB, c *x509.Certificate, algorithm asn1.ObjectIdentifier, change func(*tbs), sign func([]byte) []byte) []byte {
	t.Helper()
	var b tbs
	if rest, err := asn1.Unmarshal(c.RawTBSCertificate, &b); err != nil || len(rest) > 0 {
		t.Fatalf("the certificate can't be taken apart: %v", err)
	}
	id := asn1.RawValue{FullBytes: marshal(t, struct{ ID asn1.ObjectIdentifier }{algorithm})}
	if algorithm.Equal(oidMD5WithRSA) {
		id.FullBytes = marshal(t, struct {
			ID   asn1.ObjectIdentifier
			Null asn1.RawValue
		}{algorithm, asn1.NullRawValue})
	}
	b.Algorithm = id
	change(&b)
	body := marshal(t, b)
	sig := sign(body)
	return marshal(t, struct {
		TBS, Algorithm asn1.RawValue
		Signature      asn1.BitString
	}{asn1.RawValue{FullBytes: body}, id, asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}})
}

// extension is one extension in DER.
func extension(t testing.TB, id asn1.ObjectIdentifier, critical bool, value []byte) []byte {
	t.Helper()
	return marshal(t, struct {
		ID       asn1.ObjectIdentifier
		Critical bool `asn1:"optional"`
		Value    []byte
	}{id, critical, value})
}

// md5Signer signs with MD5 and RSA, which x509 does not.
func md5Signer(t testing.TB, key *rsa.PrivateKey) func([]byte) []byte {
	t.Helper()
	return func(body []byte) []byte {
		h := crypto.MD5.New()
		h.Write(body)
		sig, err := rsa.SignPKCS1v15(nil, key, crypto.MD5, h.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
}
