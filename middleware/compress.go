package middleware

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// minCompressed is the least that is worth compressing, where the length is known.
	minCompressed = 1 << 10
	// maxEncoders bounds how many responses are compressed at once: an encoder
	// holds about a megabyte for as long as a client takes to read. Others are sent
	// as they are.
	maxEncoders = 512
)

// buildCompress compresses responses. Those to callers that show who they are
// stay as they are unless they are public: length tells about secrets that stand
// beside what an attacker chose (BREACH).
func buildCompress(names []string, env Env) (Func, error) {
	if len(names) == 0 {
		return nil, nil
	}
	c := &compression{busy: &env.Engines.encoders}
	seen := map[string]bool{}
	for _, n := range names {
		coding, err := newCoding(n)
		if err != nil {
			return nil, err
		}
		if seen[n] {
			return nil, fmt.Errorf("%s is listed twice", n)
		}
		seen[n] = true
		c.codings = append(c.codings, coding)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, next) })
	}, nil
}

// compression is the policy of one route.
type compression struct {
	codings []*coding     // in the order of the configuration
	busy    *atomic.Int64 // encoders in use, of all routes
}

func (c *compression) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	cw := &compressWriter{ResponseWriter: w, policy: c, head: r.Method == http.MethodHead}
	cw.coding = acceptedCoding(c.codings, r.Header["Accept-Encoding"])
	cw.secret = r.Header["Cookie"] != nil || r.Header["Authorization"] != nil
	if rec := RecordOf(r.Context()); rec == nil || rec.Organization != "" || rec.Identity.Leaf != nil {
		cw.secret = true
	}
	defer cw.close()
	next.ServeHTTP(cw, r)
	cw.whole = true
}

// encoder is what the three libraries have in common.
type encoder interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// coding is one content coding with its spare encoders.
type coding struct {
	name  string
	value []string
	pool  sync.Pool
}

// newCoding sets each library to what costs about as much as gzip 5: a gateway
// compresses on the fly. Windows stay small, for each response holds its own.
func newCoding(name string) (*coding, error) {
	c := &coding{name: name, value: []string{name}}
	switch name {
	case "gzip":
		c.pool.New = func() any { w, _ := gzip.NewWriterLevel(io.Discard, 5); return w }
	case "br":
		c.pool.New = func() any {
			return brotli.NewWriterOptions(io.Discard, brotli.WriterOptions{Quality: 4, LGWin: 18})
		}
	case "zstd":
		c.pool.New = func() any {
			w, err := zstd.NewWriter(io.Discard, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderConcurrency(1),
				zstd.WithWindowSize(256<<10), zstd.WithLowerEncoderMem(true))
			if err != nil {
				panic("middleware: zstd options: " + err.Error()) // they are constant
			}
			return w
		}
	default:
		return nil, fmt.Errorf("unknown coding %q; write zstd, br or gzip", name)
	}
	return c, nil
}

// acceptedCoding is the coding that the client weighs most, of equals the first
// of ours; nil for none (RFC 9110 12.5.3). What weighs less than sending the
// response as it is, is not wanted.
func acceptedCoding(codings []*coding, fields []string) *coding {
	if len(fields) == 0 {
		return nil
	}
	weight := func(name string) float64 {
		w, any := -1.0, 0.0
		for _, f := range fields {
			for part := range strings.SplitSeq(f, ",") {
				switch value, q := weighted(part); value {
				case name:
					w = q
				case "x-" + name: // x-gzip means gzip (RFC 9110 8.4.1.3)
					if w < 0 && name == "gzip" {
						w = q
					}
				case "*":
					any = q
				}
			}
		}
		if w < 0 {
			return any
		}
		return w
	}
	var best *coding
	most := 0.0
	for _, c := range codings {
		if w := weight(c.name); w > most {
			best, most = c, w
		}
	}
	if best != nil && most < 1 && explicit(fields, "identity") > most {
		return nil
	}
	return best
}

// explicit is the weight that fields give to a coding by name, or -1.
func explicit(fields []string, name string) float64 {
	w := -1.0
	for _, f := range fields {
		for part := range strings.SplitSeq(f, ",") {
			if value, q := weighted(part); value == name {
				w = q
			}
		}
	}
	return w
}

// compressWriter decides when the response begins.
type compressWriter struct {
	http.ResponseWriter
	policy *compression
	coding *coding // nil if the client accepts none
	head   bool    // the request was HEAD: no body follows
	secret bool    // the request shows who sent it
	begun  bool
	whole  bool // the handler returned
	enc    encoder
}

// WriteHeader implements http.ResponseWriter.
func (w *compressWriter) WriteHeader(status int) {
	if w.begun || status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.begun = true
	h := w.Header()
	switch {
	case status == http.StatusNotModified:
		// Its length and type are not told, so neither is whether the response that
		// it stands for was compressed. A weak validator is right for both.
		if w.open(h) {
			addVary(h, "Accept-Encoding")
			if w.coding != nil {
				weaken(h)
			}
		}
	case w.suitable(status, h):
		addVary(h, "Accept-Encoding")
		if w.coding != nil && (w.head || enter(w.policy.busy, maxEncoders)) {
			w.compress(h)
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// compress changes the head to that of a compressed response, the same for HEAD
// as for GET.
func (w *compressWriter) compress(h http.Header) {
	h["Content-Encoding"] = w.coding.value
	// Lengths, ranges and digests were those of other bytes.
	for _, name := range [...]string{"Content-Length", "Accept-Ranges", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
		delete(h, name)
	}
	weaken(h)
	if !w.head {
		w.enc = w.coding.pool.Get().(encoder)
		w.enc.Reset(w.ResponseWriter)
	}
}

// weaken makes the entity tag a weak one: other bytes than the upstream's, but the
// same meaning (RFC 9110 8.8.1).
func weaken(h http.Header) {
	if e := h["Etag"]; len(e) == 1 && !strings.HasPrefix(e[0], "W/") {
		h["Etag"] = []string{"W/" + e[0]}
	}
}

// open reports whether the header lets a response be changed, and shown to
// anyone.
func (w *compressWriter) open(h http.Header) bool {
	public := false
	for _, v := range h["Cache-Control"] {
		for d := range strings.SplitSeq(v, ",") {
			switch d, _, _ = strings.Cut(strings.ToLower(strings.TrimSpace(d)), "="); d {
			case "no-transform":
				return false
			case "public":
				public = true
			case "private", "no-store":
				if w.secret {
					return false
				}
			}
		}
	}
	return public || !w.secret
}

// suitable reports whether a response is worth compressing and may be.
func (w *compressWriter) suitable(status int, h http.Header) bool {
	switch status {
	case http.StatusSwitchingProtocols, http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent:
		return false
	}
	if h["Content-Encoding"] != nil || h["Content-Range"] != nil {
		return false
	}
	if n := h["Content-Length"]; len(n) == 1 {
		if size, err := strconv.ParseInt(n[0], 10, 64); err != nil || size < minCompressed {
			return false
		}
	}
	return compressible(h["Content-Type"]) && w.open(h)
}

// Write implements http.ResponseWriter.
func (w *compressWriter) Write(p []byte) (int, error) {
	w.begin()
	if w.enc != nil {
		return w.enc.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom, for servers that can copy without a buffer.
func (w *compressWriter) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	if w.enc != nil {
		return io.Copy(struct{ io.Writer }{w.enc}, src)
	}
	return io.Copy(w.ResponseWriter, src)
}

// FlushError sends what was compressed so far.
func (w *compressWriter) FlushError() error {
	w.begin()
	if w.enc != nil {
		if err := w.enc.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *compressWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *compressWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *compressWriter) begin() {
	if !w.begun {
		w.WriteHeader(http.StatusOK)
	}
}

// close ends the coding, unless the handler was broken off: then the client
// must see that the body is not whole.
func (w *compressWriter) close() {
	if w.enc == nil {
		return
	}
	defer w.policy.busy.Add(-1)
	if w.whole {
		w.enc.Close() // fails only as the client's connection does
	}
	w.enc.Reset(io.Discard)
	w.coding.pool.Put(w.enc)
	w.enc = nil
}

// shrinking lists types that shrink, besides text/*, +json and +xml. Streams of
// events are not among them: each event must leave at once.
var shrinking = map[string]bool{
	"application/json": true, "application/javascript": true, "application/xml": true, "application/x-ndjson": true,
	"application/wasm": true, "application/vnd.ogc.wms_xml": true, "application/vnd.ogc.gml": true, "application/vnd.ogc.se_xml": true,
	"application/x-javascript": true, "application/manifest": true, "application/n-triples": true, "application/n-quads": true,
	"application/trig": true, "application/sparql-query": true, "application/vnd.mapbox-vector-tile": true,
	"application/x-protobuf": true, "application/msword": true, "application/vnd.ms-excel": true, "application/rtf": true,
	"image/svg+xml": true, "image/bmp": true, "image/x-icon": true, "image/vnd.microsoft.icon": true,
	"font/ttf": true, "font/otf": true, "application/vnd.ms-fontobject": true,
}

func compressible(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	kind, _, _ := strings.Cut(contentType[0], ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	if kind == "text/event-stream" {
		return false
	}
	return strings.HasPrefix(kind, "text/") || shrinking[kind] || strings.HasSuffix(kind, "+json") || strings.HasSuffix(kind, "+xml")
}

// enter counts one more, unless there are as many as may be.
func enter(n *atomic.Int64, most int64) bool {
	for {
		now := n.Load()
		if now >= most {
			return false
		}
		if n.CompareAndSwap(now, now+1) {
			return true
		}
	}
}
