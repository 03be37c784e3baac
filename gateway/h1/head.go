package h1

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

var rootURL = url.URL{Path: "/"}

// framing is what the raw head says about the body.
type framing struct {
	chunked bool
	length  int64 // -1 unless given
	expect  bool  // 100-continue
	close   bool
	http10  bool
}

func badRequest(reason, detail string) *Malformed {
	return &Malformed{http.StatusBadRequest, reason, detail}
}

// checkLine checks the request line, with its CRLF: method SP target SP version.
func checkLine(line []byte, l *Limits) (target []byte, http10 bool, bad *Malformed) {
	line, ok := bytes.CutSuffix(line, crlf)
	if !ok {
		return nil, false, badRequest("bad_line_ending", "the request line does not end in CRLF")
	}
	i := bytes.IndexByte(line, ' ')
	j := bytes.LastIndexByte(line, ' ')
	if i <= 0 || i > 32 || !isToken(line[:i]) {
		return nil, false, badRequest("bad_request", "the method is not a token")
	}
	if j == i {
		return nil, false, badRequest("bad_version", "the request line has no version")
	}
	target = line[i+1 : j]
	if len(target) > l.MaxURI {
		return nil, false, &Malformed{http.StatusRequestURITooLong, "uri_too_long", "the request target is too long"}
	}
	for _, c := range target {
		if c <= ' ' || c >= 0x7f {
			return nil, false, badRequest("bad_target", "the request target holds a byte that must be percent-encoded")
		}
	}
	if len(target) == 0 {
		return nil, false, badRequest("bad_target", "the request target is empty")
	}
	switch string(line[j+1:]) {
	case "HTTP/1.1":
		return target, false, nil
	case "HTTP/1.0":
		return target, true, nil
	}
	v := line[j+1:]
	if len(v) == 8 && bytes.HasPrefix(v, []byte("HTTP/")) && v[5] >= '2' && v[5] <= '9' && v[6] == '.' && v[7] >= '0' && v[7] <= '9' {
		return nil, false, &Malformed{http.StatusHTTPVersionNotSupported, "bad_version", "the protocol version is not supported"}
	}
	return nil, false, badRequest("bad_version", "the version is not HTTP/1.1 or HTTP/1.0")
}

var crlf = []byte("\r\n")

// checkHead checks a raw head, from the request line to the empty line.
func checkHead(b []byte, l *Limits) (f framing, bad *Malformed) {
	f.length = -1
	i := bytes.IndexByte(b, '\n')
	target, http10, bad := checkLine(b[:i+1], l)
	if bad != nil {
		return f, bad
	}
	f.http10, f.close = http10, http10
	b = b[i+1:]
	var host []byte
	hosts, fields, encodings := 0, 0, 0
	for {
		i := bytes.IndexByte(b, '\n')
		line := b[:i-1] // headEnd has made sure that a CR comes before each LF
		b = b[i+1:]
		if len(line) == 0 {
			break
		}
		if fields++; fields > l.MaxHeaders {
			return f, &Malformed{http.StatusRequestHeaderFieldsTooLarge, "header_too_large", "too many header fields"}
		}
		name, value, bad := splitField(line)
		if bad != nil {
			return f, bad
		}
		switch len(name) { // most names are told apart by their length
		case 4:
			if equalFold(name, "host") {
				hosts++
				host = value
			}
		case 6:
			if equalFold(name, "expect") {
				if !equalFold(value, "100-continue") || f.expect {
					return f, &Malformed{http.StatusExpectationFailed, "bad_expectation", "Expect is not 100-continue"}
				}
				f.expect = true
			}
		case 10:
			if equalFold(name, "connection") {
				for token := range bytes.SplitSeq(value, []byte(",")) {
					token = bytes.Trim(token, " \t")
					if equalFold(token, "close") {
						f.close = true
					} else if equalFold(token, "keep-alive") && http10 {
						f.close = false
					}
				}
			}
		case 14:
			if equalFold(name, "content-length") {
				if f.length >= 0 {
					return f, badRequest("ambiguous_framing", "several Content-Length fields")
				}
				n, err := parseLength(value)
				if err != nil {
					return f, badRequest("ambiguous_framing", "Content-Length is not a number")
				}
				f.length = n
			}
		case 17:
			if equalFold(name, "transfer-encoding") {
				if encodings++; encodings > 1 || !equalFold(value, "chunked") {
					return f, badRequest("ambiguous_framing", "Transfer-Encoding is not chunked exactly once")
				}
				f.chunked = true
			}
		}
	}
	switch {
	case f.chunked && f.length >= 0:
		return f, badRequest("ambiguous_framing", "Transfer-Encoding beside Content-Length")
	case f.chunked && http10:
		return f, badRequest("ambiguous_framing", "Transfer-Encoding in HTTP/1.0")
	case hosts > 1:
		return f, badRequest("bad_host", "several Host fields")
	case hosts == 0 && !http10:
		return f, badRequest("bad_host", "Host is missing")
	}
	if bad := checkAbsolute(target, host, hosts); bad != nil {
		return f, bad
	}
	return f, nil
}

// splitField splits a field line. RFC 9112 5: no space before the colon, no
// folded lines; RFC 9110 5.5: no control characters.
func splitField(line []byte) (name, value []byte, bad *Malformed) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			return nil, nil, badRequest("bad_header_name", "a folded header line")
		}
		return nil, nil, badRequest("bad_header_name", "a header line without a name")
	}
	name = line[:i]
	if !isToken(name) {
		return nil, nil, badRequest("bad_header_name", "a field name is not a token")
	}
	value = line[i+1:]
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, badRequest("bad_header_value", "a field value holds a control character")
		}
	}
	for len(value) > 0 && (value[0] == ' ' || value[0] == '\t') {
		value = value[1:]
	}
	for len(value) > 0 && (value[len(value)-1] == ' ' || value[len(value)-1] == '\t') {
		value = value[:len(value)-1]
	}
	return name, value, nil
}

// checkAbsolute refuses a target in absolute form that names another host than
// Host does: RFC 9112 3.2.2 lets the target win, and not everybody follows.
func checkAbsolute(target, host []byte, hosts int) *Malformed {
	if target[0] == '/' {
		return nil
	}
	s := string(target)
	_, rest, ok := strings.Cut(s, "://")
	if !ok {
		return nil // not absolute; the handler refuses what it does not know
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	if strings.IndexByte(rest, '@') >= 0 {
		return badRequest("bad_host", "the request target holds userinfo")
	}
	if hosts > 0 && !strings.EqualFold(rest, string(host)) {
		return badRequest("bad_host", "the request target names another host than Host")
	}
	return nil
}

// crossCheck makes sure that the parser read what the check read.
func crossCheck(r *http.Request, f framing) *Malformed {
	chunked := len(r.TransferEncoding) == 1 && r.TransferEncoding[0] == "chunked"
	length := r.ContentLength
	if f.length < 0 && !f.chunked {
		if length != 0 || chunked {
			return badRequest("ambiguous_framing", "the head has two readings")
		}
		return nil
	}
	if chunked != f.chunked || !chunked && length != f.length {
		return badRequest("ambiguous_framing", "the head has two readings")
	}
	return nil
}

// parseLength reads a Content-Length: digits only, no sign, no list.
func parseLength(b []byte) (int64, error) {
	if len(b) == 0 || len(b) > 18 {
		return 0, strconv.ErrRange
	}
	var n int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
		n = n*10 + int64(c-'0')
	}
	return n, nil
}

// tokenByte tells the bytes of a token (RFC 9110 5.6.2).
var tokenByte = func() (ok [256]bool) {
	for c := range 128 {
		ok[c] = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return ok
}()

func isToken(b []byte) bool {
	for _, c := range b {
		if !tokenByte[c] {
			return false
		}
	}
	return len(b) > 0
}

// equalFold compares with a word in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}
