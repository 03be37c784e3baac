package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// TestDiffRunning: what runs is compared with what stands on disk.
func TestDiffRunning(t *testing.T) {
	dir := t.TempDir()
	pki := filepath.Join(dir, "pki")
	if code := run([]string{"certs", "dev", "-dir", pki, "-hosts", "a.egov.example"}, io.Discard, io.Discard); code != 0 {
		t.Fatal("certs dev failed")
	}
	socket := "unix:" + filepath.Join(dir, "admin.sock")
	file := filepath.Join(dir, "vazel.yaml")
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	write := func(allow string) {
		t.Helper()
		text := `version: 1
listen: [{address: "127.0.0.1:` + port + `"}]
tls: {certificates: [{cert: pki/server.pem, key: "${file:pki/server.key}"}]}
admin: {listen: "` + socket + `"}
organizations:
  nra: {id: NTRBG-100000003, ca: pki/dev-ca.pem}
  sofia: {id: NTRBG-100000004, ca: pki/dev-ca.pem}
services:
  a: {owner: nra, hosts: [a.egov.example], upstreams: ["http://127.0.0.1:9"], mtls: required, allow: ` + allow + `}
`
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("[nra]")
	ctx, cancel := context.WithCancel(t.Context())
	up, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- runGateway(ctx, runOptions{Config: dir, Level: "error", Errors: io.Discard, Ready: func(ready) { close(up) }})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-up:
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := run([]string{"diff", "-config", dir}, &out, &errs); code != 0 || out.String() != "no change\n" {
		t.Errorf("unchanged: exit code %d, %q, %q", code, out.String(), errs.String())
	}
	write("[nra, sofia]")
	out.Reset()
	want := "! services.a.allow: [nra] -> [nra, sofia]   WEAKER: let in: sofia\n1 changed, 1 of them weaker\n"
	if code := run([]string{"diff", "-config", dir}, &out, &errs); code != 1 || out.String() != want {
		t.Errorf("changed: exit code %d, %q, want %q", code, out.String(), want)
	}
}
