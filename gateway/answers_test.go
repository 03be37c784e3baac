package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// decoded is a body without its content coding.
func decoded(t *testing.T, coding, body string) string {
	t.Helper()
	var r io.Reader = strings.NewReader(body)
	var err error
	switch coding {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "br":
		r = brotli.NewReader(r)
	case "zstd":
		r, err = zstd.NewReader(r)
	case "":
	default:
		t.Fatalf("Content-Encoding: %s", coding)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Errorf("%s: %v", coding, err)
	}
	return string(b)
}

// TestCompression: what is compressed, in what, and what never is; HEAD says what
// GET would.
func TestCompression(t *testing.T) {
	text := strings.Repeat("open data of everybody, ", 200)
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/plain")
		for k, v := range r.URL.Query() {
			if k != "status" && k != "short" {
				h[k] = v
			}
		}
		if h.Get("Content-Length") == "auto" {
			h.Set("Content-Length", fmt.Sprint(len(text)))
		}
		switch q := r.URL.Query(); {
		case q.Get("status") == "206":
			h.Set("Content-Range", fmt.Sprintf("bytes 0-%d/100000", len(text)-1))
			w.WriteHeader(206)
		case q.Get("status") == "304":
			w.WriteHeader(304)
			return
		case q.Has("short"):
			h.Set("Content-Length", "5")
			io.WriteString(w, "short")
			return
		}
		io.WriteString(w, text)
	})
	n.config(fmt.Sprintf(`
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%s"]
    compress: [zstd, br, gzip]
    routes:
      - paths: [/]
`, n.upstream.address))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, accept, query string
		want                string   // coding
		header              []string // of the request
	}{
		{"the first of ours", "gzip, br, zstd", "", "zstd", nil},
		{"of known length", "gzip, br, zstd", "Content-Length=auto", "zstd", nil},
		{"what the client weighs most", "gzip, br;q=0.9, zstd;q=0.1", "", "gzip", nil},
		{"anything", "*", "", "zstd", nil},
		{"anything but", "*, zstd;q=0", "", "br", nil},
		{"nothing", "", "", "", nil},
		{"nothing known", "deflate, compress", "", "", nil},
		{"all refused", "gzip;q=0, br;q=0, zstd;q=0", "", "", nil},
		{"rather as it is", "gzip;q=0.5, identity", "", "", nil},
		{"weights that are none", "gzip;q=x, br;q=0.5", "", "br", nil},
		{"short", "gzip", "short", "", nil},
		{"an image", "gzip", "Content-Type=image/png", "", nil},
		{"no type", "gzip", "Content-Type=", "", nil},
		{"events", "gzip", "Content-Type=text/event-stream", "", nil},
		{"encoded already", "gzip", "Content-Encoding=x-own", "x-own", nil},
		{"not to be changed", "gzip", "Cache-Control=max-age=1, No-Transform", "", nil},
		{"a part", "gzip", "status=206", "", nil},
		{"to a session", "gzip", "", "", []string{"Cookie", "s=1"}},
		{"to a user", "gzip", "", "", []string{"Authorization", "Bearer x"}},
		{"public, to a session", "gzip", "Cache-Control=public", "gzip", []string{"Cookie", "s=1"}},
		{"public and private, to a session", "gzip", "Cache-Control=public, private", "", []string{"Cookie", "s=1"}},
		{"a digest of other bytes", "gzip", "Content-Digest=sha-256=:AA=:", "gzip", nil},
		{"strong tag", "gzip", "Etag=\"a\"", "gzip", nil},
	} {
		for _, p := range protocols {
			c := n.dial(p, "open.example", nil)
			var heads []string
			for _, method := range []string{"GET", "HEAD"} {
				header := tt.header
				if tt.accept != "" {
					header = append([]string{"Accept-Encoding", tt.accept}, header...)
				} else {
					header = append([]string{"Accept-Encoding", "identity;q=0.001"}, header...) // or the client's library adds its own
				}
				q := strings.ReplaceAll(strings.ReplaceAll(tt.query, " ", "%20"), "\"", "%22")
				resp, body := n.do(c, method, "https://open.example/?"+q, nil, header...)
				h := resp.Header
				got := h.Get("Content-Encoding")
				if got != tt.want {
					t.Errorf("%s over %s, %s: coding %q, want %q", tt.name, p, method, got, tt.want)
					continue
				}
				ours := got != "" && got != "x-own"
				if ours && (h.Get("Vary") != "Accept-Encoding" || h.Get("Accept-Ranges")+h.Get("Content-Digest") != "" || strings.HasPrefix(h.Get("Etag"), `"`)) {
					t.Errorf("%s over %s, %s: %v", tt.name, p, method, h)
				}
				if method == "GET" && got != "x-own" && tt.query != "short" {
					if ours && (len(body) > len(text)/4 || resp.ContentLength > 0 && resp.ContentLength != int64(len(body))) {
						t.Errorf("%s over %s: %d bytes of %d, Content-Length %d", tt.name, p, len(body), len(text), resp.ContentLength)
					}
					if decoded(t, got, body) != text {
						t.Errorf("%s over %s: another body", tt.name, p)
					}
				}
				if method == "HEAD" && body != "" {
					t.Errorf("%s over %s: a body of HEAD", tt.name, p)
				}
				var b bytes.Buffer
				h.Del("Date")
				h.Del("Content-Length") // HEAD need not say it
				h.Write(&b)
				heads = append(heads, b.String())
			}
			if len(heads) == 2 && heads[0] != heads[1] {
				t.Errorf("%s over %s: GET says\n%sHEAD says\n%s", tt.name, p, heads[0], heads[1])
			}
		}
	}
}

// TestCORS: the gateway alone says which origins may read what, whatever the
// upstream says, in answers and in refusals.
func TestCORS(t *testing.T) {
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Allow-Private-Network", "true")
	})
	n.config(fmt.Sprintf(`
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%s"]
    cors: {origins: ["https://Portal.example:443", "http://localhost:3000"], headers: [X-Query]}
    routes:
      - paths: [/]
      - {paths: [/all], cors: {origins: ["*"]}}
      - {paths: [/read], methods: [GET]}
`, n.upstream.address))
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	const portal = "https://portal.example"
	for _, tt := range []struct {
		method, path, origin, asks string
		status                     int
		allowed, methods           string
	}{
		{"GET", "/", portal, "", 200, portal, ""},
		{"GET", "/", "http://localhost:3000", "", 200, "http://localhost:3000", ""},
		{"GET", "/", "https://evil.example", "", 200, "", ""},
		{"GET", "/", "https://portal.example.evil.example", "", 200, "", ""},
		{"GET", "/", "http://portal.example", "", 200, "", ""},
		{"GET", "/", "null", "", 200, "", ""},
		{"GET", "/", "", "", 200, "", ""},
		{"GET", "/all", "https://evil.example", "", 200, "*", ""},
		{"GET", "/all", "null", "", 200, "*", ""},
		{"PUT", "/read", portal, "", 405, "", ""}, // no route, so no policy of one
		{"OPTIONS", "/", portal, "PUT", 204, portal, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"},
		{"OPTIONS", "/read", portal, "GET", 204, portal, "GET"},
		{"OPTIONS", "/", "https://evil.example", "PUT", 204, "", ""},
		{"OPTIONS", "/", portal, "", 200, portal, ""}, // no preflight: the upstream's
	} {
		for _, p := range protocols {
			var header []string
			if tt.origin != "" {
				header = append(header, "Origin", tt.origin)
			}
			if tt.asks != "" {
				header = append(header, "Access-Control-Request-Method", tt.asks, "Access-Control-Request-Private-Network", "true")
			}
			resp, _ := n.do(n.dial(p, "open.example", nil), tt.method, "https://open.example"+tt.path, nil, header...)
			h := resp.Header
			seen := len(n.upstream.take())
			switch {
			case resp.StatusCode != tt.status, strings.Join(h["Access-Control-Allow-Origin"], "|") != tt.allowed, h.Get("Access-Control-Allow-Methods") != tt.methods,
				h["Access-Control-Allow-Credentials"] != nil, h["Access-Control-Allow-Private-Network"] != nil,
				tt.allowed != "*" && tt.status != 405 && !strings.Contains(strings.Join(h["Vary"], ","), "Origin"):
				t.Errorf("%s %s of %q over %s: %s, %v", tt.method, tt.path, tt.origin, p, resp.Status, h)
			}
			if want := map[bool]int{true: 1}[tt.status == 200]; seen != want {
				t.Errorf("%s %s of %q over %s: the upstream got %d requests", tt.method, tt.path, tt.origin, p, seen)
			}
		}
	}
}
