package middleware

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// chunked is a body of unknown length.
func chunked(kind, body string) *http.Request {
	r := post(kind, "")
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), -1
	return r
}

const fileForm = "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW"

// fileBody is a form with a field and a file.
func fileBody(field, file string) string {
	b := "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n"
	return b + "Content-Disposition: form-data; name=\"a\"\r\n\r\n" + field + "\r\n" + b +
		"Content-Disposition: form-data; name=\"f\"; filename=\"a.bin\"\r\n\r\n" + file + "\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n"
}

// TestInspectHead: of what is too large, the beginning is inspected, whatever it
// is cut off in, and every byte goes on.
func TestInspectHead(t *testing.T) {
	t.Parallel()
	i := newInspected(t, &WAF{Mode: "block", BodyOverLimit: "inspect_head"})
	pad := strings.Repeat("а ", 3<<20) // two bytes and one
	esc := strings.NewReplacer(" ", "+", "'", "%27").Replace(attack)
	form := "application/x-www-form-urlencoded"
	list := `{"list":[` + strings.Repeat(`{"име":"Иван","n":-1.5e3,"ok":true},`, 200_000) + "{}]}"
	long := "<a>" + strings.Repeat("<b c=\"д\">текст</b>", 500_000) + "</a>"
	for _, tt := range []struct {
		name   string
		kind   string
		body   string
		status int
		reason string
	}{
		{"JSON, cut off in a string", "application/json", `{"a":"` + pad + `"}`, 299, ""},
		{"JSON, cut off anywhere", "application/json", list, 299, ""},
		{"JSON with an attack in what is cut off", "application/json", `{"a":"` + attack + " " + pad + `"}`, 403, "inspection_blocked"},
		{"JSON with an attack in a name", "application/json", `{"<script>alert(1)</script>` + pad + `":1}`, 403, "inspection_blocked"},
		{"JSON with a name twice", "application/json", `{"a":1,"a":"` + pad + `"}`, 400, "inspection_json"},
		{"not JSON", "application/json", "{]" + pad, 400, "inspection_json"},
		{"XML", "text/xml", "<a>" + pad + "</a>", 299, ""},
		{"XML, cut off anywhere", "text/xml", long, 299, ""},
		{"XML with an attack in what is cut off", "text/xml", "<a><![CDATA[" + attack + pad + "]]></a>", 403, "inspection_blocked"},
		{"not XML", "text/xml", "<a><b></a>" + pad, 400, "inspection_xml"},
		{"XXE", "text/xml", "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;" + pad, 400, "inspection_xml_unsafe"},
		{"form", form, "a=" + pad, 299, ""},
		{"form with an attack", form, "a=" + esc + "&b=" + pad, 403, "inspection_blocked"},
		{"file", fileForm, fileBody("x", pad), 299, ""},
		{"file with an attack before it", fileForm, fileBody(attack, pad), 403, "inspection_blocked"},
		{"malformed multipart", fileForm, "x" + fileBody("x", pad), 400, "inspection_multipart"},
	} {
		for length, r := range map[string]*http.Request{"a length": post(tt.kind, tt.body), "chunks": chunked(tt.kind, tt.body)} {
			status, reason := i.send(r)
			if status != tt.status || reason != tt.reason {
				t.Errorf("%s, with %s: %d %q %v, want %d %q", tt.name, length, status, reason, i.rec.InspectionRules, tt.status, tt.reason)
			}
			if status == 299 && i.body != tt.body {
				t.Errorf("%s, with %s: the upstream got %d bytes of %d", tt.name, length, len(i.body), len(tt.body))
			}
		}
	}
	r := post("application/json", strings.Repeat(" ", 9<<20))
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), iotest.ErrReader(errors.New("malformed chunk"))))
	if status, reason := i.send(r); status != 400 || reason != "bad_request" {
		t.Errorf("a body that breaks off in its beginning: %d %s", status, reason)
	}
}

// TestRefusedUnread: a body that is too large by its own word is not read.
func TestRefusedUnread(t *testing.T) {
	t.Parallel()
	i := newInspected(t, &WAF{Mode: "block"})
	r := post("application/json", "")
	r.Body, r.ContentLength = io.NopCloser(iotest.ErrReader(errors.New("it was read"))), waf.MaxBody+1
	if status, reason := i.send(r); status != 413 || reason != "inspection_too_large" {
		t.Errorf("%d %s", status, reason)
	}
}

// slow is an upload that comes to a halt after its beginning, until all have.
type slow struct {
	io.Reader
	after   int
	arrived func()
	free    chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	if s.after > 0 {
		n, err := s.Reader.Read(p[:min(len(p), s.after)])
		if s.after -= n; s.after == 0 {
			s.arrived()
		}
		return n, err
	}
	<-s.free
	return s.Reader.Read(p)
}

func (s *slow) Close() error { return nil }

// TestManyUploads: 500 uploads at once take the memory of their beginnings only,
// and when these have gone on, none. Without a length they take what the pool has,
// and pass all the same.
func TestManyUploads(t *testing.T) {
	t.Run("of a length", func(t *testing.T) { manyUploads(t, true, 96<<20) })
	t.Run("in chunks", func(t *testing.T) { manyUploads(t, false, 160<<20) }) // a quarter of the pool, and the room in it to grow
}

func manyUploads(t *testing.T, announced bool, most int64) {
	const size = 9 << 20
	uploads := 500
	if underRace { // where inspecting so many beginnings at once takes longer than one may
		uploads = 100
	}
	env := testEnv(t)
	env.Engines.Buffers.SetMost(256 << 20)
	env.Engines.Inspection(0, uploads)
	f, err := (&WAF{Mode: "block", BodyOverLimit: "inspect_head"}).Build(env)
	if err != nil {
		t.Fatal(err)
	}
	h := f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || n != size {
			t.Errorf("the upstream got %d bytes, %v", n, err)
		}
	}))
	head := []byte(fileBody("x", ""))
	head = head[:bytes.LastIndex(head, []byte("\r\n------"))]
	zeros := bytes.Repeat([]byte{'0'}, 1<<20)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var arrived, done sync.WaitGroup
	free := make(chan struct{})
	arrived.Add(uploads)
	for n := range uploads {
		parts := []io.Reader{bytes.NewReader(head)}
		for range size / len(zeros) {
			parts = append(parts, bytes.NewReader(zeros))
		}
		here := sync.OnceFunc(arrived.Done)
		body := &slow{Reader: io.LimitReader(io.MultiReader(parts...), size), after: 256 << 10, arrived: here, free: free}
		r := httptest.NewRequest("POST", "https://a.example/", nil)
		r.Body, r.ContentLength = body, size
		if !announced {
			r.ContentLength = -1
		}
		r.Header.Set("Content-Type", fileForm)
		r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")
		r.Header.Set("Accept", "*/*")
		rec := &Record{ID: fmt.Sprint(n), Path: "/", Client: netip.AddrFrom4([4]byte{198, 18, byte(n >> 8), byte(n)})}
		done.Go(func() {
			w := httptest.NewRecorder()
			h.ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
			if w.Code != http.StatusOK {
				t.Errorf("an upload got %d %+v", w.Code, rec.Denial)
				here()
			}
		})
	}
	arrived.Wait()
	grown := int64(heap()) - int64(before)
	t.Logf("%d uploads under way take %d MiB, %d bytes of buffers", uploads, grown>>20, env.Engines.Buffers.used.Load())
	if grown > most {
		t.Errorf("%d uploads under way take %d MiB", uploads, grown>>20)
	}
	if n := env.Engines.Buffers.used.Load(); announced && n != 0 {
		t.Errorf("%d bytes are still counted, though all of them have gone on", n)
	}
	close(free)
	done.Wait()
	if n := env.Engines.Buffers.used.Load(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}
