package admin

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
)

// TestOperators: over TLS only those are served who are on the list, and only as
// long as they are.
func TestOperators(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	newCA := func(name string) *certs.DevCA {
		ca, err := certs.NewDevCA(name)
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	ca, strangers := newCA("operators"), newCA("others")
	cert, key, err := ca.Server("localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	client := func(from *certs.DevCA, cn string) (*http.Client, string) {
		c, k, err := from.Client(certs.ClientSpec{CN: cn})
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(c, k)
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca.Certificate)
		tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }}}
		t.Cleanup(tr.CloseIdleConnections)
		sum := sha256.Sum256(pair.Leaf.Raw)
		return &http.Client{Transport: tr}, "sha256:" + hex.EncodeToString(sum[:])
	}
	ivan, _ := client(ca, "ivan")
	mara, print := client(ca, "mara")
	other, _ := client(ca, "IVAN")
	stranger, _ := client(strangers, "ivan")

	var operators atomic.Pointer[[]string]
	operators.Store(&[]string{"ivan", print})
	settings := config.Admin{Listen: "127.0.0.1:0", TLS: &config.AdminTLS{CA: write("ca.pem", ca.CertPEM())}}
	settings.TLS.Cert = write("server.pem", cert)
	settings.TLS.Key.Resolve(string(key))
	s, err := Listen(settings, Options{
		Log: zap.NewNop(), Gatherer: prometheus.NewRegistry(), Ready: func() bool { return true },
		Reload: func() error { return nil }, Operators: func() []string { return *operators.Load() },
	})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		s.Shutdown(t.Context())
		s.Close()
		<-served
	})
	ask := func(c *http.Client) int {
		resp, err := c.Post("https://"+s.Address()+"/-/reload", "", strings.NewReader(""))
		if err != nil {
			return 0
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp.StatusCode
	}
	for _, tt := range []struct {
		name string
		c    *http.Client
		want int
	}{{"by the common name", ivan, 200}, {"by the fingerprint", mara, 200}, {"another spelling", other, 403}, {"another authority", stranger, 0}, {"without a certificate", &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}, 0}} {
		if got := ask(tt.c); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
	operators.Store(&[]string{print})
	if got := ask(ivan); got != 403 {
		t.Errorf("taken off the list, on an open connection: got %d, want 403", got)
	}
}

// TestOperatorNames: a name is one value, byte by byte.
func TestOperatorNames(t *testing.T) {
	t.Parallel()
	cn := func(names ...string) (out []pkix.AttributeTypeAndValue) {
		for _, n := range names {
			out = append(out, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: n})
		}
		return out
	}
	for _, tt := range []struct {
		name string
		leaf x509.Certificate
		want bool
	}{
		{"ivan", x509.Certificate{Subject: pkix.Name{Names: cn("ivan")}}, true},
		{"ivan", x509.Certificate{Subject: pkix.Name{Names: cn("ivan", "mara")}}, false},
		{"ivan", x509.Certificate{Subject: pkix.Name{Names: cn("ivan\x00")}}, false},
		{"ivan", x509.Certificate{EmailAddresses: []string{"ivan"}}, false},
		{"i@egov.example", x509.Certificate{EmailAddresses: []string{"i@egov.example"}}, true},
		{"i@egov.example", x509.Certificate{EmailAddresses: []string{"i@egov.example", "m@egov.example"}}, false},
		{"i@egov.example", x509.Certificate{Subject: pkix.Name{Names: cn("i@egov.example")}}, false},
		{"sha256:" + strings.Repeat("0", 64), x509.Certificate{Subject: pkix.Name{Names: cn("sha256:" + strings.Repeat("0", 64))}}, false},
	} {
		if got := isOperator(tt.name, &tt.leaf); got != tt.want {
			t.Errorf("%s by %v %v: got %v", tt.name, tt.leaf.Subject.Names, tt.leaf.EmailAddresses, got)
		}
	}
}
