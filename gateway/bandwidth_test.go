package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
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

// TestConcurrencyOf: bounds count by whom they name, several at once, an
// organization's own over all services; detect refuses nobody; a reload forgets
// nobody who is under way.
func TestConcurrencyOf(t *testing.T) {
	entered, leave := make(chan struct{}, 8), make(chan struct{})
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/wait" {
			entered <- struct{}{}
			<-leave
		}
	})
	nra, sofia := n.client(n.orgCA, "NTRBG-100000003"), n.client(n.orgCA, "NTRBG-100000004")
	var wg sync.WaitGroup
	wait := func(protocol string, cert *tls.Certificate, header ...string) {
		t.Helper()
		c := n.dial(protocol, "inner.example", cert)
		wg.Go(func() {
			if resp, body := n.do(c, "POST", "https://inner.example/wait", strings.NewReader(`{"client": "a"}`), append(header, "Content-Type", "application/json")...); resp.StatusCode != 200 {
				t.Errorf("%s: %d %s", protocol, resp.StatusCode, body)
			}
		})
		<-entered
	}
	ask := func(what string, cert *tls.Certificate, want int, policy string, header ...string) {
		t.Helper()
		resp, body := n.do(n.dial("h2", "inner.example", cert), "POST", "https://inner.example/", strings.NewReader(`{"client": "a"}`), append(header, "Content-Type", "application/json")...)
		if resp.StatusCode != want || policy != "" && !strings.Contains(body, fmt.Sprintf(`"policy":%q`, policy)) {
			t.Errorf("%s: %d %s, want %d of %s", what, resp.StatusCode, body, want, policy)
		}
	}
	n.use("    concurrency: [100, {max: 2, per: organization}, {max: 1, per: \"header:X-Key\"}, {max: 1, per: organization, mode: detect}]")
	wait("h1", nra, "X-Key", "a")
	ask("another key", nra, 200, "", "X-Key", "b")
	ask("the same key", nra, 503, "inner:concurrency:header:X-Key", "X-Key", "a")
	ask("the same key of another", sofia, 503, "inner:concurrency:header:X-Key", "X-Key", "a")
	wait("h3", nra, "X-Key", "c")
	ask("a third of the organization", nra, 503, "inner:concurrency:organization", "X-Key", "d")
	ask("another organization", sofia, 200, "", "X-Key", "d")
	if got := n.metric(`vazel_ratelimit_quota_used_ratio{organization="nra",policy="inner:concurrency:organization"}`); got != "1" {
		t.Errorf("the share in use is %q, want 1", got)
	}
	if got := n.metric(`vazel_ratelimit_decisions_total{decision="shadow_limited",policy="inner:concurrency:organization#2"}`); got != "4" { // b, a, c and d while a was under way
		t.Errorf("detect counted %q, want 4", got)
	}
	n.use("    concurrency: [{max: 3, per: organization}, {max: 1, per: \"json:/client\"}, {max: 5, per: client_ip}]")
	ask("two are still under way", nra, 200, "")
	wait("h2", nra)
	ask("the organization is full again", nra, 503, "inner:concurrency:organization")
	ask("the same in the body", sofia, 503, "inner:concurrency:json:/client")
	if got := n.metric(`vazel_ratelimit_limited_total{organization="sofia",policy="inner:concurrency:json:/client"}`); got != "1" {
		t.Errorf("refusals of sofia: %q, want 1", got)
	}
	close(leave)
	wg.Wait()
	ask("when all have left", nra, 200, "")
	if got := n.metric(`vazel_ratelimit_quota_used_ratio{organization="nra",policy="inner:concurrency:organization"}`); got != "" {
		t.Errorf("the share in use is %q, want none", got)
	}
}

// TestConcurrencyCeiling: an organization's own bound holds over all services, and
// its page tells it.
func TestConcurrencyCeiling(t *testing.T) {
	entered, leave := make(chan struct{}, 1), make(chan struct{})
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			entered <- struct{}{}
			<-leave
		}
	})
	n.config(n.limited("    concurrency: {max: 9, per: organization}"), fmt.Sprintf("  other:\n    owner: meu\n    hosts: [third.example]\n    upstreams: [\"http://%s\"]\n    allow: [\"*\"]\n", n.upstream.address))
	conf, err := os.ReadFile(filepath.Join(n.dir, "vazel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n.write("vazel.yaml", strings.Replace(string(conf), "id: NTRBG-100000003,", "id: NTRBG-100000003, concurrency: 1,", 1))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	nra := n.client(n.orgCA, "NTRBG-100000003")
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.do(n.dial("h2", "inner.example", nra), "GET", "https://inner.example/wait", nil)
	}()
	<-entered
	resp, body := n.do(n.dial("h1", "third.example", nra), "GET", "https://third.example/", nil)
	if resp.StatusCode != 503 || !strings.Contains(body, `"policy":"nra:ceiling:concurrency"`) || !strings.Contains(body, `"partition":"organization"`) {
		t.Errorf("one too many: %d %s", resp.StatusCode, body)
	}
	if resp, body := n.do(n.dial("h1", "third.example", n.client(n.orgCA, "NTRBG-100000004")), "GET", "https://third.example/", nil); resp.StatusCode != 200 {
		t.Errorf("another organization: %d %s", resp.StatusCode, body)
	}
	_, page := n.do(n.dial("h2", "third.example", nra), "GET", "https://third.example/.well-known/vazel/quota", nil)
	for _, want := range []string{`"kind":"concurrency","limit":1,"mode":"enforce","partition":"organization","policy":"nra:ceiling:concurrency"`, `"services":["inner","other"],"used":1`, `"limit":9,"mode":"enforce","partition":"organization","policy":"inner:concurrency:organization"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s: %s", want, page)
		}
	}
	close(leave)
	<-done
}

// TestBandwidthDetect: nothing is held back, and what would have been is counted.
func TestBandwidthDetect(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			io.Copy(io.Discard, r.Body)
			return
		}
		io.WriteString(w, body)
	})
	n.use("    bandwidth: {down: 10KiB/s, up: 10KiB/s, per: organization, mode: detect}")
	c := n.dial("h2", "inner.example", n.client(n.orgCA, "NTRBG-100000003"))
	for _, method := range []string{"GET", "POST"} {
		send := ""
		if method == "POST" {
			send = body
		}
		if resp, got := n.do(c, method, "https://inner.example/", strings.NewReader(send)); resp.StatusCode != 200 || method == "GET" && got != body { // enforced, it would take more than a minute and be refused
			t.Errorf("%s: %d with %d bytes", method, resp.StatusCode, len(got))
		}
	}
	n.eventually(`vazel_ratelimit_decisions_total{decision="shadow_limited",policy="inner:bandwidth:organization"}`, "2")
	if got := n.metric(`vazel_bandwidth_bytes_total{direction="down",policy="inner:bandwidth:organization"}`); got != fmt.Sprint(len(body)) && got != "1.048576e+06" {
		t.Errorf("%s bytes were counted, want %d", got, len(body))
	}
}
