package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawUpstream answers with exact bytes and records those that it got.
type rawUpstream struct {
	URL string
	ln  net.Listener

	mu    sync.Mutex
	seen  []string // heads and bodies, one per request
	conns int
	wg    sync.WaitGroup
	open  map[net.Conn]struct{}
}

// newRaw serves each connection with serve, which gets its number, from 0.
func newRaw(t testing.TB, serve func(u *rawUpstream, n int, c net.Conn, br *bufio.Reader)) *rawUpstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &rawUpstream{URL: "http://" + ln.Addr().String(), ln: ln, open: map[net.Conn]struct{}{}}
	u.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			n := u.conns
			u.conns++
			u.open[c] = struct{}{}
			u.mu.Unlock()
			u.wg.Go(func() {
				serve(u, n, c, bufio.NewReader(c))
				c.Close()
				u.mu.Lock()
				delete(u.open, c)
				u.mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		u.mu.Lock()
		for c := range u.open {
			c.Close()
		}
		u.mu.Unlock()
		u.wg.Wait()
	})
	return u
}

// always answers each request with the same bytes; the connection stays open if
// keep.
func always(t testing.TB, response string, keep bool) *rawUpstream {
	return newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		for {
			if _, err := u.request(br); err != nil {
				return
			}
			io.WriteString(c, response)
			if !keep {
				return
			}
		}
	})
}

// request reads one request and records it as it came.
func (u *rawUpstream) request(br *bufio.Reader) (string, error) {
	var b bytes.Buffer
	length, chunked := 0, false
	for {
		line, err := br.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return "", err
		}
		if line == "\r\n" {
			break
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\r\n"), ": ")
		switch name {
		case "Content-Length":
			length, _ = strconv.Atoi(value)
		case "Transfer-Encoding":
			chunked = true
		}
	}
	if chunked {
		for {
			line, err := br.ReadString('\n')
			b.WriteString(line)
			if err != nil {
				return "", err
			}
			n, _ := strconv.ParseInt(strings.TrimSpace(line), 16, 64)
			if n == 0 {
				break
			}
			if _, err := io.CopyN(&b, br, n+2); err != nil {
				return "", err
			}
		}
		for {
			line, err := br.ReadString('\n')
			b.WriteString(line)
			if err != nil {
				return "", err
			}
			if line == "\r\n" {
				break
			}
		}
	}
	if _, err := io.CopyN(&b, br, int64(length)); err != nil {
		return "", err
	}
	u.mu.Lock()
	u.seen = append(u.seen, b.String())
	u.mu.Unlock()
	return b.String(), nil
}

func (u *rawUpstream) requests() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string(nil), u.seen...)
}

func (u *rawUpstream) connections() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.conns
}

const okResponse = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// TestLyingUpstream sends what no honest server sends. The client sees a
// failure, never a whole response, and the connection is not used again.
func TestLyingUpstream(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, response string
		status         int  // of the refusal; 0: the response is broken off
		head           bool // HEAD instead of GET
	}{
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk", 502, false},
		{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", 502, false},
		{"length with sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", 502, false},
		{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok", 502, false},
		{"hexadecimal length", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nok", 502, false},
		{"huge length", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", 502, false},
		{"empty length", "HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\nok", 502, false},
		{"length and chunked", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502, false},
		{"chunked and length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502, false},
		{"chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502, false},
		{"chunked listed twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502, false},
		{"gzip, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502, false},
		{"identity", "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nok", 502, false},
		{"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 502, false},
		{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok", 502, false},
		{"bare LF in one line", "HTTP/1.1 200 OK\r\nA: b\nContent-Length: 2\r\n\r\nok", 502, false},
		{"bare CR", "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: c\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"NUL", "HTTP/1.1 200 OK\r\nA: b\x00c\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"folded line", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"folded first line", "HTTP/1.1 200 OK\r\n A: b\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"space before colon", "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok", 502, false},
		{"empty field name", "HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"line without colon", "HTTP/1.1 200 OK\r\nA\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"lower-case version", "http/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"HTTP/1.10", "HTTP/1.10 200 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"two spaces", "HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"short status", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"long status", "HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"status 099", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"status 600", "HTTP/1.1 600 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"control character in the reason", "HTTP/1.1 200 O\x01K\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"blank line first", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"HTTP/0.9", "<html>ok</html>", 502, false},
		{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", 502, false},
		{"TLS alert", "\x15\x03\x01\x00\x02\x02\x16", 502, false},
		{"nothing", "", 502, false},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-Le", 502, false},
		{"large head", "HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70<<10) + "\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"endless head", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 100<<10), 502, false},
		{"many fields", "HTTP/1.1 200 OK\r\n" + strings.Repeat("A: b\r\n", 300) + "Content-Length: 2\r\n\r\nok", 502, false},
		{"endless interim responses", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 1000), 502, false},
		{"endless 100", strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 1000), 502, false},
		{"interim response with a length", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + okResponse, 502, false},
		{"interim response in chunks", "HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n" + okResponse, 502, false},
		{"204 with a length", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", 502, false},
		{"204 in chunks", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 502, false},
		{"101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502, false},
		{"101 to HTTP/2", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 502, false},
		{"malformed Connection", "HTTP/1.1 200 OK\r\nConnection: a b\r\nContent-Length: 2\r\n\r\nok", 502, false},
		{"end before the body", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", 502, false},
		{"end within the body", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf", 0, false},
		{"end within a large body", "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("a", 100000), 0, false},
		{"end before a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0, false},
		{"end within a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", 0, false},
		{"end between chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 0, false},
		{"end before the end of the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n", 0, false},
		{"end within the trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nA: b\r\n", 0, false},
		{"long chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalff\r\n0\r\n\r\n", 0, false},
		{"chunk size with sign", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+4\r\nhalf\r\n0\r\n\r\n", 0, false},
		{"chunk size with 0x", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x4\r\nhalf\r\n0\r\n\r\n", 0, false},
		{"chunk size with space", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4 \r\nhalf\r\n0\r\n\r\n", 0, false},
		{"chunk size after space", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n 4\r\nhalf\r\n0\r\n\r\n", 0, false},
		{"empty chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhalf\r\n0\r\n\r\n", 0, false},
		{"huge chunk size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff4\r\nhalf\r\n0\r\n\r\n", 0, false},
		{"chunk with bare LF", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\nhalf\r\n0\r\n\r\n", 0, false},
		{"chunk ended by bare LF", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\n0\r\n\r\n", 0, false},
		{"long chunk extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;" + strings.Repeat("a", 5000) + "\r\nhalf\r\n0\r\n\r\n", 0, false},
		{"chunk extension with CR", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a\rb\r\nhalf\r\n0\r\n\r\n", 0, false},
		{"trailer with bare LF", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nA: b\n\r\n", 0, false},
		{"folded trailer", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nA: b\r\n c\r\n\r\n", 0, false},
		{"large trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n" + strings.Repeat("A: b\r\n", 20<<10) + "\r\n", 0, false},
		{"HEAD with two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n", 502, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := always(t, test.response, false)
			g := newGateway(t, []string{u.URL}, timeout(5*time.Second))
			for _, c := range []*http.Client{g.h1(t), g.Client()} {
				method := "GET"
				if test.head {
					method = "HEAD"
				}
				req, _ := http.NewRequest(method, g.URL, nil)
				resp, err := c.Do(req)
				if test.status == 0 {
					if err != nil {
						continue // no part of the response came, which is as good
					}
					b, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err == nil {
						t.Errorf("%s: got a whole response %s %q", resp.Proto, resp.Status, b)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				b := readAll(t, resp)
				if resp.StatusCode != test.status {
					t.Errorf("%s: got %s %q, want %d", resp.Proto, resp.Status, b, test.status)
				}
				if got := resp.Header.Get("Proxy-Status"); !strings.HasPrefix(got, "vazel; error=") {
					t.Errorf("Proxy-Status is %q", got)
				}
			}
			if _, idle := g.pool.list()[0].connections(); idle != 0 {
				t.Errorf("%d connections are kept after a response that can't be trusted", idle)
			}
		})
	}
}

// TestNoReuse sends whole responses after which the connection must not be used
// again.
func TestNoReuse(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, response, want string }{
		{"garbage after the body", okResponse + "garbage", "ok"},
		{"a second response", okResponse + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "ok"},
		{"a body after 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nevil", ""},
		{"a body after 204", "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", ""},
		{"garbage after the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "ok"},
		{"Connection: close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok"},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", "ok"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			u := always(t, test.response, true)
			g := newGateway(t, []string{u.URL})
			for i := range 3 {
				resp, err := g.h1(t).Get(g.URL)
				if err != nil {
					t.Fatal(err)
				}
				if got := readAll(t, resp); got != test.want || resp.StatusCode >= 500 {
					t.Errorf("got %s %q, want %q", resp.Status, got, test.want)
				}
				if got := u.connections(); got != i+1 {
					t.Errorf("%d connections after %d requests", got, i+1)
				}
			}
		})
	}
}

// TestUnasked sends a response on an idle connection, which must not answer the
// next request.
func TestUnasked(t *testing.T) {
	t.Parallel()
	sent := make(chan struct{})
	proceed := make(chan struct{})
	u := newRaw(t, func(u *rawUpstream, n int, c net.Conn, br *bufio.Reader) {
		for {
			if _, err := u.request(br); err != nil {
				return
			}
			io.WriteString(c, okResponse)
			if n == 0 {
				<-proceed
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
				close(sent)
			}
		}
	})
	g := newGateway(t, []string{u.URL})
	c := g.h1(t)
	for i := range 2 {
		resp, err := c.Get(g.URL)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "ok" {
			t.Errorf("got %q, want ok", got)
		}
		if i == 0 {
			close(proceed)
			<-sent
			settle(t, g, func() bool { return !g.pool.list()[0].kept[0].alive() })
		}
	}
	if got := u.connections(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

// settle waits until the network has carried something over.
func settle(t testing.TB, _ *gateway, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("it did not happen")
}

// TestReset ends a connection with RST in the middle of a body.
func TestReset(t *testing.T) {
	t.Parallel()
	for _, response := range []string{
		"HTTP/1.1 200 OK\r\n\r\nhalf", // until close: RST is not an end
		"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		u := newRaw(t, func(u *rawUpstream, n int, c net.Conn, br *bufio.Reader) {
			u.request(br)
			io.WriteString(c, response)
			c.(*net.TCPConn).SetLinger(0)
		})
		g := newGateway(t, []string{u.URL})
		for _, c := range []*http.Client{g.h1(t), g.Client()} {
			resp, err := c.Get(g.URL)
			if err != nil {
				continue
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && resp.StatusCode != http.StatusBadGateway { // if the RST came before the head was read
				t.Errorf("got a whole response %s %q to %q", resp.Status, b, response)
			}
		}
	}
}

// TestCloseDelimited passes on bodies that end with the connection.
func TestCloseDelimited(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 100_000)
	for _, head := range []string{"HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200\r\nConnection: close\r\n\r\n"} {
		u := always(t, head+long, false)
		g := newGateway(t, []string{u.URL})
		resp, err := g.Client().Get(g.URL)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != long {
			t.Errorf("got %d bytes, want %d", len(got), len(long))
		}
	}
}
