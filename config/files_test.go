package config

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

const filesConfig = `version: 1
include: [conf.d/*.yaml]
listen: [{address: "127.0.0.1:8443"}]
tls: {certificates: [{cert: ../tls/server.pem, key: "${file:../tls/server.key}"}]}
organizations:
  nra: {name: NRA, id: NTRBG-100000003, ca: ../pki/ca.pem, crl: {file: ../pki/list.crl}}
services:
  s:
    owner: nra
    hosts: [s.egov.example]
    upstreams: ["https://127.0.0.1:9000"]
    upstream_tls: {ca: ../live/upstream.pem, cert: ../mount/client.pem, key: "${file:../mount/client.key}"}
`

// TestFilesChanged: whatever a configuration was read from is noticed when it
// changes, wherever it is and however it is replaced.
func TestFilesChanged(t *testing.T) {
	dir := t.TempDir()
	at := func(path string) string { return filepath.Join(dir, path) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	put := func(path string, b []byte) {
		t.Helper()
		do(os.MkdirAll(filepath.Dir(at(path)), 0o700))
		do(os.WriteFile(at(path), b, 0o600))
	}
	ca, err := certs.NewDevCA("ca")
	do(err)
	cert, key, err := ca.Server("s.egov.example")
	do(err)
	list, err := ca.CRL(time.Now().Add(time.Hour))
	do(err)
	put("conf/vazel.yaml", []byte(filesConfig))
	put("conf/conf.d/a.yaml", nil)
	put("tls/server.pem", cert)
	put("tls/server.key", key)
	put("pki/ca.pem", ca.CertPEM())
	put("pki/list.crl", list)
	put("archive/1.pem", ca.CertPEM())
	put("archive/2.pem", ca.CertPEM())
	put("live/README", nil)
	do(os.Symlink("../archive/1.pem", at("live/upstream.pem"))) // as certbot does
	for _, v := range []string{"mount/..1", "mount/..2"} {      // as Kubernetes does
		put(v+"/client.pem", cert)
		put(v+"/client.key", key)
	}
	do(os.Symlink("..1", at("mount/..data")))
	do(os.Symlink("..data/client.pem", at("mount/client.pem")))
	do(os.Symlink("..data/client.key", at("mount/client.key")))

	second := time.Now()
	touch := func(path string) func() {
		return func() {
			second = second.Add(time.Second)
			do(os.Chtimes(at(path), second, second))
		}
	}
	swap := func(link, to string) func() {
		return func() {
			do(os.Symlink(to, at(link+".new")))
			do(os.Rename(at(link+".new"), at(link)))
		}
	}
	for _, tt := range []struct {
		name   string
		change func()
		want   bool
	}{
		{"nothing", func() {}, false},
		{"a file beside", func() { put("conf/access.log", []byte("x")) }, false},
		{"main file", touch("conf/vazel.yaml"), true},
		{"drop-in", touch("conf/conf.d/a.yaml"), true},
		{"new drop-in", func() { put("conf/conf.d/b.yaml", nil) }, true},
		{"removed drop-in", func() { do(os.Remove(at("conf/conf.d/b.yaml"))) }, true},
		{"certificate", touch("tls/server.pem"), true},
		{"key", touch("tls/server.key"), true},
		{"authority", touch("pki/ca.pem"), true},
		{"list, which is followed without a reload", touch("pki/list.crl"), false},
		{"replaced by another of the same age and size", func() {
			info, err := os.Stat(at("pki/ca.pem"))
			do(err)
			put("pki/new.pem", ca.CertPEM())
			do(os.Chtimes(at("pki/new.pem"), info.ModTime(), info.ModTime()))
			do(os.Rename(at("pki/new.pem"), at("pki/ca.pem")))
		}, true},
		{"upstream's authority, by its link", swap("live/upstream.pem", "../archive/2.pem"), true},
		{"what a link leads to", touch("archive/2.pem"), true},
		{"what a link led to", touch("archive/1.pem"), false},
		{"folder of a mount", swap("mount/..data", "..2"), true},
	} {
		c, err := Load(at("conf"))
		if err != nil {
			t.Fatalf("before %s: %v", tt.name, err)
		}
		tt.change()
		if got := c.Read.Changed(); got != tt.want {
			t.Errorf("%s: changed %v, want %v", tt.name, got, tt.want)
		}
	}

	// What is missing is noticed when it comes.
	for _, path := range []string{"pki/ca.pem", "pki/list.crl", "tls/server.key", "live/upstream.pem"} {
		do(os.Rename(at(path), at("away")))
		_, err = Load(at("conf"))
		mistakes, ok := err.(*Errors)
		if !ok || mistakes.Read.Changed() {
			t.Fatalf("without %s: %v", path, err)
		}
		do(os.Rename(at("away"), at(path)))
		if !mistakes.Read.Changed() {
			t.Errorf("the missing %s came, and nothing changed", path)
		}
	}
}
