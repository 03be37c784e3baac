package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// crowd opens connections with handshakes at once. It returns those that were let
// in and how many were refused; none may be left without an answer.
func (n *upgradable) crowd(connections int) (in []net.Conn, refused int) {
	n.t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() {
			c, err := tls.DialWithDialer(&net.Dialer{Timeout: 20 * time.Second}, "tcp", n.address(), n.conf)
			mu.Lock()
			defer mu.Unlock()
			var late net.Error
			switch {
			case err == nil:
				in = append(in, c)
			case errors.As(err, &late) && late.Timeout():
				n.t.Errorf("a connection was neither served nor refused: %v", err)
			default:
				refused++
			}
		})
	}
	wg.Wait()
	n.t.Cleanup(func() { closeAll(in) })
	return in, refused
}

func closeAll(l []net.Conn) {
	for _, c := range l {
		c.Close()
	}
}

// expect asks and holds the status against want.
func (n *upgradable) expect(what string, c *http.Client, path string, want int) http.Header {
	n.t.Helper()
	resp, err := c.Do(n.request("GET", path))
	if err != nil {
		n.t.Errorf("%s: %v", what, err)
		return nil
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != want {
		n.t.Errorf("%s: got %s, want %d", what, resp.Status, want)
	}
	return resp.Header
}

// processors is the time that a process has had of them.
func processors(t *testing.T, pid int) time.Duration {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	var user, system int64
	if _, err := fmt.Sscan(f[11]+" "+f[12], &user, &system); err != nil {
		t.Fatal(err)
	}
	return time.Duration(user+system) * 10 * time.Millisecond
}

// limitDescriptors changes the limit of a running process.
func limitDescriptors(t *testing.T, pid int, soft uint64) {
	t.Helper()
	l := struct{ cur, max uint64 }{soft, 96}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&l)), 0, 0, 0); e != 0 {
		t.Fatal(e)
	}
}

// TestDescriptorsRunOut: newcomers are refused at once, those who are there are
// served, and so is whoever comes as soon as others have gone.
func TestDescriptorsRunOut(t *testing.T) {
	n := newLimited(t, "ulimit -n 96")
	h1, h2 := n.over("h1", true), n.over("h2", true)
	n.expect("h1, before", h1, "/", 200)
	n.expect("h2, before", h2, "/", 200)

	crowd, refused := n.crowd(150)
	t.Logf("%d connections were let in, %d refused", len(crowd), refused)
	if len(crowd) < 20 || refused < 50 {
		t.Errorf("%d connections were let in, %d refused", len(crowd), refused)
	}
	for range 3 {
		n.expect("h1", h1, "/", 200)
		n.expect("h2", h2, "/", 200)
	}
	n.expect("h3, which needs none", n.over("h3", true), "/", 200)
	for _, metric := range []string{"vazel_accept_errors_total{", `vazel_connections_rejected_total{listener="` + n.address() + `",reason="descriptors"}`} {
		if got := n.metric(metric); got < float64(refused) {
			t.Errorf("%s %v, want %d at least", metric, got, refused)
		}
	}
	if !n.says("file descriptors run out") {
		t.Error("the log does not say so")
	}

	// Requests beyond what upstreams may have are refused, not held against the upstream.
	begun := make(chan *http.Response, 90)
	var wg sync.WaitGroup
	overload := 0
	var mu sync.Mutex
	for range 90 {
		wg.Go(func() {
			resp, err := h2.Do(n.request("GET", "/hold"))
			if err != nil {
				t.Error(err)
				return
			}
			if resp.StatusCode == 200 {
				begun <- resp
				return
			}
			resp.Body.Close()
			mu.Lock()
			defer mu.Unlock()
			if overload++; resp.StatusCode != 503 || resp.Header.Get("Proxy-Status") != "vazel; error=connection_limit_reached" || resp.Header.Get("Retry-After") == "" {
				t.Errorf("got %s, %v", resp.Status, resp.Header)
			}
		})
	}
	wg.Wait()
	close(begun)
	t.Logf("%d requests under way at once, %d refused", len(begun), overload)
	if len(begun) < 15 || overload < 10 {
		t.Errorf("%d requests were under way at once, %d refused", len(begun), overload)
	}
	if got := n.metric(`vazel_upstream_errors_total{reason="overloaded",upstream="a"}`); got < float64(overload) {
		t.Errorf("%v overloaded, want %d", got, overload)
	}
	close(n.release)
	for resp := range begun {
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "begun\nended\n" {
			t.Errorf("%q, %v", b, err)
		}
		resp.Body.Close()
	}

	closeAll(crowd)
	start := time.Now()
	n.until("newcomers are served again", func() bool {
		c, err := tls.Dial("tcp", n.address(), n.conf)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("newcomers were served again after %s", took)
	}
	n.expect("a newcomer", n.over("h1", false), "/", 200)
	n.until("the log says that it is over", func() bool { return n.says("enough file descriptors again") })
}

// TestDescriptorsRaised: the process takes what it may have, and so does its heir.
func TestDescriptorsRaised(t *testing.T) {
	n := newLimited(t, "ulimit -Sn 64; ulimit -Hn 512")
	for _, who := range []string{"the first process", "the second one"} {
		if got := n.metric("process_max_fds"); got < 511 || got > 512 { // Go takes all but one
			t.Errorf("%s may open %v, want 512", who, got)
		}
		if out, err := n.upgrade(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// TestDescriptorsGone: there is not one left, not even for a moment, because
// somebody lowered the limit. Nobody waits for nothing, and nothing spins.
func TestDescriptorsGone(t *testing.T) {
	n := newLimited(t, "ulimit -n 96")
	h2 := n.over("h2", true)
	under, err := h2.Do(n.request("GET", "/hold"))
	if err != nil {
		t.Fatal(err)
	}
	defer under.Body.Close()
	crowd, _ := n.crowd(40)
	limitDescriptors(t, n.pid, 30)
	before, start := processors(t, n.pid), time.Now()
	if _, refused := n.crowd(20); refused < 15 {
		t.Errorf("%d connections of 20 were refused", refused)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("that took %s", took)
	}
	close(n.release)
	if b, err := io.ReadAll(under.Body); err != nil || string(b) != "begun\nended\n" {
		t.Errorf("the request under way: %q, %v", b, err)
	}
	if busy, took := processors(t, n.pid)-before, time.Since(start); busy > took/2+200*time.Millisecond {
		t.Errorf("%s of processors in %s", busy, took)
	}
	limitDescriptors(t, n.pid, 96)
	if got := n.metric("vazel_accept_errors_total{"); got < 10 {
		t.Errorf("%v accept errors, want 10 at least", got)
	}
	closeAll(crowd)
	n.until("newcomers are served again", func() bool {
		c, err := tls.Dial("tcp", n.address(), n.conf)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	n.expect("afterwards", n.over("h1", false), "/", 200)
}

// TestMemoryRunsOut: uploads that are held for inspection take the memory;
// then new work is refused, and when they are gone it is done again.
func TestMemoryRunsOut(t *testing.T) {
	n := newLimited(t, "export GOMEMLIMIT=96MiB") // a third of it is the rules
	n.configure("defaults: {waf: {mode: detect}}\n")
	n.command("reload", "-config", n.dir)
	plain := n.over("h1", true)
	n.expect("before", plain, "/", 200)
	var held []net.Conn
	defer func() { closeAll(held) }()
	body := make([]byte, 7<<20)
	full := func() bool {
		return n.metric(`vazel_connections_rejected_total{listener="`+n.address()+`",reason="memory"}`) > 0
	}
	conf := n.conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	// A machine that is busy otherwise sheds some for that; others take their place.
	for range 5 {
		if full() {
			break
		}
		var uploads sync.WaitGroup
		var mu sync.Mutex
		for range 16 {
			uploads.Go(func() {
				c, err := tls.Dial("tcp", n.address(), conf)
				if err != nil {
					return
				}
				mu.Lock()
				held = append(held, c)
				mu.Unlock()
				c.SetWriteDeadline(time.Now().Add(3 * time.Second))
				fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n", len(body)+1)
				c.Write(body)
			})
		}
		uploads.Wait()
	}
	n.until("new requests are refused", func() bool {
		resp, err := plain.Do(n.request("GET", "/"))
		if err != nil {
			return true // a new connection
		}
		resp.Body.Close()
		return resp.StatusCode == 503 && resp.Header.Get("Retry-After") != ""
	})
	n.until("new connections are refused", func() bool {
		if c, err := tls.Dial("tcp", n.address(), n.conf); err == nil {
			c.Close()
		}
		return full()
	})
	if got := n.metric("vazel_requests_shed_total{"); got == 0 {
		t.Error("no request was counted as shed")
	}
	if p := n.metric("vazel_load_pressure_ratio"); p < 0.7 {
		t.Errorf("the pressure is %v", p)
	}
	if !n.says("overload: requests are refused") {
		t.Error("the log does not say so")
	}
	closeAll(held)
	start := time.Now()
	n.until("requests are served again", func() bool {
		resp, err := n.over("h1", false).Do(n.request("GET", "/"))
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == 200
	})
	t.Logf("requests are served again after %s", time.Since(start))
	n.until("the log says that it is over", func() bool { return n.says("the overload is over") })
}
