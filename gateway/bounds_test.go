package gateway

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// plainReader hides its length, so that the client announces none.
type plainReader struct{ io.Reader }

// TestRequestBounds: what is one too much is refused over every protocol, with the
// status that says which bound it was, and what is just within passes.
func TestRequestBounds(t *testing.T) {
	n, up := newTarget(t, "max_header: 8KiB, max_headers: 40, max_uri: 1KiB")
	n.config(fmt.Sprintf(attackServices, up.address) + "    max_body: 64KiB\n")
	n.limits("max_header: 8KiB, max_headers: 40, max_uri: 1KiB")
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	text := func(n int) io.Reader { return strings.NewReader(strings.Repeat("a", n)) }
	fields := func(n int) (h []string) {
		for i := range n {
			h = append(h, fmt.Sprintf("X-Field-%d", i), "v")
		}
		return h
	}
	for _, tt := range []struct {
		name, path string
		body       func() io.Reader
		header     []string
		want       int
	}{
		{name: "longest target", path: "/" + strings.Repeat("a", 1<<10-1), want: 200},
		{name: "target too long", path: "/" + strings.Repeat("a", 1<<10), want: 414},
		{name: "query too long", path: "/?" + strings.Repeat("a", 1<<10-1), want: 414},
		{name: "many fields", header: fields(30), want: 200},
		{name: "too many fields", header: fields(41), want: 431},
		{name: "long head", header: []string{"X-Long", strings.Repeat("a", 7<<10)}, want: 200},
		{name: "head too long", header: []string{"X-Long", strings.Repeat("a", 9<<10)}, want: 431},
		{name: "largest body", body: func() io.Reader { return text(64 << 10) }, want: 200},
		{name: "body announced too large", body: func() io.Reader { return text(64<<10 + 1) }, want: 413},
		{name: "largest body without length", body: func() io.Reader { return plainReader{text(64 << 10)} }, want: 200},
		{name: "body that becomes too large", body: func() io.Reader { return plainReader{text(64<<10 + 1)} }, want: 413},
	} {
		for _, p := range protocols {
			up.take()
			method, body := "GET", io.Reader(nil)
			if tt.body != nil {
				method, body = "POST", tt.body()
			}
			resp, _ := n.do(n.dial(p, "open.example", nil), method, "https://open.example"+tt.path, body, tt.header...)
			if resp.StatusCode != tt.want {
				t.Errorf("%s over %s: got %s, want %d", tt.name, p, resp.Status, tt.want)
			}
			if _, whole := up.take(); tt.want != 200 && whole > 0 || tt.want == 200 && whole != 1 {
				t.Errorf("%s over %s: the upstream got %d whole requests", tt.name, p, whole)
			}
		}
	}
}

// handshake opens a connection from a loopback address, and is done when the
// gateway has answered or closed it.
func (n *node) handshake(from, protocol string) (*tls.Conn, error) {
	d := tls.Dialer{
		NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}},
		Config:    &tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{protocol}},
	}
	c, err := d.DialContext(context.Background(), "tcp", n.https)
	if err != nil {
		return nil, err
	}
	n.t.Cleanup(func() { c.Close() })
	return c.(*tls.Conn), nil
}

// TestConnectionBounds: connections are counted by address and in all; one that
// ends makes room for another.
func TestConnectionBounds(t *testing.T) {
	n, _ := newTarget(t, "max_connections: 12, max_connections_per_ip: 5")
	open := map[string][]*tls.Conn{}
	for _, ip := range []string{"127.0.0.2", "127.0.0.3"} {
		for i := range 7 {
			c, err := n.handshake(ip, "http/1.1")
			if (err == nil) != (i < 5) {
				t.Fatalf("connection %d of %s: %v", i+1, ip, err)
			}
			if err == nil {
				open[ip] = append(open[ip], c)
			}
		}
	}
	rejected := func(reason string) string {
		return `vazel_connections_rejected_total{listener="` + n.https + `",reason="` + reason + `"}`
	}
	n.eventually(rejected("per_ip_limit"), "4")
	for i := range 4 {
		if _, err := n.handshake("127.0.0.4", "h2"); (err == nil) != (i < 2) {
			t.Fatalf("connection %d of all: %v", 11+i, err)
		}
	}
	n.eventually(rejected("global_limit"), "2")
	for _, c := range open["127.0.0.2"] {
		c.Close()
	}
	n.eventually(`vazel_connections_open{listener="`+n.https+`",transport="tcp"}`, "7")
	if _, err := n.handshake("127.0.0.2", "http/1.1"); err != nil {
		t.Errorf("after others went: %v", err)
	}
}

// TestIdleConnections: hundreds of connections that do nothing, before, in and
// after the handshake, cost little and hinder nobody.
func TestIdleConnections(t *testing.T) {
	const each = 150
	n, _ := newTarget(t, "max_connections_per_ip: 2000, header_timeout: 20s, idle_timeout: 20s")
	gauge := `vazel_connections_open{listener="` + n.https + `",transport="tcp"}`
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var mu sync.Mutex
	var open []net.Conn
	var wait sync.WaitGroup
	for _, protocol := range []string{"", "http/1.1", "h2"} {
		for range 3 {
			wait.Go(func() {
				for range each / 3 {
					c, err := net.Dial("tcp", n.https)
					if err == nil && protocol != "" {
						tc := tls.Client(c, &tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{protocol}})
						c, err = tc, tc.Handshake()
					} else if err == nil {
						_, err = c.Write([]byte{22, 3, 1, 2, 0, 1}) // the beginning of a ClientHello
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					open = append(open, c)
					mu.Unlock()
				}
			})
		}
	}
	wait.Wait()
	n.eventually(gauge, fmt.Sprint(3*each))
	runtime.GC()
	runtime.ReadMemStats(&after)
	// Both ends live in this process.
	if grown := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse); grown > 3*each*(96<<10) {
		t.Errorf("%d idle connections take %d KiB each", 3*each, grown/3/each>>10)
	} else {
		t.Logf("%d KiB each, with the client's side", grown/3/each>>10)
	}
	for _, p := range protocols {
		n.meanwhile(p, func() {})
	}
	for _, c := range open {
		c.Close()
	}
}

// TestIdleConnectionsEnd: each ends by the bound of the state that it is in.
func TestIdleConnectionsEnd(t *testing.T) {
	n, _ := newTarget(t, "header_timeout: 300ms, idle_timeout: 300ms")
	for _, protocol := range []string{"", "http/1.1", "h2"} {
		for range 10 {
			c, err := net.Dial("tcp", n.https)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if protocol != "" {
				tc := tls.Client(c, &tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{protocol}})
				if err := tc.Handshake(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	n.eventually(`vazel_connections_total{listener="`+n.https+`",transport="tcp"}`, "30")
	for range 10 { // which are kept alive, but not used
		qc, err := quic.DialAddr(t.Context(), n.https, &tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{"h3"}}, &quic.Config{KeepAlivePeriod: 50 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { qc.CloseWithError(0, "") })
	}
	for _, transport := range []string{"tcp", "quic"} {
		n.eventually(`vazel_connections_open{listener="`+n.https+`",transport="`+transport+`"}`, "0")
	}
}

// TestZipBomb: what the gateway inspects it unpacks within bounds only, and what it does not
// inspect it passes on as it came.
func TestZipBomb(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	block := make([]byte, 1<<20)
	for range 200 {
		z.Write(block)
	}
	z.Close()
	var got bytes.Buffer
	var mu sync.Mutex
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		io.Copy(&got, r.Body)
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "text/plain")
		w.Write(bomb.Bytes())
	})
	n.config(fmt.Sprintf(`
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%s"]
    compress: [br]
    cache: {}
    routes:
      - paths: [/]
      - {paths: [/inspected], waf: {mode: block}}
`, n.upstream.address))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		c := n.dial(p, "open.example", nil)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		resp, _ := n.do(c, "POST", "https://open.example/inspected", bytes.NewReader(bomb.Bytes()), "Content-Encoding", "gzip", "Content-Type", "application/json")
		if resp.StatusCode != 413 {
			t.Errorf("inspected over %s: %s", p, resp.Status)
		}
		resp, body := n.do(c, "POST", "https://open.example/", bytes.NewReader(bomb.Bytes()), "Content-Encoding", "gzip", "Accept-Encoding", "br, gzip")
		runtime.ReadMemStats(&after)
		mu.Lock()
		if resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != "gzip" || body != bomb.String() || !bytes.Equal(got.Bytes(), bomb.Bytes()) {
			t.Errorf("over %s: %s, %v, %d bytes up, %d bytes down of %d", p, resp.Status, resp.Header, got.Len(), len(body), bomb.Len())
		}
		got.Reset()
		mu.Unlock()
		if all := after.TotalAlloc - before.TotalAlloc; all > 50<<20 {
			t.Errorf("over %s: %d MiB were allocated for a bomb of %d KiB", p, all>>20, bomb.Len()>>10)
		}
	}
}
