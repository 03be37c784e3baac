//go:build e2e

package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestE2EUpgradeUnderLoad builds another version, puts it in the place of the
// program and has it take over, three times, under load from wrk and clients of HTTP/2, which
// are told of each connection and request that fails.
func TestE2EUpgradeUnderLoad(t *testing.T) {
	wrk := need(t, "wrk", "wrk")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	n := newE2ENode(t, map[string]string{"local": "http://" + l.Addr().String()}, "")
	// Its own copy of the program, for it is replaced.
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(n.dir, "bin", "vazel")
	if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range 4 { // before the load, which would make it slow
		if out, err := exec.Command("go", "build", "-ldflags", fmt.Sprint("-X main.version=", i+1), "-o", fmt.Sprint(program, i+1), ".").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	place := func(version string) {
		t.Helper()
		if err := os.Rename(program+version, program); err != nil {
			t.Fatal(err)
		}
	}
	n.gateway.cmd.Process.Signal(syscall.SIGTERM)
	<-n.gateway.done
	place("1")
	log, err := os.Create(filepath.Join(n.dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, "run", "-config", n.dir, "-watch=false")
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		syscall.Kill(pid, syscall.SIGTERM)
		until(t, "the last process has ended", func() bool { return syscall.Kill(pid, 0) != nil })
		if b, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("%s", b)
		}
	})
	admin := fmt.Sprintf("http://127.0.0.1:%d", n.admin)
	version := func() string {
		resp, err := http.Get(admin + "/metrics")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if m := regexp.MustCompile(`vazel_build_info\{.*version="([^"]*)"`).FindSubmatch(b); m != nil {
			return string(m[1])
		}
		return ""
	}
	until(t, "version 1 serves", func() bool { return version() == "1" })

	load := func(name string, args ...string) chan string {
		done := make(chan string, 1)
		go func() {
			out, err := exec.Command(name, args...).CombinedOutput()
			done <- fmt.Sprintf("%s\n%v", out, err)
		}()
		return done
	}
	url := fmt.Sprintf("https://127.0.0.1:%d/", n.https)
	keep := load(wrk, "-t1", "-c8", "-d12s", url)
	stop, each := make(chan struct{}), make(chan int, 1)
	once := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: n.roots}}}
	go func() { // a connection for each request
		each <- repeat(t, once, url, stop)
	}()
	// Clients of HTTP/2 that go on elsewhere after GOAWAY, as h2load does not.
	shared := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: n.roots}}}
	streams := make(chan int, 8)
	for range cap(streams) {
		go func() { streams <- repeat(t, shared, url, stop) }()
	}
	for i := range 3 {
		<-time.After(2 * time.Second) // of load
		next := fmt.Sprint(i + 2)
		place(next)
		start := time.Now()
		out, err := exec.Command(bin, "upgrade", "-config", n.dir).CombinedOutput()
		if _, err2 := fmt.Sscanf(string(out), "upgraded: process %d", &pid); err != nil || err2 != nil {
			t.Fatalf("upgrade: %v: %s", err, out)
		}
		t.Logf("upgrade to version %s took %s", next, time.Since(start))
		if got := version(); got != next {
			t.Errorf("version %s answers, want %s", got, next)
		}
	}
	keepOut := <-keep
	close(stop)
	h2 := 0
	for range cap(streams) {
		h2 += <-streams
	}
	t.Log(keepOut, <-each, "connections of one request,", h2, "requests over HTTP/2")
	if h2 == 0 {
		t.Error("nothing was asked over HTTP/2")
	}
	if strings.Contains(keepOut, "Socket errors") || strings.Contains(keepOut, "Non-2xx") || !strings.Contains(keepOut, "Requests/sec") {
		t.Error("wrk had failures")
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the first process: %v", err)
		}
	case <-time.After(40 * time.Second):
		t.Error("the first process does not end")
	}
}

// TestE2EUnit: systemd finds nothing wrong with the units.
func TestE2EUnit(t *testing.T) {
	analyze := need(t, "systemd-analyze", "systemd")
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	args := []string{"verify", "--man=no"}
	for _, name := range []string{"vazel.service", "vazel.socket"} {
		b, err := os.ReadFile(filepath.Join("../../deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), "/usr/bin/vazel", bin)), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if out, err := exec.Command(analyze, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

// repeat asks until stop, and returns how often. Every request has to be answered.
func repeat(t *testing.T, c *http.Client, url string, stop <-chan struct{}) (answered int) {
	for {
		select {
		case <-stop:
			return answered
		default:
		}
		resp, err := c.Get(url)
		if err != nil {
			t.Errorf("after %d answers: %v", answered, err)
			continue
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("after %d answers: %s, %v", answered, resp.Status, err)
			continue
		}
		answered++
	}
}
