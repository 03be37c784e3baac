package waf

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"strings"
)

// maxExpansion is how many times its size a compressed body may have, beyond
// what any compressed body may have.
const (
	maxExpansion  = 100
	freeExpansion = 256 << 10
)

// codingOf is the one content coding of a body, or "".
func codingOf(fields []string) (coding string, err error) {
	for _, v := range fields {
		for c := range strings.SplitSeq(v, ",") {
			c = strings.ToLower(strings.TrimSpace(c))
			switch {
			case c == "" || c == "identity":
			case coding != "":
				return "", &Refusal{http.StatusUnsupportedMediaType, ReasonEncoding, "a body with several content codings"}
			case c == "gzip" || c == "x-gzip" || c == "deflate":
				coding = c
			default:
				return "", &Refusal{http.StatusUnsupportedMediaType, ReasonEncoding, "a body with a content coding that is not inspected"}
			}
		}
	}
	return coding, nil
}

// Expansion is how much memory Plain may take for n bytes with these content
// codings; 0 where it takes none.
func Expansion(fields []string, n int) int {
	if coding, err := codingOf(fields); n == 0 || coding == "" || err != nil {
		return 0
	}
	return min(MaxBody, max(freeExpansion, maxExpansion*n))
}

// Plain is the body without its content coding: what an upstream will read. Body
// and coding are bounded; what can't be decoded is refused. head says that b is
// only the beginning of a body.
func Plain(fields []string, b []byte, head bool) ([]byte, error) {
	coding, err := codingOf(fields)
	if err != nil || coding == "" || len(b) == 0 {
		return b, err
	}
	var r io.Reader
	source := bytes.NewReader(b)
	switch coding {
	case "gzip", "x-gzip":
		var z *gzip.Reader
		if z, err = gzip.NewReader(source); err == nil {
			z.Multistream(false) // some upstreams stop after the first
		}
		r = z
	case "deflate":
		r, err = zlib.NewReader(source)
	}
	if err != nil {
		return nil, badBody(ReasonEncoding, "a body that is not compressed as it says")
	}
	most := Expansion(fields, len(b))
	plain, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	switch {
	case len(plain) > most:
		return nil, &Refusal{http.StatusRequestEntityTooLarge, ReasonExpansion, "a compressed body that becomes too large"}
	case head && errors.Is(err, io.ErrUnexpectedEOF):
	case err != nil || source.Len() > 0:
		if err == nil {
			err = errors.New("something after its end")
		}
		return nil, badBody(ReasonEncoding, "a body that is not compressed as it says: %v", err)
	}
	return plain, nil
}
