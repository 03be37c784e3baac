package gateway

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// grpcMessage is one of gRPC with one text.
func grpcMessage(text string) []byte {
	b := append([]byte{0x0a}, binary.AppendUvarint(nil, uint64(len(text)))...)
	b = append(b, text...)
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// TestInspectedStreams: a stream of messages flows both ways while it is inspected,
// and an attack in one of them does not reach the upstream.
func TestInspectedStreams(t *testing.T) {
	var mu sync.Mutex
	var got []string
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	up := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		if r.URL.Path != "/pkg.S/Unary" {
			http.NewResponseController(w).Flush()
		}
		for {
			head := make([]byte, 5)
			if _, err := io.ReadFull(r.Body, head); err != nil {
				return
			}
			b := make([]byte, binary.BigEndian.Uint32(head[1:]))
			if _, err := io.ReadFull(r.Body, b); err != nil {
				return
			}
			mu.Lock()
			got = append(got, string(b))
			mu.Unlock()
			w.Write(append(head, b...))
			http.NewResponseController(w).Flush()
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); up.Serve(l) }()
	t.Cleanup(func() { up.Close(); <-done })
	n := newNode(t, nil)
	service := n.limited("    waf: {mode: block}\n    upstream_protocol: h2c\n")
	n.config(strings.ReplaceAll(service, n.upstream.address, l.Addr().String()))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	nra := n.client(n.orgCA, "NTRBG-100000003")
	const attack = "1' or '1'='1' union select password from users--"
	for _, p := range []string{"h2", "h3"} {
		c := n.dial(p, "inner.example", nra)
		body, w := io.Pipe()
		r, err := http.NewRequest("POST", "https://inner.example/pkg.S/Chat", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {"grpc-go/1.85.0"}}
		resp, err := c.Do(r)
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v %v", p, resp, err)
		}
		for _, text := range []string{"Здравейте", "second", strings.Repeat("large ", 50_000)} {
			sent := grpcMessage(text)
			if _, err := w.Write(sent); err != nil {
				t.Fatal(err)
			}
			echo := make([]byte, len(sent))
			if _, err := io.ReadFull(resp.Body, echo); err != nil || !bytes.Equal(echo, sent) {
				t.Fatalf("%s: %.20q: %v", p, text, err)
			}
		}
		w.Write(grpcMessage(attack))
		if rest, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the stream went on after an attack: %q", p, rest)
		}
		w.Close()
		resp.Body.Close()

		for name, tt := range map[string]struct {
			body   []byte
			status int
			reason string
		}{
			"one message":       {grpcMessage("Иван"), 200, ""},
			"an attack":         {grpcMessage(attack), 403, "inspection_blocked"},
			"no message":        {[]byte("a=" + attack), 400, "inspection_grpc"},
			"half a message":    {grpcMessage("Иван")[:7], 400, "inspection_grpc"},
			"an unknown coding": {append([]byte{1}, grpcMessage("x")[1:]...), 415, "inspection_encoding"},
			"a huge message":    {[]byte{0, 0xff, 0, 0, 0}, 413, "inspection_too_large"},
		} {
			resp, answer := n.do(c, "POST", "https://inner.example/pkg.S/Unary", bytes.NewReader(tt.body), "Content-Type", "application/grpc", "Te", "trailers", "User-Agent", "grpc-go/1.85.0")
			var problem struct{ Reason string }
			json.Unmarshal([]byte(answer), &problem)
			if resp.StatusCode != tt.status || problem.Reason != tt.reason {
				t.Errorf("%s, %s: %d %s", p, name, resp.StatusCode, answer)
			}
		}
	}
	mu.Lock()
	defer mu.Unlock()
	for _, m := range got {
		if strings.Contains(m, "union select") {
			t.Errorf("the upstream got %q", m)
		}
	}
	n.eventually("vazel_buffer_bytes", "0")
}
