package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
)

// inform passes an interim response on.
func (ex *exchange) inform(hd *head) {
	if ex.r.ProtoMajor == 1 && ex.r.ProtoMinor == 0 {
		return
	}
	h := ex.w.Header()
	ours := make(http.Header, len(h))
	for name, v := range h {
		ours[name] = v
	}
	clear(h)
	hd.relayed(h)
	ex.w.WriteHeader(hd.status)
	clear(h)
	for name, v := range ours {
		h[name] = v
	}
}

// relay sends the response on as it comes.
func (ex *exchange) relay() *failure {
	hd, b := &ex.head, &ex.body
	h := ex.w.Header()
	var first []byte
	var err error
	ex.flushes = b.kind == bodyChunked || b.kind == bodyUntilClose || eventStream(hd)
	if b.kind == bodyLength && !ex.flushes {
		// As long as nothing has come, a broken response can still become a 502.
		if first, err = b.next(nil); err != nil && err != io.EOF {
			f := ex.cut(err)
			switch f.reason {
			case reasonReset:
				f.status = "http_response_incomplete"
			case reasonHeaderTimeout:
				f.reason = reasonBodyTimeout
			}
			return f
		}
	}
	hd.relayed(h)
	if hd.length >= 0 && hd.status != http.StatusNoContent {
		v, _ := hd.value("Content-Length")
		h["Content-Length"] = []string{v}
	}
	if hd.trailer && b.kind == bodyChunked {
		var l []string
		for i := range hd.fields {
			if hd.fields[i].name == "Trailer" {
				l = append(l, hd.fields[i].value)
			}
		}
		if l = announced(l, false); len(l) > 0 {
			h["Trailer"] = l
		}
	}
	ex.begun = true
	ex.unsent = true
	ex.w.WriteHeader(hd.status)
	block := ex.block
	if !ex.flushes {
		block = nil
	}
	for p := first; ; {
		if len(p) > 0 {
			if _, werr := ex.w.Write(p); werr != nil {
				return &failure{err: werr, gone: true}
			}
			ex.unsent = true
		}
		if err == io.EOF {
			break
		}
		if p, err = b.next(block); err != nil && err != io.EOF {
			var gone clientError
			if errors.As(err, &gone) {
				return &failure{err: err, gone: true}
			}
			f := ex.cut(err)
			if f.reason == reasonHeaderTimeout {
				f.reason = reasonBodyTimeout
			}
			return f
		}
	}
	for i := range b.trailer {
		if f := &b.trailer[i]; !forbiddenTrailer(f.name) {
			name := http.TrailerPrefix + f.name
			h[name] = append(h[name], f.value)
		}
	}
	return nil
}

// broken ends an exchange that failed after its head went to the client: the
// client must see that the response is not whole.
func (ex *exchange) broken(f *failure) *failure {
	if !ex.begun {
		return f
	}
	if f.reason != "" {
		ex.h.pool.metrics().errors[f.reason].Inc()
		ex.rec.UpstreamError = f.reason
		ex.h.pool.failed(ex.server)
	}
	panic(http.ErrAbortHandler)
}

// clientError is an error of writing to the client.
type clientError struct{ error }

// flush sends the client what it has not got yet.
func (ex *exchange) flush() error {
	if !ex.unsent {
		return nil
	}
	ex.unsent = false
	var err error
	if f, ok := ex.w.(interface{ FlushError() error }); ok {
		err = f.FlushError()
	} else {
		err = http.NewResponseController(ex.w).Flush()
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return clientError{err}
	}
	return nil
}

// eventStream reports whether a response is to be passed on piece by piece
// although its length may be known.
func eventStream(hd *head) bool {
	v, _ := hd.value("Content-Type")
	return len(v) >= 17 && strings.EqualFold(v[:17], "text/event-stream")
}

// begin makes b the body of hd.
func (b *body) begin(c *conn, hd *head, method string) {
	*b = body{c: c}
	switch {
	case method == http.MethodHead || hd.status == http.StatusNoContent || hd.status == http.StatusNotModified:
		b.kind = bodyNone
	case hd.chunked:
		b.kind = bodyChunked
	case hd.length >= 0:
		b.kind, b.left = bodyLength, hd.length
	default:
		b.kind = bodyUntilClose
	}
}
