package gateway

import "net/http"

// roomy serves requests that come in a goroutine of their own, as those of
// HTTP/2 and HTTP/3 do.
func roomy(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		growStack(false)
		h.ServeHTTP(w, r)
	})
}

// growStack makes the stack as large as the whole chain needs while there is next
// to nothing on it. A goroutine begins with a small stack, and Go copies it with
// every frame that is on it when it does not suffice: in the depth of the chain
// that costs ten times as much, a twentieth of an HTTP/2 request. The frame is
// never written to, for touch is false.
//
//go:noinline
func growStack(touch bool) byte {
	if touch {
		var frame [stackNeed]byte
		for i := range frame {
			frame[i] = byte(i)
		}
		return frame[stackNeed-1] + frame[0]
	}
	return 0
}

// stackNeed is what the chain takes, TLS and an upstream's connection included.
const stackNeed = 6 << 10
