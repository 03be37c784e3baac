package gateway

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// exact is an upstream that keeps every byte that it gets, and counts the
// requests that were whole.
type exact struct {
	address string

	mu    sync.Mutex
	bytes bytes.Buffer
	whole int
}

func newExact(t testing.TB) *exact {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &exact{address: l.Addr().String()}
	var conns sync.WaitGroup
	open := make(chan net.Conn, 1000)
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open <- c
			conns.Go(func() { e.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		for len(open) > 0 {
			(<-open).Close()
		}
		conns.Wait()
	})
	return e
}

func (e *exact) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.bytes.Write(p)
}

func (e *exact) serve(c net.Conn) {
	defer c.Close()
	br := bufio.NewReader(io.TeeReader(c, e))
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		e.mu.Lock()
		e.whole++
		e.mu.Unlock()
		body := "ok"
		if n := len(r.URL.Query().Get("big")); n > 0 {
			body = strings.Repeat("x", 1<<20)
		}
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
			return
		}
	}
}

// take returns what came since the last time.
func (e *exact) take() (got string, whole int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	got, whole = e.bytes.String(), e.whole
	e.bytes.Reset()
	e.whole = 0
	return got, whole
}

const attackServices = `
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%s"]
    routes:
      - paths: [/]
`

// newTarget is a node before an exact upstream, with limits of its own.
func newTarget(t testing.TB, limits string) (*node, *exact) {
	t.Helper()
	n, e := newNode(t, nil), newExact(t)
	n.config(fmt.Sprintf(attackServices, e.address))
	n.limits(limits)
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	return n, e
}

// limits adds some to those of the main file as it is.
func (n *node) limits(more string) {
	n.t.Helper()
	b, err := os.ReadFile(filepath.Join(n.dir, "vazel.yaml"))
	if err != nil {
		n.t.Fatal(err)
	}
	n.write("vazel.yaml", strings.Replace(string(b), "limits: {", "limits: {"+more+", ", 1))
}

// meanwhile sends another client's requests while attack runs, and fails the
// test unless all of them are answered soon.
func (n *node) meanwhile(protocol string, attack func()) {
	n.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		attack()
	}()
	c := n.dial(protocol, "open.example", nil)
	for i := 0; ; i++ {
		start := time.Now()
		if resp, body := n.do(c, "GET", "https://open.example/other", nil); resp.StatusCode != 200 || body != "ok" {
			n.t.Errorf("another client got %d %q", resp.StatusCode, body)
		}
		if took := time.Since(start); took > 5*time.Second {
			n.t.Errorf("another client waited %s", took)
		}
		select {
		case <-done:
			return
		case <-time.After(20 * time.Millisecond):
		case <-n.t.Context().Done():
			return
		}
	}
}
