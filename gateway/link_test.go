package gateway

//lint:file-ignore SA1019 the client has to open connections of its own

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/net/http2"
)

// link is one client connection, which is never replaced by another.
type link struct {
	n        *node
	protocol string
	host     string
	rt       http.RoundTripper
	ended    chan struct{} // closed when the connection is over
	goAway   atomic.Bool   // over HTTP/2: the server said that it ends
	close    func()
	raw      net.Conn // for WebSocket
	resumed  bool
}

// watched notices what the server does with a connection.
type watched struct {
	*tls.Conn
	l    *link
	once sync.Once
	head []byte // of the HTTP/2 frame that is being read
	skip int    // what is left of it
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.l.protocol == "h2" {
		w.frames(p[:n])
	}
	if err != nil {
		w.once.Do(func() { close(w.l.ended) })
	}
	return n, err
}

func (w *watched) frames(b []byte) {
	for len(b) > 0 {
		if w.skip > 0 {
			n := min(w.skip, len(b))
			w.skip -= n
			b = b[n:]
			continue
		}
		n := min(9-len(w.head), len(b))
		w.head = append(w.head, b[:n]...)
		b = b[n:]
		if len(w.head) == 9 {
			if http2.FrameType(w.head[3]) == http2.FrameGoAway {
				w.l.goAway.Store(true)
			}
			w.skip = int(binary.BigEndian.Uint32(w.head[:4]) >> 8)
			w.head = w.head[:0]
		}
	}
}

// link connects to host with one protocol.
func (n *node) link(protocol, host string, cert *tls.Certificate, cache tls.ClientSessionCache) *link {
	n.t.Helper()
	l := &link{n: n, protocol: protocol, host: host, ended: make(chan struct{})}
	conf := &tls.Config{RootCAs: n.roots, ServerName: host, ClientSessionCache: cache}
	if cert != nil {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	if protocol == "h3" {
		conf.NextProtos = []string{"h3"}
		qc, err := quic.DialAddr(context.Background(), n.https, conf, &quic.Config{})
		if err != nil {
			n.t.Fatal(err)
		}
		l.resumed = qc.ConnectionState().TLS.DidResume
		l.rt = (&http3.Transport{}).NewClientConn(qc)
		l.close = func() { qc.CloseWithError(0x100, "") }
		context.AfterFunc(qc.Context(), func() { close(l.ended) })
		n.t.Cleanup(l.close)
		return l
	}
	conf.NextProtos = []string{map[string]string{"h1": "http/1.1", "h2": "h2"}[protocol]}
	tc, err := tls.Dial("tcp", n.https, conf)
	if err != nil {
		n.t.Fatal(err)
	}
	l.resumed = tc.ConnectionState().DidResume
	w := &watched{Conn: tc, l: l}
	l.raw, l.close = w, func() { tc.Close() }
	n.t.Cleanup(l.close)
	if protocol == "h2" {
		if l.rt, err = (&http2.Transport{}).NewClientConn(w); err != nil {
			n.t.Fatal(err)
		}
		return l
	}
	var used atomic.Bool
	l.rt = &http.Transport{DisableCompression: true, DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("the connection is over")
		}
		return w, nil
	}}
	return l
}

// get requests a path and returns the status, 0 if there was no whole answer.
func (l *link) get(path string) (status int, body string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", "https://"+l.host+path, nil)
	resp, err := l.rt.RoundTrip(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// stream begins a request whose answer does not end by itself. What comes after
// its first line is sent when it is over, with the error or nil.
func (l *link) stream(path string) <-chan streamed {
	l.n.t.Helper()
	r, _ := http.NewRequest("GET", "https://"+l.host+path, nil)
	resp, err := l.rt.RoundTrip(r)
	if err != nil {
		l.n.t.Fatalf("%s %s: %v", l.protocol, path, err)
	}
	br := bufio.NewReader(resp.Body)
	if line, err := br.ReadString('\n'); line != "begin\n" {
		l.n.t.Fatalf("%s %s: %d %q %v", l.protocol, path, resp.StatusCode, line, err)
	}
	c := make(chan streamed, 1)
	go func() {
		defer resp.Body.Close()
		b, err := io.ReadAll(br)
		c <- streamed{string(b), err}
	}()
	return c
}

type streamed struct {
	rest string
	err  error
}

// websocket turns the connection into a WebSocket of bytes.
func (l *link) websocket(path string) {
	l.n.t.Helper()
	fmt.Fprintf(l.raw, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", path, l.host)
	br := bufio.NewReader(l.raw)
	resp, err := http.ReadResponse(br, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		l.n.t.Fatalf("%v %v", resp, err)
	}
	l.rt = echo{l, br}
	l.echo("hello")
}

// echo says something over a WebSocket and hears it.
type echo struct {
	l  *link
	br *bufio.Reader
}

func (echo) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("a WebSocket takes no requests")
}

func (l *link) echo(text string) {
	l.n.t.Helper()
	e := l.rt.(echo)
	io.WriteString(l.raw, text+"\n")
	if line, err := e.br.ReadString('\n'); line != text+"\n" {
		l.n.t.Errorf("WebSocket: %q, %v", line, err)
	}
}

// over waits for the end of the connection.
func (l *link) over(t *testing.T, what string) {
	t.Helper()
	if e, ok := l.rt.(echo); ok {
		go io.Copy(io.Discard, e.br)
	}
	select {
	case <-l.ended:
	case <-time.After(5 * time.Second):
		t.Errorf("%s over %s is still open", what, l.protocol)
	}
}

func (l *link) open() bool {
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}
