package middleware

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

// TestBuffers: memory is taken as a body comes, given back in the end, and never
// more than there is; large bodies leave some to small ones.
func TestBuffers(t *testing.T) {
	t.Parallel()
	pool := testEnv(t).Engines.Buffers
	pool.SetMost(4 << 20)
	const most = 1 << 20
	var held []*lease
	for {
		l := &lease{from: pool}
		b, over, err := l.read(iotest.HalfReader(strings.NewReader(strings.Repeat("a", 600<<10))), most)
		if err != nil {
			if err != errNoBuffer {
				t.Fatal(err)
			}
			l.end()
			break
		}
		if len(b) != 600<<10 || over || l.n.Load() != int64(cap(b)) {
			t.Fatalf("%d bytes, %v, %d accounted for %d", len(b), over, l.n.Load(), cap(b))
		}
		held = append(held, l)
	}
	if used := pool.used.Load(); len(held) != 2 || used > 3<<20 {
		t.Errorf("%d bodies that grow to 1 MiB and %d bytes in 3 MiB", len(held), used)
	}
	small := &lease{from: pool}
	if b, over, err := small.read(strings.NewReader("small"), most); string(b) != "small" || over || err != nil {
		t.Errorf("a small body beside large ones: %q %v %v", b, over, err)
	}
	for _, l := range append(held, small) {
		l.end()
	}
	l := &lease{from: pool}
	if b, over, err := l.read(strings.NewReader(strings.Repeat("a", most+5)), most); len(b) != most+1 || !over || err != nil {
		t.Errorf("a body over the bound: %d %v %v", len(b), over, err)
	}
	l.end()
	if _, _, err := l.read(iotest.ErrReader(io.ErrUnexpectedEOF), most); err != io.ErrUnexpectedEOF {
		t.Errorf("a body that breaks off: %v", err)
	}
	l.end()
	if n := pool.used.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
}

// TestInspectedBodies: a body that finds no memory, or that is not what the
// upstream will read, is refused and not passed on.
func TestInspectedBodies(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	pool := env.Engines.Buffers
	pool.SetMost(64 << 10)
	f, err := (&WAF{Mode: "block", Threshold: 1000}).Build(env)
	if err != nil {
		t.Fatal(err)
	}
	passed := 0
	h := f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		passed++
		if b, err := io.ReadAll(r.Body); err != nil || len(b) == 0 || int64(len(b)) > pool.used.Load() {
			t.Errorf("%d bytes at the upstream, %d accounted for, %v", len(b), pool.used.Load(), err)
		}
		w.WriteHeader(200)
	}))
	for _, tt := range []struct {
		size   int
		coding string
		want   int
	}{
		{1 << 10, "", 200}, {1 << 10, "identity", 200}, {1 << 10, "gzip", 503}, {1 << 10, "identity, br", 415}, {60 << 10, "", 503},
	} {
		r := httptest.NewRequest("POST", "https://a.example/", strings.NewReader(strings.Repeat("a", tt.size)))
		r.Header.Set("Content-Type", "text/plain")
		if tt.coding != "" {
			r.Header.Set("Content-Encoding", tt.coding)
		}
		rec := &Record{ID: "id", Path: "/"}
		w := httptest.NewRecorder()
		was := passed
		h.ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
		if w.Code != tt.want || passed-was != map[bool]int{true: 1}[tt.want == 200] {
			t.Errorf("%+v: %d %s", tt, w.Code, w.Body)
		}
		if tt.want == 503 && w.Header().Get("Retry-After") == "" {
			t.Errorf("%+v: %v", tt, w.Header())
		}
	}
	if n := pool.used.Load(); n != 0 {
		t.Errorf("%d bytes are still accounted for", n)
	}
}
