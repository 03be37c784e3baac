package middleware

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/scan"
)

// scripted finds "virus" at the beginning of what it is given, as clamd finds most
// malware, and fails as it is told.
type scripted struct {
	seen []string
	err  error
}

func (s *scripted) Scan(ctx context.Context, content io.Reader) (string, error) {
	b, err := io.ReadAll(content)
	if err != nil {
		return "", err
	}
	s.seen = append(s.seen, string(b))
	if bytes.HasPrefix(b, []byte("virus")) {
		return "Test.Virus", nil
	}
	return "", s.err
}

// scanned is a route behind a scanner.
func scanned(t *testing.T, s *scanning) (*inspected, *Engines) {
	t.Helper()
	env := testEnv(t)
	env.Engines.Buffers.SetMost(64 << 20)
	s.spool, s.metrics, s.log, s.timeout = env.Engines.Spool, env.Engines.scans, zap.NewNop(), time.Minute
	if s.most == 0 {
		s.most = 4 << 20
	}
	i := &inspected{t: t}
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("upstream: %v", err)
		}
		i.body = string(b)
		w.WriteHeader(299)
	})
	i.h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, next) })
	return i, env.Engines
}

// fileInBase64 is a file in Base64 that begins with s.
func fileInBase64(s string) string {
	return base64.StdEncoding.EncodeToString([]byte(s + strings.Repeat(" \x00\xff", 30)))
}

// TestScan: malware is refused wherever a body carries it, what the scanner can't
// see is refused, and all else goes on unchanged.
func TestScan(t *testing.T) {
	t.Parallel()
	scanner := &scripted{}
	i, engines := scanned(t, &scanning{scanner: scanner})
	coded := func(coding, body string) *http.Request {
		r := post("application/octet-stream", body)
		r.Header.Set("Content-Encoding", coding)
		return r
	}
	nested := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nvirus\r\n--c--\r\n--b--\r\n"
	large := strings.Repeat("x", 1<<20)
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		reason string
	}{
		{"no body", get("/"), 299, ""},
		{"clean", post("application/pdf", "clean"), 299, ""},
		{"large", chunked("application/pdf", large), 299, ""},
		{"virus", post("application/pdf", "virus"), 403, "malware_found"},
		{"virus in chunks", chunked("application/pdf", "virus"+large), 403, "malware_found"},
		{"clean file", post(fileForm, fileBody("virus in words", "clean")), 299, ""},
		{"virus in a file", post(fileForm, fileBody("x", "virus")), 403, "malware_found"},
		{"virus in a field too large for one", post(fileForm, fileBody("virus"+large, "x")), 403, "malware_found"},
		{"virus in a part with a type", post(fileForm, strings.Replace(fileBody("virus", "x"), "name=\"a\"", "name=\"a\"\r\nContent-Type: application/pdf", 1)), 403, "malware_found"},
		{"virus under an odd file name", post(fileForm, strings.Replace(fileBody("virus", "x"), "name=\"a\"", "name=\"a\"; FileName*=UTF-8''a", 1)), 403, "malware_found"},
		{"in base64", post(fileForm, strings.Replace(fileBody("virus", "x"), "name=\"a\"", "name=\"a\"\r\nContent-Transfer-Encoding: base64", 1)), 400, "inspection_multipart"},
		{"nested", post("multipart/form-data; boundary=b", nested), 400, "inspection_multipart"},
		{"without an end", post(fileForm, strings.TrimSuffix(fileBody("x", "x"), "--\r\n")), 400, "inspection_multipart"},
		{"without a boundary", post("multipart/form-data", fileBody("x", "x")), 400, "inspection_multipart"},
		{"compressed virus", coded("gzip", gzipped("virus")), 403, "malware_found"},
		{"not compressed", coded("gzip", "virus"), 400, "inspection_encoding"},
		{"virus in JSON", post("application/json", `{"name":"a.pdf","content":"`+fileInBase64("virus")+`"}`), 403, "malware_found"},
		{"virus in JSON, after clean ones", post("application/vnd.api+json", `{"a":"`+fileInBase64("clean")+`","b":["data:image/png;base64,`+fileInBase64("virus")+`"]}`), 403, "malware_found"},
		{"virus in SOAP", post("application/soap+xml", "<a><b>"+fileInBase64("virus")+"</b></a>"), 403, "malware_found"},
		{"virus in a form", post("application/x-www-form-urlencoded", "a=1&file="+url.QueryEscape(fileInBase64("virus"))), 403, "malware_found"},
		{"virus in Base64 in a field", post(fileForm, fileBody(fileInBase64("virus"), "x")), 403, "malware_found"},
		{"virus in a JSON file", post(fileForm, strings.Replace(fileBody("x", `{"a":"`+fileInBase64("virus")+`"}`), `"a.bin"`, "\"a.json\"\r\nContent-Type: application/json", 1)), 403, "malware_found"},
		{"virus in compressed JSON", func() *http.Request {
			r := coded("gzip", gzipped(`{"content":"`+fileInBase64("virus")+`"}`))
			r.Header.Set("Content-Type", "application/json")
			return r
		}(), 403, "malware_found"},
		{"clean JSON", post("application/json", `{"content":"`+fileInBase64("clean")+`","hash":"`+strings.Repeat("ab", 64)+`"}`), 299, ""},
		{"too many files in JSON", post("application/json", `["`+strings.Repeat(fileInBase64("clean")+`","`, 1001)+`"]`), 413, "scan_too_large"},
		{"another coding", coded("br", "virus"), 415, "inspection_encoding"},
		{"bomb", coded("gzip", gzipped(strings.Repeat("x", 5<<20))), 413, "scan_too_large"},
		{"too large", post("application/pdf", strings.Repeat("x", 5<<20)), 413, "scan_too_large"},
		{"too large in chunks", chunked("application/pdf", strings.Repeat("x", 5<<20)), 413, "scan_too_large"},
	} {
		sent := ""
		if tt.r.Body != nil {
			b, _ := io.ReadAll(tt.r.Body)
			sent = string(b)
			tt.r.Body = io.NopCloser(strings.NewReader(sent))
		}
		status, reason := i.send(tt.r)
		if status != tt.status || reason != tt.reason {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, reason, tt.status, tt.reason)
		}
		if status == 299 && i.body != sent {
			t.Errorf("%s: the upstream got %d bytes instead of %d", tt.name, len(i.body), len(sent))
		}
		if status == 403 && i.rec.Denial.Detail != "malware: Test.Virus" {
			t.Errorf("%s: the log says %q", tt.name, i.rec.Denial.Detail)
		}
	}
	if b, d := engines.Buffers.used.Load(), engines.Spool.used.Load(); b != 0 || d != 0 {
		t.Errorf("%d bytes of memory and %d of disk were not given back", b, d)
	}
	if n := testutil.ToFloat64(engines.scans.requests.WithLabelValues("infected")); n != 14 {
		t.Errorf("%v infected were counted", n)
	}
}

// TestScannerFails: what becomes of bodies that could not be scanned.
func TestScannerFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		allow  bool
		err    error
		status int
		reason string
	}{
		{false, errors.New("no scanner"), 503, "scan_failed"},
		{true, errors.New("no scanner"), 299, ""},
		{false, scan.ErrTooLarge, 413, "scan_too_large"},
		{true, scan.ErrTooLarge, 413, "scan_too_large"},
	} {
		i, _ := scanned(t, &scanning{scanner: &scripted{err: tt.err}, allow: tt.allow})
		if status, reason := i.send(post(fileForm, fileBody("x", "clean"))); status != tt.status || reason != tt.reason {
			t.Errorf("allow %v, %v: %d %s", tt.allow, tt.err, status, reason)
		}
		if status, reason := i.send(post(fileForm, fileBody("x", "virus"))); status != 403 || reason != "malware_found" {
			t.Errorf("allow %v, %v: a virus: %d %s", tt.allow, tt.err, status, reason)
		}
	}
}

// TestSpool: what does not find room is refused, gives back what it had, and leaves
// no file.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	i, engines := scanned(t, &scanning{scanner: &scripted{}, most: 8 << 20})
	engines.Spool.SetMost(1 << 20)
	if status, reason := i.send(post("application/pdf", strings.Repeat("x", 1<<20))); status != 299 {
		t.Errorf("what fits: %d %s", status, reason)
	}
	if status, reason := i.send(post("application/pdf", strings.Repeat("x", 2<<20))); status != 503 || reason != "overload" {
		t.Errorf("what does not: %d %s", status, reason)
	}
	r := chunked("application/pdf", "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader(strings.Repeat("x", 512<<10)), iotest.ErrReader(errors.New("malformed chunk"))))
	if status, reason := i.send(r); status != 400 || reason != "bad_request" {
		t.Errorf("what breaks off: %d %s", status, reason)
	}
	if n := engines.Spool.used.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("files were left: %v", files)
	}
	t.Setenv("TMPDIR", dir+"/none")
	if status, reason := i.send(post("application/pdf", strings.Repeat("x", 1<<20))); status != 503 || reason != "overload" {
		t.Errorf("without a folder: %d %s", status, reason)
	}
}
