package admin

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
)

// operatorsTLS asks for an operator's certificate; nil where the listener is not
// to be reached from elsewhere.
func operatorsTLS(c config.Admin) (*tls.Config, error) {
	if c.TLS == nil {
		return nil, nil
	}
	pair, _, err := certs.LoadKeyPair(c.TLS.KeyPair)
	if err != nil {
		return nil, err
	}
	authorities, err := certs.LoadCAs(c.TLS.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, ca := range authorities {
		pool.AddCert(ca)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true, // each connection proves itself
	}, nil
}

// operator is the name by which the configuration in force knows who asks, or "".
// Each request is judged, so that who is taken off the list is out at once.
func (s *Server) operator(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || s.o.Operators == nil {
		return ""
	}
	leaf := r.TLS.VerifiedChains[0][0]
	for _, name := range s.o.Operators() {
		if isOperator(name, leaf) {
			return name
		}
	}
	return ""
}

// isOperator compares byte by byte with one value of its kind: what a certificate
// says twice proves nothing.
func isOperator(name string, leaf *x509.Certificate) bool {
	if print, ok := strings.CutPrefix(name, "sha256:"); ok {
		sum := sha256.Sum256(leaf.Raw)
		return print == hex.EncodeToString(sum[:])
	}
	if strings.Contains(name, "@") {
		return len(leaf.EmailAddresses) == 1 && leaf.EmailAddresses[0] == name
	}
	var names []string
	for _, a := range leaf.Subject.Names {
		if a.Type.String() == "2.5.4.3" { // common name
			text, _ := a.Value.(string)
			names = append(names, text)
		}
	}
	return len(names) == 1 && names[0] == name
}
