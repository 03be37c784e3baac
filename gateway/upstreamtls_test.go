package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

// TestUpstreamMaterialChanges: a certificate or authority of an upstream that
// changed counts from the next request on, kept connections notwithstanding.
func TestUpstreamMaterialChanges(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			n := newNode(t, nil)
			clients, err := certs.NewDevCA("clients")
			if err != nil {
				t.Fatal(err)
			}
			cert, key, err := n.ca.Server("127.0.0.1")
			if err != nil {
				t.Fatal(err)
			}
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			trusted := x509.NewCertPool()
			trusted.AddCert(clients.Certificate)
			up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, r.Proto+" "+r.TLS.PeerCertificates[0].Subject.CommonName)
			}))
			up.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert}
			up.EnableHTTP2 = protocol == "h2"
			up.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes are meant to fail
			up.StartTLS()
			defer up.Close()
			own := func(name string, end time.Time) {
				t.Helper()
				cert, key, err := clients.Client(certs.ClientSpec{CN: name, NotAfter: end})
				if err != nil {
					t.Fatal(err)
				}
				n.write("own.pem", string(cert))
				n.write("own.key", string(key))
			}
			authority := func(ca *certs.DevCA) { n.write("up-ca.pem", string(ca.CertPEM())) }
			apply := func() {
				t.Helper()
				if err := n.apply(); err != nil {
					t.Fatal(err)
				}
			}
			end := time.Now().Add(48 * time.Hour).Truncate(time.Second)
			own("first", end)
			authority(n.ca)
			n.config(fmt.Sprintf("services:\n  open:\n    owner: meu\n    hosts: [open.example]\n    upstreams: [%q]\n    upstream_protocol: %s\n    upstream_tls: {ca: up-ca.pem, cert: own.pem, key: \"${file:own.key}\"}\n", up.URL, protocol))
			apply()
			c := n.dial("h1", "open.example", nil)
			proto := map[string]string{"h1": "HTTP/1.1 ", "h2": "HTTP/2.0 "}[protocol]
			ask := func(what string, status int, want string) {
				t.Helper()
				for range 2 {
					if resp, got := n.do(c, "GET", "https://open.example/", nil); resp.StatusCode != status || status == 200 && got != proto+want {
						t.Errorf("%s: %d %q, want %d %q", what, resp.StatusCode, got, status, proto+want)
					}
				}
			}
			ask("at first", 200, "first")
			for kind, want := range map[string]time.Time{"upstream": end, "ca": n.ca.Certificate.NotAfter} {
				file := map[string]string{"upstream": "own.pem", "ca": "up-ca.pem"}[kind]
				got := n.metric(fmt.Sprintf(`vazel_certificate_not_after_timestamp_seconds{kind=%q,name=%q}`, kind, filepath.Join(n.dir, file)))
				if want := fmt.Sprint(float64(want.Unix())); got != want {
					t.Errorf("the end of %s is %q, want %s", file, got, want)
				}
			}
			own("second", end)
			apply()
			ask("another certificate", 200, "second")
			authority(n.otherCA)
			apply()
			ask("another authority", 502, "")
			authority(n.ca)
			apply()
			ask("the former authority again", 200, "second")

			// A certificate and a key that don't fit are what stands on disk between two
			// writes: what was in force stays.
			b, _ := os.ReadFile(filepath.Join(n.dir, "own.key"))
			own("third", end)
			third, _ := os.ReadFile(filepath.Join(n.dir, "own.key"))
			n.write("own.key", string(b))
			if err := n.apply(); err == nil || !strings.Contains(err.Error(), "own.pem") {
				t.Errorf("a key of another certificate: %v", err)
			}
			ask("between two writes", 200, "second")
			n.write("own.key", string(third))
			apply()
			ask("after them", 200, "third")
		})
	}
}
