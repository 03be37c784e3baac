package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/vazel-gateway/vazel/certs"
)

// TestRequests: a request, and the exact answer, over each protocol.
func TestRequests(t *testing.T) {
	n := newNode(t, nil)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	for _, tt := range []struct {
		name, sni    string
		cert         *tls.Certificate
		method, url  string
		body         string
		header       []string
		status       int
		want, reason string
	}{
		{name: "plain", url: "https://open.example/a?b=c", status: 200, want: "GET /a?b=c 0"},
		{name: "wildcard host", sni: "x.wild.example", url: "https://x.wild.example/", status: 200, want: "GET / 0"},
		{name: "host in capitals", url: "https://OPEN.example/", status: 200, want: "GET / 0"},
		{name: "body", method: "POST", url: "https://open.example/up", body: "hello", status: 200, want: "POST /up 5"},
		{name: "semicolons in the query stay", url: "https://open.example/q?a=1;b=2&c=%zz", status: 200, want: "GET /q?a=1;b=2&c=%zz 0"},
		{name: "normalized path", url: "https://open.example//a/./b/../%63", status: 200, want: "GET /a/c 0"},
		{name: "strip", url: "https://open.example/strip/x?y", status: 200, want: "GET /x?y 0"},
		{name: "strip to the root", url: "https://open.example/strip", status: 200, want: "GET / 0"},
		{name: "replace", url: "https://open.example/replace/x", status: 200, want: "GET /other/x 0"},
		{name: "prefix by segments", url: "https://open.example/stripped", status: 200, want: "GET /stripped 0"},
		{name: "redirect", url: "https://open.example/old/x?y=1", status: 308},
		{name: "denied", url: "https://open.example/secret/x", status: 403, reason: "denied_by_route"},
		{name: "denied in capitals", url: "https://open.example/SECRET", status: 403, reason: "denied_by_route"},
		{name: "denied, encoded", url: "https://open.example/%73ecret", status: 403, reason: "denied_by_route"},
		{name: "denied by query in any case", url: "https://open.example/wfs?SERVICE=WFS&REQUEST=transaction", status: 403, reason: "denied_by_route"},
		{name: "not denied by query", url: "https://open.example/wfs?REQUEST=GetFeature", status: 200, want: "GET /wfs?REQUEST=GetFeature 0"},
		{name: "method", method: "POST", url: "https://open.example/read", status: 405, reason: "method_not_allowed"},
		{name: "preflight of a method that the route has", method: "OPTIONS", url: "https://open.example/shared/x", header: []string{"Origin", "https://portal.example", "Access-Control-Request-Method", "GET"}, status: 204},
		{name: "preflight of a method that it has not", method: "OPTIONS", url: "https://open.example/shared/x", header: []string{"Origin", "https://portal.example", "Access-Control-Request-Method", "DELETE"}, status: 405, reason: "method_not_allowed"},
		{name: "OPTIONS that is no preflight", method: "OPTIONS", url: "https://open.example/shared/x", status: 405, reason: "method_not_allowed"},
		{name: "preflight without cors", method: "OPTIONS", url: "https://open.example/read", header: []string{"Origin", "https://portal.example", "Access-Control-Request-Method", "GET"}, status: 405, reason: "method_not_allowed"},
		{name: "encoded slash", url: "https://open.example/a%2fb", status: 400, reason: "ambiguous_path"},
		{name: "backslash", url: "https://open.example/a%5cb", status: 400, reason: "ambiguous_path"},
		{name: "encoded twice", url: "https://open.example/a%252e", status: 400, reason: "ambiguous_path"},
		{name: "NUL", url: "https://open.example/a%00", status: 400, reason: "ambiguous_path"},
		{name: "overlong UTF-8", url: "https://open.example/%c0%ae", status: 400, reason: "ambiguous_path"},
		{name: "path parameter", url: "https://open.example/a;b", status: 400, reason: "ambiguous_path"},
		{name: "encoded dots", url: "https://open.example/%2e%2e/a", status: 400, reason: "ambiguous_path"},
		{name: "large body", method: "POST", url: "https://open.example/small", body: strings.Repeat("x", 101), status: 413, reason: "body_too_large"},
		{name: "long target", url: "https://open.example/" + strings.Repeat("a", 9000), status: 414, reason: "uri_too_long"},
		{name: "field name with underscore", url: "https://open.example/", header: []string{"Foo_bar", "x"}, status: 400, reason: "bad_header_name"},
		{name: "unknown host", sni: "open.example", url: "https://open.example/", header: []string{"Host", "unknown.example"}, status: 421, reason: "unknown_host"},
		{name: "public name, protected host", sni: "open.example", url: "https://open.example/", header: []string{"Host", "inner.example"}, status: 421, reason: "sni_host_mismatch"},
		{name: "protected name, public host", sni: "inner.example", cert: nra, url: "https://inner.example/", header: []string{"Host", "open.example"}, status: 421, reason: "sni_host_mismatch"},
		{name: "organization", sni: "inner.example", cert: nra, url: "https://inner.example/x", status: 200, want: "GET /x 0"},
		{name: "no route, organization", sni: "inner.example", cert: nra, method: "PROPFIND", url: "https://inner.example/x", status: 405, reason: "method_not_allowed"},
		{name: "no route and no certificate", sni: "inner.example", method: "PROPFIND", url: "https://inner.example/x", status: 401, reason: "no_client_cert"},
		{name: "no certificate", sni: "inner.example", url: "https://inner.example/x", status: 401, reason: "no_client_cert"},
	} {
		for _, p := range protocols {
			t.Run(tt.name+"/"+p, func(t *testing.T) {
				sni, method := tt.sni, tt.method
				if sni == "" {
					sni = "open.example"
				}
				if method == "" {
					method = "GET"
				}
				var body io.Reader
				if tt.body != "" {
					body = strings.NewReader(tt.body)
				}
				resp, got := n.do(n.dial(p, sni, tt.cert), method, tt.url, body, tt.header...)
				if resp.StatusCode != tt.status {
					t.Fatalf("status %d, want %d: %s", resp.StatusCode, tt.status, got)
				}
				if tt.want != "" && got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				if tt.reason != "" && !strings.Contains(got, `"reason":"`+tt.reason+`"`) {
					t.Errorf("got %q, want reason %s", got, tt.reason)
				}
				if tt.name == "redirect" && resp.Header.Get("Location") != "/new/x?y=1" {
					t.Errorf("Location %q", resp.Header.Get("Location"))
				}
				if tt.name == "method" && resp.Header.Get("Allow") != "GET, HEAD" {
					t.Errorf("Allow %q", resp.Header.Get("Allow"))
				}
				if alt := resp.Header.Get("Alt-Svc"); (p == "h3") != (alt == "") {
					t.Errorf("Alt-Svc %q", alt)
				}
			})
		}
	}
}

// TestWithoutServerName: clients that send no name reach public hosts only.
func TestWithoutServerName(t *testing.T) {
	n := newNode(t, nil)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	for _, p := range protocols {
		c := n.dial(p, "", nra)
		if resp, _ := n.do(c, "GET", "https://127.0.0.1/", nil, "Host", "open.example"); resp.StatusCode != 200 {
			t.Errorf("%s: public host: status %d, want 200", p, resp.StatusCode)
		}
		if resp, _ := n.do(c, "GET", "https://127.0.0.1/", nil, "Host", "inner.example"); resp.StatusCode != 421 {
			t.Errorf("%s: protected host: status %d, want 421", p, resp.StatusCode)
		}
	}
}

// TestRefusedCertificates: each reason, over each protocol, and never in.
func TestRefusedCertificates(t *testing.T) {
	n := newNode(t, nil)
	now := time.Now()
	for reason, cert := range map[string]*tls.Certificate{
		"unknown_ca":         n.client(n.ca, "NTRBG-100000003"),
		"expired":            n.clientOf(n.orgCA, certs.ClientSpec{OrganizationID: "NTRBG-100000003", NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(-24 * time.Hour)}),
		"not_yet_valid":      n.clientOf(n.orgCA, certs.ClientSpec{OrganizationID: "NTRBG-100000003", NotBefore: now.Add(24 * time.Hour)}),
		"wrong_organization": n.client(n.otherCA, "NTRBG-100000003"), // another's authority names this organization
		"not_allowed":        n.client(n.orgCA, "NTRBG-100000004"),
	} {
		for _, p := range protocols {
			resp, got := n.do(n.dial(p, "inner.example", cert), "GET", "https://inner.example/", nil)
			if resp.StatusCode != 403 || !strings.Contains(got, `"reason":"`+reason+`"`) {
				t.Errorf("%s over %s: %d %s", reason, p, resp.StatusCode, got)
			}
		}
	}
	if heads := n.upstream.take(); len(heads) > 0 {
		t.Errorf("the upstream got %q", heads)
	}
}

// TestIdentityHandOff: the upstream learns the organization from the gateway, and
// only from it.
func TestIdentityHandOff(t *testing.T) {
	n := newNode(t, nil)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	forged := []string{
		"X-Organization", "meu", "x_organization", "meu", "X.Organization", "meu", "X-Organization-Id", "NTRBG-100000001", "Client-Cert", ":AA==:", "client_cert", ":AA==:",
		"X-Forwarded-For", "192.0.2.9", "X-Forwarded-Proto", "http", "X-Real-Ip", "192.0.2.9", "Forwarded", "for=192.0.2.9", "X-Request-Id", "forged",
		"Traceparent", "00-11111111111111111111111111111111-2222222222222222-01", "X-Original-Url", "/admin", "X-Http-Method-Override", "DELETE", "Proxy", "http://192.0.2.9",
	}
	for _, p := range protocols {
		header := forged
		if p == "h1" { // an attempt to have ours removed
			header = append([]string{"Connection", "X-Organization, Client-Cert, X-Forwarded-For, close"}, forged...)
		}
		resp, got := n.do(n.dial(p, "inner.example", nra), "GET", "https://inner.example/", nil, header...)
		if resp.StatusCode != 200 {
			t.Fatalf("%s: %d %s", p, resp.StatusCode, got)
		}
		heads := n.upstream.take()
		if len(heads) != 1 {
			t.Fatalf("%s: the upstream got %d requests", p, len(heads))
		}
		h := heads[0] + "\r\n"
		for _, want := range []string{"X-Organization: nra\r\n", "X-Organization-Id: NTRBG-100000003\r\n", "Client-Cert: :MII", "X-Forwarded-For: 127.0.0.1\r\n", "X-Forwarded-Proto: https\r\n", "X-Forwarded-Host: inner.example\r\n", "Forwarded: for=127.0.0.1;host=\"inner.example\";proto=https\r\n", "\r\nTraceparent: 00-", "\r\nX-Request-Id: "} {
			if strings.Count(h, want) != 1 {
				t.Errorf("%s: %q stands %d times in\n%s", p, want, strings.Count(h, want), h)
			}
		}
		for _, bad := range []string{"meu", "NTRBG-100000001", "AA==:", "192.0.2.9", "forged", "11111111111111111111111111111111", "/admin", "DELETE", "x_organization", "X.Organization"} {
			if strings.Contains(h, bad) {
				t.Errorf("%s: %q reached the upstream in\n%s", p, bad, h)
			}
		}
	}
}

// lenient lists what the standard library's server answers otherwise: the reasons
// for having one of our own.
var lenient = map[string]int{"TE and CL": 200, "bare LF": 200, "absolute, other host": 421}

// TestRawRequests: bytes that no client library sends.
func TestRawRequests(t *testing.T) {
	n := newNode(t, nil)
	standard := http1Server() == "standard"
	for name, tt := range map[string]struct {
		in     string
		status int
	}{
		"TE and CL":             {"POST / HTTP/1.1\r\nHost: open.example\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"bare LF":               {"GET / HTTP/1.1\nHost: open.example\n\n", 400},
		"CONNECT":               {"CONNECT open.example:443 HTTP/1.1\r\nHost: open.example:443\r\n\r\n", 405},
		"TRACE":                 {"TRACE / HTTP/1.1\r\nHost: open.example\r\n\r\n", 405},
		"rootless target":       {"GET http:open.example/secret HTTP/1.1\r\nHost: open.example\r\n\r\n", 400},
		"asterisk":              {"OPTIONS * HTTP/1.1\r\nHost: open.example\r\n\r\n", 400},
		"absolute form":         {"GET https://open.example/abs HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n", 200},
		"absolute, other host":  {"GET https://inner.example/ HTTP/1.1\r\nHost: open.example\r\n\r\n", 400},
		"host with userinfo":    {"GET / HTTP/1.1\r\nHost: a@open.example\r\n\r\n", 400},
		"host with bad port":    {"GET / HTTP/1.1\r\nHost: open.example:99999\r\n\r\n", 400},
		"unknown upgrade":       {"GET /abs HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", 200},
		"h2c upgrade":           {"GET /abs HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", 200},
		"websocket not allowed": {"GET / HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 403},
		"fragment":              {"GET /a#b HTTP/1.1\r\nHost: open.example\r\n\r\n", 400},
		"chunk size":            {"POST / HTTP/1.1\r\nHost: open.example\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
	} {
		t.Run(name, func(t *testing.T) {
			c, br := n.raw("open.example", nil)
			io.WriteString(c, tt.in)
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			if standard && lenient[name] != 0 {
				tt.status = lenient[name]
			}
			if resp.StatusCode != tt.status {
				t.Errorf("status %d, want %d: %s", resp.StatusCode, tt.status, b)
			}
			if resp.StatusCode == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
		})
	}
	for _, h := range n.upstream.take() {
		if standard && strings.HasPrefix(h, "GET / HTTP/1.1") {
			continue // the one with bare line feeds
		}
		if !strings.HasPrefix(h, "GET /abs HTTP/1.1") && !strings.HasPrefix(h, "POST / HTTP/1.1") {
			t.Errorf("the upstream got\n%s", h)
		}
		if strings.Contains(h, "Upgrade") || strings.Contains(h, "Settings") {
			t.Errorf("an upgrade reached the upstream:\n%s", h)
		}
	}
}

func TestRateLimit(t *testing.T) {
	n := newNode(t, nil)
	for i, want := range []int{200, 200, 429, 429} {
		p := protocols[i%3] // the count does not care for the protocol
		resp, got := n.do(n.dial(p, "open.example", nil), "GET", "https://open.example/limited", nil, "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
		if resp.StatusCode != want {
			t.Errorf("request %d: %d, want %d: %s", i, resp.StatusCode, want, got)
		}
		if resp.Header.Get("RateLimit-Policy") == "" || resp.Header.Get("RateLimit") == "" {
			t.Errorf("request %d: no RateLimit fields: %v", i, resp.Header)
		}
		if want == 429 && (resp.Header.Get("Retry-After") == "" || resp.Header.Get("Content-Type") != "application/problem+json" || !strings.Contains(got, "open/limited")) {
			t.Errorf("request %d: %v %s", i, resp.Header, got)
		}
	}
	// A reload forgets no count.
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	if resp, _ := n.do(n.dial("h1", "open.example", nil), "GET", "https://open.example/limited", nil); resp.StatusCode != 429 {
		t.Errorf("after a reload: %d, want 429", resp.StatusCode)
	}
}

func TestRedirectListener(t *testing.T) {
	n := newNode(t, nil)
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, _ := n.do(c, "GET", "http://"+n.http+"/a//b?c", nil, "Host", "open.example")
	_, port, _ := strings.Cut(n.https, ":")
	if got, want := resp.Header.Get("Location"), "https://open.example:"+port+"/a/b?c"; resp.StatusCode != 308 || got != want {
		t.Errorf("got %d %q, want 308 %q", resp.StatusCode, got, want)
	}
	if resp, _ := n.do(c, "GET", "http://"+n.http+"/", nil, "Host", "evil.example"); resp.StatusCode != 421 {
		t.Errorf("unknown host: %d, want 421", resp.StatusCode)
	}
}

// TestProxyProtocol: only trusted proxies are believed.
func TestProxyProtocol(t *testing.T) {
	send := func(n *node) string {
		c, err := net.Dial("tcp", n.https)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(c, "PROXY TCP4 192.0.2.77 127.0.0.1 1234 443\r\n")
		tc := tls.Client(c, &tls.Config{RootCAs: n.roots, ServerName: "open.example"})
		if err := tc.Handshake(); err != nil {
			return "handshake failed"
		}
		io.WriteString(tc, "GET / HTTP/1.1\r\nHost: open.example\r\nX-Forwarded-For: 198.51.100.1, 198.51.100.2\r\nConnection: close\r\n\r\n")
		io.ReadAll(tc)
		for _, h := range n.upstream.take() {
			_, rest, _ := strings.Cut(h, "X-Forwarded-For: ")
			v, _, _ := strings.Cut(rest, "\r\n")
			return v
		}
		return "no request"
	}
	trusted := newNode(t, nil, "trusted_proxies: [127.0.0.0/8]")
	if got := send(trusted); got != "192.0.2.77" {
		t.Errorf("from a trusted proxy: %q, want the address of the PROXY header", got)
	}
	both := newNode(t, nil, "trusted_proxies: [127.0.0.0/8, 192.0.2.77, 198.51.100.2]")
	if got := send(both); got != "198.51.100.1" {
		t.Errorf("through two trusted proxies: %q, want the address before them", got)
	}
	plain := newNode(t, nil)
	if got := send(plain); got != "handshake failed" {
		t.Errorf("from anybody: %q, want a failed handshake", got)
	}
}

// TestReloadKeepsConnections: an unrelated change disturbs nobody.
func TestReloadKeepsConnections(t *testing.T) {
	n := newNode(t, nil)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	c, br := n.raw("inner.example", nra)
	get := func() int {
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: inner.example\r\n\r\n"); err != nil {
			return 0
		}
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return 0
		}
		io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	if got := get(); got != 200 {
		t.Fatalf("got %d", got)
	}
	n.config(fmt.Sprintf(testServices, n.upstream.address), "  third: {owner: meu, hosts: [third.example], upstreams: [\"http://"+n.upstream.address+"\"]}")
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	if got := get(); got != 200 {
		t.Errorf("after an unrelated reload: %d, want 200 on the same connection", got)
	}
	if resp, _ := n.do(n.dial("h2", "third.example", nil), "GET", "https://third.example/", nil); resp.StatusCode != 200 {
		t.Errorf("the new service: %d", resp.StatusCode)
	}
	// A broken configuration changes nothing.
	n.config("services: {x: {}}")
	if err := n.apply(); err == nil {
		t.Error("a broken configuration was applied")
	}
	if got := get(); got != 200 {
		t.Errorf("after a refused reload: %d, want 200", got)
	}
	// The organization loses its right: its connection ends, others live.
	open, obr := n.raw("open.example", nil)
	n.config(strings.Replace(fmt.Sprintf(testServices, n.upstream.address), "allow: [nra]", "allow: [meu]", 1))
	b, _ := os.ReadFile(filepath.Join(n.dir, "vazel.yaml"))
	n.write("vazel.yaml", strings.Replace(string(b), "allow: [nra, sofia]", "allow: [meu]", 1))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	if got := get(); got == 200 {
		t.Error("the organization lost its right and got an answer on its old connection")
	}
	io.WriteString(open, "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n")
	if resp, err := http.ReadResponse(obr, nil); err != nil || resp.StatusCode != 200 {
		t.Errorf("somebody else's connection: %v", err)
	}
}

// TestDrain: requests under way finish, idle connections end, and new ones are
// not accepted.
func TestDrain(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(started)
			<-release
		}
		io.WriteString(w, "done")
	})
	idle, ibr := n.raw("open.example", nil)
	io.WriteString(idle, "GET / HTTP/1.1\r\nHost: open.example\r\n\r\n")
	if resp, err := http.ReadResponse(ibr, nil); err != nil {
		t.Fatal(err)
	} else {
		io.Copy(io.Discard, resp.Body)
	}
	slow := make(chan string, 1)
	go func() {
		_, got := n.do(n.dial("h2", "open.example", nil), "GET", "https://open.example/slow", nil)
		slow <- got
	}()
	<-started
	stopped := make(chan struct{})
	go func() { n.stop(); close(stopped) }()
	if b, err := io.ReadAll(ibr); err != nil || len(b) > 0 {
		t.Errorf("the idle connection: %q, %v, want a clean end", b, err)
	}
	if n.gateway.Ready() {
		t.Error("the gateway says that it is ready while it drains")
	}
	if c, err := tls.Dial("tcp", n.https, &tls.Config{InsecureSkipVerify: true}); err == nil {
		c.Close()
		t.Error("a new connection was accepted")
	}
	close(release)
	if got := <-slow; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	<-stopped
}

// TestWebSocket: on the route that allows it, and nowhere else.
func TestWebSocket(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			http.Error(w, "no upgrade", 400)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
		rw.Flush()
		l, _ := rw.ReadString('\n')
		rw.WriteString("echo " + l)
		rw.Flush()
	})
	c, br := n.raw("open.example", nil)
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: open.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	io.WriteString(c, "hello\n")
	if l, err := bufio.NewReader(br).ReadString('\n'); l != "echo hello\n" {
		t.Errorf("got %q, %v", l, err)
	}
}

// TestHeaders: what the configuration changes on the way.
func TestHeaders(t *testing.T) {
	n := newNode(t, nil)
	for _, p := range protocols {
		resp, _ := n.do(n.dial(p, "open.example", nil), "GET", "https://open.example/headers", nil, "X-Debug", "1")
		if resp.Header.Get("X-Powered-By") != "" || resp.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", p, resp.Header)
		}
		h := strings.Join(n.upstream.take(), "")
		if strings.Contains(h, "X-Debug") || !strings.Contains(h, "X-Gateway: t") {
			t.Errorf("%s: the upstream got\n%s", p, h)
		}
	}
}

func TestMetrics(t *testing.T) {
	n := newNode(t, nil)
	c := n.dial("h2", "inner.example", n.client(n.orgCA, "NTRBG-100000004"))
	n.do(c, "GET", "https://inner.example/", nil)
	n.do(c, "GET", "https://inner.example/both", nil)
	for series, want := range map[string]string{
		`vazel_mtls_rejections_total{listener="` + n.https + `",organization="sofia",reason="not_allowed"}`:              "1",
		`vazel_organization_requests_total{organization="sofia",outcome="ok",route="inner/both"}`:                        "1",
		`vazel_organization_requests_total{organization="sofia",outcome="unauthorized",route="inner"}`:                   "1",
		`vazel_http_requests_total{code="200",listener="` + n.https + `",method="GET",protocol="h2",route="inner/both"}`: "1",
		`vazel_upstream_requests_total{code_class="2xx",upstream="inner"}`:                                               "1",
		`vazel_config_last_reload_successful`:                                                                            "1",
	} {
		if got := n.metric(series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
}

// A client over HTTP/3 that vanished has no say in how long the drain takes.
func TestDrainDoesNotWaitForVanishedClients(t *testing.T) {
	n := newNode(t, nil)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gateway, err := net.ResolveUDPAddr("udp", n.https)
	if err != nil {
		t.Fatal(err)
	}
	from := &quic.Transport{Conn: pc}
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: n.roots, ServerName: "open.example"},
		Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return from.Dial(ctx, gateway, c, q)
		},
	}
	n.do(&http.Client{Transport: tr}, "GET", "https://open.example/", nil)
	pc.Close() // nothing that says goodbye leaves here
	start := time.Now()
	n.stop()
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the drain took %v of the 5s that it may", took)
	}
	tr.Close()
	from.Close()
}

// A client in the middle of a large upload gets the refusal, not a reset.
func TestRefusalInMidUploadIsRead(t *testing.T) {
	n := newNode(t, nil)
	for _, p := range protocols {
		if p == "h1" && http1Server() == "standard" {
			continue // it resets
		}
		resp, _ := n.do(n.dial(p, "open.example", nil), "POST", "https://open.example/small", io.LimitReader(zeros{}, 64<<20))
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("%s: got %s, want 413", p, resp.Status)
		}
	}
}

// zeros never end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Where the end of the connection is the end of the body, a body that was broken
// off must not end as a whole one does.
func TestBrokenOffBodyHasNoCleanEnd(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	})
	clean := http1Server() == "standard" // it can't do better
	for path, whole := range map[string]bool{"/whole": true, "/cut": clean} {
		c, br := n.raw("open.example", nil)
		io.WriteString(c, "GET "+path+" HTTP/1.0\r\nHost: open.example\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); whole != (err == nil) {
			t.Errorf("%s: got %q, %v", path, b, err)
		}
	}
}

// TestRefusalsOfService: what is refused before a route is known, and by a route
// with deny, has the form and the security headers of the service all the same.
func TestRefusalsOfService(t *testing.T) {
	n := newNode(t, nil)
	n.config(fmt.Sprintf(`
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%s"]
    errors: ogc
    security_headers: {frame: deny}
    routes:
      - {paths: [/wms], methods: [GET]}
      - {paths: [/wms/secret], deny: true}
`, n.upstream.address))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		c := n.dial(p, "open.example", nil)
		for _, tt := range []struct {
			method, path string
			status       int
		}{{"GET", "/wms/secret", 403}, {"GET", "/other", 404}, {"PUT", "/wms", 405}, {"GET", "/wms%2f..", 400}} {
			resp, body := n.do(c, tt.method, "https://open.example"+tt.path, nil)
			h := resp.Header
			if resp.StatusCode != tt.status || !strings.Contains(body, "<ows:ExceptionReport") || h.Get("X-Frame-Options") != "DENY" || h.Get("Strict-Transport-Security") == "" {
				t.Errorf("%s %s %.20s: got %s, %v, %.200s", p, tt.method, tt.path, resp.Status, h, body)
			}
		}
	}
	if seen := n.upstream.take(); len(seen) > 0 {
		t.Errorf("the upstream got %q", seen)
	}
}
