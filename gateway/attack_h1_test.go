package gateway

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestH1Attacks sends bytes that no client library sends, through the whole
// gateway, and looks at the bytes that the upstream gets and at every answer. A
// second request follows each attack: an answer to it would be the beginning of
// smuggling wherever the connection must close.
func TestH1Attacks(t *testing.T) {
	if http1Server() == "standard" {
		t.Log("the standard server is compared in TestRawRequests")
		return
	}
	const (
		host  = "Host: open.example\r\n"
		get   = "GET /a HTTP/1.1\r\n" + host
		post  = "POST /a HTTP/1.1\r\n" + host
		chunk = post + "Transfer-Encoding: chunked\r\n\r\n"
	)
	field := func(s string) string { return get + s + "\r\n\r\n" }
	size := func(n int) string { return strings.Repeat("a", n) }
	// A head of exactly that many bytes.
	head := func(bytes int) string {
		empty := len(field("X: "))
		return field("X: " + size(bytes-empty))
	}
	for _, tt := range []struct {
		name, in string
		want     string // status, and reason in the problem document
		up       string // beginning of what the upstream gets; "" for nothing
	}{
		// What is well-formed, at its bounds.
		{"a request", field("X: y"), "200", "GET /a HTTP/1.1\r\nHost: open.example\r\n"},
		{"value of white space and 8-bit characters", field("X: \t \xd0\xb8 \t"), "200", "GET /a HTTP/1.1\r\n"},
		{"lower-case names", "GET /a HTTP/1.1\r\nhOsT: open.example\r\n\r\n", "200", "GET /a HTTP/1.1\r\nHost: open.example\r\n"},
		{"one empty line first", "\r\n" + field("X: y"), "200", "GET /a HTTP/1.1\r\n"},
		{"upper-case host with dot and port", "GET /a HTTP/1.1\r\nHost: OPEN.Example.:8443\r\n\r\n", "200", "GET /a HTTP/1.1\r\nHost: open.example:8443\r\n"},
		{"absolute form of http over TLS", "GET http://open.example/a HTTP/1.1\r\n" + host + "\r\n", "200", "GET /a HTTP/1.1\r\nHost: open.example\r\n"},
		{"absolute form without path", "GET https://open.example?x HTTP/1.1\r\n" + host + "\r\n", "200", "GET /?x HTTP/1.1\r\nHost: open.example\r\n"},
		{"GET with a body", get + "Content-Length: 3\r\n\r\nabc", "200", "GET /a HTTP/1.1\r\n"},
		{"GET with chunks", get + "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "200", "GET /a HTTP/1.1\r\n"},
		{"chunks in upper case", post + "transfer-encoding: CHUNKED\r\n\r\nA\r\n0123456789\r\n00\r\n\r\n", "200", "POST /a HTTP/1.1\r\n"},
		{"chunk extension with quotes", chunk + "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", "200", "POST /a HTTP/1.1\r\n"},
		{"longest head", head(4 << 10), "200", "GET /a HTTP/1.1\r\n"},
		{"longest target", "GET /" + size(1<<10-1) + " HTTP/1.1\r\n" + host + "\r\n", "200", "GET /aaa"},
		{"most fields", get + strings.Repeat("X: y\r\n", 19) + "\r\n", "200", "GET /a HTTP/1.1\r\n"},
		{"HTTP/1.0 with keep-alive", "GET /a HTTP/1.0\r\n" + host + "Connection: keep-alive\r\n\r\n", "200", "GET /a HTTP/1.1\r\n"},

		// Their bounds.
		{"head too long", head(4<<10 + 1), "431 header_too_large", ""},
		{"target too long", "GET /" + size(1<<10) + " HTTP/1.1\r\n" + host + "\r\n", "414 uri_too_long", ""},
		{"too many fields", get + strings.Repeat("X: y\r\n", 20) + "\r\n", "431 header_too_large", ""},
		{"endless request line", "GET /" + size(20<<10), "414 uri_too_long", ""},
		{"endless field name", get + size(20<<10), "431 header_too_large", ""},
		{"long method", size(33) + " /a HTTP/1.1\r\n" + host + "\r\n", "400 bad_request", ""},

		// Line ends.
		{"bare LF", "GET /a HTTP/1.1\nHost: open.example\n\n", "400 bad_line_ending", ""},
		{"bare LF in one field", get + "X: y\nZ: w\r\n\r\n", "400 bad_line_ending", ""},
		{"bare LF at the end", get + "X: y\r\n\n", "400 bad_line_ending", ""},
		{"CR LF LF", get + "\n", "400 bad_line_ending", ""},
		{"bare CR in a value", field("X: y\rZ: w"), "400 bad_header_value", ""},
		{"CR CR LF", field("X: y\r"), "400 bad_header_value", ""},
		{"bare CR in a name", field("X\r: y"), "400 bad_header_name", ""},
		{"bare CR in the target", "GET /a\r HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},
		{"two empty lines first", "\r\n\r\n" + field("X: y"), "400 bad_request", ""},
		{"bare LF first", "\n" + field("X: y"), "400 bad_line_ending", ""},
		{"folded line", field("X: y\r\n z"), "400 bad_header_name", ""},
		{"folded with a tab", field("X: y\r\n\tz"), "400 bad_header_name", ""},
		{"first line folded", "GET /a HTTP/1.1\r\n " + host + "\r\n", "400 bad_header_name", ""},

		// Names and values.
		{"space before the colon", field("X : y"), "400 bad_header_name", ""},
		{"tab before the colon", field("X\t: y"), "400 bad_header_name", ""},
		{"space in a name", field("X Y: z"), "400 bad_header_name", ""},
		{"name with underscore", field("X_Y: z"), "400 bad_header_name", ""},
		{"name with a dot", field("X.Y: z"), "400 bad_header_name", ""},
		{"name of a byte above ASCII", field("X\xff: y"), "400 bad_header_name", ""},
		{"NUL in a name", field("X\x00: y"), "400 bad_header_name", ""},
		{"no name", field(": y"), "400 bad_header_name", ""},
		{"no colon", field("X"), "400 bad_header_name", ""},
		{"NUL in a value", field("X: a\x00b"), "400 bad_header_value", ""},
		{"vertical tab in a value", field("X: a\vb"), "400 bad_header_value", ""},
		{"DEL in a value", field("X: a\x7fb"), "400 bad_header_value", ""},
		{"escape in a value", field("X: \x1b[31m"), "400 bad_header_value", ""},

		// Framing.
		{"two lengths", post + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "400 ambiguous_framing", ""},
		{"one length twice", post + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"list of lengths", post + "Content-Length: 3,3\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length +3", post + "Content-Length: +3\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length -3", post + "Content-Length: -3\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length 1_0", post + "Content-Length: 1_0\r\n\r\n0123456789", "400 ambiguous_framing", ""},
		{"length 0x3", post + "Content-Length: 0x3\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length 3 .", post + "Content-Length: 3 .\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length 3.0", post + "Content-Length: 3.0\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length in quotes", post + "Content-Length: \"3\"\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length of wide digits", post + "Content-Length: \xef\xbc\x93\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"no length", post + "Content-Length:\r\n\r\n", "400 ambiguous_framing", ""},
		{"huge length", post + "Content-Length: 18446744073709551619\r\n\r\nabc", "400 ambiguous_framing", ""},
		{"length over a bound", post + "Content-Length: 999999999999999999\r\n\r\nabc", "413 body_too_large", ""},
		{"TE and CL", post + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"CL and TE", post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"CL 0 and TE", post + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE with vertical tab", post + "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n", "400 bad_header_value", ""},
		{"TE twice", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE in two ways", post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE identity", post + "Transfer-Encoding: identity\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE gzip, chunked", post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE chunked, identity", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE with parameter", post + "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE in quotes", post + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"no TE", post + "Transfer-Encoding:\r\n\r\n", "400 ambiguous_framing", ""},
		{"TE with space", post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400 bad_header_name", ""},
		{"TE in HTTP/1.0", "POST /a HTTP/1.0\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing", ""},
		{"Transfer_Encoding", post + "Transfer_Encoding: chunked\r\n\r\n0\r\n\r\n", "400 bad_header_name", ""},

		// Chunks. The head is whole before, so that the upstream may have got it; the
		// end of a body it never gets.
		{"no chunk size", chunk + "\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk size +3", chunk + "+3\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk size -3", chunk + "-3\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk size 0x3", chunk + "0x3\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk size 1_0", chunk + "1_0\r\n0123456789abcdef\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk size with space", chunk + "3 \r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"space and extension", chunk + "3 ;a\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"huge chunk size", chunk + "fffffffffffffffff\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk size of many zeros", chunk + strings.Repeat("0", 300) + "3\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk size with bare LF", chunk + "3\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"extension with bare LF", chunk + "3;a\nb\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"extension with LF in quotes", chunk + "3;a=\"\nb\"\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"extension with CR", chunk + "3;a\rb\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"extension with NUL", chunk + "3;a\x00\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"long extension", chunk + "3;" + size(300) + "\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"many extensions", chunk + strings.Repeat("1;"+size(200)+"\r\na\r\n", 100) + "0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk too long", chunk + "3\r\nabcd\r\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk without end", chunk + "3\r\nabc0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"chunk ended by bare LF", chunk + "3\r\nabc\n0\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"folded trailer", chunk + "0\r\nX: y\r\n z\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"trailer with bare LF", chunk + "0\r\nX: y\n\r\n", "400 ambiguous_framing", "POST"},
		{"trailer Content-Length", chunk + "0\r\nContent-Length: 3\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"trailer Transfer-Encoding", chunk + "0\r\ntransfer-encoding: chunked\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"trailer Host", chunk + "0\r\nHost: inner.example\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"trailer Authorization", chunk + "0\r\nAuthorization: Basic eA==\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"trailer Cookie", chunk + "0\r\nCookie: a=b\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"large trailers", chunk + "0\r\nX: " + size(9<<10) + "\r\n\r\n", "400 ambiguous_framing", "POST"},
		{"many trailers", chunk + "0\r\n" + strings.Repeat("X: y\r\n", 21) + "\r\n", "400 ambiguous_framing", "POST"},

		// Host.
		{"no Host", "GET /a HTTP/1.1\r\n\r\n", "400 bad_host", ""},
		{"empty Host", "GET /a HTTP/1.1\r\nHost:\r\n\r\n", "400 bad_host", ""},
		{"two Hosts", get + host + "\r\n", "400 bad_host", ""},
		{"Host with userinfo", "GET /a HTTP/1.1\r\nHost: a@open.example\r\n\r\n", "400 bad_host", ""},
		{"Host with port 0", "GET /a HTTP/1.1\r\nHost: open.example:0\r\n\r\n", "400 bad_host", ""},
		{"Host with port 65536", "GET /a HTTP/1.1\r\nHost: open.example:65536\r\n\r\n", "400 bad_host", ""},
		{"Host with port +443", "GET /a HTTP/1.1\r\nHost: open.example:+443\r\n\r\n", "400 bad_host", ""},
		{"Host with empty port", "GET /a HTTP/1.1\r\nHost: open.example:\r\n\r\n", "400 bad_host", ""},
		{"Host with two ports", "GET /a HTTP/1.1\r\nHost: open.example:1:2\r\n\r\n", "400 bad_host", ""},
		{"Host with path", "GET /a HTTP/1.1\r\nHost: open.example/b\r\n\r\n", "400 bad_host", ""},
		{"Host with percent", "GET /a HTTP/1.1\r\nHost: open%2eexample\r\n\r\n", "400 bad_host", ""},
		{"Host with two dots", "GET /a HTTP/1.1\r\nHost: open.example..\r\n\r\n", "400 bad_host", ""},
		{"list of Hosts", "GET /a HTTP/1.1\r\nHost: open.example, inner.example\r\n\r\n", "400 bad_host", ""},
		{"Host with space", "GET /a HTTP/1.1\r\nHost: open.example inner.example\r\n\r\n", "400 bad_host", ""},
		{"IPv6 Host", "GET /a HTTP/1.1\r\nHost: [::1]:443\r\n\r\n", "421 unknown_host", ""},
		{"IPv6 Host with zone", "GET /a HTTP/1.1\r\nHost: [fe80::1%25eth0]\r\n\r\n", "400 bad_host", ""},
		{"broken IPv6 Host", "GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n", "400 bad_host", ""},
		{"another host", "GET /a HTTP/1.1\r\nHost: inner.example\r\n\r\n", "421 unknown_host", ""},
		{"absolute form of another host", "GET https://inner.example/a HTTP/1.1\r\n" + host + "\r\n", "400 bad_host", ""},
		{"absolute form with userinfo", "GET https://a@open.example/a HTTP/1.1\r\n" + host + "\r\n", "400 bad_host", ""},
		{"absolute form with another port", "GET https://open.example:444/a HTTP/1.1\r\n" + host + "\r\n", "400 bad_host", ""},
		{"absolute form without Host in HTTP/1.0", "GET https://a@open.example/a HTTP/1.0\r\n\r\n", "400 bad_host", ""},
		{"absolute form of ftp", "GET ftp://open.example/a HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},

		// Request lines.
		{"HTTP/0.9", "GET /a\r\n", "400 bad_version", ""},
		{"HTTP/0.9 by version", "GET /a HTTP/0.9\r\n" + host + "\r\n", "400 bad_version", ""},
		{"HTTP/1.2", "GET /a HTTP/1.2\r\n" + host + "\r\n", "400 bad_version", ""},
		{"HTTP/2.0", "GET /a HTTP/2.0\r\n" + host + "\r\n", "505 bad_version", ""},
		{"HTTP/01.1", "GET /a HTTP/01.1\r\n" + host + "\r\n", "400 bad_version", ""},
		{"HTTP/1.1 with a tab", "GET /a HTTP/1.1\t\r\n" + host + "\r\n", "400 bad_version", ""},
		{"lower-case version", "GET /a http/1.1\r\n" + host + "\r\n", "400 bad_version", ""},
		{"space at the end", "GET /a HTTP/1.1 \r\n" + host + "\r\n", "400", ""},
		{"two spaces", "GET  /a HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},
		{"tab for a space", "GET\t/a HTTP/1.1\r\n" + host + "\r\n", "400 bad_request", ""},
		{"vertical tab for a space", "GET /a\vHTTP/1.1\r\n" + host + "\r\n", "400 bad_version", ""},
		{"space in the target", "GET /a /b HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},
		{"no target", "GET HTTP/1.1\r\n" + host + "\r\n", "400 bad_version", ""},
		{"method not a token", "G(T /a HTTP/1.1\r\n" + host + "\r\n", "400 bad_request", ""},
		{"lower-case method", "get /a HTTP/1.1\r\n" + host + "\r\n", "405 method_not_allowed", ""},
		{"CONNECT", "CONNECT open.example:443 HTTP/1.1\r\nHost: open.example:443\r\n\r\n", "405 method_not_allowed", ""},
		{"TRACE", "TRACE /a HTTP/1.1\r\n" + host + "\r\n", "405 method_not_allowed", ""},
		{"PRI of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 bad_version", ""},
		{"asterisk", "OPTIONS * HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},
		{"authority form", "GET open.example:443 HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},
		{"rootless", "GET https:open.example/a HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},
		{"relative", "GET a HTTP/1.1\r\n" + host + "\r\n", "400", ""},
		{"fragment", "GET /a#b HTTP/1.1\r\n" + host + "\r\n", "400 ambiguous_path", ""},
		{"raw byte above ASCII", "GET /\xd0\xb0 HTTP/1.1\r\n" + host + "\r\n", "400 bad_target", ""},
		{"Expect of another thing", field("Expect: tea"), "417 bad_expectation", ""},
		{"TLS in TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "400 bad_line_ending", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// Its own upstream, which may read the end of an attack after its answer.
			n, up := newTarget(t, "max_header: 4KiB, max_headers: 20, max_uri: 1KiB")
			c, br := n.raw("open.example", nil)
			end := "GET /second HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n"
			io.WriteString(c, tt.in+end)
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			status, reason, _ := strings.Cut(tt.want, " ")
			if fmt.Sprint(resp.StatusCode) != status || !strings.Contains(string(body), reason) {
				t.Errorf("got %s %q, want %s", resp.Status, body, tt.want)
			}
			rest, _ := io.ReadAll(br)
			got, whole := up.take()
			if !strings.HasPrefix(got, tt.up) && got != "" || tt.up == "" && strings.HasPrefix(got, "GET /a") {
				t.Errorf("the upstream got %q", got)
			}
			if resp.Close && len(rest) > 0 {
				t.Errorf("after the connection was said to close came %q", rest)
			}
			if resp.StatusCode == 200 {
				if len(requests(got)) != 2 {
					t.Errorf("the upstream got %q for two requests", got)
				}
				return
			}
			most := 0
			if !resp.Close { // refused, but it was read in one way: the connection stays
				most = 1
			}
			if whole > most || strings.Contains(got, "/second") != (most == 1) {
				t.Errorf("refused with %s, but the upstream got %q", resp.Status, got)
			}
		})
	}
}

// requests are the request lines in what an upstream got.
func requests(got string) (lines []string) {
	for l := range strings.SplitSeq(got, "\r\n") {
		if strings.HasSuffix(l, " HTTP/1.1") {
			lines = append(lines, l)
		}
	}
	return lines
}

// TestH1Nominated: Connection takes away what its sender wrote, before anything is
// decided by it, and nothing of the gateway's.
func TestH1Nominated(t *testing.T) {
	n, up := newTarget(t, "max_headers: 50")
	n.config(fmt.Sprintf(`
services:
  open:
    owner: meu
    hosts: [open.example]
    mtls: optional
    upstreams: ["http://%s"]
    cache: {}
    headers: {request: {set: {X-Api-Key: ours}}}
    routes:
      - paths: [/]
      - {paths: [/], match: {headers: {X-Beta: "1"}}, headers: {request: {set: {X-Route: beta, X-Api-Key: ours}}}}
`, up.address))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	cert := n.client(n.orgCA, "NTRBG-100000003")
	for _, nominated := range []string{
		"X-Api-Key", "close, X-Organization", "X-Organization, X-Organization-Id, Client-Cert", "X-Forwarded-For, Forwarded", "X-Request-Id",
		"Host", "Content-Length", "Transfer-Encoding", "X-Beta, keep-alive", "x-api-key", "X-Other,, ,X-Api-Key",
	} {
		c, br := n.raw("open.example", cert)
		fmt.Fprintf(c, "POST /x HTTP/1.1\r\nHost: open.example\r\nConnection: %s\r\nX-Beta: 1\r\nX-Organization: evil\r\nX-Other: 1\r\nContent-Length: 3\r\n\r\nabc", nominated)
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v %v", nominated, resp, err)
		}
		got, whole := up.take()
		for _, want := range []string{"X-Api-Key: ours\r\n", "X-Organization: nra\r\n", "X-Organization-Id: NTRBG-100000003\r\n", "Client-Cert: :", "X-Forwarded-For: 127.0.0.1\r\n", "X-Request-Id: ", "\r\nHost: open.example\r\n", "Content-Length: 3\r\n"} {
			if strings.Count(got, want) != 1 {
				t.Errorf("Connection: %s: the upstream got %q without %q", nominated, got, want)
			}
		}
		if strings.Contains(got, "evil") || whole != 1 || !strings.HasSuffix(got, "\r\n\r\nabc") {
			t.Errorf("Connection: %s: the upstream got %q", nominated, got)
		}
		if beta := strings.Contains(got, "X-Route: beta"); beta != strings.Contains(got, "X-Beta: 1") {
			t.Errorf("Connection: %s: the route was chosen by what the upstream does not see: %q", nominated, got)
		}
	}
}

// TestH1Conversation: several requests on one connection, in every way that keeps
// or ends it.
func TestH1Conversation(t *testing.T) {
	const host = "Host: open.example\r\n"
	for _, tt := range []struct {
		name, in  string
		statuses  []int
		upstream  []string // request lines
		half      bool     // the client ends its side after in
		continued bool     // 100 Continue comes first
	}{
		{"pipelined", "GET /1 HTTP/1.1\r\n" + host + "\r\nGET /2 HTTP/1.1\r\n" + host + "\r\nGET /3 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{200, 200, 200}, []string{"/1", "/2", "/3"}, false, false},
		{"after close", "GET /1 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\nGET /2 HTTP/1.1\r\n" + host + "\r\n", []int{200}, []string{"/1"}, false, false},
		{"after an error of framing", "GET /1 HTTP/1.1\r\n" + host + "\r\nGET /2 HTTP/1.1\r\n" + host + "X : y\r\n\r\nGET /3 HTTP/1.1\r\n" + host + "\r\n", []int{200, 400}, []string{"/1"}, false, false},
		{"after a refusal that was well-formed", "TRACK /1 HTTP/1.1\r\n" + host + "\r\nGET /2 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{405, 200}, []string{"/2"}, false, false},
		{"HTTP/1.0", "GET /1 HTTP/1.0\r\n" + host + "\r\nGET /2 HTTP/1.0\r\n" + host + "\r\n", []int{200}, []string{"/1"}, false, false},
		{"HTTP/1.0 with keep-alive", "GET /1 HTTP/1.0\r\n" + host + "Connection: keep-alive\r\n\r\nGET /2 HTTP/1.0\r\n" + host + "\r\n", []int{200, 200}, []string{"/1", "/2"}, false, false},
		{"half-closed", "GET /1 HTTP/1.1\r\n" + host + "\r\n", []int{200}, []string{"/1"}, true, false},
		{"half-closed within a head", "GET /1 HTTP/1.1\r\nHost: op", nil, nil, true, false},
		{"half-closed within a body", "POST /1 HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nab", []int{400}, nil, true, false},
		{"expected body", "POST /1 HTTP/1.1\r\n" + host + "Expect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", []int{200}, []string{"/1"}, false, true},
		{"expected body in HTTP/1.0", "POST /1 HTTP/1.0\r\n" + host + "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", []int{200}, []string{"/1"}, false, false},
		{"body of a refused request", "TRACK /1 HTTP/1.1\r\n" + host + "Content-Length: 38\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n...GET /2 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n", []int{405, 200}, []string{"/2"}, false, false},
	} {
		if http1Server() == "standard" && tt.name != "pipelined" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			n, up := newTarget(t, "max_headers: 50")
			c, br := n.raw("open.example", nil)
			io.WriteString(c, tt.in)
			if tt.half {
				c.CloseWrite()
			}
			var got []int
			for {
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					break
				}
				io.Copy(io.Discard, resp.Body)
				if resp.StatusCode == http.StatusContinue && tt.continued && got == nil {
					tt.continued = false
					continue
				}
				got = append(got, resp.StatusCode)
			}
			if !slices.Equal(got, tt.statuses) || tt.continued {
				t.Errorf("answers %v, want %v; 100 Continue is missing: %v", got, tt.statuses, tt.continued)
			}
			bytes, whole := up.take()
			var paths []string
			for _, l := range requests(bytes) {
				paths = append(paths, strings.Fields(l)[1])
			}
			if !slices.Equal(paths, tt.upstream) || whole != len(tt.upstream) {
				t.Errorf("the upstream got %v (%d whole), want %v", paths, whole, tt.upstream)
			}
		})
	}
}

// TestH1NeverReads: a client that asks on and on without reading an answer is
// given up, and others are served meanwhile.
func TestH1NeverReads(t *testing.T) {
	if http1Server() == "standard" {
		return
	}
	n, _ := newTarget(t, "write_timeout: 500ms")
	c, _ := n.raw("open.example", nil)
	n.meanwhile("h1", func() {
		start := time.Now()
		w := bufio.NewWriterSize(c, 64<<10)
		for {
			if _, err := w.WriteString("GET /a HTTP/1.1\r\nHost: open.example\r\n\r\n"); err != nil {
				if took := time.Since(start); took > 15*time.Second {
					t.Errorf("the client was held for %v", took)
				}
				return
			}
		}
	})
}
