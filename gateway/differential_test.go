package gateway

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

// heard is an HTTP/1.1 message as the strictest reader of RFC 9112 takes it.
// It shares no code with the gateway, so that mistakes are not shared either.
type heard struct {
	line    string
	fields  [][2]string // names in lower case
	body    string
	trailer [][2]string
}

func (m *heard) values(name string) (v []string) {
	for _, f := range m.fields {
		if f[0] == name {
			v = append(v, f[1])
		}
	}
	return v
}

type reading int

const (
	whole reading = iota
	partial
	wrong
)

// readFields reads lines up to the empty one. rest begins after it.
func readFields(s string) (fields [][2]string, rest string, how reading) {
	for {
		line, after, ok := strings.Cut(s, "\n")
		if !ok {
			return nil, s, partial
		}
		if !strings.HasSuffix(line, "\r") {
			return nil, s, wrong
		}
		line, s = line[:len(line)-1], after
		if line == "" {
			return fields, s, whole
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.Trim(name, "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return nil, s, wrong
		}
		for _, c := range []byte(value) {
			if c < ' ' && c != '\t' || c == 0x7f {
				return nil, s, wrong
			}
		}
		fields = append(fields, [2]string{strings.ToLower(name), strings.Trim(value, " \t")})
	}
}

// read takes one message from s. bodyless and untilClose are what the framing of
// a response depends on beside its own bytes.
func read(s string, response, bodyless bool) (m *heard, rest string, how reading) {
	line, rest, ok := strings.Cut(s, "\n")
	if !ok {
		return nil, s, partial
	}
	if !strings.HasSuffix(line, "\r") || strings.Trim(line[:len(line)-1], "\x00\r\t") != line[:len(line)-1] {
		return nil, s, wrong
	}
	m = &heard{line: line[:len(line)-1]}
	if m.fields, rest, how = readFields(rest); how != whole {
		return nil, s, how
	}
	lengths, codings := m.values("content-length"), m.values("transfer-encoding")
	switch {
	case len(lengths)+len(codings) > 1:
		return nil, s, wrong
	case len(codings) == 1 && !strings.EqualFold(codings[0], "chunked"):
		return nil, s, wrong
	case len(lengths) == 1 && (lengths[0] == "" || strings.Trim(lengths[0], "0123456789") != "" || len(lengths[0]) > 18):
		return nil, s, wrong
	}
	switch {
	case bodyless:
	case len(codings) == 1:
		for {
			line, after, ok := strings.Cut(rest, "\n")
			if !ok {
				return m, s, partial
			}
			if !strings.HasSuffix(line, "\r") {
				return m, s, wrong
			}
			size, ext, has := strings.Cut(line[:len(line)-1], ";")
			n, err := strconv.ParseUint(size, 16, 60)
			if err != nil || strings.Trim(size, "0123456789abcdefABCDEF") != "" || has && strings.ContainsAny(ext, "\x00\r") {
				return m, s, wrong
			}
			rest = after
			if n == 0 {
				break
			}
			if uint64(len(rest)) < n+2 {
				m.body += rest[:min(uint64(len(rest)), n)]
				return m, s, partial
			}
			m.body += rest[:n]
			if rest[n:n+2] != "\r\n" {
				return m, s, wrong
			}
			rest = rest[n+2:]
		}
		if m.trailer, rest, how = readFields(rest); how != whole {
			return m, s, how
		}
	case len(lengths) == 1:
		n, _ := strconv.Atoi(lengths[0])
		if len(rest) < n {
			m.body = rest
			return m, s, partial
		}
		m.body, rest = rest[:n], rest[n:]
	case response:
		m.body, rest = rest, ""
	}
	return m, rest, whole
}

// expected are the requests that a client's bytes can mean at most, as the
// upstream is to see them: method, target, host, body.
func expected(in string) (l []string) {
	in = strings.TrimPrefix(in, "\r\n")
	for {
		m, rest, how := read(in, false, false)
		if how != whole {
			return l
		}
		parts := strings.Split(m.line, " ")
		hosts := m.values("host")
		if len(parts) != 3 || len(hosts) > 1 {
			return l
		}
		target, host := parts[1], strings.Join(hosts, "")
		if scheme, after, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") {
			i := strings.IndexAny(after+"/", "/?#")
			authority := after[:i]
			if !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") || len(hosts) == 1 && !strings.EqualFold(authority, host) {
				return l
			}
			host, target = authority, after[i:]
			if !strings.HasPrefix(target, "/") {
				target = "/" + target
			}
		}
		if t, err := canonicalTarget(target); err == nil {
			target = t.escaped
			if t.hasMark {
				target += "?" + t.query
			}
		}
		name, port, _ := strings.Cut(strings.ToLower(host), ":")
		name = strings.TrimSuffix(name, ".")
		if port != "" {
			name += ":" + port
		}
		l = append(l, parts[0]+" "+target+" "+name+" "+strconv.Quote(m.body))
		in = strings.TrimPrefix(rest, "\r\n")
	}
}

// witness is an upstream that reads what it gets as strictly as can be.
type witness struct {
	address string
	client  string // the address that it is to be told of

	mu     sync.Mutex
	answer func(c net.Conn) bool // whether the connection goes on
	seen   []string              // requests, as expected writes them
	wrong  []string              // what no request may be
}

func newWitness(t testing.TB, client string) *witness {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{address: l.Addr().String(), client: client}
	w.answer = func(c net.Conn) bool {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return err == nil
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go w.serve(c)
		}
	}()
	t.Cleanup(func() { l.Close() })
	return w
}

func (w *witness) serve(c net.Conn) {
	defer c.Close()
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		for len(all) > 0 {
			m, rest, how := read(string(all), false, false)
			if how == wrong {
				w.note(nil, fmt.Sprintf("bytes that are no request: %q", all))
				return
			}
			if how == partial {
				break
			}
			all = []byte(rest)
			w.note(m, "")
			w.mu.Lock()
			answer := w.answer
			w.mu.Unlock()
			if !answer(c) {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// own are the fields that the gateway writes, with the values that are always the same.
var own = map[string]string{"x-forwarded-for": "", "x-forwarded-proto": "https", "x-request-id": "", "forwarded": "", "x-forwarded-host": "", "traceparent": "", "tracestate": ""}

func (w *witness) note(m *heard, bad string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if bad != "" {
		w.wrong = append(w.wrong, bad)
		return
	}
	for _, f := range append(slices.Clone(m.fields), m.trailer...) {
		want, ours := own[f[0]]
		if f[0] == "x-forwarded-for" {
			want = w.client
		}
		if middleware.Reserved(f[0]) && (!ours || want != "" && f[1] != want || len(m.values(f[0])) != 1) {
			w.wrong = append(w.wrong, fmt.Sprintf("a field that only the gateway may write: %q in %q", f, m.line))
		}
	}
	for _, name := range []string{"x-forwarded-for", "x-request-id", "host"} {
		if len(m.values(name)) != 1 {
			w.wrong = append(w.wrong, fmt.Sprintf("%d fields %s in %q", len(m.values(name)), name, m.line))
		}
	}
	parts := strings.Split(m.line, " ")
	w.seen = append(w.seen, parts[0]+" "+parts[1]+" "+strings.Join(m.values("host"), ",")+" "+strconv.Quote(m.body))
}

func (w *witness) take() (seen, wrong []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen, wrong = w.seen, w.wrong
	w.seen, w.wrong = nil, nil
	return seen, wrong
}

// plain opens a connection to the HTTP/1.1 server as if TLS had been done, which
// would cost most of a fuzzer's time. half has the client end its side after in, by
// which a request that takes its time is given up.
func (n *node) plain(t testing.TB, in string, half bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{sni: "open.example", close: func() { server.Close() }}
	c.Listener, c.Protocol, c.Peer = n.https, "h1", netip.MustParseAddrPort("192.0.2.7:1234")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer n.gateway.conns.remove(c)
		n.gateway.serveH1(c, n.gateway.handler, &n.gateway.snapshot.Load().config.Limits, server, &tls.ConnectionState{HandshakeComplete: true, ServerName: "open.example"})
	}()
	client.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		io.WriteString(client, in)
		if half {
			client.(*net.TCPConn).CloseWrite()
		}
	}()
	var out bytes.Buffer
	io.Copy(&out, client)
	client.Close()
	<-done
	return out.String()
}

// newDifferential is a node before a witness.
func newDifferential(f *testing.F) (*node, *witness) {
	w := newWitness(f, "192.0.2.7")
	n := newNode(f, nil)
	n.config(fmt.Sprintf(attackServices+"    ejection: {failures: 1000, duration: 10ms}\n", w.address)) // it is to answer on, whatever it said
	if err := n.apply(); err != nil {
		f.Fatal(err)
	}
	return n, w
}

// compose makes a message of pieces, one for each byte of by: whole parts of the
// syntax, right and nearly right, find more than single bytes do.
func compose(by []byte, pieces []string) []byte {
	var b bytes.Buffer
	for _, i := range by {
		b.WriteString(pieces[int(i)%len(pieces)])
	}
	return b.Bytes()
}

var requestPieces = []string{
	"GET /a HTTP/1.1\r\n", "POST /b?c HTTP/1.1\r\n", "Host: open.example\r\n", "HEAD http://open.example/d HTTP/1.0\r\n", "PUT /e%2E%2e/f HTTP/1.1\r\n", "hOST:OPEN.example.:443\r\n",
	"Host: \r\n", "Content-Length: 0\r\n", "Content-Length : 3\r\n", "content-length:\t3 \r\n", "Content-Length: 3\r\n", "Content-Length: 03\r\n", "Transfer-Encoding: chunked\r\n",
	"transfer-encoding:Chunked\r\n", "Transfer-Encoding: gzip, chunked\r\n", "\r\n", "3\r\nabc\r\n", "abc", "0003;q=\"a\"\r\nabc\r\n", "0\r\n", "0\n", "X-T: v\r\n", "Content-Length: 5\n", "\n", "\r", " ", ":", "0",
	"Connection: close\r\n", "Connection: keep-alive, Content-Length, Host, X-Request-Id\r\n", "Expect: 100-continue\r\n", "X-Forwarded-For: 6.6.6.6\r\n", "X_Request_Id: evil\r\n", "X-Request-Id: evil\r\n",
	"Trailer: X-T, X-Forwarded-For\r\n", "TE: trailers\r\n", "Upgrade: h2c\r\n", "Host: inner.example\r\n", "GET /smuggled HTTP/1.1\r\nHost: open.example\r\n\r\n", "ffffffffffffffff\r\n", "+3\r\nabc\r\n", "OPTIONS * HTTP/1.1\r\n",
}

var responsePieces = []string{
	"HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 204 No Content\r\n", "HTTP/1.1 304 Not Modified\r\n", "HTTP/1.1 103 Early Hints\r\n", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n",
	"Content-Length: 0\r\n", "content-length:4\r\n", "Content-Length : 3\r\n", "Content-Length: 3, 3\r\n", "transfer-encoding: Chunked\r\n", "Connection: close\r\n", "Connection: Content-Length\r\n", "X: y\r\n", "\r\n",
	"3\r\nabc\r\n", "abc", "3;x\r\nabc\r\n", "abcd", "0\r\n", "\n", "\r", "0\n", "Trailer: X\r\n", "Content-Encoding: gzip\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "Date: x\r\n", " folded\r\n", "Content-Range: bytes 0-2/3\r\n",
	"HTTP/1.1 502 Bad Gateway\r\n", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n", "Proxy-Status: vazel; error=x\r\n", "ff\r\n",
}

// FuzzRequest sends raw bytes and compares what the upstream got with what the
// strictest reader says that the bytes mean: never more requests, never others.
func FuzzRequest(f *testing.F) {
	const host = "Host: open.example\r\n"
	for _, s := range []string{
		"GET /a?b HTTP/1.1\r\n" + host + "\r\nGET /%62 HTTP/1.1\r\n" + host + "Connection: close\r\n\r\n",
		"POST /a HTTP/1.1\r\n" + host + "Content-Length: 3\r\n\r\nabcGET /b HTTP/1.1\r\n" + host + "\r\n",
		"POST /a HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n3;x=\"y\"\r\nabc\r\n0\r\nX-Trailer: 1\r\nX-Organization: evil\r\n\r\nGET /b HTTP/1.1\r\n" + host + "\r\n",
		"GET /a HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\n" + host + "\r\n",
		"GET http://open.example:8443/a HTTP/1.1\r\nHost: Open.Example.:8443\r\nX-Forwarded-For: 1.2.3.4\r\nConnection: X-Request-Id\r\n\r\n",
		"\r\nHEAD / HTTP/1.0\r\n" + host + "Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n\r\n",
		"DELETE /a HTTP/1.1\r\n" + host + "Content-Length: 40\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: open.example",
		"PUT /a\r HTTP/1.1\nHost : open.example\r\n x\r\nX_Organization: a\r\n\r\n",
	} {
		f.Add([]byte(s), false)
	}
	f.Add([]byte("\x00\x02\x0a\x0f\x00\x02\x0f"), true)
	f.Add([]byte("\x01\x02\x0c\x0f\x10\x13\x15\x0f"), true)
	n, w := newDifferential(f)
	f.Fuzz(func(t *testing.T, in []byte, pieces bool) {
		if pieces {
			in = compose(in[:min(len(in), 40)], requestPieces)
		}
		if len(in) > 16<<10 {
			return
		}
		w.take()
		out := n.plain(t, string(in), true)
		want := expected(string(in))
		seen, bad := w.take()
		if len(bad) > 0 {
			t.Fatalf("%q: the upstream got %s", in, bad)
		}
		i := 0
		for _, got := range seen {
			for i < len(want) && want[i] != got {
				i++
			}
			if i++; i > len(want) {
				t.Fatalf("%q\nmeans       %q\nthe upstream got %q\nthe client got %q", in, want, seen, out)
			}
		}
	})
}

// FuzzResponse has an upstream answer with raw bytes, and compares what the client
// gets with what the strictest reader says: never a whole response that differs.
func FuzzResponse(f *testing.F) {
	for _, s := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.0 200\r\n\r\nuntil close",
		"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nConnection: X-Frame-Options\r\n\r\nhello",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"0000000",
	} {
		f.Add([]byte(s), false, false)
		f.Add([]byte(s), true, false)
	}
	f.Add([]byte("\x00\x06\x0f\x10\x14\x0f"), false, true)
	f.Add([]byte("\x00\x05\x0f\x10"), false, true)
	n, w := newDifferential(f)
	f.Fuzz(func(t *testing.T, answer []byte, head, pieces bool) {
		if pieces {
			answer = compose(answer[:min(len(answer), 40)], responsePieces)
		}
		w.mu.Lock()
		w.answer = func(c net.Conn) bool {
			c.Write(answer)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
			return false
		}
		w.mu.Unlock()
		method := "GET"
		if head {
			method = "HEAD"
		}
		out := n.plain(t, method+" /a HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n", false)
		if seen, _ := w.take(); len(seen) != 1 && !(len(seen) == 0 && strings.HasPrefix(out, "HTTP/1.1 503 ")) {
			t.Fatalf("the upstream was asked %d times", len(seen))
		}
		got, how := final(out, head)
		if how == wrong {
			t.Fatalf("the client got what is no response: %q", out)
		}
		if how == partial { // broken off, visibly
			return
		}
		if v := got.values("proxy-status"); len(v) == 1 && strings.HasPrefix(v[0], "vazel; error=") {
			return
		}
		want, how := final(string(answer), head)
		if how != whole || strings.Split(got.line, " ")[1] != strings.Split(want.line, " ")[1] || got.body != want.body {
			t.Fatalf("the upstream answered %q\nthe client got %q", answer, out)
		}
	})
}

// final reads interim responses and then the final one, to the end of the bytes.
func final(s string, head bool) (*heard, reading) {
	for {
		line, _, _ := strings.Cut(s, "\r\n")
		parts := strings.SplitN(line, " ", 3)
		if len(parts) < 2 || !strings.HasPrefix(s, "HTTP/1.") || len(parts[1]) != 3 {
			if s == "" {
				return nil, partial
			}
			return nil, wrong
		}
		interim := parts[1][0] == '1'
		m, rest, how := read(s, true, head || interim || parts[1] == "204" || parts[1] == "304")
		if how != whole || !interim || parts[1] == "101" {
			return m, how
		}
		s = rest
	}
}
