package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/vazel-gateway/vazel/middleware"
)

func TestServerSentEvents(t *testing.T) {
	t.Parallel()
	next, ended := make(chan string), make(chan struct{})
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for {
			select {
			case e := <-next:
				fmt.Fprintf(w, "data: %s\n\n", e)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				ended <- struct{}{}
				return
			}
		}
	}))
	t.Cleanup(up.Close)
	g := newGateway(t, []string{up.URL})
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		resp, err := c.Get(g.URL) // the head comes before the first event
		if err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(resp.Body)
		for _, e := range []string{"one", "two", "three"} {
			next <- e
			line, err := br.ReadString('\n')
			if err != nil || line != "data: "+e+"\n" {
				t.Fatalf("got %q, %v", line, err)
			}
			br.ReadString('\n')
		}
		resp.Body.Close()
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatal("the upstream goes on after the client has left")
		}
	}
}

func TestClientGone(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{}, 2)
	u := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		u.request(br)
		io.Copy(io.Discard, br) // until the gateway closes it
		ended <- struct{}{}
	})
	g := newGateway(t, []string{u.URL})
	for i, c := range []*http.Client{g.Client(), g.h1(t)} {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", g.URL, nil)
		go func() {
			settle(t, g, func() bool { return len(u.requests()) == i+1 })
			cancel()
		}()
		if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Fatal("the upstream connection is open although the client has left")
		}
	}
	if s := g.pool.list()[0]; s.health.bad.Load() != 0 {
		t.Error("a client that leaves counts against the server")
	}
}

// TestEarlyResponse has the upstream answer and stop reading while the client
// still sends.
func TestEarlyResponse(t *testing.T) {
	t.Parallel()
	u := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		for {
			line, err := br.ReadString('\n')
			if err != nil || line == "\r\n" {
				break
			}
		}
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
		br.ReadByte() // neither reads on nor closes
		br.Peek(1 << 20)
	})
	g := newGateway(t, []string{u.URL})
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		var pr *io.PipeReader
		send := func() (*http.Response, error) {
			var pw *io.PipeWriter
			pr, pw = io.Pipe()
			go func() {
				chunk := bytes.Repeat([]byte("a"), 64<<10)
				for {
					if _, err := pw.Write(chunk); err != nil {
						return
					}
				}
			}()
			req, _ := http.NewRequest("POST", g.URL, pr)
			return c.Do(req)
		}
		resp, err := send()
		// The server of this test is net/http's. It closes under a client that goes
		// on sending, and a busy client then meets the reset before the response.
		for tries := 0; tries < 10 && errors.Is(err, syscall.ECONNRESET); tries++ {
			resp, err = send()
		}
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(resp.Body, b); resp.StatusCode != 413 || string(b) != "large" {
			t.Errorf("got %s %q %v, want 413", resp.Status, b, err)
		}
		resp.Body.Close()
		pr.Close()
	}
	settle(t, g, func() bool { active, idle := g.pool.list()[0].connections(); return active+idle == 0 })
}

// TestFullDuplex streams both ways at once over HTTP/2.
func TestFullDuplex(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		w.WriteHeader(200)
		w.(http.Flusher).Flush()
		br := bufio.NewReader(r.Body)
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			io.WriteString(w, "echo "+line)
			w.(http.Flusher).Flush()
		}
	}))
	t.Cleanup(up.Close)
	g := newGateway(t, []string{up.URL})
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", g.URL, pr)
	resp, err := g.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(resp.Body)
	for i := range 10 {
		fmt.Fprintf(pw, "%d\n", i)
		if got, err := br.ReadString('\n'); got != fmt.Sprintf("echo %d\n", i) {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	pw.Close()
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	resp.Body.Close()
	settle(t, g, func() bool { _, idle := g.pool.list()[0].connections(); return idle == 1 })
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	got := make(chan http.Header, 1)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		got <- r.Trailer
		w.Header().Set("Trailer", "X-Announced")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Announced", "a")
		w.Header().Set(http.TrailerPrefix+"X-Late", "b")
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "evil=1")
	}))
	t.Cleanup(up.Close)
	g := newGateway(t, []string{up.URL})
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		req, _ := http.NewRequest("POST", g.URL, io.MultiReader(strings.NewReader(strings.Repeat("a", 40<<10))))
		req.Trailer = http.Header{"X-Checksum": {"c"}, "X-Organization": {"evil"}, "X-Forwarded-For": {"evil"}}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		if a, b, s := resp.Trailer.Get("X-Announced"), resp.Trailer.Get("X-Late"), resp.Trailer.Get("Set-Cookie"); a != "a" || b != "b" || s != "" {
			t.Errorf("%s: the client got trailers %v", resp.Proto, resp.Trailer)
		}
		if tr := <-got; len(tr) != 1 || tr.Get("X-Checksum") != "c" {
			t.Errorf("%s: the upstream got trailers %v", resp.Proto, tr)
		}
	}
}

func TestEarlyHints(t *testing.T) {
	t.Parallel()
	u := always(t, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\nSet-Cookie: a=b\r\n\r\n"+okResponse, true)
	g := newGateway(t, []string{u.URL})
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		var hints []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, h["Link"], h["X-Hop"]))
			return nil
		}}
		req, _ := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), "GET", g.URL, nil)
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, resp); got != "ok" || resp.Header.Get("Link") != "" || resp.Header.Get("Set-Cookie") != "" {
			t.Errorf("got %q %v", got, resp.Header)
		}
		if want := []string{"103 [</style.css>; rel=preload] []"}; !slices.Equal(hints, want) {
			t.Errorf("got hints %q, want %q", hints, want)
		}
	}
}

// refusingBody is a body that a policy refuses in the middle.
type refusingBody struct {
	io.ReadCloser
	left int
}

func (b *refusingBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &middleware.BodyRefusal{Status: 413, Denial: middleware.Denial{By: "max_body", Reason: "body_too_large"}}
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func TestBodyRefused(t *testing.T) {
	t.Parallel()
	u := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) { io.Copy(io.Discard, br) })
	g := newGateway(t, []string{u.URL})
	inner := g.Config.Handler
	g.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit := 10
		if r.ContentLength > smallBody || r.ContentLength < 0 {
			limit = 40 << 10
		}
		r2 := *r
		r2.Body = &refusingBody{r.Body, limit}
		inner.ServeHTTP(w, &r2)
	})
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		for _, size := range []int{20, 100 << 10} {
			resp, err := c.Post(g.URL, "text/plain", strings.NewReader(strings.Repeat("a", size)))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 413 {
				t.Errorf("%s: got %s for %d bytes, want 413", resp.Proto, resp.Status, size)
			}
		}
	}
	settle(t, g, func() bool { active, idle := g.pool.list()[0].connections(); return active+idle == 0 })
}

func allowWebsocket(s *Settings) { s.Websocket = true }

func TestWebsocket(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"v2"}})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.CloseNow()
		for {
			kind, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, append([]byte("echo "), b...)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(up.Close)
	g := newGateway(t, []string{up.URL}, with(allowWebsocket))
	c, _, err := websocket.Dial(t.Context(), g.URL, &websocket.DialOptions{HTTPClient: g.h1(t), Subprotocols: []string{"v2"}})
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", 30<<10)
	for _, m := range []string{"a", "b", large} {
		if err := c.Write(t.Context(), websocket.MessageText, []byte(m)); err != nil {
			t.Fatal(err)
		}
		if _, b, err := c.Read(t.Context()); err != nil || string(b) != "echo "+m {
			t.Fatalf("got %d bytes, %v", len(b), err)
		}
	}
	if got := c.Subprotocol(); got != "v2" {
		t.Errorf("subprotocol is %q", got)
	}
	c.Close(websocket.StatusNormalClosure, "")
	settle(t, g, func() bool { active, idle := g.pool.list()[0].connections(); return active+idle == 0 })
}

// TestUpgradeRefused lets no other tunnel through.
func TestUpgradeRefused(t *testing.T) {
	t.Parallel()
	const key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	const good = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key
	u := always(t, okResponse, true)
	for _, test := range []struct {
		name, request string
		allowed       bool
		status        int
	}{
		{"not allowed on the route", "GET / HTTP/1.1\r\nHost: a\r\n" + good + "\r\n", false, 403},
		{"POST", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + good + "\r\n", true, 400},
		{"with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n" + good + "\r\na", true, 400},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n" + good + "\r\n", true, 400},
		{"without key", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n", true, 400},
		{"two keys", "GET / HTTP/1.1\r\nHost: a\r\n" + good + key + "\r\n", true, 400},
		{"short key", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n\r\n", true, 400},
		{"old version", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n" + key + "\r\n", true, 400},
		{"without Connection", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" + key + "\r\n", true, 400},
		{"several protocols", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket\r\nSec-WebSocket-Version: 13\r\n" + key + "\r\n", true, 400},
		{"h2c", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", true, 200},
		{"TLS", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n", true, 200},
		{"upstream declines", "GET / HTTP/1.1\r\nHost: a\r\n" + good + "\r\n", true, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newGateway(t, []string{u.URL}, with(func(s *Settings) { s.Websocket = test.allowed }))
			before := len(u.requests())
			c := plain(t, g)
			io.WriteString(c, test.request)
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != test.status {
				t.Errorf("got %s, want %d", resp.Status, test.status)
			}
			seen := u.requests()[before:]
			if test.status != 200 && len(seen) != 0 {
				t.Errorf("the upstream got %q", seen)
			}
			if test.status == 200 && test.name != "upstream declines" && strings.Contains(strings.ToLower(seen[0]), "upgrade") {
				t.Errorf("the upstream was asked to upgrade: %q", seen[0])
			}
		})
	}
}

// plain is a connection to the gateway's handler without TLS.
func plain(t testing.TB, g *gateway) net.Conn {
	s := httptest.NewServer(g.Config.Handler)
	t.Cleanup(s.Close)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestFalseUpgrade has the upstream switch to what was not asked for.
func TestFalseUpgrade(t *testing.T) {
	t.Parallel()
	const accept = "Sec-WebSocket-Accept: 3G4tn16PdVfTtbJ6I0xmoQvlSZI=\r\n" // for another key
	for _, response := range []string{
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + accept + "\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n\r\n",
	} {
		u := always(t, response, false)
		g := newGateway(t, []string{u.URL}, with(allowWebsocket))
		c := plain(t, g)
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 502 {
			t.Errorf("got %s, want 502", resp.Status)
		}
	}
}
