package gateway

import (
	"errors"
	"io"
	"net/http"

	"golang.org/x/net/http2"

	"github.com/vazel-gateway/vazel/middleware"
)

// HTTP/2 and HTTP/3 delimit a body without Content-Length, so that the two can
// disagree (RFC 9113 8.1.1, RFC 9114 4.1.2). The upstream believes the length,
// and would take what is not a request for one.

// exactBody holds the body of a request to its Content-Length: the last bytes
// are handed on when the stream has ended just there, and so the upstream never
// has a whole request before. It reports false if it has refused the request.
func exactBody(w http.ResponseWriter, r *http.Request) bool {
	b := &lengthBody{ReadCloser: r.Body, left: r.ContentLength}
	if r.ContentLength > 0 {
		r.Body = b
		return true
	}
	// Nobody reads a body of no length.
	if _, err := b.Read(make([]byte, 1)); err != io.EOF {
		var refused *middleware.BodyRefusal
		if !errors.As(err, &refused) {
			refused = errLength
		}
		middleware.Deny(w, r, refused.Status, refused.Denial)
		return false
	}
	r.Body = http.NoBody
	return true
}

// lengthBody reads a body of a known length.
type lengthBody struct {
	io.ReadCloser
	left int64
	err  error
}

var errLength = &middleware.BodyRefusal{
	Status: http.StatusBadRequest,
	Denial: middleware.Denial{By: "http", Reason: "ambiguous_framing", Detail: "the body is not as long as Content-Length says"},
}

// Read implements io.Reader.
func (b *lengthBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if err == nil && b.left <= 0 {
		var one [1]byte
		var more int
		for more == 0 && err == nil {
			more, err = b.ReadCloser.Read(one[:])
		}
		b.left -= int64(more)
	}
	b.err = err
	var reset http2.StreamError
	switch {
	case b.left < 0, err == io.EOF && b.left > 0, errors.Is(err, io.ErrUnexpectedEOF),
		errors.As(err, &reset) && reset.Code == http2.ErrCodeProtocol:
		b.err = errLength
		n = 0
	case err != nil && err != io.EOF && b.left <= 0:
		n = 0 // whole as it looks, it is not
	}
	return n, b.err
}
