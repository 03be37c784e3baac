//go:build e2e

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// resident is the memory of the gateway in KiB.
func (n *e2eNode) resident(t *testing.T) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.gateway.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// TestE2EIdleConnections: 5,000 idle connections, and among them some hundred
// whose heads and bodies never end, cost little, hinder nobody, and the slow ones
// are gone in time.
func TestE2EIdleConnections(t *testing.T) {
	const idle, slow = 5000, 300
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "hello")
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	n := newE2ENode(t, map[string]string{"local": "http://" + l.Addr().String()}, "")
	url := fmt.Sprintf("https://127.0.0.1:%d/", n.https)
	fetch(t, n.client, url)
	conf := &tls.Config{RootCAs: n.roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}}
	dial := func(i int) (*tls.Conn, error) {
		from := net.IPv4(127, 0, 0, byte(2+i%20)) // limits.max_connections_per_ip stays at its default
		c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: from}}).Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.https))
		if err != nil {
			return nil, err
		}
		tc := tls.Client(c, conf)
		return tc, tc.Handshake()
	}
	before := n.resident(t)
	conns := make([]*tls.Conn, idle+2*slow)
	t.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
	var wait sync.WaitGroup
	for w := range 8 {
		wait.Go(func() {
			for i := w; i < idle; i += 8 {
				c, err := dial(i)
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
				conns[i] = c
				// Without a first request limits.header_timeout would end it.
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
				}
				if err != nil {
					t.Errorf("connection %d: %v", i, err)
					return
				}
			}
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	each := (n.resident(t) - before) / idle
	t.Logf("%d KiB for each of %d idle connections", each, idle)
	if each > 48 { // with what the handshakes left behind
		t.Errorf("an idle connection takes %d KiB", each)
	}
	for i := idle; i < len(conns); i++ {
		c, err := dial(i)
		if err != nil {
			t.Fatal(err)
		}
		conns[i] = c
		c.SetDeadline(time.Now().Add(time.Minute))
		in := "GET / HTTP/1.1\r\nHost: localhost\r\nX-"
		if i >= idle+slow {
			in = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\nabc"
		}
		io.WriteString(c, in)
	}
	// Others are served all the while, until the slow ones have been answered.
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for _, c := range conns[idle:] {
			if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
				t.Errorf("a slow client got %.60q", b)
				return
			}
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	worst, asked := time.Duration(0), 0
	for waiting := true; waiting; asked++ {
		start := time.Now()
		if status, body := fetch(t, n.client, url); status != 200 || string(body) != "hello" {
			t.Fatalf("another client got %d %q", status, body)
		}
		worst = max(worst, time.Since(start))
		select {
		case <-gone:
			waiting = false
		case <-tick.C:
		}
	}
	t.Logf("the slowest of %d answers to another client took %v", asked, worst)
	if worst > 2*time.Second {
		t.Errorf("another client waited %v", worst)
	}
	// What was idle all the while still serves.
	for _, i := range []int{0, idle / 2, idle - 1} {
		c := conns[i]
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
			t.Errorf("idle connection %d: %.60q, %v", i, b, err)
		}
	}
}
