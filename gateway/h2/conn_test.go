package h2

//lint:file-ignore SA1019 net/http offers no HTTP/2 server for connections other than its own *tls.Conn; this one is the same code

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/vazel-gateway/vazel/certs"
)

// pair is a TLS connection over loopback: the client's end, and the server's.
func pair(t testing.TB) (client, server *tls.Conn) {
	t.Helper()
	ca, err := certs.NewDevCA("test")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := ca.Server("h2.example")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan *tls.Conn, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			accepted <- nil
			return
		}
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
		s.Handshake()
		accepted <- s
	}()
	client, err = tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "h2.example", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	server = <-accepted
	if server == nil {
		t.Fatal("nothing accepted")
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

var testLimits = Limits{
	HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute, WriteTimeout: 30 * time.Second, MaxHeader: 32 << 10, MaxStreams: 128,
}

// start serves one connection and returns the client's end and its framer.
func start(t testing.TB, h http.HandlerFunc, guarded bool) (net.Conn, *http2.Framer) {
	t.Helper()
	client, server := pair(t)
	s := New(Options{Handler: h, Limits: testLimits})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if guarded {
			s.Serve(context.Background(), s.Conn(server))
			return
		}
		s.h2.ServeConn(server, &http2.ServeConnOpts{BaseConfig: s.base, Handler: h})
	}()
	t.Cleanup(func() { client.Close(); <-done })
	io.WriteString(client, http2.ClientPreface)
	fr := http2.NewFramer(client, client)
	fr.WriteSettings()
	fr.WriteWindowUpdate(0, 1<<30)
	return client, fr
}

// get sends a request and reads its response.
func get(fr *http2.Framer, id uint32, block []byte) error {
	if err := fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true, EndStream: true}); err != nil {
		return err
	}
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return err
		}
		if f.Header().StreamID == id && f.Header().Flags.Has(http2.FlagDataEndStream) {
			return nil
		}
	}
}

// browserHead is the head of a request.
var browserHead = [][2]string{
	{":method", "GET"}, {":scheme", "https"}, {":authority", "h2.example"}, {":path", "/some/path?with=query"},
	{"user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, {"accept", "text/html,application/xhtml+xml"},
	{"accept-language", "bg,en;q=0.5"}, {"accept-encoding", "gzip, deflate, br, zstd"}, {"cookie", "session=0123456789abcdef0123456789abcdef"},
}

// BenchmarkGuard compares the server behind the guard with the server alone,
// with the head of a request that a browser repeats.
func BenchmarkGuard(b *testing.B) {
	for name, guarded := range map[string]bool{"on": true, "off": false} {
		b.Run(name, func(b *testing.B) {
			_, fr := start(b, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("hello")) }, guarded)
			var buf bytes.Buffer
			enc := hpack.NewEncoder(&buf)
			head := func() []byte {
				buf.Reset()
				for _, f := range browserHead {
					enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
				}
				return buf.Bytes()
			}
			id := uint32(1)
			if err := get(fr, id, bytes.Clone(head())); err != nil {
				b.Fatal(err)
			}
			again := bytes.Clone(head()) // from the table
			b.ReportAllocs()
			for b.Loop() {
				id += 2
				if err := get(fr, id, again); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// loop is a transport on which one client repeats the same bytes.
type loop struct {
	recorded
	request []byte
	at      int
}

func (l *loop) Read(p []byte) (int, error) {
	n := copy(p, l.request[l.at:])
	l.at = (l.at + n) % len(l.request)
	return n, nil
}

// BenchmarkFrames is what the guard alone costs for a request: its HEADERS
// frame, and HEADERS and DATA of the response.
func BenchmarkFrames(b *testing.B) {
	var buf bytes.Buffer
	enc := hpack.NewEncoder(&buf)
	head := func() []byte {
		buf.Reset()
		for _, f := range browserHead {
			enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		return bytes.Clone(buf.Bytes())
	}
	frames := func(block []byte) []byte {
		var out bytes.Buffer
		http2.NewFramer(&out, nil).WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true, EndStream: true})
		return out.Bytes()
	}
	l := &loop{request: frames(head())}
	c := newConn(&Server{o: Options{Limits: testLimits}}, l, time.Now())
	c.left = 0
	var response bytes.Buffer
	fr := http2.NewFramer(&response, nil)
	fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: make([]byte, 60), EndHeaders: true})
	fr.WriteData(1, true, make([]byte, 500))
	p := make([]byte, 1<<10)
	once := func() {
		for _, n := range []int{headLen, len(l.request) - headLen} {
			if _, err := io.ReadFull(c, p[:n]); err != nil {
				b.Fatal(err)
			}
		}
		c.max = 0 // the same stream again
		c.Write(response.Bytes())
	}
	once()
	l.request = frames(head()) // from the table
	b.ReportAllocs()
	for b.Loop() {
		once()
	}
}

// TestBudget: what is taken at most in a time, and what is earned back.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 5, time.Now())
		taken := func() (n int) {
			for b.Take(1) {
				n++
			}
			return n
		}
		var got []int
		got = append(got, taken())
		time.Sleep(time.Second)
		got = append(got, taken())
		time.Sleep(100 * time.Millisecond)
		got = append(got, taken())
		time.Sleep(100 * time.Millisecond)
		got = append(got, taken())
		time.Sleep(time.Hour)
		got = append(got, taken())
		b.Earn(3)
		got = append(got, taken())
		b.Earn(1000)
		got = append(got, taken())
		if want := []int{10, 5, 0, 1, 10, 3, 10}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// FuzzFollow: however the server's bytes are cut into writes, the same frames
// are seen.
func FuzzFollow(f *testing.F) {
	var buf bytes.Buffer
	fr := http2.NewFramer(&buf, nil)
	fr.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 14})
	fr.WriteData(1, true, []byte("hello"))
	fr.WriteRSTStream(3, http2.ErrCodeProtocol)
	fr.WriteRSTStream(5, http2.ErrCodeNo)
	fr.WriteData(7, false, nil)
	f.Add(buf.Bytes(), uint8(1))
	f.Add(buf.Bytes(), uint8(200))
	f.Fuzz(func(t *testing.T, stream []byte, cut uint8) {
		now := time.Now()
		fresh := func() *Conn {
			c := &Conn{resets: newBudget(1000, 0, now), frames: newBudget(1000, 0, now), window: 1 << 30}
			c.resets.tokens, c.frames.tokens = 500, 500
			return c
		}
		whole, pieces := fresh(), fresh()
		whole.bodies, pieces.bodies = map[uint32]int64{3: -1, 7: -1}, map[uint32]int64{3: -1, 7: -1}
		whole.follow(stream)
		out := bytes.Join(whole.w.parts, nil)
		var outInPieces []byte
		for p := range slices.Chunk(stream, int(cut)+1) {
			pieces.follow(p)
			outInPieces = append(outInPieces, bytes.Join(pieces.w.parts, nil)...)
		}
		if !bytes.Equal(out, outInPieces) {
			t.Errorf("what goes out: in one %q, in pieces %q", out, outInPieces)
		}
		for _, c := range []*Conn{whole, pieces} {
			if c.gone != nil && c.gone.timer != nil {
				c.gone.timer.Stop()
			}
		}
		if whole.resets != pieces.resets || whole.frames != pieces.frames || whole.window != pieces.window || whole.w.left != pieces.w.left {
			t.Errorf("in one: %+v %+v %d %d; in pieces: %+v %+v %d %d", whole.resets, whole.frames, whole.window, whole.w.left,
				pieces.resets, pieces.frames, pieces.window, pieces.w.left)
		}
	})
}

// recorded is a transport that plays back what a client sent.
type recorded struct {
	transport
	in io.Reader
}

func (r *recorded) Read(p []byte) (int, error)           { return r.in.Read(p) }
func (r *recorded) Write(p []byte) (int, error)          { return len(p), nil }
func (r *recorded) SetWriteDeadline(time.Time) error     { return nil }
func (r *recorded) SetReadDeadline(time.Time) error      { return nil }
func (r *recorded) ConnectionState() tls.ConnectionState { return tls.ConnectionState{} }

// FuzzRead: nothing that a client sends makes the guard panic, or the server
// see a request that it refused.
func FuzzRead(f *testing.F) {
	seed := func(frames func(fr *http2.Framer)) {
		var buf bytes.Buffer
		buf.WriteString(http2.ClientPreface)
		fr := http2.NewFramer(&buf, nil)
		fr.AllowIllegalWrites = true
		fr.WriteSettings()
		frames(fr)
		f.Add(buf.Bytes())
	}
	block := []byte{0x82, 0x87, 0x84, 0x41, 1, 'a'}
	seed(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndHeaders: true})
		fr.WriteDataPadded(1, false, []byte("x"), []byte{0, 0})
		fr.WriteData(1, true, nil)
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: block[:3], EndStream: true, PadLength: 3})
		fr.WriteContinuation(3, true, block[3:])
	})
	seed(func(fr *http2.Framer) {
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append(bytes.Clone(block), 0, 2, 't', 'e', 1, 'x'), EndHeaders: true})
		fr.WriteData(1, true, []byte("x"))
		fr.WriteSettings(http2.Setting{ID: 4, Val: 1}, http2.Setting{ID: 4, Val: 2})
		fr.WriteWindowUpdate(0, 1)
		fr.WriteRSTStream(1, 8)
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		c := newConn(&Server{o: Options{Limits: testLimits}}, &recorded{in: bytes.NewReader(in)}, time.Now())
		c.resets.perSecond, c.frames.perSecond = 0, 0
		got, _ := io.ReadAll(io.LimitReader(c, 1<<20))
		if len(got) < prefaceLen {
			return
		}
		fr := http2.NewFramer(io.Discard, bytes.NewReader(got[prefaceLen:]))
		fr.ReadMetaHeaders = hpack.NewDecoder(decoderTable, nil)
		fr.MaxHeaderListSize = uint32(testLimits.MaxHeader + 320)
		for {
			frame, err := fr.ReadFrame()
			if _, ok := err.(http2.StreamError); ok {
				continue
			}
			if err != nil {
				return
			}
			if h, ok := frame.(*http2.MetaHeadersFrame); ok && !h.Truncated {
				for _, field := range h.RegularFields() {
					if field.Name == "te" && field.Value != "trailers" || field.Name == "connection" {
						t.Errorf("the server sees %v", h.Fields)
					}
				}
			}
		}
	})
}
