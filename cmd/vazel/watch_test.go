package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

// TestWatch: a changed file alone, wherever it is, ends the connections that it
// concerns.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(path string) string { return filepath.Join(dir, path) }
	put := func(path string, b []byte) { // as careful programs do
		t.Helper()
		do(os.MkdirAll(filepath.Dir(at(path)), 0o700))
		do(os.WriteFile(at(path)+".tmp", b, 0o600))
		do(os.Rename(at(path)+".tmp", at(path)))
	}
	swap := func(link, to string) {
		t.Helper()
		do(os.Symlink(to, at(link)+".tmp"))
		do(os.Rename(at(link)+".tmp", at(link)))
	}
	ca, err := certs.NewDevCA("ca")
	do(err)
	other, err := certs.NewDevCA("other")
	do(err)
	cert, key, err := ca.Server("s.example")
	do(err)
	list := func(path string, by *certs.DevCA, revoked ...*big.Int) {
		t.Helper()
		b, err := by.CRL(time.Now().Add(time.Hour), revoked...)
		do(err)
		put(path, b)
	}
	put("tls/server.pem", cert)
	put("tls/server.key", key)
	put("archive/1/ca.pem", ca.CertPEM())
	put("archive/2/ca.pem", other.CertPEM())
	swap("live", "archive/1")
	list("archive/1/nra.crl", ca)
	list("archive/2/nra.crl", other)
	up := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer up.Close()
	port, err := freePort()
	do(err)
	address := "127.0.0.1:" + port
	organization := []byte("organizations:\n  nra: {name: NRA, id: NTRBG-100000003, ca: ../live/ca.pem, crl: {file: ../live/nra.crl}}\n")
	put("conf/conf.d/nra.yaml", organization)
	main := fmt.Sprintf(`version: 1
include: [conf.d/*.yaml]
listen: [{address: %q}]
admin: {listen: "127.0.0.1:0"}
access_log: {output: "off"}
audit_log: {output: "off"}
tls: {certificates: [{cert: ../tls/server.pem, key: "${file:../tls/server.key}"}]}
organizations:
  meu: {name: MEU, id: NTRBG-100000001, ca: ../archive/1/ca.pem}
services:
  s: {owner: meu, hosts: [s.example], upstreams: [%q], mtls: required, allow: ["*"]}
`, address, up.URL)
	put("conf/vazel.yaml", []byte(main))

	ctx, cancel := context.WithCancel(context.Background())
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- runGateway(ctx, runOptions{Config: at("conf"), Level: "error", StateDir: at("state"), Watch: true, Errors: io.Discard, Ready: func(ready) { close(started) }})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-started:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	client := func(id string) tls.Certificate {
		t.Helper()
		cert, key, err := ca.Client(certs.ClientSpec{CN: "c", OrganizationID: id})
		do(err)
		pair, err := tls.X509KeyPair(cert, key)
		do(err)
		return pair
	}
	connect := func(pair tls.Certificate) (*tls.Conn, int) {
		t.Helper()
		c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots, ServerName: "s.example", Certificates: []tls.Certificate{pair}})
		do(err)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		return c, ask(t, c)
	}
	nra, meu := client("NTRBG-100000003"), client("NTRBG-100000001")
	bystander, _ := connect(meu)
	defer bystander.Close()
	for _, tt := range []struct {
		name       string
		do, undone func()
	}{
		{"revocation list", func() { list("archive/1/nra.crl", ca, nra.Leaf.SerialNumber) }, func() { list("archive/1/nra.crl", ca) }},
		{"folder of the authority swapped", func() { swap("live", "archive/2") }, func() { swap("live", "archive/1") }},
		{"organization's file removed", func() { do(os.Remove(at("conf/conf.d/nra.yaml"))) }, func() { put("conf/conf.d/nra.yaml", organization) }},
		{"allow narrowed", func() { put("conf/vazel.yaml", []byte(strings.Replace(main, `["*"]`, "[meu]", 1))) }, func() { put("conf/vazel.yaml", []byte(main)) }},
	} {
		var c *tls.Conn
		for deadline := time.Now().Add(10 * time.Second); ; { // until what the former case took away is back
			status := 0
			if c, status = connect(nra); status == http.StatusOK {
				break
			}
			c.Close()
			if time.Now().After(deadline) {
				t.Fatalf("before %s: %d", tt.name, status)
			}
		}
		start := time.Now()
		tt.do()
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: read %d bytes, %v, want the end of the connection", tt.name, n, err)
		}
		t.Logf("%s: the connection ended after %v", tt.name, time.Since(start))
		c.Close()
		if status := ask(t, bystander); status != http.StatusOK {
			t.Errorf("%s: somebody else's connection: %d", tt.name, status)
		}
		tt.undone()
	}
}

// ask sends a request over an open connection.
func ask(t *testing.T, c net.Conn) int {
	t.Helper()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: s.example\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}
