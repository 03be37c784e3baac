package scan

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// fakeICAP is a server that answers each request with a text, after it has read the
// content, and keeps what it got.
func fakeICAP(t *testing.T, answer string, early bool) (ICAP, func() (head string, content []byte)) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var head string
	var content []byte
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				if !early {
					r := bufio.NewReader(c)
					tr := textproto.NewReader(r)
					line, _ := tr.ReadLine()
					h, _ := tr.ReadMIMEHeader()
					_, at, _ := strings.Cut(h.Get("Encapsulated"), "req-body=")
					n, _ := strconv.Atoi(at)
					inner := make([]byte, n)
					io.ReadFull(r, inner)
					b, _ := io.ReadAll(httputil.NewChunkedReader(r))
					mu.Lock()
					head, content = line+"\n"+string(inner), b
					mu.Unlock()
				}
				io.WriteString(c, answer)
			})
		}
	})
	return ICAP{"icap://" + l.Addr().String() + "/avscan"}, func() (string, []byte) {
		mu.Lock()
		defer mu.Unlock()
		return head, content
	}
}

// TestICAP: only 204 lets content pass.
func TestICAP(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), 1<<20+17)
	for _, tt := range []struct {
		name, answer  string
		early         bool
		malware, fail string
	}{
		{"clean", "ICAP/1.0 204 No Modifications Needed\r\nISTag: \"1\"\r\n\r\n", false, "", ""},
		{"infected", "ICAP/1.0 200 OK\r\nX-Infection-Found: Type=0; Resolution=2; Threat=Eicar-Test;\r\nEncapsulated: res-hdr=0, res-body=9\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n", false, "Eicar-Test", ""},
		{"infected, by another field", "ICAP/1.0 200 OK\r\nX-Virus-ID: Eicar Test\r\nEncapsulated: res-hdr=0, null-body=9\r\n\r\n", false, "Eicar_Test", ""},
		{"refused without a name", "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=9\r\n\r\n", false, "unnamed", ""},
		{"changed", "ICAP/1.0 200 OK\r\nEncapsulated: req-hdr=0, req-body=9\r\n\r\n", false, "", "changed"},
		{"unknown service", "ICAP/1.0 404 ICAP Service not found\r\n\r\n", false, "", "404"},
		{"HTTP", "HTTP/1.1 204 No Content\r\n\r\n", false, "", "answered"},
		{"nothing", "", false, "", "no answer"},
		{"half", "ICAP/1.0 204 No Mod", false, "", ""},
		{"endless", "ICAP/1.0 204 OK\r\nX: " + strings.Repeat("y", 1<<20), false, "", "answered"},
	} {
		s, got := fakeICAP(t, tt.answer, tt.early)
		malware, err := s.Scan(t.Context(), bytes.NewReader(large))
		if tt.name == "half" {
			tt.fail = "answer"
		}
		if malware != tt.malware || (err == nil) != (tt.fail == "") || err != nil && !strings.Contains(err.Error(), tt.fail) {
			t.Errorf("%s: %q, %v", tt.name, malware, err)
		}
		if head, content := got(); !tt.early && (!bytes.Equal(content, large) || !strings.HasPrefix(head, "REQMOD icap://") || !strings.HasSuffix(head, "\r\n\r\n")) {
			t.Errorf("%s: the server got %q and %d bytes", tt.name, head, len(content))
		}
	}
	// Who says "clean" before he has seen all is not believed.
	s, _ := fakeICAP(t, "ICAP/1.0 204 OK\r\n\r\n", true)
	if malware, err := s.Scan(t.Context(), bytes.NewReader(bytes.Repeat([]byte("x"), 64<<20))); malware != "" || err == nil {
		t.Errorf("early: %q, %v", malware, err)
	}
}

func TestCheckICAP(t *testing.T) {
	t.Parallel()
	for s, ok := range map[string]bool{
		"icap://127.0.0.1:1344/avscan": true, "icap://scanner.internal/srv?allow=1": true, "icap://[::1]/": true,
		"": false, "127.0.0.1:1344": false, "http://a/": false, "icap:///x": false, "icap://u:p@a/": false, "icap://a/ b": false,
	} {
		if err := CheckICAP(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
