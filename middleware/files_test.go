package middleware

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
)

// upload is a form with one file of a name, type and content.
func upload(name, kind, content string) *http.Request {
	b := "------WebKitFormBoundary7MA4YWxkTrZu0gW\r\n"
	if kind != "" {
		kind = "\r\nContent-Type: " + kind
	}
	return post(fileForm, b+"Content-Disposition: form-data; name=\"title\"\r\n\r\nЗаявление\r\n"+b+
		"Content-Disposition: form-data; name=\"f\"; filename=\""+name+"\""+kind+"\r\n\r\n"+content+"\r\n------WebKitFormBoundary7MA4YWxkTrZu0gW--\r\n")
}

func zipped(t *testing.T, names ...string) string {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, n := range names {
		h := &zip.FileHeader{Name: n, Method: zip.Store}
		f, err := w.CreateRaw(h)
		if err != nil {
			t.Fatal(err)
		}
		if n == "mimetype" {
			io.WriteString(f, "application/vnd.oasis.opendocument.text")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const pngHead, pdfHead = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"

// TestFileTypes: a file passes if its content is of a type that may be sent, and
// its name and type say the same.
func TestFileTypes(t *testing.T) {
	t.Parallel()
	f, err := (&Files{Types: []string{"pdf", "png", "docx", "odt", "zip", "csv", "geojson", "gml"}}).Build(testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	docx := zipped(t, "[Content_Types].xml", "_rels/.rels", "word/document.xml")
	gml := `<?xml version="1.0"?><gml:FeatureCollection xmlns:gml="http://www.opengis.net/gml/3.2"/>`
	raw := func(kind, content string) *http.Request { return post(kind, content) }
	for _, tt := range []struct {
		name   string
		r      *http.Request
		status int
		reason string
	}{
		{"PDF", upload("Заявление.pdf", "application/pdf", pdfHead), 299, ""},
		{"PDF in capitals", upload("SCAN.PDF", "application/octet-stream", pdfHead), 299, ""},
		{"PDF without a type", upload("a.b.pdf", "", pdfHead), 299, ""},
		{"PDF without an extension", upload("scan", "application/pdf", pdfHead), 299, ""},
		{"Word", upload("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", docx), 299, ""},
		{"ODF", upload("a.odt", "application/vnd.oasis.opendocument.text", zipped(t, "mimetype", "content.xml")), 299, ""},
		{"ZIP", upload("layers.zip", "application/x-zip-compressed", zipped(t, "layers.shp")), 299, ""},
		{"CSV of Excel", upload("a.csv", "application/vnd.ms-excel", "име;ЕГН\r\nИван;1\r\n"), 299, ""},
		{"CSV in Windows-1251", upload("a.csv", "text/csv", "\xe8\xec\xe5;\xc5\xc3\xcd\r\n"), 299, ""},
		{"GeoJSON", upload("a.geojson", "application/geo+json", "\n{\"type\":\"FeatureCollection\",\"features\":[]}"), 299, ""},
		{"GML", upload("a.gml", "text/xml", gml), 299, ""},
		{"no file chosen", upload("", "application/octet-stream", ""), 299, ""},
		{"raw PDF", raw("application/pdf", pdfHead), 299, ""},
		{"no file at all", raw("application/x-www-form-urlencoded", "a=b"), 299, ""},
		{"JSON of an API", raw("application/json", "{}"), 299, ""},

		{"a program", upload("a.exe", "application/octet-stream", "MZ\x90\x00"), 415, "file_type_not_allowed"},
		{"a type that may not be sent", upload("a.gif", "image/gif", "GIF89a"), 415, "file_type_not_allowed"},
		{"a raw type that may not be sent", raw("image/gif", "GIF89a"), 415, "file_type_not_allowed"},
		{"a page", upload("a.html", "text/html", "<html>"), 415, "file_type_not_allowed"},
		{"a program as a PDF", upload("a.pdf", "application/pdf", "MZ\x90\x00"), 415, "file_type_mismatch"},
		{"a PNG as a PDF", upload("a.pdf", "application/pdf", pngHead), 415, "file_type_mismatch"},
		{"a PDF as a PNG by type", upload("a.pdf", "image/png", pdfHead), 415, "file_type_mismatch"},
		{"a PDF under another extension", upload("a.exe", "application/pdf", pdfHead), 415, "file_type_mismatch"},
		{"a raw program as a PDF", raw("application/pdf", "MZ\x90\x00"), 415, "file_type_mismatch"},
		{"a PDF not at its beginning", upload("a.pdf", "application/pdf", "x"+pdfHead), 415, "file_type_mismatch"},
		{"a PDF that servers run", upload("a.php.pdf", "application/pdf", pdfHead), 415, "file_type_mismatch"},
		{"a PDF elsewhere", upload("../a.pdf", "application/pdf", pdfHead), 415, "file_type_mismatch"},
		{"a PDF in reverse", upload("a\u202efdp.pdf", "application/pdf", pdfHead), 415, "file_type_mismatch"},
		{"a script as CSV", upload("a.csv", "text/csv", "<?php system($_GET[0]);"), 415, "file_type_mismatch"},
		{"a shell script as CSV", upload("a.csv", "text/csv", "#!/bin/sh\n"), 415, "file_type_mismatch"},
		{"a program late in a CSV", upload("a.csv", "text/csv", strings.Repeat("a;b\n", 5000)+"\x00\x01"), 415, "file_type_mismatch"},
		{"a page as GML", upload("a.gml", "text/xml", "<html xmlns:gml='http://www.opengis.net/gml'>"), 415, "file_type_mismatch"},
		{"a ZIP as Word", upload("a.docx", "", zipped(t, "evil.sh")), 415, "file_type_mismatch"},
		{"an empty PDF", upload("a.pdf", "application/pdf", ""), 415, "file_type_mismatch"},
		{"not multipart", post(fileForm, "x"), 400, "inspection_multipart"},
		{"multipart without a boundary", post("multipart/form-data", "x"), 400, "inspection_multipart"},
	} {
		status, reason, _ := passFiles(t, f, tt.r)
		if status != tt.status || reason != tt.reason {
			t.Errorf("%s: %d %q, want %d %q", tt.name, status, reason, tt.status, tt.reason)
		}
	}
}

// passFiles sends a request to an upstream that reads its body, and returns what
// that got.
func passFiles(t *testing.T, f Func, r *http.Request) (int, string, string) {
	t.Helper()
	rec := &Record{ID: "id", Path: r.URL.Path}
	w := httptest.NewRecorder()
	var got []byte
	f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var err error
		got, err = io.ReadAll(r.Body)
		var refusal *BodyRefusal
		switch {
		case errors.As(err, &refusal):
			Deny(w, r, refusal.Status, refusal.Denial)
		case err != nil:
			w.WriteHeader(400)
		default:
			w.WriteHeader(299)
		}
	})).ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
	reason := ""
	if rec.Denial != nil {
		reason = rec.Denial.Reason
	}
	return w.Code, reason, string(got)
}

// TestFileLimits: files are counted and measured as they pass.
func TestFileLimits(t *testing.T) {
	t.Parallel()
	f, err := (&Files{MaxSize: 1 << 20, MaxCount: 2}).Build(testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	several := func(n int) *http.Request {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"%d.txt\"\r\n\r\nx\r\n", i)
		}
		return post("multipart/form-data; boundary=b", b.String()+"--b--\r\n")
	}
	for _, tt := range []struct {
		r      *http.Request
		status int
		reason string
	}{
		{several(2), 299, ""}, {several(3), 413, "too_many_files"},
		{upload("a", "", strings.Repeat("x", 1<<20)), 299, ""}, {upload("a", "", strings.Repeat("x", 1<<20+1)), 413, "file_too_large"},
		{post("application/pdf", strings.Repeat("x", 1<<20+1)), 413, "file_too_large"},
		{func() *http.Request {
			r := post("application/json", strings.Repeat("x", 1<<20+1))
			r.Header.Add("Content-Type", "application/pdf")
			return r
		}(), 415, "unsupported_media_type"},
	} {
		if status, reason, _ := passFiles(t, f, tt.r); status != tt.status || reason != tt.reason {
			t.Errorf("%d %s, want %d %s", status, reason, tt.status, tt.reason)
		}
	}
}

// TestChecked: whatever pieces a body comes and is read in, all of it goes on, or
// never the last byte of what is refused.
func TestChecked(t *testing.T) {
	t.Parallel()
	refusal := errors.New("refused")
	for _, size := range []int{0, 1, 2, 3, 100} {
		sent := strings.Repeat("0123456789", 10)[:size]
		for _, bad := range []bool{false, true} {
			for how, wrap := range map[string]func(io.Reader) io.Reader{
				"as it is": func(r io.Reader) io.Reader { return r }, "one by one": iotest.OneByteReader, "with its end": iotest.DataErrReader,
				"one by one, with its end": func(r io.Reader) io.Reader { return iotest.DataErrReader(iotest.OneByteReader(r)) },
			} {
				for _, one := range []bool{false, true} {
					c := newChecked(io.NopCloser(wrap(strings.NewReader(sent))), func(r io.Reader) error {
						b, err := io.ReadAll(r)
						if err != nil || string(b) != sent {
							t.Errorf("%s, %d: the check got %q, %v", how, size, b, err)
						}
						if bad {
							return refusal
						}
						return nil
					})
					var r io.Reader = c
					if one {
						r = iotest.OneByteReader(c)
					}
					b, err := io.ReadAll(r)
					switch {
					case !bad && (err != nil || string(b) != sent):
						t.Errorf("%s, %d, %v: %q, %v", how, size, one, b, err)
					case bad && (err != refusal || size > 0 && len(b) >= size):
						t.Errorf("%s, %d, %v: %d bytes of what is refused, %v", how, size, one, len(b), err)
					}
					c.stop()
				}
			}
		}
	}
	early := newChecked(io.NopCloser(strings.NewReader(strings.Repeat("x", 1<<20))), func(r io.Reader) error { return refusal })
	if b, err := io.ReadAll(early); err != refusal || len(b) > 64<<10 {
		t.Errorf("refused at once: %d bytes, %v", len(b), err)
	}
	early.stop()
	newChecked(http.NoBody, func(io.Reader) error { return nil }).stop() // never read
}
