package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

var testLimits = Limits{
	HeaderTimeout: 5 * time.Second, IdleTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, DrainBytes: 64 << 10,
	MaxHeader: 32 << 10, MaxHeaders: 100, MaxURI: 8 << 10,
}

// start serves handler on loopback and returns a function that connects.
func start(t *testing.T, l Limits, handler http.HandlerFunc) (*Server, func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Limits: l, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if m := MalformedOf(r.Context()); m != nil {
			w.Header().Set("X-Reason", m.Reason)
			w.Header().Set("Connection", "close")
			w.WriteHeader(m.Status)
			return
		}
		handler(w, r)
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.Serve(context.Background(), c, nil)
		}
	}()
	t.Cleanup(func() {
		ln.Close()
		<-done
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
	})
	return s, func() net.Conn {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
}

// echo answers with what it read.
func echo(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var refusal *middleware.BodyRefusal
	if errors.As(err, &refusal) {
		w.Header().Set("X-Reason", refusal.Denial.Reason)
		w.Header().Set("Connection", "close")
		w.WriteHeader(refusal.Status)
		return
	}
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fmt.Fprintf(w, "%s %s %q %v", r.Method, r.RequestURI, b, r.Trailer)
}

func TestRefusesMalformedHeads(t *testing.T) {
	_, dial := start(t, testLimits, echo)
	tests := []struct {
		name, in, want string
	}{
		{"bare LF in the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "400 bad_line_ending"},
		{"bare LF in a field", "GET / HTTP/1.1\r\nHost: a\n\r\n", "400 bad_line_ending"},
		{"bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", "400 bad_line_ending"},
		{"bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "400 bad_header_value"},
		{"NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x00b\r\n\r\n", "400 bad_header_value"},
		{"folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", "400 bad_header_name"},
		{"space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 bad_header_name"},
		{"no colon", "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", "400 bad_header_name"},
		{"empty name", "GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n", "400 bad_header_name"},
		{"UTF-8 name", "GET / HTTP/1.1\r\nHost: a\r\nИме: x\r\n\r\n", "400 bad_header_name"},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "400 ambiguous_framing"},
		{"two equal lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", "400 ambiguous_framing"},
		{"list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx", "400 ambiguous_framing"},
		{"signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx", "400 ambiguous_framing"},
		{"negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nx", "400 ambiguous_framing"},
		{"hexadecimal length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nx", "400 ambiguous_framing"},
		{"empty length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", "400 ambiguous_framing"},
		{"huge length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "400 ambiguous_framing"},
		{"TE and CL", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"TE twice", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"TE gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"TE identity", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", "400 ambiguous_framing"},
		{"TE xchunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "400 ambiguous_framing"},
		{"TE with vertical tab", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \vchunked\r\n\r\n", "400 bad_header_value"},
		{"TE in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400 bad_host"},
		{"no host", "GET / HTTP/1.1\r\n\r\n", "400 bad_host"},
		{"absolute form contradicts Host", "GET https://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_host"},
		{"absolute form with userinfo", "GET https://a@b/ HTTP/1.1\r\nHost: b\r\n\r\n", "400 bad_host"},
		{"HTTP/0.9", "GET /\r\n", "400 bad_version"},
		{"HTTP/0.9 with fields", "GET /\r\nHost: a\r\n\r\n", "400 bad_version"},
		{"HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "400 bad_version"},
		{"HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "505 bad_version"},
		{"http/1.1", "GET / http/1.1\r\nHost: a\r\n\r\n", "400 bad_version"},
		{"two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_target"},
		{"space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_target"},
		{"tab after the method", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_request"},
		{"method not a token", "GE(T / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_request"},
		{"leading space", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_request"},
		{"byte above ASCII in the target", "GET /\xd0 HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_target"},
		{"NUL in the target", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_target"},
		{"unknown expectation", "GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n", "417 bad_expectation"},
		{"long target", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 uri_too_long"},
		{"large head", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 40000) + "\r\n\r\n", "431 header_too_large"},
		{"many fields", "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("X: a\r\n", 100) + "\r\n", "431 header_too_large"},
		{"empty lines", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "400 bad_request"},
		{"TLS to a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "400 bad_line_ending"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := dial()
			// A second request must not be answered, whatever the first one was.
			io.WriteString(c, tt.in+"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			all, _ := io.ReadAll(c)
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(string(all))), nil)
			if err != nil {
				t.Fatalf("answer %q: %v", all, err)
			}
			if got := fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Reason")); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !resp.Close {
				t.Error("the connection was not announced to close")
			}
			if strings.Contains(string(all), "smuggled") {
				t.Errorf("the second request was answered: %q", all)
			}
		})
	}
}

func TestChunkedBodies(t *testing.T) {
	_, dial := start(t, testLimits, echo)
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct{ name, in, want string }{
		{"two chunks", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", `200 POST / "abcde" map[]`},
		{"many small chunks", strings.Repeat("1\r\na\r\n", 3000) + "0\r\n\r\n", `200 POST / "` + strings.Repeat("a", 3000) + `" map[]`},
		{"many small chunks, the last of them malformed", strings.Repeat("1\r\na\r\n", 100) + "1\r\naa\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"many small chunks, one with a bare LF", strings.Repeat("1\r\na\r\n", 100) + "1\na\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"upper case and zeros", "0A\r\n0123456789\r\n000\r\n\r\n", `200 POST / "0123456789" map[]`},
		{"extension", "3;a=b;c\r\nabc\r\n0;x\r\n\r\n", `200 POST / "abc" map[]`},
		{"trailer", "1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n", `200 POST / "a" map[X-Sum:[1]]`},
		{"bare LF after the size", "3\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"bare LF after the data", "3\r\nabc\n0\r\n\r\n", "400 ambiguous_framing"},
		{"long data", "3\r\nabcd\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"no size", "\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"sign", "+3\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"0x", "0x3\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"space before the size", " 3\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"space after the size", "3 \r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"space before the extension", "3 ;a\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"size overflow", "10000000000000003\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"control byte in an extension", "3;a\x01\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"long extension", "3;" + strings.Repeat("a", 300) + "\r\nabc\r\n0\r\n\r\n", "400 ambiguous_framing"},
		{"forbidden trailer", "0\r\nContent-Length: 1\r\n\r\n", "400 ambiguous_framing"},
		{"identity trailer", "0\r\nX-Organization: nra\r\nX-Sum: 1\r\n\r\n", `200 POST / "" map[X-Sum:[1]]`},
		{"identity trailer, spelled otherwise", "0\r\nx_organization: nra\r\n\r\n", `200 POST / "" map[]`},
		{"folded trailer", "0\r\nX: a\r\n b\r\n\r\n", "400 ambiguous_framing"},
		{"large trailers", "0\r\n" + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 10) + "\r\n", "400 ambiguous_framing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial()
			io.WriteString(c, head+tt.in+"GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			all, _ := io.ReadAll(c)
			br := bufio.NewReader(strings.NewReader(string(all)))
			resp, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Fatalf("answer %q: %v", all, err)
			}
			b, _ := io.ReadAll(resp.Body)
			got := fmt.Sprint(resp.StatusCode, " ", string(b)+resp.Header.Get("X-Reason"))
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if followed := strings.Contains(string(all), "/next"); followed != (resp.StatusCode == 200) {
				t.Errorf("next request answered: %v, after %d", followed, resp.StatusCode)
			}
		})
	}
}

// get sends a raw request and reads one response.
func get(t *testing.T, c net.Conn, br *bufio.Reader, raw, method string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	r, _ := http.NewRequest(method, "/", nil)
	resp, err := http.ReadResponse(br, r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestKeepAliveAndPipelining(t *testing.T) {
	_, dial := start(t, testLimits, echo)
	c := dial()
	br := bufio.NewReader(c)
	for i := range 3 {
		_, b := get(t, c, br, fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok", i), "POST")
		if want := fmt.Sprintf(`POST /%d "ok" map[]`, i); b != want {
			t.Errorf("got %q, want %q", b, want)
		}
	}
	io.WriteString(c, "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	for _, want := range []string{"/a", "/b", "/c"} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		if !strings.Contains(string(b), want) {
			t.Errorf("got %q, want %s", b, want)
		}
	}
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("after Connection: close got %v, want EOF", err)
	}
}

func TestResponseFraming(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 5000)
	handlers := map[string]http.HandlerFunc{
		"/small": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a"); io.WriteString(w, "b") },
		"/empty": func(w http.ResponseWriter, r *http.Request) {},
		"/big":   func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, big) },
		"/known": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "80000")
			io.WriteString(w, big)
		},
		"/flushed": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			io.WriteString(w, "b")
		},
		"/204": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) },
		"/304": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("ETag", `"x"`); w.WriteHeader(304) },
		"/split": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", "b\r\nX-Evil: 1")
			io.WriteString(w, "a")
		},
		"/trailer": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "a")
			w.Header().Set("X-Sum", "1")
			w.Header().Set(http.TrailerPrefix+"X-More", "2")
		},
	}
	_, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) { handlers[r.URL.Path](w, r) })
	for _, tt := range []struct {
		path, method, proto string
		status              int
		length              int64
		body                string
	}{
		{"/small", "GET", "HTTP/1.1", 200, 2, "ab"},
		{"/empty", "GET", "HTTP/1.1", 200, 0, ""},
		{"/big", "GET", "HTTP/1.1", 200, -1, big},
		{"/big", "GET", "HTTP/1.0", 200, -1, big},
		{"/known", "GET", "HTTP/1.1", 200, 80000, big},
		{"/known", "HEAD", "HTTP/1.1", 200, 80000, ""},
		{"/flushed", "GET", "HTTP/1.1", 200, -1, "ab"},
		{"/204", "GET", "HTTP/1.1", 204, 0, ""},
		{"/304", "GET", "HTTP/1.1", 304, 0, ""},
		{"/split", "GET", "HTTP/1.1", 200, 1, "a"},
		{"/trailer", "GET", "HTTP/1.1", 200, -1, "a"},
	} {
		t.Run(tt.method+tt.path+tt.proto, func(t *testing.T) {
			c := dial()
			br := bufio.NewReader(c)
			for range 2 { // the second one shows that framing was right
				resp, b := get(t, c, br, tt.method+" "+tt.path+" "+tt.proto+"\r\nHost: a\r\n\r\n", tt.method)
				if resp.StatusCode != tt.status || resp.ContentLength != tt.length && tt.status == 200 || b != tt.body {
					t.Fatalf("got %d, length %d, %d bytes, want %d, %d, %d bytes", resp.StatusCode, resp.ContentLength, len(b), tt.status, tt.length, len(tt.body))
				}
				if tt.path == "/split" && resp.Header.Get("X-Evil") != "" {
					t.Error("a header value was split")
				}
				if tt.path == "/trailer" && (resp.Trailer.Get("X-Sum") != "1" || resp.Trailer.Get("X-More") != "2") {
					t.Errorf("trailers %v", resp.Trailer)
				}
				if tt.proto == "HTTP/1.0" {
					return
				}
			}
		})
	}
}

func TestExpectContinue(t *testing.T) {
	_, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			echo(w, r)
			return
		}
		w.WriteHeader(403)
	})
	c := dial()
	br := bufio.NewReader(c)
	io.WriteString(c, "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
	if l, _ := br.ReadString('\n'); l != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q", l)
	}
	br.ReadString('\n')
	if _, b := get(t, c, br, "ok", "POST"); b != `POST /read "ok" map[]` {
		t.Errorf("got %q", b)
	}
	resp, _ := get(t, c, br, "POST /refused HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", "POST")
	if resp.StatusCode != 403 || !resp.Close {
		t.Errorf("got %d, close %v, want 403 and close", resp.StatusCode, resp.Close)
	}
}

func TestShortResponseIsVisible(t *testing.T) {
	_, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "short")
	})
	c := dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != io.ErrUnexpectedEOF {
		t.Errorf("got %v, want an unexpected EOF", err)
	}
}

func TestUnreadBodies(t *testing.T) {
	_, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) })
	c := dial()
	br := bufio.NewReader(c)
	if resp, b := get(t, c, br, "POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST"); b != "/small" || resp.Close {
		t.Errorf("got %q, close %v", b, resp.Close)
	}
	if resp, b := get(t, c, br, "POST /large HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc", "POST"); b != "/large" || !resp.Close {
		t.Errorf("got %q, close %v, want a closed connection", b, resp.Close)
	}
}

func TestClientGone(t *testing.T) {
	gone := make(chan struct{})
	_, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(gone)
	})
	c := dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	c.Close()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler was not told that the client is gone")
	}
}

func TestSlowHandlerKeepsNextRequest(t *testing.T) {
	release := make(chan struct{})
	_, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		io.WriteString(w, r.URL.Path)
	})
	c := dial()
	br := bufio.NewReader(c)
	io.WriteString(c, "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	time.AfterFunc(3*watchAfter, func() { // the watch reads by now
		io.WriteString(c, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
		close(release)
	})
	for _, want := range []string{"/slow", "/next"} {
		if _, b := get(t, c, br, "", "GET"); b != want {
			t.Errorf("got %q, want %q", b, want)
		}
	}
}

func TestTimeouts(t *testing.T) {
	l := testLimits
	l.HeaderTimeout, l.IdleTimeout = 100*time.Millisecond, 100*time.Millisecond
	_, dial := start(t, l, echo)
	c := dial()
	if b, err := io.ReadAll(c); err != nil || len(b) != 0 {
		t.Errorf("silent connection: got %q, %v, want it closed", b, err)
	}
	c = dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost:")
	if b, _ := io.ReadAll(c); !strings.HasPrefix(string(b), "HTTP/1.1 408 ") {
		t.Errorf("half a head: got %q, want 408", b)
	}
	c = dial()
	br := bufio.NewReader(c)
	get(t, c, br, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET")
	if b, err := io.ReadAll(br); err != nil || len(b) != 0 {
		t.Errorf("idle connection: got %q, %v, want it closed", b, err)
	}
}

func TestHijack(t *testing.T) {
	_, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Upgrade", "echo")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(101)
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		l, _ := rw.ReadString('\n')
		rw.WriteString("got " + l)
		rw.Flush()
	})
	c := dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
	b, _ := io.ReadAll(c)
	if s := string(b); !strings.HasPrefix(s, "HTTP/1.1 101 Switching Protocols\r\n") || !strings.HasSuffix(s, "\r\n\r\ngot hello\n") || !strings.Contains(s, "Connection: Upgrade\r\n") {
		t.Errorf("got %q", s)
	}
}

func TestShutdown(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	s, dial := start(t, testLimits, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			close(started)
			<-release
		}
		io.WriteString(w, "done")
	})
	idle, busy := dial(), dial()
	get(t, idle, bufio.NewReader(idle), "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET")
	io.WriteString(busy, "GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
	<-started
	down := make(chan struct{})
	go func() { s.Shutdown(context.Background()); close(down) }()
	if b, err := io.ReadAll(idle); len(b) != 0 || err != nil {
		t.Errorf("idle connection: got %q, %v", b, err)
	}
	close(release)
	resp, b := get(t, busy, bufio.NewReader(busy), "", "GET")
	if b != "done" || !resp.Close {
		t.Errorf("busy connection: got %q, close %v", b, resp.Close)
	}
	<-down
}

// FuzzHead compares with net/http: what is accepted here, it reads alike.
func FuzzHead(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	f.Add([]byte("POST /x?y HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nX:\t a \r\n\r\n"))
	f.Add([]byte("POST http://a/ HTTP/1.1\r\nhOsT: a\r\nTransfer-Encoding: chunked\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		end, bare := headEnd(in, 0)
		if bare || end == 0 {
			return
		}
		fr, bad := checkHead(in[:end], &testLimits)
		if bad != nil {
			if bad.Status < 400 || bad.Reason == "" || bad.Detail == "" {
				t.Fatalf("refusal %+v", bad)
			}
			return
		}
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(string(in[:end]))))
		if err != nil {
			return // refused one step later
		}
		if bad := crossCheck(r, fr); bad != nil {
			t.Fatalf("two readings of %q: %+v and length %d, %v", in[:end], fr, r.ContentLength, r.TransferEncoding)
		}
	})
}

func BenchmarkServe(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Content-Type"] = []string{"text/plain"}
		w.Write(make([]byte, 1024))
	})
	run := func(b *testing.B, serve func(net.Conn)) {
		server, client := loopback(b)
		go serve(server)
		br := bufio.NewReaderSize(client, 8<<10)
		req := []byte("GET /api/3/action/package_search?q=registry HTTP/1.1\r\nHost: data.egov.example\r\nUser-Agent: bench\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n")
		buf := make([]byte, 8<<10)
		b.ReportAllocs()
		for b.Loop() {
			client.Write(req)
			for n := 0; n < 1024; {
				m, err := br.Read(buf)
				if err != nil {
					b.Fatal(err)
				}
				n += m
			}
		}
		client.Close()
	}
	b.Run("h1", func(b *testing.B) {
		s := &Server{Handler: handler, Limits: testLimits}
		run(b, func(c net.Conn) { s.Serve(context.Background(), c, nil) })
	})
	b.Run("net-http", func(b *testing.B) {
		s := httptest.NewUnstartedServer(handler)
		l := &oneListener{conns: make(chan net.Conn, 1), done: make(chan struct{})}
		run(b, func(c net.Conn) { l.conns <- c; s.Config.Serve(l) })
		close(l.done)
	})
}

type oneListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}
func (l *oneListener) Close() error   { return nil }
func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{} }

// loopback is a pair of connected TCP connections.
func loopback(tb testing.TB) (server, client net.Conn) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		tb.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		tb.Fatal(err)
	}
	return server, client
}
