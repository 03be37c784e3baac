package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/vazel-gateway/vazel/middleware"
)

// StripConnection removes from the header of a request everything that its
// Connection field nominates, and all of Connection but a wish to upgrade. It
// must be called before anything of the gateway's is added to h: what a client
// nominates must only ever be its own (RFC 9110 7.6.1). Handler calls it too,
// but cannot know who wrote which field.
func StripConnection(h http.Header) {
	values, ok := h["Connection"]
	if !ok {
		return
	}
	upgrade := false
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			t = trimOWS(t)
			switch {
			case t == "":
			case strings.EqualFold(t, "upgrade"):
				upgrade = true
			case strings.EqualFold(t, "te"): // decided on by the handler
			default:
				delete(h, http.CanonicalHeaderKey(t))
			}
		}
	}
	if !upgrade {
		delete(h, "Connection")
		return
	}
	if len(values) != 1 || values[0] != "Upgrade" {
		h["Connection"] = []string{"Upgrade"}
	}
}

// stripRequest removes the hop-by-hop fields of a request. It reports whether
// the client understands trailers.
func stripRequest(h http.Header) (trailers bool) {
	StripConnection(h)
	te := h["Te"]
	for _, v := range te {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(trimOWS(t), "trailers") {
				trailers = true
			}
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	return trailers
}

// hopByHop are the request fields that concern one connection only. Expect is
// among them, for the gateway itself asks the client for the body.
var hopByHop = [...]string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer",
	"Transfer-Encoding", "Upgrade", "Expect", "Http2-Settings", "Host",
}

// dropped reports whether a response field ends here. Besides the hop-by-hop fields
// it is Alt-Svc, by which an upstream would lead clients past the gateway.
func dropped(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Alt-Svc", "Content-Length":
		return true
	}
	return false
}

// relayed puts the fields of a response's head into h, which may hold some of the
// gateway's own; those stay as they are, and lists grow. The fields nominated
// by Connection end here.
func (hd *head) relayed(h http.Header) {
	values := make([]string, 0, len(hd.fields))
	var ours http.Header
	if len(h) > 0 {
		ours = make(http.Header, len(h))
		for name := range h {
			ours[name] = nil
		}
	}
fields:
	for i := range hd.fields {
		f := &hd.fields[i]
		if dropped(f.name) {
			continue
		}
		for _, o := range hd.options {
			if o == f.name {
				continue fields
			}
		}
		former, ok := h[f.name]
		if ok {
			if _, own := ours[f.name]; own && !appended(f.name) {
				continue
			}
			h[f.name] = append(former, f.value)
			continue
		}
		values = append(values, f.value)
		h[f.name] = values[len(values)-1 : len(values) : len(values)]
	}
	if v := h["Proxy-Status"]; v != nil {
		h["Proxy-Status"] = append(v, "vazel") // who is nearest to the origin stands first (RFC 9209 2)
	}
}

// appended names fields to which both gateway and upstream contribute.
func appended(name string) bool { return name == "Vary" || name == "Link" || name == "Set-Cookie" }

// forbiddenTrailer reports whether a field must not come after a body (RFC 9110
// 6.5.1): it would frame, route, authenticate or describe what is already
// decided.
func forbiddenTrailer(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Trailer", "Host", "Connection", "Keep-Alive", "Proxy-Connection", "Upgrade", "Te",
		"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info", "Authorization", "Www-Authenticate", "Authentication-Info",
		"Cookie", "Set-Cookie", "Cache-Control", "Pragma", "Expires", "Age", "Date", "Vary", "Location", "Retry-After", "Warning",
		"Content-Encoding", "Content-Type", "Content-Range", "Content-Location", "Content-Disposition", "Content-Security-Policy",
		"Strict-Transport-Security", "Alt-Svc", "Range", "Expect", "Max-Forwards", "If-Match", "If-None-Match", "If-Modified-Since",
		"If-Unmodified-Since", "If-Range", "Accept", "Accept-Encoding", "Accept-Language", "Origin", "Referer":
		return true
	}
	return strings.HasPrefix(name, "Access-Control-")
}

// announced filters a Trailer field.
func announced(values []string, request bool) []string {
	var l []string
	for _, v := range values {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(trimOWS(name))
			if !validName(name) || forbiddenTrailer(name) || request && middleware.Reserved(name) || len(l) == 32 {
				continue
			}
			l = append(l, name)
		}
	}
	return l
}

// goodTrailer reports whether a trailer of a request may go to the upstream.
func goodTrailer(name string) bool {
	return plainName(name) && !forbiddenTrailer(name) && !middleware.Reserved(name)
}

// plainName is what field names of requests are restricted to, so that no
// upstream takes one for another.
func plainName(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return s != ""
}

// Field is a header field that the gateway itself writes into a request.
type Field struct{ Name, Value string }

// outbound is a request as the upstream gets it.
type outbound struct {
	method, target, host string
	header               http.Header
	own                  []Field // besides header
	length               int64   // of the body; 0 for none, -1 unknown: chunked
	trailer              http.Header
	te                   bool // tell the upstream that trailers are understood
	close                bool // tell the upstream that nothing follows
	upgrade              bool // ask for WebSocket
}

// errHead is a part of a request that can't be written without changing its
// meaning. The front refuses such requests; this is the second line.
type errHead string

func (e errHead) Error() string { return string(e) }

// check refuses what could end a line of the head early.
func (o *outbound) check() error {
	if !validName(o.method) || o.method == http.MethodConnect {
		return errHead("the method can't be forwarded")
	}
	if o.target == "" || o.target[0] != '/' && !(o.target == "*" && o.method == http.MethodOptions) {
		return errHead("the request target is not a path")
	}
	for i := 0; i < len(o.target); i++ {
		if c := o.target[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return errHead("the request target holds a character that must be encoded")
		}
	}
	if o.host == "" {
		return errHead("the host is missing")
	}
	for i := 0; i < len(o.host); i++ {
		if c := o.host[i]; c <= ' ' || c >= 0x7f || c == '/' || c == '@' || c == ',' || c == '\\' || c == '?' || c == '#' {
			return errHead("the host is malformed")
		}
	}
	return nil
}

// append writes the head for HTTP/1.1.
func (o *outbound) append(b []byte) ([]byte, error) {
	b = append(b, o.method...)
	b = append(b, ' ')
	b = append(b, o.target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, o.host...)
	b = append(b, '\r', '\n')
	for name, values := range o.header {
		if name == "Content-Length" {
			continue
		}
		if !plainName(name) {
			return nil, errHead("a field name holds a character other than letters, digits and hyphens")
		}
		if len(values) > 1 && name == "Cookie" { // RFC 9113 8.2.3
			values = []string{strings.Join(values, "; ")}
		}
		for _, v := range values {
			if !validValue(v) {
				return nil, errHead("a field value holds a control character")
			}
			b = append(b, name...)
			b = append(b, ':', ' ')
			b = append(b, v...)
			b = append(b, '\r', '\n')
		}
	}
	for i := range o.own {
		f := &o.own[i]
		if !validValue(f.Value) {
			return nil, errHead("a field value holds a control character")
		}
		b = append(b, f.Name...)
		b = append(b, ':', ' ')
		b = append(b, f.Value...)
		b = append(b, '\r', '\n')
	}
	switch {
	case o.length > 0 || o.length == 0 && expectsBody(o.method):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, o.length, 10)
		b = append(b, '\r', '\n')
	case o.length < 0:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		for name := range o.trailer {
			if goodTrailer(name) {
				b = append(b, "Trailer: "...)
				b = append(b, name...)
				b = append(b, '\r', '\n')
			}
		}
	}
	switch {
	case o.upgrade:
		b = append(b, "Connection: Upgrade\r\nUpgrade: websocket\r\n"...)
	case o.te && o.close:
		b = append(b, "Connection: close, TE\r\nTE: trailers\r\n"...)
	case o.te:
		b = append(b, "Connection: TE\r\nTE: trailers\r\n"...)
	case o.close:
		b = append(b, "Connection: close\r\n"...)
	}
	return append(b, '\r', '\n'), nil
}

// expectsBody reports whether a request with that method and without a body
// says so (RFC 9110 8.6).
func expectsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}
