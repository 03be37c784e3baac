package h2

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// block is the header block that is being read, and what is known of its
// fields. The server decodes the same bytes again with the same decoder: the
// guard only judges.
type block struct {
	decoder *hpack.Decoder
	most    int // bytes of a header list, as RFC 9113 6.5.2 counts them

	open   bool // CONTINUATION is due
	stream uint32
	ended  bool // END_STREAM
	frames int  // CONTINUATION
	bytes  int

	left     int // of most
	tooLarge bool
	bad      *mistake
	regular  bool // a field that is not a pseudo-header was seen
	pseudo   uint8
	method   string
	scheme   string
	path     string
	host     string // :authority
	hosts    int    // Host fields
	hostLine string
	length   int64 // Content-Length; -1 if none
	te       bool
}

// mistake is why a request is malformed.
type mistake struct{ reason, detail string }

// Pseudo-header fields that were seen.
const (
	sawMethod = 1 << iota
	sawScheme
	sawAuthority
	sawPath
)

var (
	badPseudo     = &mistake{"bad_request", "a pseudo-header field is unknown, repeated or out of place"}
	badMethod     = &mistake{"bad_request", "no method"}
	badScheme     = &mistake{"bad_request", "the scheme is neither http nor https"}
	badPath       = &mistake{"bad_target", ":path is not a path"}
	badConnect    = &mistake{"bad_request", "CONNECT with :scheme or :path, or without :authority"}
	badHost       = &mistake{"bad_host", ":authority is empty, or neither it nor Host is there"}
	badHosts      = &mistake{"bad_host", "Host differs from :authority, or there are several"}
	badName       = &mistake{"bad_header_name", "a field name holds upper case or is not a token"}
	badValue      = &mistake{"bad_header_value", "a field value holds a control character or white space at an end"}
	badConnection = &mistake{"bad_request", "a connection-specific field in HTTP/2"} // RFC 9113 8.2.2
	badTE         = &mistake{"bad_request", "TE other than trailers in HTTP/2"}
	badLength     = &mistake{"ambiguous_framing", "Content-Length is not one number"}
	badLengthEnd  = &mistake{"ambiguous_framing", "Content-Length and no body"}
	badTrailer    = &mistake{"bad_request", "a trailer that does not belong there"}
)

func newBlock(most int) *block {
	b := &block{most: most}
	b.decoder = hpack.NewDecoder(decoderTable, b.field)
	b.decoder.SetMaxStringLength(most) // as the server does
	return b
}

func (b *block) begin(f frame) {
	*b = block{decoder: b.decoder, most: b.most, stream: f.stream, ended: f.has(flagEndStream), left: b.most, length: -1}
	b.decoder.SetEmitEnabled(true)
}

// field is called for each field by the decoder.
func (b *block) field(f hpack.HeaderField) {
	if b.left -= int(f.Size()); b.left < 0 {
		// The rest is decoded for its effect on the table only.
		b.tooLarge = true
		b.decoder.SetEmitEnabled(false)
		return
	}
	if bad := b.check(f.Name, f.Value); bad != nil && b.bad == nil {
		b.bad = bad
	}
}

func (b *block) check(name, value string) *mistake {
	if !goodValue(value) {
		return badValue
	}
	if name != "" && name[0] == ':' {
		return b.pseudoField(name, value)
	}
	b.regular = true
	if !goodName(name) {
		return badName
	}
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return badConnection
	case "te":
		if b.te || value != "trailers" {
			return badTE
		}
		b.te = true
	case "host":
		b.hosts++
		b.hostLine = value
	case "content-length":
		n, ok := parseLength(value)
		if !ok || b.length >= 0 {
			return badLength
		}
		b.length = n
	}
	return nil
}

func (b *block) pseudoField(name, value string) *mistake {
	var bit uint8
	switch name {
	case ":method":
		bit, b.method = sawMethod, value
	case ":scheme":
		bit, b.scheme = sawScheme, value
	case ":authority":
		bit, b.host = sawAuthority, value
	case ":path":
		bit, b.path = sawPath, value
	}
	// :protocol is for extended CONNECT, which is not offered (RFC 8441 3).
	if bit == 0 || b.pseudo&bit != 0 || b.regular {
		return badPseudo
	}
	b.pseudo |= bit
	return nil
}

// request judges the block as the head of a request.
func (b *block) request() *mistake {
	switch {
	case b.bad != nil:
		return b.bad
	case b.tooLarge:
		return nil // the rest is not known; the answer is 431
	case b.method == "":
		return badMethod
	case b.method == http.MethodConnect:
		if b.pseudo&(sawScheme|sawPath) != 0 || b.host == "" {
			return badConnect
		}
	case b.scheme != "https" && b.scheme != "http":
		return badScheme
	case b.path == "", b.path[0] != '/' && (b.path != "*" || b.method != http.MethodOptions):
		return badPath
	case b.pseudo&sawAuthority != 0 && b.host == "", b.pseudo&sawAuthority == 0 && b.hostLine == "", strings.Contains(b.host, "@"):
		return badHost
	}
	switch {
	case b.hosts > 1, b.hosts == 1 && b.pseudo&sawAuthority != 0 && b.hostLine != b.host:
		return badHosts
	case b.ended && b.length > 0:
		return badLengthEnd
	}
	return nil
}

// trailers judges the block as the trailers of a request. They are not
// forwarded unless the upstream can do nothing wrong with them.
func (b *block) trailers() *mistake {
	switch {
	case b.bad != nil:
		return b.bad
	case b.pseudo != 0, b.hosts > 0, b.length >= 0, b.te, b.tooLarge:
		return badTrailer
	}
	return nil
}

// goodName reports whether name is a token without upper case. What is a token
// but not to everybody's taste is the handler's to refuse.
func goodName(name string) bool {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'a' && c <= 'z' || c == '-' || c >= '0' && c <= '9' {
			continue
		}
		if c >= 'A' && c <= 'Z' || !httpguts.IsTokenRune(rune(c)) {
			return false
		}
	}
	return name != ""
}

// goodValue reports whether a value is a field value of RFC 9113 8.2.1 that
// the server takes too.
func goodValue(v string) bool {
	for i := 0; i < len(v); i++ {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return v == "" || !blank(v[0]) && !blank(v[len(v)-1])
}

func blank(c byte) bool { return c == ' ' || c == '\t' }

// parseLength reads a Content-Length: digits only.
func parseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
