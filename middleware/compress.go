package middleware

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// encoder is what the three libraries have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// coding is one content coding with its spare encoders.
type coding struct {
	name string
	pool sync.Pool
}

func newCoding(name string) (*coding, error) {
	c := &coding{name: name}
	switch name {
	case "gzip":
		c.pool.New = func() any { w, _ := gzip.NewWriterLevel(nil, 5); return w }
	case "br":
		c.pool.New = func() any { return brotli.NewWriterLevel(nil, 4) }
	case "zstd":
		c.pool.New = func() any {
			w, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
			return w
		}
	default:
		return nil, fmt.Errorf("unknown coding %q; write zstd, br or gzip", name)
	}
	return c, nil
}

// compressible lists the types that shrink.
var compressible = map[string]bool{
	"application/json": true, "application/javascript": true, "application/xml": true, "application/xhtml+xml": true,
	"application/geo+json": true, "application/ld+json": true, "application/problem+json": true, "application/rss+xml": true,
	"application/atom+xml": true, "application/soap+xml": true, "application/wasm": true, "application/x-ndjson": true,
	"application/vnd.ogc.wms_xml": true, "application/vnd.ogc.gml": true, "application/gml+xml": true, "application/rdf+xml": true,
	"image/svg+xml": true, "image/bmp": true, "font/ttf": true, "font/otf": true,
}

// buildCompress compresses responses. Those to callers that prove who they are
// stay as they are unless they are public: length tells about secrets that stand
// beside what an attacker chose (BREACH).
func buildCompress(names []string, env Env) (Func, error) {
	if len(names) == 0 {
		return nil, nil
	}
	var codings []*coding
	for _, n := range names {
		c, err := newCoding(n)
		if err != nil {
			return nil, err
		}
		codings = append(codings, c)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c := acceptedCoding(codings, r.Header["Accept-Encoding"])
			secret := r.Header["Cookie"] != nil || r.Header["Authorization"] != nil || RecordOf(r.Context()).Organization != ""
			cw := &compressWriter{ResponseWriter: w, coding: c, head: r.Method == http.MethodHead, secret: secret}
			defer cw.close()
			next.ServeHTTP(cw, r)
			cw.whole = true
		})
	}, nil
}

// acceptedCoding is the first of ours that the client accepts (RFC 9110 12.5.3).
func acceptedCoding(codings []*coding, fields []string) *coding {
	if len(fields) == 0 {
		return nil
	}
	q := map[string]float64{}
	for _, f := range fields {
		for part := range strings.SplitSeq(f, ",") {
			name, w := weighted(part)
			q[name] = w
		}
	}
	for _, c := range codings {
		w, named := q[c.name]
		if !named {
			w = q["*"]
		}
		if w > 0 {
			return c
		}
	}
	return nil
}

// compressWriter decides when the response begins.
type compressWriter struct {
	http.ResponseWriter
	coding       *coding // nil if the client accepts none
	head, secret bool
	begun        bool
	whole        bool // the handler returned
	enc          encoder
}

// WriteHeader implements http.ResponseWriter.
func (w *compressWriter) WriteHeader(status int) {
	if w.begun || status < 200 {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.begun = true
	h := w.Header()
	if w.suitable(status, h) {
		h["Vary"] = append(h["Vary"], "Accept-Encoding")
		if w.coding != nil {
			h["Content-Encoding"] = []string{w.coding.name}
			delete(h, "Content-Length")
			delete(h, "Accept-Ranges")
			if e := h["Etag"]; len(e) == 1 && !strings.HasPrefix(e[0], "W/") {
				h["Etag"] = []string{"W/" + e[0]} // other bytes than the upstream's
			}
			if !w.head {
				w.enc = w.coding.pool.Get().(encoder)
				w.enc.Reset(w.ResponseWriter)
			}
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *compressWriter) suitable(status int, h http.Header) bool {
	if status == http.StatusNoContent || status == http.StatusNotModified || status == http.StatusPartialContent || h["Content-Encoding"] != nil || h["Content-Range"] != nil {
		return false
	}
	if n := h["Content-Length"]; len(n) == 1 {
		if size, err := strconv.ParseInt(n[0], 10, 64); err != nil || size < 1<<10 {
			return false
		}
	}
	control := strings.ToLower(strings.Join(h["Cache-Control"], ","))
	if strings.Contains(control, "no-transform") || w.secret && !strings.Contains(control, "public") {
		return false
	}
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if kind == "text/event-stream" {
		return false
	}
	return strings.HasPrefix(kind, "text/") || compressible[kind] || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}

// Write implements http.ResponseWriter.
func (w *compressWriter) Write(p []byte) (int, error) {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.enc != nil {
		return w.enc.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// FlushError sends what was compressed so far.
func (w *compressWriter) FlushError() error {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
	if w.enc != nil {
		if err := w.enc.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (w *compressWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// close ends the coding, unless the handler was broken off: then the client
// must see that the body is not whole.
func (w *compressWriter) close() {
	if w.enc == nil {
		return
	}
	if w.whole {
		w.enc.Close()
	}
	w.enc.Reset(io.Discard)
	w.coding.pool.Put(w.enc)
	w.enc = nil
}
