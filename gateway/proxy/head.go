package proxy

import (
	"bytes"
	"net/http"
	"strings"
)

// Bounds on what an upstream may send before its body.
const (
	maxHead   = 64 << 10 // bytes of one head, or of the trailers
	maxFields = 256
	maxInform = 5 // 1xx responses to one request; quic-go and net/http as clients take no more
)

// field is one line of a head; both parts are substrings of the whole head.
type field struct{ name, value string }

// head is a response's head as the upstream sent it. The rules of RFC 9112 are
// applied without the leniency that it allows: a head that two readers could
// take differently is refused.
type head struct {
	status int
	minor  int // of HTTP/1.x
	fields []field

	length  int64 // Content-Length, or -1
	chunked bool
	close   bool     // Connection: close
	options []string // other tokens of Connection
	upgrade string   // value of Upgrade
	trailer bool     // has Trailer
}

func (h *head) reset() {
	clear(h.fields)
	clear(h.options)
	*h = head{fields: h.fields[:0], options: h.options[:0], length: -1}
}

// value is the first field of that canonical name.
func (h *head) value(name string) (v string, n int) {
	for i := range h.fields {
		if h.fields[i].name == name {
			if n == 0 {
				v = h.fields[i].value
			}
			n++
		}
	}
	return v, n
}

// headEnd looks for the end of a head in b, of which the first scanned bytes
// hold no complete line end. It returns the length of the head, or 0 and how
// far it has looked, at the beginning of a line. Lines that don't end in CRLF are refused as soon as they
// are seen.
func headEnd(b []byte, scanned int) (end, next int, err error) {
	for {
		i := bytes.IndexByte(b[scanned:], '\n')
		if i < 0 {
			return 0, scanned, nil
		}
		if i == 0 || b[scanned+i-1] != '\r' {
			return 0, 0, protocolError("a line of the head ends without CR")
		}
		if i == 1 {
			return scanned + 2, scanned + 2, nil
		}
		scanned += i + 1
	}
}

// parse reads a complete head, which ends in an empty line.
func (h *head) parse(s string) error {
	h.reset()
	line, rest, ok := strings.Cut(s, "\r\n")
	if !ok {
		return protocolError("the head has no line end")
	}
	if err := h.statusLine(line); err != nil {
		return err
	}
	var err error
	if h.fields, err = parseFields(h.fields, rest); err != nil {
		return err
	}
	return h.framing()
}

// statusLine is RFC 9112 4: exactly one space, three digits.
func (h *head) statusLine(s string) error {
	const version = "HTTP/1."
	if len(s) < len("HTTP/1.1 200") || s[:len(version)] != version || s[7] != '0' && s[7] != '1' || s[8] != ' ' {
		return protocolError("the response does not begin with a status line of HTTP/1.1")
	}
	h.minor = int(s[7] - '0')
	for _, c := range []byte(s[9:12]) {
		if c < '0' || c > '9' {
			return protocolError("the status is not a number")
		}
		h.status = h.status*10 + int(c-'0')
	}
	if h.status < 100 || h.status > 599 {
		return protocolError("the status is out of range")
	}
	if len(s) > 12 && (s[12] != ' ' || !validValue(s[13:])) {
		return protocolError("the status line is malformed")
	}
	return nil
}

// parseFields reads lines up to and including the empty one.
func parseFields(to []field, s string) ([]field, error) {
	for {
		end := strings.IndexByte(s, '\n')
		if end < 1 || s[end-1] != '\r' {
			return to, protocolError("a line ends without CRLF")
		}
		line := s[:end-1]
		s = s[end+1:]
		if line == "" {
			if s != "" {
				return to, protocolError("bytes follow the head")
			}
			return to, nil
		}
		colon := strings.IndexByte(line, ':')
		if colon < 1 || !validName(line[:colon]) {
			// Also folded lines and space before the colon.
			return to, protocolError("a field name is malformed")
		}
		value := trimOWS(line[colon+1:])
		if !validValue(value) {
			return to, protocolError("a field value holds a control character")
		}
		if len(to) == maxFields {
			return to, errManyFields
		}
		to = append(to, field{http.CanonicalHeaderKey(line[:colon]), value})
	}
}

// framing settles how long the body is (RFC 9112 6.3), and what Connection says.
func (h *head) framing() error {
	lengths, codings := 0, 0
	for i := range h.fields {
		f := &h.fields[i]
		switch f.name {
		case "Content-Length":
			n, ok := parseLength(f.value)
			if !ok {
				return protocolError("Content-Length is malformed")
			}
			h.length = n
			lengths++
		case "Transfer-Encoding":
			if !strings.EqualFold(f.value, "chunked") {
				return errCoding
			}
			codings++
		case "Connection":
			for t := range strings.SplitSeq(f.value, ",") {
				t = trimOWS(t)
				switch {
				case t == "":
				case strings.EqualFold(t, "close"):
					h.close = true
				case strings.EqualFold(t, "keep-alive"):
				case !validName(t):
					return protocolError("Connection is malformed")
				default:
					h.options = append(h.options, http.CanonicalHeaderKey(t))
				}
			}
		case "Upgrade":
			h.upgrade = f.value
		case "Trailer":
			h.trailer = true
		}
	}
	switch {
	case lengths > 1:
		return protocolError("several Content-Length fields")
	case codings > 1:
		return protocolError("several transfer codings")
	case codings == 1 && lengths == 1:
		return protocolError("both Content-Length and Transfer-Encoding")
	case codings == 1 && h.minor == 0:
		return protocolError("a transfer coding in HTTP/1.0")
	case codings == 1 && (h.status < 200 || h.status == http.StatusNoContent):
		return protocolError("a transfer coding in a response without a body")
	case lengths == 1 && h.length != 0 && (h.status < 200 || h.status == http.StatusNoContent):
		return protocolError("a length in a response without a body")
	}
	h.chunked = codings == 1
	return nil
}

// parseLength reads 1*DIGIT, nothing else.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// tokenByte holds the characters of RFC 9110's token.
var tokenByte = func() (t [256]bool) {
	for _, c := range "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" {
		t[c] = true
	}
	return t
}()

func validName(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return s != ""
}

// validValue refuses every control character but the tab.
func validValue(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func trimOWS(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
