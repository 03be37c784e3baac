package gateway

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// within waits until is holds.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: it does not happen", what)
		}
	}
}

// TestDenyConnections: a network that is denied everywhere gets no handshake, over
// no protocol, and what it had open ends when the list changes.
func TestDenyConnections(t *testing.T) {
	n := newNode(t, nil)
	n.write("list.txt", "192.0.2.0/24\n")
	n.config(fmt.Sprintf(testServices, n.upstream.address), "address_sets: {attackers: {file: list.txt}}", "deny_from: [attackers]")
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	open, r := n.raw("open.example", nil)
	clients := map[string]*http.Client{}
	for _, p := range protocols {
		clients[p] = n.dial(p, "open.example", nil)
		if resp, _ := n.do(clients[p], "GET", "https://open.example/", nil); resp.StatusCode != 200 {
			t.Errorf("%s: got %d before the list changed", p, resp.StatusCode)
		}
	}
	n.write("list.txt", "192.0.2.0/24\n127.0.0.0/8\n")
	if _, err := r.ReadByte(); err == nil {
		t.Error("an idle connection of a denied network got data")
	}
	open.Close()
	for _, p := range protocols {
		if resp, err := clients[p].Get("https://open.example/"); err == nil {
			resp.Body.Close()
			if resp.StatusCode != 403 { // which it is just before the connection is ended
				t.Errorf("%s: got %d on a connection of a denied network", p, resp.StatusCode)
			}
		}
		if resp, err := n.dial(p, "open.example", nil).Get("https://open.example/"); err == nil {
			resp.Body.Close()
			t.Errorf("%s: a denied network got %d", p, resp.StatusCode)
		}
	}
	if c, err := net.Dial("tcp", n.http); err == nil {
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n")
		if b, _ := io.ReadAll(c); len(b) > 0 {
			t.Errorf("the redirecting listener answered a denied network: %q", b)
		}
		c.Close()
	}
	if got := n.metric(fmt.Sprintf(`vazel_connections_rejected_total{listener="%s",reason="denied_network"}`, n.https)); got == "" || got == "0" {
		t.Errorf("refused connections: %q", got)
	}
	if got := n.metric(`vazel_address_set_entries{set="attackers"}`); got != "2" {
		t.Errorf("entries: %q", got)
	}
	n.write("list.txt", "192.0.2.0/24\nnonsense\n")
	within(t, "the broken list is told of", func() bool {
		return n.metric(`vazel_address_set_fetches_total{result="invalid",set="attackers"}`) == "1"
	})
	if resp, err := n.dial("h1", "open.example", nil).Get("https://open.example/"); err == nil {
		resp.Body.Close()
		t.Error("a broken list let a denied network in")
	}
	n.write("list.txt", "192.0.2.0/24\n")
	within(t, "the network is let in again", func() bool {
		resp, err := n.dial("h1", "open.example", nil).Get("https://open.example/")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == 200
	})
}

// TestDenyBehindProxies: behind trusted proxies it is the client who is refused,
// and nobody else; what others claim counts for nothing.
func TestDenyBehindProxies(t *testing.T) {
	n := newNode(t, nil)
	n.write("list.txt", "198.51.100.0/24\n2001:db8:bad::/48\n")
	frame := "address_sets: {attackers: {file: list.txt}}\ndeny_from: [attackers, 192.0.2.66]"
	n.config(fmt.Sprintf(testServices, n.upstream.address), frame, "trusted_proxies: [127.0.0.0/8]")
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		c := n.dial(p, "open.example", nil)
		for _, f := range []struct {
			field string
			want  int
		}{
			{"203.0.113.1", 200}, {"198.51.100.9", 403}, {"::ffff:198.51.100.9", 403}, {"2001:db8:bad::1", 403}, {"2001:db8:600d::1", 200},
			{"192.0.2.66", 403}, {"198.51.100.9, 203.0.113.1", 200}, {"203.0.113.1", 200},
		} {
			resp, body := n.do(c, "GET", "https://open.example/", nil, "X-Forwarded-For", f.field)
			if resp.StatusCode != f.want {
				t.Errorf("%s: a client at %s got %d, want %d", p, f.field, resp.StatusCode, f.want)
			}
			if f.want == 403 && (resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(body, `"reason":"denied_network"`) || strings.Contains(body, "attackers")) {
				t.Errorf("%s: got %s", p, body)
			}
		}
	}
	proxied := func(client string) bool {
		c, err := net.Dial("tcp", n.https)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(c, "PROXY TCP4 %s 127.0.0.1 1234 443\r\n", client)
		return tls.Client(c, &tls.Config{RootCAs: n.roots, ServerName: "open.example"}).Handshake() == nil
	}
	if !proxied("203.0.113.1") || proxied("198.51.100.9") {
		t.Error("PROXY header: a client that is not denied must get a handshake, and one that is must not")
	}
	n.config(fmt.Sprintf(testServices, n.upstream.address), frame)
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	if resp, _ := n.do(n.dial("h2", "open.example", nil), "GET", "https://open.example/", nil, "X-Forwarded-For", "198.51.100.9"); resp.StatusCode != 200 {
		t.Errorf("what anybody claims: got %d, want 200", resp.StatusCode)
	}
}

// TestNetworksOfRoutes: services and routes have lists of their own, which hold
// before access and for paths that are not there.
func TestNetworksOfRoutes(t *testing.T) {
	n := newNode(t, nil)
	n.write("offices.txt", "203.0.113.0/24\n")
	n.config(fmt.Sprintf(`trusted_proxies: [127.0.0.0/8]
address_sets:
  offices: {file: offices.txt}
  gone: {url: "http://127.0.0.1:1/none"}
defaults: {deny_from: [192.0.2.66]}
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%[1]s"]
    allow_from: [offices]
    routes:
      - {paths: [/a]}
      - {paths: [/a/anyone], allow_from: [0.0.0.0/0, "::/0"], deny_from: []}
      - {paths: [/a/gone], deny_from: [gone]}
      - {paths: [/a/closed], allow_from: [gone]}
  inner:
    owner: meu
    hosts: [inner.example]
    upstreams: ["http://%[1]s"]
    allow: [nra]
    allow_from: [offices]
`, n.upstream.address))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		for _, c := range []struct {
			host, path, client string
			want               int
			reason             string
		}{
			{"open.example", "/a", "203.0.113.7", 200, ""},
			{"open.example", "/a", "198.51.100.1", 403, "denied_network"},
			{"open.example", "/a", "192.0.2.66", 403, "denied_network"},
			{"open.example", "/a/anyone", "198.51.100.1", 200, ""},
			{"open.example", "/a/anyone", "192.0.2.66", 200, ""},
			{"open.example", "/a/anyone", "2001:db8::1", 200, ""},
			{"open.example", "/a/gone", "203.0.113.7", 503, "network_list_unavailable"},
			{"open.example", "/a/closed", "203.0.113.7", 503, "network_list_unavailable"},
			{"open.example", "/none", "203.0.113.7", 404, "not_found"},
			{"open.example", "/none", "198.51.100.1", 403, "denied_network"},
			{"inner.example", "/", "203.0.113.7", 401, "no_client_cert"},
			{"inner.example", "/", "198.51.100.1", 403, "denied_network"},
		} {
			resp, body := n.do(n.dial(p, c.host, nil), "GET", "https://"+c.host+c.path, nil, "X-Forwarded-For", c.client)
			if resp.StatusCode != c.want || c.reason != "" && !strings.Contains(body, `"reason":"`+c.reason+`"`) {
				t.Errorf("%s: %s%s from %s: got %d %s", p, c.host, c.path, c.client, resp.StatusCode, body)
			}
			if resp.StatusCode == 503 && resp.Header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", p)
			}
		}
	}
}

// TestLargeListUnderTraffic: a list of 100,000 entries is exchanged again and again
// without a lost request, and each request sees one of the lists, whole.
func TestLargeListUnderTraffic(t *testing.T) {
	n := newNode(t, nil)
	var big strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&big, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	lists := []string{big.String(), big.String() + "198.51.100.9\n"}
	n.write("list.txt", lists[1])
	n.config(fmt.Sprintf(testServices, n.upstream.address), "trusted_proxies: [127.0.0.0/8]", "address_sets: {big: {file: list.txt}}", "deny_from: [big]")
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var stop atomic.Bool
	var passed atomic.Int64
	for _, p := range protocols {
		c := n.dial(p, "open.example", nil)
		wg.Go(func() {
			for !stop.Load() {
				for client, want := range map[string]int{"203.0.113.1": 200, "10.0.0.0": 403, "10.1.134.159": 403, "198.51.100.9": 0} {
					r, err := http.NewRequest("GET", "https://open.example/", nil)
					if err != nil {
						t.Error(err)
						return
					}
					r.Header.Set("X-Forwarded-For", client)
					resp, err := c.Do(r)
					if err != nil {
						t.Errorf("%s: %v", p, err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
					if want != 0 && resp.StatusCode != want {
						t.Errorf("%s: a client at %s got %d, want %d", p, client, resp.StatusCode, want)
					}
					passed.Add(1)
				}
			}
		})
	}
	probe := n.dial("h2", "open.example", nil)
	for i := range 4 {
		n.write("list.txt", lists[i%2])
		want := []int{200, 403}[i%2]
		within(t, "the list is in force", func() bool {
			resp, _ := n.do(probe, "GET", "https://open.example/", nil, "X-Forwarded-For", "198.51.100.9")
			return resp.StatusCode == want
		})
	}
	stop.Store(true)
	wg.Wait()
	if passed.Load() == 0 {
		t.Error("no request passed")
	}
}
