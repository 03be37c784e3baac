package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/quicvarint"
	"golang.org/x/net/http2/hpack"
)

// h3client speaks HTTP/3 in single frames.
type h3client struct {
	t  testing.TB
	qc *quic.Conn
}

func (n *node) h3(conf *quic.Config) *h3client {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), 10*time.Second)
	defer cancel()
	qc, err := quic.DialAddr(ctx, n.https, &tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{"h3"}}, conf)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { qc.CloseWithError(0x100, "") })
	control, err := qc.OpenUniStream()
	if err != nil {
		n.t.Fatal(err)
	}
	control.Write([]byte{0, 4, 0}) // type, SETTINGS without any
	return &h3client{t: n.t, qc: qc}
}

// frame3 is an HTTP/3 frame.
func frame3(kind uint64, payload []byte) []byte {
	b := quicvarint.Append(nil, kind)
	return append(quicvarint.Append(b, uint64(len(payload))), payload...)
}

// section encodes fields as literals (RFC 9204 4.5.6).
func section(fields ...string) []byte {
	integer := func(b []byte, first byte, bits uint, n int) []byte {
		most := 1<<bits - 1
		if n < most {
			return append(b, first|byte(n))
		}
		b = append(b, first|byte(most))
		for n -= most; n >= 128; n >>= 7 {
			b = append(b, byte(n)|128)
		}
		return append(b, byte(n))
	}
	b := []byte{0, 0}
	for i := 0; i+1 < len(fields); i += 2 {
		b = append(integer(b, 0x20, 3, len(fields[i])), fields[i]...)
		b = append(integer(b, 0, 7, len(fields[i+1])), fields[i+1]...)
	}
	return b
}

func (c *h3client) open() *quic.Stream {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	s, err := c.qc.OpenStreamSync(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(20 * time.Second))
	return s
}

// send writes frames on a new stream and ends it if asked to.
func (c *h3client) send(end bool, frames ...[]byte) *quic.Stream {
	c.t.Helper()
	s := c.open()
	for _, f := range frames {
		if _, err := s.Write(f); err != nil {
			c.t.Log(err)
			break
		}
	}
	if end {
		s.Close()
	}
	return s
}

// outcome is the status of the response, or what ended the stream.
func (c *h3client) outcome(s *quic.Stream) string {
	b, err := io.ReadAll(s)
	var reset *quic.StreamError
	switch {
	case errors.As(err, &reset):
		return fmt.Sprintf("reset %#x", uint64(reset.ErrorCode))
	case err != nil:
		return err.Error()
	}
	// The first field of quic-go's responses is the status: indexed in the static
	// table, or a literal with the name from there.
	if bytes.Contains(b[:min(len(b), 16)], []byte{0xd9}) {
		return "200"
	}
	if i := bytes.Index(b, []byte{0x5f, 0x09, 0x83}); i >= 0 && len(b) >= i+6 {
		status, _ := hpack.HuffmanDecodeToString(b[i+3 : i+6])
		return status
	}
	if bytes.Contains(b[:min(len(b), 16)], []byte{0xff, 0x04}) {
		return "400"
	}
	return fmt.Sprintf("%.40q", b)
}

func (c *h3client) get(path string) string {
	return c.outcome(c.send(true, frame3(1, section(head("GET", path)...))))
}

const messageError = "reset 0x10e"

// TestH3Malformed: as TestH2Malformed. What quic-go lets through is answered
// with 400.
func TestH3Malformed(t *testing.T) {
	n, up := newTarget(t, "max_header: 8KiB")
	get := func(more ...string) []string { return head("GET", "/x", more...) }
	c := n.h3(nil)
	resets := 0
	for name, tt := range map[string]struct {
		want   string
		fields []string
	}{
		"connection":             {messageError, get("connection", "close")},
		"transfer-encoding":      {messageError, get("transfer-encoding", "chunked")},
		"upgrade":                {messageError, get("upgrade", "h2c")},
		"TE: gzip":               {messageError, get("te", "gzip")},
		"TE twice":               {"400", get("te", "trailers", "te", "trailers")},
		"Host differs":           {messageError, get("host", "inner.example")},
		"Host twice":             {messageError, get("host", "open.example", "host", "open.example")},
		"no authority":           {messageError, []string{":method", "GET", ":scheme", "https", ":path", "/x"}},
		"empty authority":        {messageError, []string{":method", "GET", ":scheme", "https", ":authority", "", ":path", "/x", "host", "open.example"}},
		"userinfo":               {messageError, []string{":method", "GET", ":scheme", "https", ":authority", "u@open.example", ":path", "/x"}},
		"CR in a value":          {messageError, get("x-a", "a\rb")},
		"LF in a value":          {messageError, get("x-a", "a\nb: c")},
		"NUL in a value":         {messageError, get("x-a", "a\x00b")},
		"CRLF in the path":       {messageError, head("GET", "/x HTTP/1.1\r\nX: y")},
		"leading space":          {"400", get("x-a", " a")},
		"trailing tab":           {"400", get("x-a", "a\t")},
		"upper case":             {messageError, get("X-Upper", "a")},
		"empty name":             {messageError, get("", "a")},
		"underscore":             {"400", get("x_a", "a")},
		"empty path":             {messageError, head("GET", "")},
		"relative path":          {messageError, head("GET", "x")},
		"absolute path":          {messageError, head("GET", "https://open.example/x")},
		"star":                   {messageError, head("GET", "*")},
		"no method":              {messageError, []string{":scheme", "https", ":authority", "open.example", ":path", "/x"}},
		"pseudo after a field":   {messageError, []string{":method", "GET", ":scheme", "https", ":authority", "open.example", "x-a", "b", ":path", "/x"}},
		"two paths":              {messageError, get(":path", "/y")},
		"unknown pseudo-header":  {messageError, append([]string{":x", "y"}, get()...)},
		"CONNECT with a path":    {messageError, head("CONNECT", "/x")},
		"extended CONNECT":       {"405", append([]string{":protocol", "websocket"}, head("CONNECT", "/x")...)},
		"two content-lengths":    {messageError, head("POST", "/x", "content-length", "0", "content-length", "1")},
		"signed content-length":  {messageError, head("POST", "/x", "content-length", "+0")},
		"large":                  {"431", get("x-a", strings.Repeat("a", 9<<10))},
		"reference to a dynamic": {"reset 0x200", nil},
	} {
		payload := section(tt.fields...)
		if tt.fields == nil {
			payload = []byte{2, 0, 0x80} // Required Insert Count 1 where there is no dynamic table
		}
		if got := c.outcome(c.send(true, frame3(1, payload))); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
		if got, _ := up.take(); got != "" {
			t.Errorf("%s: the upstream got %q", name, got)
		}
		if strings.HasPrefix(tt.want, "reset") {
			resets++
		}
	}
	if got := c.get("/x"); got != "200" {
		t.Errorf("the next request on the connection: %s", got)
	}
	n.eventually(fmt.Sprintf("vazel_http_requests_rejected_total{listener=%q,reason=%q}", n.https, "bad_request"), fmt.Sprint(resets+1))
	n.eventually(fmt.Sprintf("vazel_http_requests_rejected_total{listener=%q,reason=%q}", n.https, "header_too_large"), "1")
}

// TestH3BodyLength: as TestH2BodyLength.
func TestH3BodyLength(t *testing.T) {
	n, up := newTarget(t, "body_timeout: 1s")
	for name, tt := range map[string]struct {
		length string
		parts  []string
		trail  []string
		whole  bool
	}{
		"exact":                    {length: "6", parts: []string{"abc", "def"}, whole: true},
		"exact, ended by trailers": {length: "3", parts: []string{"abc"}, trail: []string{"x-t", "1"}, whole: true},
		"zero":                     {length: "0", whole: true},
		"no length":                {parts: []string{"abc"}, whole: true},
		"short":                    {length: "7", parts: []string{"abc", "def"}},
		"short, ended by trailers": {length: "7", parts: []string{"abc"}, trail: []string{"x-t", "1"}},
		"none":                     {length: "7"},
		"long in one":              {length: "2", parts: []string{"abc"}},
		"long in two":              {length: "3", parts: []string{"abc", "def"}},
		"long, large":              {length: "20000", parts: []string{strings.Repeat("x", 20000), "y"}},
		"long after nothing":       {length: "0", parts: []string{"GET /smuggled HTTP/1.1\r\n\r\n"}},
		"trailers, pseudo":         {parts: []string{"abc"}, trail: []string{":path", "/y"}},
		"trailers, content-length": {parts: []string{"abc"}, trail: []string{"content-length", "3"}},
		"trailers, line feed":      {length: "3", parts: []string{"abc"}, trail: []string{"x-t", "a\nb"}},
		"DATA after trailers":      {length: "3", parts: []string{"abc"}, trail: []string{"x-t", "1", "", "data"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := n.h3(nil)
			fields := head("POST", "/x")
			if tt.length != "" {
				fields = append(fields, "content-length", tt.length)
			}
			frames := [][]byte{frame3(1, section(fields...))}
			for _, p := range tt.parts {
				frames = append(frames, frame3(0, []byte(p)))
			}
			if k := len(tt.trail); k > 2 {
				frames = append(frames, frame3(1, section(tt.trail[:2]...)), frame3(0, []byte("more")))
			} else if k > 0 {
				frames = append(frames, frame3(1, section(tt.trail...)))
			}
			got := c.outcome(c.send(true, frames...))
			if tt.whole != (got == "200") {
				t.Errorf("got %s", got)
			}
			if got := c.get("/next"); got != "200" {
				t.Errorf("the next request: %s", got)
			}
			want := 1
			if tt.whole {
				want = 2
			}
			if got, n := up.take(); n != want || strings.Contains(got, "smuggled") {
				t.Errorf("the upstream got %d whole requests, want %d: %.300q", n, want, got)
			}
		})
	}
}

// TestH3Floods: as TestH2Floods.
func TestH3Floods(t *testing.T) {
	n, _ := newTarget(t, "header_timeout: 1s")
	const most = 20_000
	get := frame3(1, section(head("GET", "/x")...))
	bad := frame3(1, section(head("GET", "/x", "te", "x")...))
	before := 0
	for name, attack := range map[string]func(c *h3client, s *quic.Stream){
		"rapid reset": func(c *h3client, s *quic.Stream) {
			s.Write(get)
			s.CancelWrite(0x10c)
			s.CancelRead(0x10c)
		},
		"reset without a request": func(c *h3client, s *quic.Stream) {
			s.Write(get[:5])
			s.CancelWrite(0x10c)
			s.CancelRead(0x10c)
		},
		"malformed requests": func(c *h3client, s *quic.Stream) {
			s.Write(bad)
			s.Close()
			s.CancelRead(0x10c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			before++
			n.meanwhile("h3", func() {
				c := n.h3(nil)
				for range most {
					s, err := c.qc.OpenStreamSync(c.qc.Context())
					if err != nil {
						break
					}
					attack(c, s)
				}
				select {
				case <-c.qc.Context().Done():
				case <-time.After(10 * time.Second):
					t.Error("the connection is still open")
				}
				var closed *quic.ApplicationError
				if err := context.Cause(c.qc.Context()); !errors.As(err, &closed) || closed.ErrorCode != 0x107 {
					t.Errorf("the connection ended with %v", err)
				}
			})
			n.eventually(fmt.Sprintf("vazel_connections_aborted_total{listener=%q,protocol=%q,reason=%q}", n.https, "h3", "reset_flood"), fmt.Sprint(before))
		})
	}
}

// TestH3Slow: heads, bodies and readers that stand still are not waited for.
func TestH3Slow(t *testing.T) {
	n, up := newTarget(t, "header_timeout: 300ms, body_timeout: 300ms, write_timeout: 500ms")
	get := frame3(1, section(head("GET", "/x")...))
	for name, tt := range map[string]struct {
		conf   *quic.Config
		frames [][]byte
		want   string
		unread bool
	}{
		"no head":       {frames: [][]byte{{1}}, want: "reset 0x10d"},
		"half a head":   {frames: [][]byte{get[:10]}, want: "reset 0x10d"},
		"no body":       {frames: [][]byte{frame3(1, section(head("POST", "/x", "content-length", "5")...))}, want: "408"},
		"half a body":   {frames: [][]byte{frame3(1, section(head("POST", "/x", "content-length", "5")...)), frame3(0, []byte("ab"))}, want: "408"},
		"half a frame":  {frames: [][]byte{frame3(1, section(head("POST", "/x")...)), {0, 10, 'a'}}, want: "408"},
		"slow to read":  {conf: &quic.Config{InitialStreamReceiveWindow: 2000, MaxStreamReceiveWindow: 2000}, frames: [][]byte{frame3(1, section(head("GET", "/x?big=1")...))}, unread: true},
		"no end of GET": {frames: [][]byte{get}, want: "408"},
	} {
		t.Run(name, func(t *testing.T) {
			n.meanwhile("h3", func() {
				c := n.h3(tt.conf)
				start := time.Now()
				s := c.send(tt.unread, tt.frames...)
				if tt.unread {
					<-time.After(1500 * time.Millisecond)
				}
				got := c.outcome(s)
				if got != tt.want && !(tt.unread && strings.HasPrefix(got, "reset")) {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
				if got := c.get("/next"); got != "200" && !tt.unread {
					t.Errorf("the next request: %s", got)
				}
			})
		})
	}
	up.take()
	n.eventually(fmt.Sprintf("vazel_http_requests_rejected_total{listener=%q,reason=%q}", n.https, "header_timeout"), "2")
}

// TestH3NoEarlyData: a request that could be replayed is not taken.
func TestH3NoEarlyData(t *testing.T) {
	n, _ := newTarget(t, "max_header: 8KiB")
	conf := &tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{"h3"}, ClientSessionCache: tls.NewLRUClientSessionCache(4)}
	for i := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		qc, err := quic.DialAddrEarly(ctx, n.https, conf, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := qc.OpenStreamSync(ctx)
		if err != nil {
			t.Fatal(err)
		}
		s.SetDeadline(time.Now().Add(10 * time.Second))
		s.Write(frame3(1, section(head("GET", "/x")...)))
		s.Close()
		if _, err := io.ReadAll(s); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
		if qc.ConnectionState().Used0RTT {
			t.Errorf("connection %d used 0-RTT", i)
		}
		qc.CloseWithError(0x100, "")
		cancel()
	}
}
