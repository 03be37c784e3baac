package certs

import (
	"bytes"
	"crypto"
	"crypto/fips140"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	tags "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// ocspShort is how long an answer without nextUpdate counts.
const ocspShort = time.Hour

// ocspAnswer is what a responder said of one certificate. It does not change.
type ocspAnswer struct {
	status  int // of package ocsp: Good, Revoked or Unknown
	this    time.Time
	next    time.Time
	fetched time.Time
}

// ocspRequest asks for the status of cert.
func ocspRequest(cert, issuer *x509.Certificate) ([]byte, error) {
	// Every responder knows SHA-1 here, where it only names the authority.
	hash := crypto.SHA1
	if fips140.Enforced() {
		hash = crypto.SHA256
	}
	return ocsp.CreateRequest(cert, issuer, &ocsp.RequestOptions{Hash: hash})
}

// parseOCSP reads an answer about cert that its issuer, or a responder that the
// issuer has certified for that, has signed (RFC 6960, 4.2.2.2).
func parseOCSP(b []byte, cert, issuer *x509.Certificate, now time.Time) (*ocspAnswer, error) {
	// With nil for the issuer the package checks a signature only by the
	// certificate in the answer, if there is one. Who that is, is decided below:
	// it takes any certificate of the issuer for a responder's.
	r, err := ocsp.ParseResponseForCert(b, cert, nil)
	if err != nil {
		return nil, err
	}
	if err := signedFor(r, issuer, now); err != nil {
		return nil, err
	}
	if err := aboutOnly(r.TBSResponseData, cert, issuer); err != nil {
		return nil, err
	}
	a := &ocspAnswer{status: r.Status, this: r.ThisUpdate, next: r.NextUpdate, fetched: now}
	if a.next.IsZero() {
		a.next = a.this.Add(ocspShort)
	}
	if a.this.After(now.Add(clockSkew)) {
		return nil, fmt.Errorf("the answer is from the future: %s", a.this.UTC().Format(time.RFC3339))
	}
	return a, nil
}

// signedFor makes sure that an answer is signed by or for the issuer.
func signedFor(r *ocsp.Response, issuer *x509.Certificate, now time.Time) error {
	switch r.SignatureAlgorithm {
	case x509.UnknownSignatureAlgorithm, x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return fmt.Errorf("the answer is signed by %s, which proves nothing any more", r.SignatureAlgorithm)
	}
	by := r.Certificate
	if by == nil || sameAuthority(by, issuer) {
		if err := r.CheckSignatureFrom(issuer); err != nil {
			return fmt.Errorf("the answer is not signed by the certificate's issuer: %w", err)
		}
		return nil
	}
	if err := r.CheckSignatureFrom(by); err != nil {
		return fmt.Errorf("the answer's signature is wrong: %w", err)
	}
	if !bytes.Equal(by.RawIssuer, issuer.RawSubject) {
		return errors.New("the responder's certificate is of another authority than the certificate")
	}
	if err := by.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("the responder's certificate is not of the certificate's issuer: %w", err)
	}
	switch {
	case !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return errors.New("the responder's certificate is not for signing answers (OCSPSigning)")
	case !signs(by):
		return errors.New("the responder's certificate is not for signatures")
	case now.Before(by.NotBefore) || now.After(by.NotAfter):
		return errors.New("the responder's certificate has expired, or is not valid yet")
	}
	return weak(by)
}

// aboutOnly makes sure that the one answer with the serial number of cert is about
// its issuer too. An authority may answer for others.
func aboutOnly(data []byte, cert, issuer *x509.Certificate) error {
	var d struct {
		Raw         asn1.RawContent
		Version     int `asn1:"optional,default:0,explicit,tag:0"`
		ResponderID asn1.RawValue
		ProducedAt  time.Time `asn1:"generalized"`
		Responses   []struct {
			CertID struct {
				Hash    pkix.AlgorithmIdentifier
				Name    []byte
				Key     []byte
				Number  *big.Int
				Nothing asn1.RawValue `asn1:"optional"`
			}
		}
	}
	if _, err := asn1.Unmarshal(data, &d); err != nil {
		return fmt.Errorf("the answer can't be read: %w", err)
	}
	var spki, key cryptobyte.String
	in := cryptobyte.String(issuer.RawSubjectPublicKeyInfo)
	if !in.ReadASN1(&spki, tags.SEQUENCE) || !spki.SkipASN1(tags.SEQUENCE) || !spki.ReadASN1(&key, tags.BIT_STRING) || !key.Skip(1) {
		return errors.New("the issuer's key can't be read")
	}
	n := 0
	for _, r := range d.Responses {
		if r.CertID.Number == nil || r.CertID.Number.Cmp(cert.SerialNumber) != 0 {
			continue
		}
		hash, ok := hashOf(r.CertID.Hash.Algorithm)
		if !ok {
			return errors.New("the answer names the issuer by an unknown hash")
		}
		sum := func(b []byte) []byte { h := hash.New(); h.Write(b); return h.Sum(nil) }
		if !bytes.Equal(r.CertID.Name, sum(issuer.RawSubject)) || !bytes.Equal(r.CertID.Key, sum(key)) {
			return errors.New("the answer is about a certificate of another issuer")
		}
		n++
	}
	if n != 1 {
		return fmt.Errorf("%d answers are about the certificate, 1 was asked for", n)
	}
	return nil
}

func hashOf(oid asn1.ObjectIdentifier) (crypto.Hash, bool) {
	switch {
	case oid.Equal(asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}):
		return crypto.SHA1, !fips140.Enforced()
	case oid.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}):
		return crypto.SHA256, true
	case oid.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 2}):
		return crypto.SHA384, true
	case oid.Equal(asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 3}):
		return crypto.SHA512, true
	}
	return 0, false
}
