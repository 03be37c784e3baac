package middleware

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// hasBody reports whether a request has a body that is not empty. HTTP/3 and
// chunked requests don't say before it begins, so the first byte may have to be
// waited for. It reports ok false if it has refused the request.
func hasBody(w http.ResponseWriter, r *http.Request) (has, ok bool) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return false, true
	}
	if r.ContentLength > 0 {
		return true, true
	}
	var b [1]byte
	n, err := io.ReadFull(r.Body, b[:])
	var refusal *BodyRefusal
	switch {
	case n == 1:
		r.Body = replay{io.MultiReader(bytes.NewReader(b[:]), r.Body), r.Body} // r is Observe's copy
		return true, true
	case err == io.EOF:
		r.ContentLength = 0
		return false, true
	case errors.As(err, &refusal):
		Deny(w, r, refusal.Status, refusal.Denial)
	default:
		Deny(w, r, http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true})
	}
	return false, false
}
