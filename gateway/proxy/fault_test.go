package proxy

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestProxyStatus: of each fault the client is told the type that RFC 9209
// registers for it, and the log what the metric counts.
func TestProxyStatus(t *testing.T) {
	t.Parallel()
	silent := func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) { u.request(br); io.Copy(io.Discard, c) }
	answer := func(s string) func(*rawUpstream, int, net.Conn, *bufio.Reader) {
		return func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
			u.request(br)
			io.WriteString(c, s)
		}
	}
	alert := func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		br.Peek(1) // the ClientHello has begun
		c.Write([]byte{21, 3, 3, 0, 2, 2, 40})
		io.Copy(io.Discard, c)
	}
	ca := newAuthority(t, "upstreams")
	stranger := func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
		tls.Server(&prefixed{c, br}, &tls.Config{Certificates: []tls.Certificate{newAuthority(t, "stranger").pair(t, "127.0.0.1")}}).Handshake()
	}
	for _, test := range []struct {
		name   string
		serve  func(*rawUpstream, int, net.Conn, *bufio.Reader) // nil: nobody listens
		https  bool
		status int
		error  string
	}{
		{"nobody listens", nil, false, 502, "connection_refused"},
		{"plain port for TLS", func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
			br.Peek(1)
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
		}, true, 502, "tls_protocol_error"},
		{"TLS alert", alert, true, 502, "tls_alert_received"},
		{"foreign certificate", stranger, true, 502, "tls_certificate_error"},
		{"no answer", silent, false, 504, "http_response_timeout"},
		{"half a head, then nothing", func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
			u.request(br)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nA")
			io.Copy(io.Discard, c)
		}, false, 504, "http_response_timeout"},
		{"a head, then nothing", func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
			u.request(br)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
			io.Copy(io.Discard, c)
		}, false, 504, "connection_read_timeout"},
		{"closed", answer(""), false, 502, "connection_terminated"},
		{"head without body", answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"), false, 502, "http_response_incomplete"},
		{"not HTTP", answer("SSH-2.0-OpenSSH\r\n"), false, 502, "http_protocol_error"},
		{"two lengths", answer("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"), false, 502, "http_protocol_error"},
		{"large head", answer("HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 200<<10) + "\r\n\r\n"), false, 502, "http_response_header_section_size"},
		{"many fields", answer("HTTP/1.1 200 OK\r\n" + strings.Repeat("A: a\r\n", 300) + "\r\n"), false, 502, "http_response_header_section_size"},
		{"gzip, chunked", answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), false, 502, "http_response_transfer_coding"},
		{"101 unasked", answer("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), false, 502, "http_upgrade_failed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url := "http://127.0.0.1:1"
			if test.serve != nil {
				url = newRaw(t, test.serve).URL
			}
			options := []option{timeout(300 * time.Millisecond)}
			if test.https {
				url = "https" + strings.TrimPrefix(url, "http")
				options = append(options, with(func(s *Settings) {
					s.UpstreamTLS = &UpstreamTLS{CA: write(t, ca.pem())}
					s.Retries = &Retries{Attempts: 1}
				}))
			}
			g := newGateway(t, []string{url}, options...)
			for _, c := range []*http.Client{g.h1(t), g.Client()} {
				resp, err := c.Get(g.URL)
				if err != nil {
					t.Fatal(err)
				}
				readAll(t, resp)
				if got := resp.Header["Proxy-Status"]; resp.StatusCode != test.status || len(got) != 1 || got[0] != "vazel; error="+test.error {
					t.Errorf("%s: got %d, Proxy-Status %q; want %d, error=%s", resp.Proto, resp.StatusCode, got, test.status, test.error)
				}
			}
			if _, idle := g.pool.list()[0].connections(); idle != 0 {
				t.Errorf("%d connections are kept", idle)
			}
		})
	}
	t.Run("after the upstream's own", func(t *testing.T) {
		t.Parallel()
		u := always(t, "HTTP/1.1 502 Bad Gateway\r\nProxy-Status: inner; error=dns_error\r\nContent-Length: 0\r\n\r\n", true)
		g := newGateway(t, []string{u.URL})
		resp, err := g.Client().Get(g.URL)
		if err != nil {
			t.Fatal(err)
		}
		readAll(t, resp)
		if got := strings.Join(resp.Header["Proxy-Status"], ", "); got != "inner; error=dns_error, vazel" {
			t.Errorf("Proxy-Status is %q", got)
		}
	})
}

// prefixed is a connection of which something was read ahead.
type prefixed struct {
	net.Conn
	br *bufio.Reader
}

func (c *prefixed) Read(p []byte) (int, error) { return c.br.Read(p) }

// TestTLSTruncation: a TLS connection that ends without close_notify may have been
// ended by anybody, so that the end is not that of the body.
func TestTLSTruncation(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "upstreams")
	conf := &tls.Config{Certificates: []tls.Certificate{ca.pair(t, "127.0.0.1")}}
	for _, clean := range []bool{true, false} {
		u := newRaw(t, func(u *rawUpstream, _ int, c net.Conn, br *bufio.Reader) {
			tc := tls.Server(c, conf)
			if _, err := u.request(bufio.NewReader(tc)); err != nil {
				return
			}
			io.WriteString(tc, "HTTP/1.1 200 OK\r\n\r\nall that came")
			if clean {
				tc.CloseWrite()
			}
			c.(*net.TCPConn).CloseWrite() // FIN
			io.Copy(io.Discard, c)
		})
		g := newGateway(t, []string{"https" + strings.TrimPrefix(u.URL, "http")}, with(func(s *Settings) {
			s.UpstreamTLS = &UpstreamTLS{CA: write(t, ca.pem())}
			s.Timeout = unit.Duration(5 * time.Second)
		}))
		for _, c := range []*http.Client{g.h1(t), g.Client()} {
			resp, err := c.Get(g.URL)
			if err != nil {
				if clean {
					t.Error(err)
				}
				continue // the head may have been in the gateway's buffer yet
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if clean != (err == nil) {
				t.Errorf("%s: close_notify %v, and the client got %q, %v", resp.Proto, clean, b, err)
			}
		}
	}
}
