package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/vazel-gateway/vazel/config/unit"
)

// ClientTLS is how a server that the gateway sends its records to is proven, and
// how it knows this node.
type ClientTLS struct {
	// CA is a PEM file with the authorities of the server's certificate; default: those of the system.
	CA string `yaml:"ca"`
	// Cert is a PEM file with the certificate that is shown to the server; default: none.
	Cert string `yaml:"cert"`
	// Key is the key of cert.
	Key unit.Secret `yaml:"key"`
	// ServerName is the name that the server's certificate must have; default: the host of the address.
	ServerName string `yaml:"server_name"`
}

// Config is the configuration of a TLS client for host, and what was read from
// files for it: where that is the same, the configuration is the same. c may be
// nil.
func (c *ClientTLS) Config(host string) (t *tls.Config, read string, err error) {
	t = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if c == nil {
		return t, host, nil
	}
	if c.ServerName != "" {
		t.ServerName = c.ServerName
	}
	read = t.ServerName
	if c.CA != "" {
		b, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, "", fmt.Errorf("ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(b) {
			return nil, "", fmt.Errorf("ca: %s holds no certificate", c.CA)
		}
		read += "\x00" + string(b)
	}
	if (c.Cert == "") != c.Key.IsZero() {
		return nil, "", errors.New("cert and key belong together")
	}
	if c.Cert != "" {
		b, err := os.ReadFile(c.Cert)
		if err != nil {
			return nil, "", fmt.Errorf("cert: %w", err)
		}
		pair, err := tls.X509KeyPair(b, []byte(c.Key.Reveal()))
		if err != nil {
			return nil, "", fmt.Errorf("cert: %s with its key: %w", c.Cert, err)
		}
		t.Certificates = []tls.Certificate{pair}
		read += "\x00" + string(b)
	}
	return t, read, nil
}
