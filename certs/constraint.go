package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// pinOf is the pin of a certificate's public key, as in RFC 7469.
func pinOf(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return "sha256/" + base64.StdEncoding.EncodeToString(sum[:])
}

// CheckPin says what is wrong with an item of spki.
func CheckPin(s string) error {
	b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, "sha256/"))
	if !strings.HasPrefix(s, "sha256/") || err != nil || len(b) != sha256.Size {
		return fmt.Errorf("spki %q: write sha256/ and the base64 of the SHA-256 of the public key (DER)", s)
	}
	return nil
}

// usageOf reads the words of eku.
func usageOf(s string) (x509.ExtKeyUsage, error) {
	switch s {
	case "", "client":
		return x509.ExtKeyUsageClientAuth, nil
	case "any":
		return x509.ExtKeyUsageAny, nil
	}
	return 0, fmt.Errorf("eku: unknown value %q; write client or any", s)
}

// CheckEKU says what is wrong with a value of eku.
func CheckEKU(s string) error {
	_, err := usageOf(s)
	return err
}

// ETSI EN 319 412-5.
var (
	oidQCStatements = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 3}
	oidQCCompliance = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 1}
	oidQCType       = asn1.ObjectIdentifier{0, 4, 0, 1862, 1, 6}
	qcTypes         = map[string]asn1.ObjectIdentifier{
		"esign": {0, 4, 0, 1862, 1, 6, 1},
		"eseal": {0, 4, 0, 1862, 1, 6, 2},
		"web":   {0, 4, 0, 1862, 1, 6, 3},
	}
)

// Check says what is wrong with q.
func (q *QC) Check() error {
	if _, ok := qcTypes[q.Type]; q.Type != "" && !ok {
		return fmt.Errorf("qc: unknown type %q; write esign, eseal or web", q.Type)
	}
	if q.Type == "" && !q.Compliance {
		return errors.New("qc: demands nothing; write compliance: true, a type or both")
	}
	return nil
}

// met says what a certificate lacks of q.
func (q *QC) met(c *x509.Certificate) error {
	var compliance bool
	var types []asn1.ObjectIdentifier
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidQCStatements) {
			continue
		}
		var statements []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &statements); err != nil || len(rest) > 0 {
			return errors.New("its qualified statements can't be read")
		}
		for _, s := range statements {
			var id asn1.ObjectIdentifier
			info, err := asn1.Unmarshal(s.Bytes, &id)
			if err != nil {
				return errors.New("its qualified statements can't be read")
			}
			switch {
			case id.Equal(oidQCCompliance):
				compliance = true
			case id.Equal(oidQCType):
				if rest, err := asn1.Unmarshal(info, &types); err != nil || len(rest) > 0 {
					return errors.New("its qualified type can't be read")
				}
			}
		}
	}
	if q.Compliance && !compliance {
		return errors.New("it does not say that it is qualified (QcCompliance)")
	}
	if q.Type != "" && !slices.ContainsFunc(types, qcTypes[q.Type].Equal) {
		return fmt.Errorf("it does not say that it is for %s (QcType)", q.Type)
	}
	return nil
}
