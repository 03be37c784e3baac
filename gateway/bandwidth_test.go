package gateway

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBandwidth: bodies come at the rate, whole and in order, over every protocol
// and in both directions; connections of one client share it.
func TestBandwidth(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 8<<10) // 128 KiB
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		if len(got) > 0 && string(got) != body {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if len(got) == 0 {
			io.WriteString(w, body)
		}
	})
	for _, way := range []string{"down", "up"} {
		n.use(fmt.Sprintf("    bandwidth: {%s: 512KiB/s, per: organization}", way))
		nra := n.client(n.orgCA, "NTRBG-100000003")
		start := time.Now()
		var wg sync.WaitGroup
		for _, p := range protocols {
			wg.Go(func() {
				c := n.dial(p, "inner.example", nra)
				method, send, want := "GET", "", body
				if way == "up" {
					method, send, want = "POST", body, ""
				}
				r, err := http.NewRequest(method, "https://inner.example/", strings.NewReader(send))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := c.Do(r)
				if err != nil {
					t.Errorf("%s: %v", p, err)
					return
				}
				defer resp.Body.Close()
				if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(got) != want {
					t.Errorf("%s %s: %d, %v, %d bytes, want %d", way, p, resp.StatusCode, err, len(got), len(want))
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took < 650*time.Millisecond {
			t.Errorf("%s: 384 KiB at 512 KiB/s took %v, want 0.7s or more", way, took)
		}
	}
	if got, want := n.metric(`vazel_bandwidth_bytes_total{direction="up",policy="inner:bandwidth:organization"}`), fmt.Sprint(3*len(body)); got != want {
		t.Errorf("%s bytes are counted, want %s", got, want)
	}
}

// TestBandwidthOfWebSocket: what becomes of a connection after HTTP keeps its
// bandwidth, both ways, and loses nothing.
func TestBandwidthOfWebSocket(t *testing.T) {
	const size = 96 << 10
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		rw.Flush()
		io.CopyN(c, rw, size)
	})
	n.use("    websocket: true\n    bandwidth: {down: 256KiB/s, up: 256KiB/s, per: organization}")
	c, br := n.raw("inner.example", n.client(n.orgCA, "NTRBG-100000003"))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: inner.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	start := time.Now()
	go io.WriteString(c, strings.Repeat("w", size))
	got, err := io.ReadAll(io.LimitReader(br, size))
	if took := time.Since(start); err != nil || string(got) != strings.Repeat("w", size) || took < 250*time.Millisecond {
		t.Errorf("%d bytes, %v, in %v, want %d in 0.25s or more", len(got), err, took, size)
	}
}

// TestConcurrency: as many as may be are under way, one more is told so, and a
// place that is left is free again.
func TestConcurrency(t *testing.T) {
	entered, leave := make(chan struct{}, 8), make(chan struct{})
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			entered <- struct{}{}
			<-leave
		}
	})
	n.use("    concurrency: 2\n    rate_limit: {rate: 1000/s, per: organization}")
	nra := n.client(n.orgCA, "NTRBG-100000003")
	var wg sync.WaitGroup
	for _, p := range []string{"h2", "h3"} {
		c := n.dial(p, "inner.example", nra)
		wg.Go(func() {
			if resp, err := c.Get("https://inner.example/wait"); err != nil || resp.StatusCode != 200 {
				t.Errorf("%s: %v %v", p, resp, err)
			} else {
				resp.Body.Close()
			}
		})
		<-entered
	}
	if got := n.metric(`vazel_ratelimit_quota_used_ratio{organization="_all",policy="inner:concurrency"}`); got != "1" {
		t.Errorf("the share in use is %q, want 1", got)
	}
	resp, body := n.do(n.dial("h1", "inner.example", nra), "GET", "https://inner.example/", nil)
	for _, want := range []string{`"policy":"inner:concurrency"`, `"limit":2`, `"remaining":0`, `"reset":1`, `"partition":"service"`, `#quota-exceeded"`, `"incident_id":"`} {
		if resp.StatusCode != 503 || !strings.Contains(body, want) {
			t.Errorf("one too many: %d %s, want 503 with %s", resp.StatusCode, body, want)
		}
	}
	if got := resp.Header.Get("RateLimit"); got != `"inner:concurrency";r=0;t=1` || resp.Header.Get("Retry-After") != "1" || !strings.Contains(resp.Header.Get("RateLimit-Policy"), `"inner:concurrency";q=2;qu="concurrent-requests"`) {
		t.Errorf("one too many: %v", resp.Header)
	}
	close(leave)
	wg.Wait()
	if resp, body := n.do(n.dial("h1", "inner.example", nra), "GET", "https://inner.example/", nil); resp.StatusCode != 200 || !strings.HasSuffix(resp.Header.Get("RateLimit"), `, "inner:concurrency";r=1`) {
		t.Errorf("when places are free: %d %s %v", resp.StatusCode, body, resp.Header)
	}
}
