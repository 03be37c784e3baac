package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// TestSocketActivation: sockets that systemd passes are found by their address,
// whatever their order and names, and serve.
func TestSocketActivation(t *testing.T) {
	for _, names := range []string{"", "quic:https:spare"} {
		t.Run("LISTEN_FDNAMES="+names, func(t *testing.T) { testSocketActivation(t, names) })
	}
}

func testSocketActivation(t *testing.T, names string) {
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	vazel := filepath.Join(dir, "vazel") // by this name the test binary is the program
	if err := os.Symlink(program, vazel); err != nil {
		t.Fatal(err)
	}
	tcp, udp, port := listenBoth(t)
	spare, err := net.Listen("tcp", "127.0.0.1:0") // that the configuration does not name
	if err != nil {
		t.Fatal(err)
	}
	defer spare.Close()
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: echo("up")}
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(upstream) }()
	defer func() { s.Close(); <-served }()

	if out, err := exec.Command(vazel, "certs", "dev", "-dir", filepath.Join(dir, "pki"), "-hosts", "a.example").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := fmt.Sprintf(`version: 1
listen: [{address: "127.0.0.1:%d", protocols: [h1, h2, h3]}]
admin: {listen: "unix:%s/admin.sock"}
access_log: {output: "off"}
audit_log: {output: "off"}
tls: {certificates: [{cert: pki/server.pem, key: "${file:pki/server.key}"}]}
organizations: {org: {id: NTRBG-1, ca: pki/dev-ca.pem}}
services:
  a: {owner: org, hosts: [a.example], upstreams: ["http://%s"]}
`, port, dir, upstream.Addr())
	if err := os.WriteFile(filepath.Join(dir, "vazel.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	// Only the process itself knows the number for LISTEN_PID.
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run -config "$1"`, vazel, dir)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=3", "LISTEN_FDNAMES="+names)
	var log bytes.Buffer
	cmd.Stderr = &log
	for _, s := range []interface{ File() (*os.File, error) }{udp.(*net.UDPConn), tcp.(*net.TCPListener), spare.(*net.TCPListener)} {
		f, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	tcp.Close() // the copies live on
	udp.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// The sockets are open: connections wait there until they are served.
	conf := &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}
	over := map[string]http.RoundTripper{
		"h1": &http.Transport{TLSClientConfig: conf.Clone(), DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		}},
		"h3": &http3.Transport{TLSClientConfig: conf},
	}
	for _, p := range []string{"h1", "h3"} {
		c := &http.Client{Transport: over[p], Timeout: 20 * time.Second}
		req, err := http.NewRequest("GET", fmt.Sprintf("https://127.0.0.1:%d/name", port), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "a.example"
		if resp, err := c.Do(req); err != nil {
			t.Errorf("%s: %v", p, err)
		} else {
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(b) != "upstream up" {
				t.Errorf("%s: got %s, %s", p, resp.Status, b)
			}
		}
		c.CloseIdleConnections()
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("vazel run: %v", err)
	}
	if want := fmt.Sprintf(`"address":"%s"`, spare.Addr()); !strings.Contains(log.String(), want) || !strings.Contains(log.String(), "is not served") || t.Failed() {
		t.Errorf("the log does not tell of %s:\n%s", spare.Addr(), log.String())
	}
}

// listenBoth opens a port over TCP and UDP.
func listenBoth(t *testing.T) (net.Listener, net.PacketConn, int) {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if p, err := net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, p, l.Addr().(*net.TCPAddr).Port
		}
		l.Close()
	}
	t.Fatal("no free port")
	return nil, nil, 0
}
