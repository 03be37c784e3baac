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
// program and has it take over, three times, under load from wrk and h2load, which
// are told of each connection and request that fails.
func TestE2EUpgradeUnderLoad(t *testing.T) {
	wrk, h2load := need(t, "wrk", "wrk"), need(t, "h2load", "nghttp2-client")
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
	place := func(version string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", program+".new", ".").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if err := os.Rename(program+".new", program); err != nil {
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
	h2 := load(h2load, "-c2", "-m4", "-D12", "--warm-up-time=0", url)
	stop, each := make(chan struct{}), make(chan int, 1)
	once := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: n.roots}}}
	go func() { // a connection for each request
		answered := 0
		for ; ; answered++ {
			select {
			case <-stop:
				each <- answered
				return
			default:
			}
			resp, err := once.Get(url)
			if err != nil {
				t.Errorf("a new connection: %v", err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != 200 {
				t.Errorf("a new connection: %s", resp.Status)
			}
		}
	}()
	for i := range 3 {
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
	keepOut, h2Out := <-keep, <-h2
	close(stop)
	t.Log(keepOut, h2Out, <-each, "connections of one request")
	if strings.Contains(keepOut, "Socket errors") || strings.Contains(keepOut, "Non-2xx") || !strings.Contains(keepOut, "Requests/sec") {
		t.Error("wrk had failures")
	}
	if !regexp.MustCompile(` 0 failed, 0 errored, 0 timeout`).MatchString(h2Out) || !regexp.MustCompile(`[1-9]\d* 2xx, 0 3xx, 0 4xx, 0 5xx`).MatchString(h2Out) {
		t.Error("h2load had failures")
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
