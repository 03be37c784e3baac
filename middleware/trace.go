package middleware

import (
	"encoding/hex"
	"math/rand/v2"
	"net/http"
)

// newIDs gives the request its incident id and settles the W3C trace context
// (Trace Context level 1). The client's trace is taken only from trusted peers:
// others could tie their requests to foreign traces. The span and the incident
// id are always ours.
func newIDs(rec *Record, h http.Header, trusted bool) {
	ids := randomHex()
	rec.ID, rec.SpanID = ids[:32], ids[32:48]
	if v := h["Traceparent"]; trusted && len(v) == 1 {
		if id, flags, ok := parseTraceparent(v[0]); ok {
			rec.TraceID, rec.TraceFlags = id, flags
			if s := h["Tracestate"]; len(s) == 1 && len(s[0]) <= 512 {
				rec.TraceState = s[0]
			}
			return
		}
	}
	rec.TraceID = ids[48:80]
	rec.TraceFlags = 1 // sampled: the access log records trace and span
}

// parseTraceparent reads "00-<32 hex>-<16 hex>-<2 hex>". Of the flags it keeps
// those that level 1 and 2 define: sampled and random.
func parseTraceparent(s string) (traceID string, flags byte, ok bool) {
	if len(s) != 55 || s[:3] != "00-" || s[35] != '-' || s[52] != '-' || !lowerHex(s[3:35]) || !lowerHex(s[36:52]) || !lowerHex(s[53:]) {
		return "", 0, false
	}
	if s[3:35] == "00000000000000000000000000000000" || s[36:52] == "0000000000000000" {
		return "", 0, false
	}
	b, err := hex.DecodeString(s[53:])
	if err != nil {
		return "", 0, false
	}
	return s[3:35], b[0] & 3, true
}

func lowerHex(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// randomHex is 40 random bytes in hexadecimal: all ids of a request in one
// string. The generator is ChaCha8, seeded by the system: ids can't be guessed
// from each other, and cost no system call.
func randomHex() string {
	const digits = "0123456789abcdef"
	var out [80]byte
	for i := 0; i < len(out); i += 16 {
		u := rand.Uint64()
		for j := range 16 {
			out[i+j] = digits[u>>(4*j)&15]
		}
	}
	return string(out[:])
}
