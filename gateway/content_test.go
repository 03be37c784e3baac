package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

const everyGuard = `    websocket: true
    max_body: 64MiB
    waf: {mode: block, body_over_limit: inspect_head}
    content_types: [application/pdf, application/json]
    files: {max_size: 32MiB}
    leaks: {egn: block, iban: mask, card: count, stack_trace: count}
`

// TestStreaming: with everything on that looks at content, large uploads, events
// and WebSockets pass as they come.
func TestStreaming(t *testing.T) {
	const size, first = 12 << 20, 512 << 10
	began, seen := make(chan struct{}, 3), make(chan struct{})
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/upload":
			if _, err := io.CopyN(io.Discard, r.Body, 256<<10); err != nil {
				t.Errorf("the upload did not begin: %v", err)
			}
			began <- struct{}{}
			rest, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, rest+256<<10, err)
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				http.NewResponseController(w).Flush()
				<-seen
			}
		case "/socket":
			c, rw, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
			rw.Flush()
			io.CopyN(c, rw, 5)
		}
	})
	n.use(everyGuard)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	for _, p := range protocols {
		c := n.dial(p, "inner.example", nra)
		// The rest is sent when the upstream has the beginning.
		body, w := io.Pipe()
		go func() {
			io.WriteString(w, strings.Repeat("0", first))
			<-began
			io.WriteString(w, strings.Repeat("0", size-first))
			w.Close()
		}()
		r, err := http.NewRequest("POST", "https://inner.example/upload", body)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = size
		r.Header.Set("Content-Type", "application/pdf")
		resp, err := c.Do(r)
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if want := fmt.Sprint(int64(size), "<nil>"); resp.StatusCode != 200 || strings.ReplaceAll(string(got), " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%s: %d %s", p, resp.StatusCode, got)
		}

		events, err := c.Get("https://inner.example/events")
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		for i := range 3 {
			want := fmt.Sprintf("data: %d\n\n", i)
			b := make([]byte, len(want))
			if _, err := io.ReadFull(events.Body, b); err != nil || string(b) != want {
				rest, _ := io.ReadAll(events.Body)
				t.Fatalf("%s: event %d: %d %q, %v", p, i, events.StatusCode, string(b)+string(rest), err)
			}
			seen <- struct{}{}
		}
		events.Body.Close()
	}
	c, br := n.raw("inner.example", nra)
	io.WriteString(c, "GET /socket HTTP/1.1\r\nHost: inner.example\r\nUser-Agent: t\r\nAccept: */*\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if resp, err := http.ReadResponse(br, nil); err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v %v", resp, err)
	}
	io.WriteString(c, "hello")
	b := make([]byte, 5)
	if _, err := io.ReadFull(br, b); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestContentRefusals: what is refused in mid-stream is told by name over each
// protocol, and the upstream never has the whole of it.
func TestContentRefusals(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err == nil && strings.Contains(string(b), "MZ") {
			t.Error("the upstream got the whole of what is refused")
		}
		if r.URL.Path == "/person" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"egn":"7501020018"}`)
		}
	})
	n.use(`    waf: {mode: "off"}
    files: {types: [pdf]}
    leaks: {egn: block}
`)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	for _, p := range protocols {
		c := n.dial(p, "inner.example", nra)
		for _, tt := range []struct {
			path, body string
			status     int
			reason     string
		}{
			{"/", "%PDF-1.4" + strings.Repeat("x", 1<<20), 200, ""},
			{"/", "MZ" + strings.Repeat("x", 1<<20), 415, "file_type_mismatch"},
			{"/person", "%PDF-1.4", 502, "response_leak"},
		} {
			for _, length := range []string{"a length", "chunks"} {
				var body io.Reader = strings.NewReader(tt.body)
				if length == "chunks" {
					body = io.MultiReader(body)
				}
				resp, answer := n.do(c, "POST", "https://inner.example"+tt.path, body, "Content-Type", "application/pdf")
				var problem struct{ Reason string }
				json.Unmarshal([]byte(answer), &problem)
				if resp.StatusCode != tt.status || problem.Reason != tt.reason {
					t.Errorf("%s, %s, %s: %d %s", p, tt.path, length, resp.StatusCode, answer)
				}
			}
		}
	}
}

// TestBrokenChunks: a chunked body that breaks off is 400, whatever looks at it.
func TestBrokenChunks(t *testing.T) {
	n := newNode(t, nil)
	for name, settings := range map[string]string{"refuse": "    waf: {mode: block}\n", "inspect_head": everyGuard, "detect": "    waf: {mode: detect}\n"} {
		n.use(settings)
		c, br := n.raw("inner.example", n.client(n.orgCA, "NTRBG-100000003"))
		io.WriteString(c, "POST / HTTP/1.1\r\nHost: inner.example\r\nUser-Agent: t\r\nAccept: */*\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\nZZ\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != 400 {
			t.Errorf("%s: %v %v", name, resp, err)
		}
		c.Close()
	}
}
