package gateway

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
)

// usualMethods is what Allow says where no route was asked (RFC 9110 15.5.6).
const usualMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// checkHead refuses heads that could mean different things to the gateway and
// to what stands behind it. A status of 0 means that there is nothing to refuse.
func checkHead(r *http.Request, l *config.Limits) (d middleware.Denial, status int) {
	bad := func(reason, detail string) (middleware.Denial, int) {
		return middleware.Denial{By: "http", Reason: reason, Detail: detail, Close: true}, http.StatusBadRequest
	}
	switch r.Method {
	case http.MethodConnect, http.MethodTrace:
		return middleware.Denial{By: "http", Reason: "method_not_allowed", Close: true, Header: http.Header{"Allow": {usualMethods}}}, http.StatusMethodNotAllowed
	}
	if !validToken(r.Method) || len(r.Method) > 32 {
		return bad("bad_request", "the method is not a token")
	}
	if r.ProtoMajor == 1 && r.ProtoMinor == 0 && len(r.TransferEncoding) > 0 {
		return bad("ambiguous_framing", "Transfer-Encoding in HTTP/1.0")
	}
	n, size := 0, len(r.Method)+len(r.RequestURI)+len(r.Host)
	for name, values := range r.Header {
		n += len(values)
		size += len(values) * (len(name) + 4)
		if !plainName(name) && !middleware.Reserved(name) {
			return bad("bad_header_name", "a field name holds a character other than letters, digits and hyphens")
		}
		for _, v := range values {
			size += len(v)
			if !validValue(v) {
				return bad("bad_header_value", "a field value holds a control character")
			}
			if r.ProtoMajor >= 2 && v != "" && (blank(v[0]) || blank(v[len(v)-1])) {
				return bad("bad_header_value", "a field value begins or ends with white space") // RFC 9113 8.2.1
			}
		}
	}
	if n > l.MaxHeaders {
		return middleware.Denial{By: "http", Reason: "header_too_large", Detail: "too many header fields", Close: true}, http.StatusRequestHeaderFieldsTooLarge
	}
	if int64(size) > int64(l.MaxHeader) { // the servers take more
		return middleware.Denial{By: "http", Reason: "header_too_large", Detail: "the head is too large", Close: true}, http.StatusRequestHeaderFieldsTooLarge
	}
	if r.ProtoMajor >= 2 {
		// RFC 9113 8.3.1: Host must not differ from :authority.
		if h, ok := r.Header["Host"]; ok {
			if len(h) != 1 || h[0] != r.Host {
				return bad("bad_host", "Host differs from :authority")
			}
			delete(r.Header, "Host")
		}
		for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade"} {
			if _, ok := r.Header[name]; ok {
				return bad("bad_request", "a connection-specific field in "+r.Proto) // RFC 9113 8.2.2
			}
		}
		if te, ok := r.Header["Te"]; ok && !slices.Equal(te, []string{"trailers"}) {
			return bad("bad_request", "TE other than trailers in "+r.Proto)
		}
	}
	if cl := r.Header["Content-Length"]; len(cl) > 1 {
		return bad("ambiguous_framing", "several Content-Length fields")
	}
	return d, 0
}

// requestTarget is the origin-form target of the request line or :path.
func requestTarget(r *http.Request, l *config.Limits) (raw string, d middleware.Denial, status int) {
	raw = r.RequestURI
	if raw == "" { // HTTP/3
		raw = r.URL.RequestURI()
	}
	if int64(len(raw)) > int64(l.MaxURI) {
		return "", middleware.Denial{By: "http", Reason: "uri_too_long", Close: true}, http.StatusRequestURITooLong
	}
	if raw != "" && raw[0] == '/' {
		return raw, d, 0
	}
	refused := middleware.Denial{By: "http", Reason: "bad_target", Detail: "the request target is not a path"}
	if r.ProtoMajor != 1 || r.URL.Opaque != "" {
		return "", refused, http.StatusBadRequest
	}
	// Absolute form (RFC 9112 3.2.2): its host has already taken the place of Host.
	for _, scheme := range []string{"https://", "http://"} {
		if len(raw) > len(scheme) && strings.EqualFold(raw[:len(scheme)], scheme) {
			rest := raw[len(scheme):]
			i := strings.IndexAny(rest, "/?#")
			if i < 0 {
				return "/", d, 0
			}
			if rest[i] == '?' {
				return "/" + rest[i:], d, 0
			}
			return rest[i:], d, 0
		}
	}
	return "", refused, http.StatusBadRequest
}

// spellHost is the Host that the upstream gets: the canonical name, and the
// port as the client wrote it.
func spellHost(raw, canonical string) string {
	if strings.HasPrefix(raw, canonical) && (len(raw) == len(canonical) || raw[len(canonical)] == ':') {
		return raw
	}
	port := ""
	if i := strings.LastIndexByte(raw, ':'); i > strings.LastIndexByte(raw, ']') && i >= 0 {
		port = raw[i:]
	}
	if strings.Contains(canonical, ":") {
		canonical = "[" + canonical + "]"
	}
	return canonical + port
}

// plainName reports whether a field name holds only what no upstream reads in
// two ways.
func plainName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && (c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// validToken reports whether s is a token of RFC 9110 5.6.2 in upper or lower case.
func validToken(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// validValue reports whether a field value is free of control characters other
// than a tab (RFC 9110 5.5).
func validValue(v string) bool {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

func itoa(n int) string { return strconv.Itoa(n) }
