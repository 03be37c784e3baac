package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// LoadKeyPair reads a certificate chain and its key. It returns the bytes that
// it was made from as well, so that a change can be noticed. An expired
// certificate is no error here: whoever it is shown to refuses it, and alarms
// are raised by its metric.
func LoadKeyPair(k KeyPair) (pair tls.Certificate, raw []byte, err error) {
	chain, err := os.ReadFile(k.Cert)
	if err != nil {
		return pair, nil, fmt.Errorf("certificate: %w", err)
	}
	key := []byte(k.Key.Reveal())
	if len(key) == 0 {
		return pair, nil, fmt.Errorf("the key %s of %s is empty", k.Key, k.Cert)
	}
	if pair, err = tls.X509KeyPair(chain, key); err != nil {
		if n := ofKey(chain, key); n > 1 {
			return pair, nil, fmt.Errorf("%s: certificate %d is the one that the key %s belongs to; write it first, then each issuer", k.Cert, n, k.Key)
		}
		return pair, nil, fmt.Errorf("%s with the key %s: %w", k.Cert, k.Key, err)
	}
	if err := checkChain(pair); err != nil {
		return pair, nil, fmt.Errorf("%s: %w", k.Cert, err)
	}
	if err := weak(pair.Leaf); err != nil {
		return pair, nil, fmt.Errorf("%s: %w", k.Cert, err)
	}
	return pair, bytes.Join([][]byte{chain, key}, nil), nil
}

// ofKey is the number of the certificate in a PEM file that a key belongs to; 0
// for none.
func ofKey(chain, key []byte) int {
	for n := 1; ; n++ {
		if _, err := tls.X509KeyPair(chain, key); err == nil {
			return n
		}
		var block *pem.Block
		if block, chain = pem.Decode(chain); block == nil {
			return 0
		}
	}
}

// checkChain makes sure that each certificate was issued by the next: clients
// stumble over other orders, each in its own way.
func checkChain(pair tls.Certificate) error {
	var former *x509.Certificate
	for i, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if former != nil && !issued(c, former) {
			return fmt.Errorf("certificate %d (%s) did not issue certificate %d; write the server's certificate first, then each issuer", i+1, c.Subject, i)
		}
		former = c
	}
	return nil
}

// LoadCAs reads the certification authorities of a PEM file.
func LoadCAs(path string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var l []*x509.Certificate
	begun := bytes.Count(b, []byte("-----BEGIN "))
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s holds a %s; only certificates belong there", path, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: certificate %d: %w", path, len(l)+1, err)
		}
		if !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("%s: certificate %d (%s) is not a certification authority", path, len(l)+1, c.Subject)
		}
		if err := fitAuthority(c); err != nil {
			return nil, fmt.Errorf("%s: certificate %d (%s): %w", path, len(l)+1, c.Subject, err)
		}
		l = append(l, c)
	}
	if len(l) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	if len(l) != begun { // pem skips what is damaged
		return nil, fmt.Errorf("%s: only %d of %d certificates can be read", path, len(l), begun)
	}
	return l, nil
}

// fitAuthority refuses authorities below which no certificate would count: it is
// better to hear of it when they are configured.
func fitAuthority(c *x509.Certificate) error {
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return errors.New("its keyUsage does not allow it to sign certificates")
	}
	if len(c.UnhandledCriticalExtensions) > 0 {
		return fmt.Errorf("it has a critical extension that is not known here (%s), so nothing below it could be accepted", c.UnhandledCriticalExtensions[0])
	}
	if err := constraintsKnown(c); err != nil {
		return fmt.Errorf("it has %w", err)
	}
	return weak(c)
}
