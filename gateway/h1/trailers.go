package h1

import (
	"net/http"
	"net/textproto"
	"strings"
)

// announceTrailers notes the trailers that the handler announced with the
// Trailer field; they are written at the end.
func (w *response) announceTrailers(h http.Header) {
	for _, v := range h["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			key := textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			if isTokenString(key) && !forbiddenTrailers[key] {
				w.trailers = append(w.trailers, key)
			}
		}
	}
}

func (w *response) trailer(name string) bool {
	for _, t := range w.trailers {
		if t == name {
			return true
		}
	}
	return false
}

// trailersPromised reports whether trailers were announced or set.
func (w *response) trailersPromised() bool {
	if _, ok := w.header["Trailer"]; ok {
		return true
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

func (w *response) writeTrailers() {
	for _, name := range w.trailers {
		for _, v := range w.header[name] {
			w.trailerLine(name, v)
		}
	}
	for name, values := range w.header {
		if key, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && isTokenString(key) && !forbiddenTrailers[textproto.CanonicalMIMEHeaderKey(key)] {
			for _, v := range values {
				w.trailerLine(key, v)
			}
		}
	}
}

func (w *response) trailerLine(name, v string) {
	w.buf = append(w.buf, name...)
	w.buf = append(w.buf, ':', ' ')
	w.value(v)
	w.buf = append(w.buf, '\r', '\n')
}
