package gateway

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2client speaks HTTP/2 in single frames.
type h2client struct {
	t    testing.TB
	conn *tls.Conn
	fr   *http2.Framer
	enc  *hpack.Encoder
	buf  bytes.Buffer
	dec  *hpack.Decoder
	next uint32

	status map[uint32]string
	body   map[uint32]int
	resets map[uint32]http2.ErrCode
	ended  map[uint32]bool
	goaway *http2.GoAwayFrame
	window int  // of the connection, that was given back
	quiet  bool // reading sends nothing, for the attack writes meanwhile
	refill bool // reading gives the connection's window back
}

func (n *node) h2(settings ...http2.Setting) *h2client {
	n.t.Helper()
	tc, err := tls.Dial("tcp", n.https, &tls.Config{RootCAs: n.roots, ServerName: "open.example", NextProtos: []string{"h2"}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { tc.Close() })
	tc.SetDeadline(time.Now().Add(30 * time.Second))
	c := &h2client{t: n.t, conn: tc, fr: http2.NewFramer(tc, tc), next: 1, dec: hpack.NewDecoder(4096, nil),
		status: map[uint32]string{}, body: map[uint32]int{}, resets: map[uint32]http2.ErrCode{}, ended: map[uint32]bool{}}
	c.fr.AllowIllegalWrites = true
	c.enc = hpack.NewEncoder(&c.buf)
	io.WriteString(tc, http2.ClientPreface)
	c.fr.WriteSettings(settings...)
	return c
}

// block encodes fields, given as name, value, name, value.
func (c *h2client) block(fields ...string) []byte {
	c.buf.Reset()
	for i := 0; i+1 < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(c.buf.Bytes())
}

func (c *h2client) id() uint32 { c.next += 2; return c.next - 2 }

// head is the ordinary head of a request, with more fields behind it.
func head(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "https", ":authority", "open.example", ":path", path}, more...)
}

// send begins a request and returns its stream.
func (c *h2client) send(end bool, fields ...string) uint32 {
	id := c.id()
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(fields...), EndHeaders: true, EndStream: end})
	return id
}

// read takes one frame.
func (c *h2client) read() error {
	f, err := c.fr.ReadFrame()
	if err != nil {
		return err
	}
	id := f.Header().StreamID
	switch f := f.(type) {
	case *http2.HeadersFrame:
		fields, err := c.dec.DecodeFull(f.HeaderBlockFragment())
		if err != nil {
			return err
		}
		for _, hf := range fields {
			if hf.Name == ":status" {
				c.status[id] = hf.Value
			}
		}
		c.ended[id] = c.ended[id] || f.StreamEnded()
	case *http2.DataFrame:
		c.body[id] += len(f.Data())
		if c.refill && len(f.Data()) > 0 {
			c.fr.WriteWindowUpdate(0, uint32(len(f.Data())))
		}
		c.ended[id] = c.ended[id] || f.StreamEnded()
	case *http2.RSTStreamFrame:
		c.resets[id] = f.ErrCode
		c.ended[id] = true
	case *http2.GoAwayFrame:
		c.goaway = f
	case *http2.WindowUpdateFrame:
		if id == 0 {
			c.window += int(f.Increment)
		}
	case *http2.SettingsFrame:
		if !f.IsAck() && !c.quiet {
			c.fr.WriteSettingsAck()
		}
	}
	return nil
}

// wait reads until the stream has ended. It returns the status, or what ended it.
func (c *h2client) wait(id uint32) string {
	for !c.ended[id] {
		if err := c.read(); err != nil {
			if c.goaway != nil {
				return "GOAWAY " + c.goaway.ErrCode.String()
			}
			return err.Error()
		}
	}
	if code, ok := c.resets[id]; ok && (code != http2.ErrCodeNo || c.status[id] == "") {
		return "RST_STREAM " + code.String()
	}
	return c.status[id]
}

// end reads until the connection is gone, and returns the code of its GOAWAY.
func (c *h2client) end() string {
	for {
		if err := c.read(); err != nil {
			var timeout interface{ Timeout() bool }
			switch {
			case errors.As(err, &timeout) && timeout.Timeout():
				return "still open"
			case c.goaway == nil:
				return "closed"
			}
			return c.goaway.ErrCode.String()
		}
	}
}

// TestH2Malformed: what RFC 9113 calls malformed is a stream error, never
// reaches an upstream or a policy, is counted and logged, and leaves the
// connection as it is.
func TestH2Malformed(t *testing.T) {
	n, up := newTarget(t, "max_header: 8KiB")
	get := func(more ...string) []string { return head("GET", "/x", more...) }
	tests := []struct {
		name, reason string
		fields       []string
	}{
		{"connection", "bad_request", get("connection", "close")},
		{"proxy-connection", "bad_request", get("proxy-connection", "keep-alive")},
		{"keep-alive", "bad_request", get("keep-alive", "1")},
		{"transfer-encoding", "bad_request", get("transfer-encoding", "chunked")},
		{"upgrade", "bad_request", get("upgrade", "h2c")},
		{"TE: gzip", "bad_request", get("te", "trailers, gzip")},
		{"TE twice", "bad_request", get("te", "trailers", "te", "trailers")},
		{"Host differs", "bad_host", get("host", "inner.example")},
		{"Host twice", "bad_host", get("host", "open.example", "host", "open.example")},
		{"no authority", "bad_host", []string{":method", "GET", ":scheme", "https", ":path", "/x"}},
		{"empty authority", "bad_host", []string{":method", "GET", ":scheme", "https", ":authority", "", ":path", "/x", "host", "open.example"}},
		{"userinfo", "bad_host", []string{":method", "GET", ":scheme", "https", ":authority", "u@open.example", ":path", "/x"}},
		{"CR in a value", "bad_header_value", get("x-a", "a\rb")},
		{"LF in a value", "bad_header_value", get("x-a", "a\nb: c")},
		{"NUL in a value", "bad_header_value", get("x-a", "a\x00b")},
		{"CRLF in the path", "bad_header_value", head("GET", "/x HTTP/1.1\r\nX: y")},
		{"leading space", "bad_header_value", get("x-a", " a")},
		{"trailing tab", "bad_header_value", get("x-a", "a\t")},
		{"upper case", "bad_header_name", get("X-Upper", "a")},
		{"empty name", "bad_header_name", get("", "a")},
		{"space in a name", "bad_header_name", get("x a", "a")},
		{"colon in a name", "bad_header_name", get("x:a", "a")},
		{"empty path", "bad_target", head("GET", "")},
		{"relative path", "bad_target", head("GET", "x")},
		{"absolute path", "bad_target", head("GET", "https://open.example/x")},
		{"star", "bad_target", head("GET", "*")},
		{"no method", "bad_request", []string{":scheme", "https", ":authority", "open.example", ":path", "/x"}},
		{"no scheme", "bad_request", []string{":method", "GET", ":authority", "open.example", ":path", "/x"}},
		{"pseudo-header after a field", "bad_request", []string{":method", "GET", ":scheme", "https", ":authority", "open.example", "x-a", "b", ":path", "/x"}},
		{"two paths", "bad_request", get(":path", "/y")},
		{"unknown pseudo-header", "bad_request", append([]string{":x", "y"}, get()...)},
		{"response pseudo-header", "bad_request", append([]string{":status", "200"}, get()...)},
		{"CONNECT with a path", "bad_request", head("CONNECT", "/x")},
		{"extended CONNECT", "bad_request", append([]string{":protocol", "websocket"}, head("CONNECT", "/x")...)},
		{"content-length without a body", "ambiguous_framing", head("POST", "/x", "content-length", "5")},
		{"two content-lengths", "ambiguous_framing", head("POST", "/x", "content-length", "0", "content-length", "1")},
		{"signed content-length", "ambiguous_framing", head("POST", "/x", "content-length", "+0")},
	}
	c := n.h2()
	rejected := map[string]int{}
	for _, tt := range tests {
		if got := c.wait(c.send(true, tt.fields...)); got != "RST_STREAM PROTOCOL_ERROR" {
			t.Errorf("%s: %s", tt.name, got)
		}
		if got, _ := up.take(); got != "" {
			t.Errorf("%s: the upstream got %q", tt.name, got)
		}
		rejected[tt.reason]++
	}
	if got := c.wait(c.send(true, get()...)); got != "200" {
		t.Errorf("the next request on the connection: %s", got)
	}
	for reason, count := range rejected {
		n.eventually(fmt.Sprintf("vazel_http_requests_rejected_total{listener=%q,reason=%q}", n.https, reason), fmt.Sprint(count))
	}
	up.take()
	// What is not malformed but unwanted gets an answer.
	for _, tt := range []struct {
		want   string
		fields []string
	}{
		{"400", get("x_a", "b")},
		{"400", []string{":method", "GET", ":scheme", "http", ":authority", "open.example", ":path", "/x"}},
		{"400", head("OPTIONS", "*")},
		{"405", head("TRACE", "/x")},
		{"405", []string{":method", "CONNECT", ":authority", "open.example:443"}},
		{"431", get("x-a", strings.Repeat("a", 5<<10), "x-b", strings.Repeat("a", 5<<10))},
		{"431", get("x-a", strings.Repeat("a", 9<<10))},
		{"431", get("x-a", strings.Repeat("a", 12<<10), "x-b", strings.Repeat("a", 12<<10))},
		{"431", get("x-a", strings.Repeat("a", 8<<10-20))}, // with the rest of the head
		{"200", get("x-a", strings.Repeat("a", 8<<10-30))},
	} {
		if got := c.wait(c.send(true, tt.fields...)); got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.fields, got, tt.want)
		}
		if got, _ := up.take(); (got != "") != (tt.want == "200") {
			t.Errorf("%q: the upstream got %q", tt.fields, got)
		}
	}
	if got := c.wait(c.send(true, get("x-a", strings.Repeat("a", 20<<10))...)); got != "GOAWAY ENHANCE_YOUR_CALM" && got != "EOF" { // no GOAWAY while another frame is being written
		t.Errorf("one field larger than two heads: %s", got)
	}
	n.eventually(fmt.Sprintf("vazel_http_requests_rejected_total{listener=%q,reason=%q}", n.https, "header_too_large"), "5")
}

// TestH2MalformedWithBody: the body of a refused request is ignored, and its
// part of the connection's window given back.
func TestH2MalformedWithBody(t *testing.T) {
	n, up := newTarget(t, "max_header: 8KiB")
	c := n.h2()
	for range 150 {
		id := c.send(false, head("POST", "/x", "te", "gzip")...)
		c.fr.WriteWindowUpdate(id, 1)
		c.fr.WriteData(id, false, make([]byte, 10<<10))
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block("x-t", "1"), EndHeaders: true, EndStream: true})
	}
	// Who sends on after GOAWAY may lose it to a reset of the connection.
	if got := c.wait(c.id() - 2); !strings.HasPrefix(got, "GOAWAY") && got != "RST_STREAM PROTOCOL_ERROR" && !strings.Contains(got, "reset by peer") && !strings.Contains(got, "EOF") {
		t.Errorf("got %s", got)
	}
	if got, _ := up.take(); got != "" {
		t.Errorf("the upstream got %q", got)
	}

	c = n.h2()
	id := c.send(false, head("POST", "/x", "te", "gzip")...)
	c.fr.WriteData(id, true, make([]byte, 16<<10))
	if got := c.wait(c.send(true, head("GET", "/y")...)); got != "200" {
		t.Errorf("the next request on the connection: %s", got)
	}
}

// TestH2BodyLength: a body that is not as long as announced never makes a
// request that is whole.
func TestH2BodyLength(t *testing.T) {
	n, up := newTarget(t, "body_timeout: 1s")
	long := strings.Repeat("x", 20<<10)
	tests := map[string]struct {
		length string
		parts  []string
		pad    int
		trail  []string
		want   string
	}{
		"exact":                     {length: "6", parts: []string{"abc", "def"}, want: "200"},
		"exact, padded":             {length: "6", parts: []string{"abc", "def"}, pad: 9, want: "200"},
		"exact, ended by trailers":  {length: "3", parts: []string{"abc"}, trail: []string{"x-t", "1"}, want: "200"},
		"exact, large":              {length: "40960", parts: []string{long[:16000], long[16000:], long[:16000], long[16000:]}, want: "200"},
		"zero":                      {length: "0", parts: []string{""}, want: "200"},
		"no length":                 {parts: []string{"abc"}, want: "200"},
		"short":                     {length: "7", parts: []string{"abc", "def"}},
		"short, padded":             {length: "7", parts: []string{"abc", "def"}, pad: 1},
		"short, ended by trailers":  {length: "7", parts: []string{"abc"}, trail: []string{"x-t", "1"}},
		"empty":                     {length: "7", parts: []string{""}},
		"long in one":               {length: "2", parts: []string{"abc"}},
		"long in two":               {length: "3", parts: []string{"abc", "def"}},
		"long, large":               {length: "20480", parts: []string{long[:16000], long[16000:], "y"}},
		"long after nothing":        {length: "0", parts: []string{"GET /smuggled HTTP/1.1\r\n\r\n"}},
		"trailers, pseudo":          {parts: []string{"abc"}, trail: []string{":path", "/y"}},
		"trailers, content-length":  {parts: []string{"abc"}, trail: []string{"content-length", "3"}},
		"trailers, host":            {parts: []string{"abc"}, trail: []string{"host", "open.example"}},
		"trailers, connection":      {parts: []string{"abc"}, trail: []string{"connection", "close"}},
		"trailers, line feed":       {parts: []string{"abc"}, trail: []string{"x-t", "a\nb"}},
		"trailers, transfer coding": {length: "3", parts: []string{"abc"}, trail: []string{"transfer-encoding", "chunked"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := n.h2()
			fields := head("POST", "/x")
			if tt.length != "" {
				fields = append(fields, "content-length", tt.length)
			}
			id := c.send(false, fields...)
			for i, p := range tt.parts {
				end := i == len(tt.parts)-1 && tt.trail == nil
				if tt.pad > 0 {
					c.fr.WriteDataPadded(id, end, []byte(p), make([]byte, tt.pad))
				} else {
					c.fr.WriteData(id, end, []byte(p))
				}
			}
			if tt.trail != nil {
				c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block(tt.trail...), EndHeaders: true, EndStream: true})
			}
			want, whole := tt.want, 1
			if want == "" {
				want, whole = "RST_STREAM PROTOCOL_ERROR", 0
			}
			if got := c.wait(id); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
			// The connection serves on, and the upstream sees that request whole.
			if got := c.wait(c.send(true, head("GET", "/next")...)); got != "200" {
				t.Errorf("the next request: %s", got)
			}
			if got, n := up.take(); n != whole+1 || strings.Contains(got, "smuggled") {
				t.Errorf("the upstream got %d whole requests, want %d: %.300q", n, whole+1, got)
			}
		})
	}
}

// TestH2Settings: parameters are processed in order.
func TestH2Settings(t *testing.T) {
	n, _ := newTarget(t, "max_header: 8KiB")
	c := n.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	id := c.send(true, head("GET", "/x")...)
	for c.body[id] == 0 {
		if err := c.read(); err != nil {
			t.Fatal(err)
		}
	}
	if c.body[id] != 1 {
		t.Errorf("got %d bytes in a window of 1", c.body[id])
	}
	c.fr.WriteWindowUpdate(id, 100)
	if got := c.wait(id); got != "200" || c.body[id] != 2 {
		t.Errorf("got %s and %d bytes", got, c.body[id])
	}
	// An invalid value is not hidden by a valid one behind it.
	c = n.h2(http2.Setting{ID: http2.SettingEnablePush, Val: 2}, http2.Setting{ID: http2.SettingEnablePush, Val: 0})
	if got := c.end(); got != "PROTOCOL_ERROR" {
		t.Errorf("got %s", got)
	}
}

// TestH2Floods: what costs the gateway more than the client ends with that
// connection, and other clients don't notice.
func TestH2Floods(t *testing.T) {
	n, _ := newTarget(t, "header_timeout: 1s")
	const most = 300_000 // frames: an attack that is not stopped comes to an end
	get := func(c *h2client) []byte { return c.block(head("GET", "/x")...) }
	tests := map[string]struct {
		reason string
		attack func(c *h2client, i int) error
	}{
		"rapid reset": {"reset_flood", func(c *h2client, i int) error {
			id := c.send(true, head("GET", "/x")...)
			return c.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		}},
		"made you reset by WINDOW_UPDATE": {"reset_flood", func(c *h2client, i int) error {
			id := c.send(true, head("GET", "/x")...)
			c.fr.WriteWindowUpdate(id, 1<<31-1)
			return c.fr.WriteWindowUpdate(id, 1<<31-1)
		}},
		"made you reset by WINDOW_UPDATE of 0": {"reset_flood", func(c *h2client, i int) error {
			id := c.send(true, head("GET", "/x")...)
			return c.fr.WriteRawFrame(http2.FrameWindowUpdate, 0, id, make([]byte, 4))
		}},
		"made you reset by DATA after the end": {"reset_flood", func(c *h2client, i int) error {
			id := c.send(true, head("GET", "/x")...)
			return c.fr.WriteData(id, true, []byte("x"))
		}},
		"made you reset by PRIORITY on itself": {"reset_flood", func(c *h2client, i int) error {
			id := c.send(true, head("GET", "/x")...)
			return c.fr.WritePriority(id, http2.PriorityParam{StreamDep: id})
		}},
		"malformed requests": {"reset_flood", func(c *h2client, i int) error {
			c.send(true, head("GET", "/x", "te", "x")...)
			return c.fr.WritePing(false, [8]byte{})
		}},
		"PING":     {"frame_flood", func(c *h2client, i int) error { return c.fr.WritePing(false, [8]byte{}) }},
		"PING ack": {"frame_flood", func(c *h2client, i int) error { return c.fr.WritePing(true, [8]byte{}) }},
		"SETTINGS": {"frame_flood", func(c *h2client, i int) error {
			return c.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(i)})
		}},
		"empty SETTINGS": {"frame_flood", func(c *h2client, i int) error { return c.fr.WriteSettings() }},
		"PRIORITY": {"frame_flood", func(c *h2client, i int) error {
			return c.fr.WritePriority(uint32(2*i+1), http2.PriorityParam{StreamDep: uint32(2*i + 3)})
		}},
		"WINDOW_UPDATE":  {"frame_flood", func(c *h2client, i int) error { return c.fr.WriteWindowUpdate(0, 1) }},
		"unknown frames": {"frame_flood", func(c *h2client, i int) error { return c.fr.WriteRawFrame(0xee, 0, 0, make([]byte, 50)) }},
		"empty DATA": {"frame_flood", func(c *h2client, i int) error {
			if i == 0 {
				c.send(false, head("POST", "/x")...)
			}
			return c.fr.WriteData(1, false, nil)
		}},
		"padded empty DATA": {"frame_flood", func(c *h2client, i int) error {
			if i == 0 {
				c.send(false, head("POST", "/x")...)
			}
			return c.fr.WriteDataPadded(1, false, nil, make([]byte, 10))
		}},
		"empty CONTINUATION": {"continuation_flood", func(c *h2client, i int) error {
			if i == 0 {
				return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get(c)})
			}
			return c.fr.WriteContinuation(1, false, nil)
		}},
		"CONTINUATION": {"continuation_flood", func(c *h2client, i int) error {
			if i == 0 {
				return c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: get(c)})
			}
			return c.fr.WriteContinuation(1, false, c.block("x-a", "y"))
		}},
		"many streams beyond the bound": {"reset_flood", func(c *h2client, i int) error {
			c.send(false, head("POST", "/x")...)
			return nil
		}},
	}
	count := func(reason string) int {
		v, _ := strconv.Atoi(n.metric(fmt.Sprintf("vazel_connections_aborted_total{listener=%q,protocol=%q,reason=%q}", n.https, "h2", reason)))
		return v
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before, frames := count(tt.reason), count("frame_flood")
			n.meanwhile("h2", func() {
				c := n.h2()
				c.quiet = true
				got := make(chan string)
				go func() { got <- c.end() }()
				sent := 0
				for i := range most {
					if err := tt.attack(c, i); err != nil {
						break
					}
					sent++
				}
				// The GOAWAY may be lost with the reset of the connection.
				if g := <-got; g != "ENHANCE_YOUR_CALM" && g != "closed" {
					t.Errorf("the connection: %s after %d frames", g, sent)
				}
			})
			// The frames of a reset that the client provokes may run out before the
			// resets do: the server answers at its leisure.
			if count(tt.reason) != before+1 && count("frame_flood") != frames+1 {
				t.Errorf("not counted as %s", tt.reason)
			}
		})
	}
}

// TestH2ManyFields: fields that cost the client a byte each are bounded by what
// they come to.
func TestH2ManyFields(t *testing.T) {
	n, up := newTarget(t, "max_header: 8KiB")
	c := n.h2()
	block := c.block(head("GET", "/x", "x-big", strings.Repeat("a", 3000))...)
	block = append(block, bytes.Repeat([]byte{0x80 | 62}, 10_000)...) // x-big again and again
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
	if got := c.wait(1); got != "431" {
		t.Errorf("got %s", got)
	}
	if got, _ := up.take(); got != "" {
		t.Errorf("the upstream got %q", got)
	}
}

// TestH2SlowHead: a head that does not come to its end is not waited for.
func TestH2SlowHead(t *testing.T) {
	n, _ := newTarget(t, "header_timeout: 300ms")
	for name, begin := range map[string]func(c *h2client){
		"CONTINUATION that does not come": func(c *h2client) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(head("GET", "/x")...)})
		},
		"half a HEADERS frame": func(c *h2client) { c.conn.Write([]byte{0, 0, 100, 1, 4, 0, 0, 0, 1, 0x82}) },
		"half a frame's head":  func(c *h2client) { c.conn.Write([]byte{0, 0, 100}) },
	} {
		t.Run(name, func(t *testing.T) {
			n.meanwhile("h2", func() {
				c := n.h2()
				c.quiet = true
				begin(c)
				start := time.Now()
				if got := c.end(); got == "still open" {
					t.Error(got)
				}
				if took := time.Since(start); took > 5*time.Second {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

// TestH2WindowStall: a client that opens no window keeps its streams for the
// write time-out, not longer, whether the response is large or small.
func TestH2WindowStall(t *testing.T) {
	n, _ := newTarget(t, "write_timeout: 500ms")
	for name, path := range map[string]string{"small": "/x", "large": "/x?big=1"} {
		t.Run(name, func(t *testing.T) {
			n.meanwhile("h2", func() {
				c := n.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				var ids []uint32
				for range 100 {
					ids = append(ids, c.send(true, head("GET", path)...))
				}
				start := time.Now()
				for _, id := range ids {
					if got := c.wait(id); !strings.HasPrefix(got, "RST_STREAM") {
						t.Fatalf("stream %d: %s", id, got)
					}
				}
				if took := time.Since(start); took > 8*time.Second {
					t.Errorf("the streams were kept for %s", took)
				}
			})
		})
	}
	t.Run("the end of a large response", func(t *testing.T) {
		c := n.h2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<20 - 100})
		c.fr.WriteWindowUpdate(0, 2<<20)
		if got := c.wait(c.send(true, head("GET", "/x?big=1")...)); !strings.HasPrefix(got, "RST_STREAM") {
			t.Errorf("got %s", got)
		}
	})
}

// TestH2OrdinaryUse: what browsers and gRPC do, in plenty, is not a flood.
func TestH2OrdinaryUse(t *testing.T) {
	n, _ := newTarget(t, "header_timeout: 5s")
	t.Run("a page that is left", func(t *testing.T) {
		c := n.h2()
		c.refill = true
		for range 3 {
			for range 50 {
				if got := c.wait(c.send(true, head("GET", "/x")...)); got != "200" {
					t.Fatal(got)
				}
			}
			var ids []uint32
			for range 100 {
				ids = append(ids, c.send(true, head("GET", "/x?big=1")...))
			}
			for _, id := range ids {
				c.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			}
			if c.goaway != nil {
				t.Fatal(c.goaway)
			}
		}
	})
	t.Run("a download with a PING and two WINDOW_UPDATEs for each frame", func(t *testing.T) {
		c := n.h2()
		for range 20 {
			id := c.send(true, head("GET", "/x?big=1")...)
			for got := 0; !c.ended[id]; {
				if err := c.read(); err != nil {
					t.Fatal(err, c.goaway)
				}
				if more := uint32(c.body[id] - got); more > 0 {
					got = c.body[id]
					c.fr.WriteWindowUpdate(0, more)
					if !c.ended[id] {
						c.fr.WriteWindowUpdate(id, more)
					}
				}
			}
		}
	})
	t.Run("a stream of small messages with a PING for each tenth", func(t *testing.T) {
		c := n.h2()
		c.quiet = true
		id := c.send(false, head("POST", "/x")...)
		read := make(chan string)
		go func() { read <- c.wait(id) }()
		for i := range 10_000 {
			if err := c.fr.WriteData(id, i == 9999, []byte("x")); err != nil {
				t.Fatal(err)
			}
			if i%10 == 0 {
				if err := c.fr.WritePing(false, [8]byte{1}); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := <-read; got != "200" {
			t.Error(got)
		}
	})
	t.Run("a large head in CONTINUATION frames", func(t *testing.T) {
		c := n.h2()
		block := c.block(head("GET", "/x", "x-a", strings.Repeat("?", 25_000))...)
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block[:100], EndStream: true, PadLength: 5, Priority: http2.PriorityParam{Weight: 9}})
		pieces := slices.Collect(slices.Chunk(block[100:], 8<<10))
		for i, p := range pieces {
			c.fr.WriteContinuation(1, i == len(pieces)-1, p)
		}
		if got := c.wait(1); got != "200" {
			t.Error(got)
		}
	})
}

// TestH2FrameOrder: after a mistake in framing nothing more is read.
func TestH2FrameOrder(t *testing.T) {
	n, up := newTarget(t, "max_header: 8KiB")
	for name, begin := range map[string]func(c *h2client){
		"a frame larger than agreed": func(c *h2client) {
			h := binary.BigEndian.AppendUint32(nil, 100_000<<8)
			c.conn.Write(append(h, 0, 0, 0, 0, 1))
		},
		"DATA within a header block": func(c *h2client) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(head("GET", "/x")...)})
			c.fr.WriteData(1, true, []byte("x"))
		},
		"CONTINUATION of another stream": func(c *h2client) {
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: c.block(head("GET", "/x")...)})
			c.fr.WriteContinuation(3, true, nil)
		},
		"CONTINUATION of nothing":      func(c *h2client) { c.fr.WriteContinuation(1, true, c.block(head("GET", "/x")...)) },
		"a header block that is cut":   func(c *h2client) { c.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, []byte{0x82, 0x40}) },
		"an index that does not exist": func(c *h2client) { c.fr.WriteRawFrame(http2.FrameHeaders, 5, 1, []byte{0xff, 0xff, 0x01}) },
		"more padding than payload":    func(c *h2client) { c.fr.WriteRawFrame(http2.FrameHeaders, 0xd, 1, []byte{9, 0x82}) },
		"HEADERS on stream 0":          func(c *h2client) { c.fr.WriteRawFrame(http2.FrameHeaders, 5, 0, c.block(head("GET", "/x")...)) },
	} {
		t.Run(name, func(t *testing.T) {
			c := n.h2()
			begin(c)
			c.send(true, head("GET", "/after")...)
			if got := c.end(); got == "still open" || got == "NO_ERROR" {
				t.Error(got)
			}
			if got, _ := up.take(); got != "" {
				t.Errorf("the upstream got %q", got)
			}
		})
	}
}

// TestMaxRequests: a connection ends after limits.max_requests, without losing
// a request.
func TestMaxRequests(t *testing.T) {
	n, _ := newTarget(t, "max_requests: 5")
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			c := n.dial(protocol, "open.example", nil)
			for range 12 {
				if resp, _ := n.do(c, "GET", "https://open.example/x", nil); resp.StatusCode != 200 {
					t.Error(resp.Status)
				}
			}
		})
	}
	if got := n.metric(fmt.Sprintf("vazel_connections_total{listener=%q,transport=%q}", n.https, "tcp")); got != "6" {
		t.Errorf("%s connections, want 3 for each protocol", got)
	}
	if got := n.metric(fmt.Sprintf("vazel_connections_total{listener=%q,transport=%q}", n.https, "quic")); got != "3" {
		t.Errorf("%s QUIC connections, want 3", got)
	}
}
