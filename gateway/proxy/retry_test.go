package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vazel-gateway/vazel/config/unit"
)

// refusing is the URL of a port that nobody listens on.
func refusing(t testing.TB) string {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	return "http://" + ln.Addr().String()
}

func do(t testing.TB, c *http.Client, method, url string, body io.Reader) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp, readAll(t, resp)
}

func TestRetryAfterRefusedConnection(t *testing.T) {
	t.Parallel()
	u := always(t, okResponse, true)
	g := newGateway(t, []string{refusing(t), u.URL})
	for range 4 {
		// Nothing was written, so a POST is sent again too.
		if resp, got := do(t, g.Client(), "POST", g.URL, strings.NewReader("order")); got != "ok" {
			t.Errorf("got %s %q, want ok", resp.Status, got)
		}
	}
	// A body that is not at hand has not been touched by then.
	large := strings.Repeat("a", 100<<10)
	for range 2 {
		if resp, got := do(t, g.Client(), "POST", g.URL, io.MultiReader(strings.NewReader(large))); got != "ok" {
			t.Errorf("got %s %q, want ok", resp.Status, got)
		}
	}
	if got := len(u.requests()); got != 6 {
		t.Errorf("the upstream saw %d requests, want 6", got)
	}
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	g := newGateway(t, []string{refusing(t)})
	resp, _ := do(t, g.Client(), "GET", g.URL, nil)
	if got, want := resp.Header.Get("Proxy-Status"), "vazel; error=connection_refused"; resp.StatusCode != 502 || got != want {
		t.Errorf("got %s, Proxy-Status %q, want 502 and %q", resp.Status, got, want)
	}
	if got := testutil.ToFloat64(g.manager.metrics.errors.WithLabelValues("registry", "connect_refused")); got != 2 {
		t.Errorf("%v errors were counted, want 2: the request and its retry", got)
	}
}

// TestDeadConnection has the upstream close a kept connection when the next
// request comes, which only idempotent requests survive.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method string
		body   string
		status int
	}{{"GET", "", 200}, {"HEAD", "", 200}, {"PUT", "x", 200}, {"DELETE", "", 200}, {"OPTIONS", "", 200}, {"POST", "x", 502}, {"PATCH", "x", 502}} {
		t.Run(test.method, func(t *testing.T) {
			t.Parallel()
			u := newRaw(t, func(u *rawUpstream, n int, c net.Conn, br *bufio.Reader) {
				for i := 0; ; i++ {
					if _, err := u.request(br); err != nil {
						return
					}
					if n == 0 && i == 1 {
						return
					}
					io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			g := newGateway(t, []string{u.URL})
			do(t, g.Client(), "GET", g.URL, nil)
			var b io.Reader
			if test.body != "" {
				b = strings.NewReader(test.body)
			}
			resp, _ := do(t, g.Client(), test.method, g.URL, b)
			if resp.StatusCode != test.status {
				t.Errorf("got %s, want %d", resp.Status, test.status)
			}
			want := 2
			if test.status == 200 {
				want = 3
			}
			if got := len(u.requests()); got != want {
				t.Errorf("the upstream saw %d requests, want %d", got, want)
			}
		})
	}
}

// TestNoRetryAfterResponse does not send a request again once anything of a
// response came, or on a fresh connection that ended.
func TestNoRetryAfterResponse(t *testing.T) {
	t.Parallel()
	for _, response := range []string{"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"} {
		u := always(t, response, false)
		g := newGateway(t, []string{u.URL, u.URL})
		resp, _ := do(t, g.Client(), "GET", g.URL, nil)
		if resp.StatusCode != 502 {
			t.Errorf("got %s, want 502", resp.Status)
		}
		if got := len(u.requests()); got != 1 {
			t.Errorf("the upstream saw %d requests after %q, want 1", got, response)
		}
	}
}

func TestRetryBudget(t *testing.T) {
	t.Parallel()
	var b budget
	second := int64(time.Second)
	for range 100 {
		b.request(1 * second)
	}
	n := 0
	for b.retry(2*second, 0.2) {
		n++
	}
	if n != 20 {
		t.Errorf("%d retries of 100 requests, want 20", n)
	}
	if b.retry(10*second, 0.2) {
		t.Error("a retry within the window although the budget is used up")
	}
	n = 0
	for b.retry(30*second, 0.2) {
		n++
	}
	if n != freeRetries {
		t.Errorf("%d retries without requests, want %d", n, freeRetries)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	silent := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		u.request(br)
		io.Copy(io.Discard, br)
	})
	g := newGateway(t, []string{silent.URL}, timeout(100*time.Millisecond))
	for _, c := range []*http.Client{g.Client(), g.h1(t)} {
		start := time.Now()
		resp, _ := do(t, c, "GET", g.URL, nil)
		if got, want := resp.Header.Get("Proxy-Status"), "vazel; error=http_response_timeout"; resp.StatusCode != 504 || got != want {
			t.Errorf("got %s, Proxy-Status %q, want 504 and %q", resp.Status, got, want)
		}
		if took := time.Since(start); took < 100*time.Millisecond || took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	stalled := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		u.request(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		io.Copy(io.Discard, br)
	})
	g = newGateway(t, []string{stalled.URL}, timeout(100*time.Millisecond))
	resp, err := g.Client().Get(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("got a whole response %q", b)
	}
	resp.Body.Close()
	settle(t, g, func() bool {
		return testutil.ToFloat64(g.manager.metrics.errors.WithLabelValues("registry", "body_timeout")) == 1
	})
}

// TestSlowButMoving passes on a body that takes longer than the time-out but
// never stands still for so long.
func TestSlowButMoving(t *testing.T) {
	t.Parallel()
	u := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		u.request(br)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
		for range 10 {
			time.Sleep(60 * time.Millisecond)
			io.WriteString(c, "x")
		}
	})
	g := newGateway(t, []string{u.URL}, timeout(300*time.Millisecond))
	if _, got := do(t, g.Client(), "GET", g.URL, nil); got != "xxxxxxxxxx" {
		t.Errorf("got %q", got)
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	u := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		for {
			if _, err := u.request(br); err != nil {
				return
			}
			<-proceed
			io.WriteString(c, okResponse)
		}
	})
	g := newGateway(t, []string{u.URL}, with(func(s *Settings) {
		s.MaxConnections = 1
		s.ConnectTimeout = unit.Duration(200 * time.Millisecond)
	}))
	type result struct {
		status int
		proxy  string
	}
	results := make(chan result)
	get := func() {
		resp, err := g.Client().Get(g.URL)
		if err != nil {
			t.Error(err)
			results <- result{}
			return
		}
		resp.Body.Close()
		results <- result{resp.StatusCode, resp.Header.Get("Proxy-Status")}
	}
	go get()
	settle(t, g, func() bool { return len(u.requests()) == 1 })
	go get()
	if got, want := <-results, (result{503, "vazel; error=connection_limit_reached"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	// One that waits gets the connection when it becomes free.
	go get()
	settle(t, g, func() bool {
		s := g.pool.list()[0]
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.waiting) == 1
	})
	close(proceed)
	for range 2 {
		if got := <-results; got.status != 200 {
			t.Errorf("got %v, want 200", got)
		}
	}
	if got := u.connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

// TestSlowUpload: the upstream's time begins when it has the request. A client who
// takes longer than that to send a body is none of its business.
func TestSlowUpload(t *testing.T) {
	t.Parallel()
	unencrypted := new(http.Protocols)
	unencrypted.SetUnencryptedHTTP2(true)
	unencrypted.SetHTTP1(true)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/silent" {
			<-r.Context().Done()
			return
		}
		fmt.Fprintf(w, "%d bytes, %v", n, err)
	}))
	up.Config.Protocols = unencrypted
	up.Start()
	t.Cleanup(up.Close)
	const pieces, piece = 5, 8 << 10
	send := func(t *testing.T, c *http.Client, url string, length int64) (*http.Response, string) {
		r, w := io.Pipe()
		go func() {
			tick := time.NewTicker(120 * time.Millisecond)
			defer tick.Stop()
			for range pieces {
				<-tick.C
				w.Write(make([]byte, piece))
			}
			w.Close()
		}()
		req, _ := http.NewRequest("POST", url, r)
		req.ContentLength = length
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp, readAll(t, resp)
	}
	for _, protocol := range []string{"h1", "h2c"} {
		g := newGateway(t, []string{up.URL}, timeout(200*time.Millisecond), with(func(s *Settings) { s.UpstreamProtocol = protocol }))
		for name, c := range map[string]*http.Client{"h2": g.Client(), "h1": g.h1(t)} {
			for _, length := range []int64{-1, pieces * piece} {
				t.Run(fmt.Sprint(name, " to ", protocol, ", length ", length), func(t *testing.T) {
					t.Parallel()
					if resp, got := send(t, c, g.URL, length); resp.StatusCode != 200 || got != fmt.Sprintf("%d bytes, <nil>", pieces*piece) {
						t.Errorf("got %s %s", resp.Status, got)
					}
					if resp, got := send(t, c, g.URL+"/silent", length); resp.StatusCode != 504 {
						t.Errorf("from a silent upstream: %s %s", resp.Status, got)
					}
				})
			}
		}
	}
}
