package gateway

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// TestH2EarlyAnswer: who sends on after an answer that did not wait for the end of
// the request reads it whole: what was on its way is ignored, trailers too, and
// the connection serves on. Who does not stop is told after a while.
func TestH2EarlyAnswer(t *testing.T) {
	n, up := newTarget(t, "max_header: 8KiB")
	c := n.h2()
	const late = 60
	for _, path := range []string{"/a", "/b"} {
		id := c.send(false, head("POST", path, "content-length", "20000000")...)
		if got := c.wait(id); got != "413" {
			t.Fatalf("%s: got %s", path, got)
		}
		for range late {
			c.fr.WriteData(id, false, make([]byte, 16<<10))
		}
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block("x-late", path), EndHeaders: true, EndStream: true})
		// The field of the trailers is in the table of both sides now.
		if got := c.wait(c.send(true, head("GET", "/next", "x-late", path)...)); got != "200" {
			t.Fatalf("%s: the next request: %s", path, got)
		}
		if code, ok := c.resets[id]; ok {
			t.Errorf("%s: the stream was reset with %v", path, code)
		}
	}
	if want := 2 * late * 16 << 10; c.window < want {
		t.Errorf("%d bytes of the connection's window were given back, want %d", c.window, want)
	}

	id := c.send(false, head("POST", "/c", "content-length", "20000000")...)
	if got := c.wait(id); got != "413" {
		t.Fatalf("got %s", got)
	}
	for c.resets[id] = 1 << 31; c.resets[id] == 1<<31; {
		if err := c.read(); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.resets[id]; got != http2.ErrCodeNo {
		t.Errorf("a stream that was left open was reset with %v", got)
	}
	if got, whole := up.take(); whole != 2 {
		t.Errorf("the upstream got %d requests, want 2: %.300q", whole, got)
	}
}

// TestH2LateFrames: frames that were on their way to a stream that was reset are
// ignored, however many; the connection serves on.
func TestH2LateFrames(t *testing.T) {
	n, _ := newTarget(t, "max_header: 8KiB")
	c := n.h2()
	id := c.send(false, head("POST", "/x", "content-length", "2")...)
	c.fr.WriteData(id, false, []byte("longer"))
	if got := c.wait(id); got != "RST_STREAM PROTOCOL_ERROR" {
		t.Fatalf("got %s", got)
	}
	for range 1000 { // more than resets are forgiven
		c.fr.WriteData(id, false, []byte("late"))
	}
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block("x-late", "1"), EndHeaders: true, EndStream: true})
	delete(c.resets, id)
	if got := c.wait(c.send(true, head("GET", "/next", "x-late", "1")...)); got != "200" {
		t.Errorf("the next request: %s", got)
	}
	if code, again := c.resets[id]; again {
		t.Errorf("the stream was reset again, with %v", code)
	}
}

// TestEarlyAnswer: who uploads more than may be reads the answer, over every
// protocol, whether the length was announced or not.
func TestEarlyAnswer(t *testing.T) {
	n, _ := newTarget(t, "max_header: 8KiB")
	big := make([]byte, 12<<20) // more than the default of max_body, and than any window
	for _, p := range protocols {
		for _, announced := range []bool{true, false} {
			var body io.Reader = bytes.NewReader(big)
			if !announced {
				body = io.MultiReader(body)
			}
			r, err := http.NewRequest("POST", "https://open.example/x", body)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := n.dial(p, "open.example", nil).Do(r)
			if err != nil {
				t.Errorf("%s, announced %v: %v", p, announced, err)
				continue
			}
			b, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 413 || err != nil || !strings.Contains(string(b), "body_too_large") {
				t.Errorf("%s, announced %v: %d %v %s", p, announced, resp.StatusCode, err, b)
			}
		}
	}
}
