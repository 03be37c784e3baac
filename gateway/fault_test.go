package gateway

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestUpstreamFaults: over every protocol, an upstream that fails or lies is seen
// as a failure, also through compression and the cache, and the metric names it.
func TestUpstreamFaults(t *testing.T) {
	const hold = "\x00hold" // the connection stays open after what stands before
	long := strings.Repeat("text that compresses well ", 8<<10)
	w := newWitness(t, "127.0.0.1")
	n := newNode(t, nil)
	n.config(fmt.Sprintf(`
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%s"]
    timeout: 400ms
    retries: {attempts: 1}
    ejection: {failures: 1000}
    cache: {}
    compress: [gzip]
    routes:
      - paths: [/]
`, w.address))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, answer string
		status       int // 0: broken off
		error        string
		reason       string
	}{
		{"closed", "", 502, "connection_terminated", "reset"},
		{"silent", hold, 504, "http_response_timeout", "header_timeout"},
		{"slow head", "HTTP/1.1 200 OK\r\nContent-" + hold, 504, "http_response_timeout", "header_timeout"},
		{"another protocol", "220 mail ESMTP\r\n", 502, "http_protocol_error", "protocol"},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", 502, "http_protocol_error", "protocol"},
		{"response splitting", "HTTP/1.1 302 Found\r\nLocation: /\nSet-Cookie: evil=1\r\nContent-Length: 0\r\n\r\n", 502, "http_protocol_error", "protocol"},
		{"oversized head", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 100<<10) + "\r\n\r\n", 502, "http_response_header_section_size", "protocol"},
		{"endless 1xx", strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 500), 502, "http_protocol_error", "protocol"},
		{"101 unasked", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", 502, "http_upgrade_failed", "protocol"},
		{"head without body", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 502, "http_response_incomplete", "reset"},
		{"early end", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\nContent-Length: 999999\r\n\r\n" + long, 0, "", "reset"},
		{"early end of chunks", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + long, 0, "", "reset"},
		{"body that stands still", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\nContent-Length: 999999\r\n\r\n" + long + hold, 0, "", "body_timeout"},
		{"malformed chunk", "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n+2\r\nok\r\n0\r\n\r\n", 0, "", "protocol"},
	} {
		w.mu.Lock()
		w.answer = func(c net.Conn) bool {
			answer, held := strings.CutSuffix(tt.answer, hold)
			io.WriteString(c, answer)
			if !held {
				c.(*net.TCPConn).CloseWrite()
			}
			io.Copy(io.Discard, c)
			return false
		}
		w.mu.Unlock()
		for _, p := range protocols {
			for _, encoding := range []string{"identity", "gzip"} {
				series := `vazel_upstream_errors_total{reason="` + tt.reason + `",upstream="open"}`
				before := n.metric(series)
				r, _ := http.NewRequest("GET", "https://open.example/"+p, nil)
				r.Header.Set("Accept-Encoding", encoding)
				resp, err := n.dial(p, "open.example", nil).Do(r)
				body := []byte(nil)
				if err == nil {
					body, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				switch {
				case tt.status == 0:
					if err == nil {
						t.Errorf("%s over %s (%s): a whole answer %s of %d bytes", tt.name, p, encoding, resp.Status, len(body))
					}
				case err != nil:
					t.Errorf("%s over %s: %v", tt.name, p, err)
				case resp.StatusCode != tt.status || resp.Header.Get("Proxy-Status") != "vazel; error="+tt.error || resp.Header.Get("Set-Cookie") != "":
					t.Errorf("%s over %s: got %s, %v; want %d, error=%s", tt.name, p, resp.Status, resp.Header, tt.status, tt.error)
				}
				if after := n.metric(series); after == before || after == "" {
					t.Errorf("%s over %s: %s stays %q", tt.name, p, series, after)
				}
				if seen, wrong := w.take(); len(seen) != 1 || len(wrong) > 0 {
					t.Errorf("%s over %s: the upstream got %q, %q", tt.name, p, seen, wrong)
				}
			}
		}
	}
}

// TestSlowH1Clients: who sends or reads too slowly is given up in time, by the
// bound that concerns it, and others are served meanwhile.
func TestSlowH1Clients(t *testing.T) {
	if http1Server() == "standard" {
		return
	}
	n, up := newTarget(t, "header_timeout: 700ms, body_timeout: 400ms, write_timeout: 400ms, idle_timeout: 700ms, min_rate: 1000B/s")
	drip := func(c io.Writer, s string) {
		tick := time.NewTicker(30 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			if _, err := io.WriteString(c, string(s[i%len(s)])); err != nil {
				return
			}
			<-tick.C
		}
	}
	for _, tt := range []struct {
		name, in, then string
		want           string
	}{
		{"idle", "", "", ""},
		{"idle after a request", "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n", "", "HTTP/1.1 200 OK"},
		{"head that stands still", "GET / HTTP/1.1\r\nHost: op", "", "HTTP/1.1 408 Request Timeout"},
		{"head in drops", "GET / HTTP/1.1\r\nHost: open.example\r\nX: ", "a", "HTTP/1.1 408 Request Timeout"},
		{"body that stands still", "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 100000\r\n\r\nab", "", "HTTP/1.1 408 Request Timeout"},
		{"body in drops", "POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 100000\r\n\r\n", "a", "HTTP/1.1 408 Request Timeout"},
		{"chunks in drops", "POST / HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n", "HTTP/1.1 408 Request Timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, br := n.raw("open.example", nil)
			n.meanwhile("h1", func() {
				start := time.Now()
				io.WriteString(c, tt.in)
				if tt.then != "" {
					go drip(c, tt.then)
				}
				all, _ := io.ReadAll(br)
				if !strings.HasPrefix(string(all), tt.want) || tt.want == "" && len(all) > 0 {
					t.Errorf("got %q, want %q", all, tt.want)
				}
				if took := time.Since(start); took > 8*time.Second {
					t.Errorf("held for %v", took)
				}
			})
		})
	}
	t.Run("response that nobody reads", func(t *testing.T) {
		c, _ := n.raw("open.example", nil)
		n.meanwhile("h2", func() {
			start := time.Now()
			for { // each answer is a megabyte
				if _, err := io.WriteString(c, "GET /?big=1 HTTP/1.1\r\nHost: open.example\r\n\r\n"); err != nil {
					break
				}
			}
			if took := time.Since(start); took > 8*time.Second {
				t.Errorf("held for %v", took)
			}
		})
	})
	up.take()
}

// TestShedByClass: under real pressure of requests under way, anonymous callers are
// refused while organizations are served.
func TestShedByClass(t *testing.T) {
	leave := make(chan struct{})
	entered := make(chan struct{}, 100)
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			entered <- struct{}{}
			<-leave
		}
	})
	n.config(fmt.Sprintf(testServices, n.upstream.address))
	n.limits("max_in_flight: 20")
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	cert := n.client(n.orgCA, "NTRBG-100000003")
	holder := n.dial("h2", "inner.example", cert)
	done := make(chan struct{})
	for range 17 {
		go func() {
			defer func() { done <- struct{}{} }()
			n.do(holder, "GET", "https://inner.example/hold", nil)
		}()
		<-entered
	}
	for _, p := range protocols {
		resp, _ := n.do(n.dial(p, "open.example", nil), "GET", "https://open.example/", nil)
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s: an anonymous caller got %s under pressure", p, resp.Status)
		}
		if resp, _ := n.do(n.dial(p, "inner.example", cert), "GET", "https://inner.example/", nil); resp.StatusCode != 200 {
			t.Errorf("%s: an organization got %s", p, resp.Status)
		}
	}
	if got := n.metric(`vazel_requests_shed_total{class="normal"}`); got != "3" {
		t.Errorf("%s anonymous requests were shed, want 3", got)
	}
	close(leave)
	for range 17 {
		<-done
	}
	for _, p := range protocols {
		if resp, _ := n.do(n.dial(p, "open.example", nil), "GET", "https://open.example/", nil); resp.StatusCode != 200 {
			t.Errorf("%s: afterwards an anonymous caller got %s", p, resp.Status)
		}
	}
}
