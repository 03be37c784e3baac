package middleware

import (
	"io"
	"net/http"
)

// buildMaxBody refuses bodies that are larger than most bytes: at once where
// the length is known, else when the first byte too many arrives. It closes the
// connection (HTTP/1.1), for reading the rest would be what was refused.
func buildMaxBody(most int64, env Env) (Func, error) {
	if most <= 0 {
		return nil, nil
	}
	refusal := &BodyRefusal{http.StatusRequestEntityTooLarge, Denial{
		By: "max_body", Reason: "body_too_large", Close: true, Members: map[string]any{"limit": most},
	}}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength > most {
				Deny(w, r, refusal.Status, refusal.Denial)
				return
			}
			// Also where a length was announced: servers of three protocols would have
			// to hold clients to it. r is Observe's copy of the server's request, whose
			// own body must stay in place.
			if r.Body != nil && r.Body != http.NoBody {
				r.Body = &boundedBody{ReadCloser: r.Body, left: most, refusal: refusal}
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// boundedBody ends with a refusal where a body goes on for too long.
type boundedBody struct {
	io.ReadCloser
	left    int64 // bytes that may come; -1 after the refusal
	refusal *BodyRefusal
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.refusal
	}
	if int64(len(p)) > b.left {
		p = p[:b.left+1] // one byte more tells a body that ends here from one that goes on
	}
	n, err := b.ReadCloser.Read(p)
	if int64(n) > b.left {
		n = int(b.left)
		b.left = -1
		return n, b.refusal
	}
	b.left -= int64(n)
	return n, err
}
