package certs

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// TestFilesReplaced: new files are served to new handshakes; while they don't
// fit together, the former certificate is, and that is told.
func TestFilesReplaced(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := build(t, n.m, n.config)
	n.m.Activate(s)
	srv := serve(t, s)
	served := func() string {
		t.Helper()
		client, _, err := srv.dial(t, &tls.Config{ServerName: "open.example", RootCAs: n.roots})
		if err != nil {
			t.Fatal(err)
		}
		return client.PeerCertificates[0].SerialNumber.String()
	}
	first := served()
	apply := func() {
		t.Helper()
		s := build(t, n.m, n.config)
		n.m.Activate(s)
		srv.set.Store(s)
	}
	valid := func(want string) {
		t.Helper()
		file := n.config.TLS.Certificates[0].Cert
		text := "# HELP vazel_certificate_file_valid Whether the certificate of tls.certificates is served as its files are; 0: they can't be used, and the former one is served.\n# TYPE vazel_certificate_file_valid gauge\n" +
			"vazel_certificate_file_valid{name=\"" + file + "\"} " + want + "\nvazel_certificate_file_valid{name=\"" + n.config.TLS.Certificates[1].Cert + "\"} 1\n"
		if err := testutil.CollectAndCompare(newCollector(n.m), strings.NewReader(text), "vazel_certificate_file_valid"); err != nil {
			t.Error(err)
		}
	}
	valid("1")
	cert, key, err := n.ca.Server("open.example", "*.open.example")
	if err != nil {
		t.Fatal(err)
	}
	pair := &n.config.TLS.Certificates[0]
	for _, half := range [][]byte{cert, cert[:len(cert)/2], nil} { // the key is still the former one
		if err := os.WriteFile(pair.Cert, half, 0o600); err != nil {
			t.Fatal(err)
		}
		apply()
		if got := served(); got != first {
			t.Errorf("with %d of %d bytes of the new certificate and the former key: serves %s, want the former %s", len(half), len(cert), got, first)
		}
		valid("0")
	}
	if err := os.WriteFile(pair.Cert, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	pair.Key.Resolve(string(key))
	apply()
	if served() == first {
		t.Error("the new certificate is not served")
	}
	valid("1")

	// Nothing is served in place of files that never could be used.
	pair.Key.Resolve("no key")
	if _, err := newManager(t).Build(n.config); err == nil {
		t.Error("started with files that don't fit together")
	}
	other := n.server(t, "open.example")
	other.Key.Resolve("no key")
	n.config.TLS.Certificates = append(n.config.TLS.Certificates, other)
	if _, err := n.m.Build(n.config); err == nil || !strings.Contains(err.Error(), "tls.certificates[2]") {
		t.Errorf("took new files that don't fit together: %v", err)
	}
}
