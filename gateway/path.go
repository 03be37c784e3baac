package gateway

import (
	"strings"
	"unicode/utf8"

	"github.com/vazel-gateway/vazel/middleware"
)

// pathError says why a request target has no one reading. Its text is for the
// log; reason is for the client.
type pathError string

func (e pathError) Error() string { return string(e) }

// target is a request target in its one reading. Every later step, from the
// choice of the route to the upstream, uses these values and no others.
type target struct {
	escaped string // path as it is forwarded: RFC 3986, normalized
	decoded string // the same path without percent-encoding; what routes are matched on
	query   string // after the first "?", byte for byte; "" also if there was none
	hasMark bool   // there was a "?"
}

// canonicalTarget reads an origin-form request target. What has two readings
// in the field is refused: encoded slashes and backslashes, semicolons (path
// parameters), NUL and control bytes, percent-encoding of percent-encoding,
// encoded dot segments, segments above the root, bytes that are not UTF-8, and
// NUL in the query too.
// What has one reading but several spellings is normalized once: encoded
// unreserved characters are decoded, "//" and dot segments are resolved, hex
// digits become upper case.
func canonicalTarget(raw string) (target, error) {
	path, query, mark := strings.Cut(raw, "?")
	t := target{query: query, hasMark: mark}
	if path == "" || path[0] != '/' {
		return t, pathError("the target does not begin with a slash")
	}
	for i := 0; i < len(query); i++ {
		if c := query[i]; c <= ' ' || c >= 0x7f || c == '#' {
			return t, pathError("the query holds a byte that must be percent-encoded")
		}
		if query[i] == '%' && strings.HasPrefix(query[i:], "%00") {
			return t, pathError("the query holds an encoded NUL") // where programs in C stop reading
		}
	}
	if plainPath(path) {
		t.escaped, t.decoded = path, path
		return t, nil
	}
	var err error
	t.escaped, t.decoded, err = canonicalPath(path)
	return t, err
}

// plainPath reports whether path is already canonical and the same with and
// without percent-encoding: the usual case, for which nothing is allocated.
func plainPath(path string) bool {
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c >= utf8.RuneSelf || !pathByte[c]:
			return false
		case c == '/' && i+1 < len(path) && (path[i+1] == '/' || path[i+1] == '.'):
			return false
		}
	}
	return true
}

// pathByte tells which ASCII bytes stand unencoded in a canonical path: pchar
// of RFC 3986 3.3 and the slash, without the semicolon.
var pathByte = func() (ok [utf8.RuneSelf]bool) {
	for c := range byte(utf8.RuneSelf) {
		ok[c] = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~!$&'()*+,=:@/", c) >= 0
	}
	return ok
}()

func canonicalPath(path string) (escaped, decoded string, err error) {
	plain := make([]byte, 0, len(path)) // decoded, one byte for each
	plus := make([]bool, 0, len(path))  // that byte was an encoded "+", which stays encoded
	dot := false                        // an encoded dot was seen in this segment
	dots := make([]bool, 0, 8)          // by segment
	for i := 0; i < len(path); i++ {
		c := path[i]
		enc := false
		if c == '%' {
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return "", "", pathError("a percent sign is not followed by two hexadecimal digits")
			}
			c, enc = unhex(path[i+1])<<4|unhex(path[i+2]), true
			i += 2
			switch c {
			case '/':
				return "", "", pathError("a slash is percent-encoded")
			case '.':
				dot = true
			}
		} else if c >= utf8.RuneSelf {
			return "", "", pathError("the path holds a byte that must be percent-encoded")
		}
		switch {
		case c < ' ' || c == 0x7f || c == ' ' && !enc:
			return "", "", pathError("the path holds a control byte or a space")
		case c == '\\':
			return "", "", pathError("the path holds a backslash")
		case c == ';':
			return "", "", pathError("the path holds a semicolon")
		case c == '#' && !enc:
			return "", "", pathError("the target holds a fragment")
		case c == '/':
			dots, dot = append(dots, dot), false
		}
		plain, plus = append(plain, c), append(plus, enc && c == '+')
	}
	dots = append(dots, dot)
	if !utf8.Valid(plain) {
		return "", "", pathError("the path is not UTF-8")
	}
	for i := 0; i+2 < len(plain); i++ {
		if plain[i] == '%' && isHex(plain[i+1]) && isHex(plain[i+2]) {
			return "", "", pathError("the path is percent-encoded twice")
		}
	}
	for _, r := range string(plain) {
		switch r {
		case '\uff0e', '\uff0f', '\uff3c', '\u2024', '\u2025', '\ufeff':
			return "", "", pathError("the path holds a look-alike of a dot, slash or backslash")
		}
	}
	return resolveSegments(plain, plus, dots)
}

// resolveSegments removes empty and dot segments from a decoded path and
// encodes the rest again.
func resolveSegments(plain []byte, plus, dots []bool) (escaped, decoded string, err error) {
	type span struct{ from, to int }
	var keep []span
	slash := false // the path ends in a slash
	seg := 0
	for i := 0; i < len(plain); seg++ { // plain[i] is a slash
		j := i + 1
		for j < len(plain) && plain[j] != '/' {
			j++
		}
		s := string(plain[i+1 : j])
		if (s == "." || s == "..") && dots[seg+1] {
			return "", "", pathError("a dot segment is percent-encoded")
		}
		switch s {
		case "", ".":
			slash = true
		case "..":
			if len(keep) == 0 {
				return "", "", pathError("a dot segment leads above the root")
			}
			keep, slash = keep[:len(keep)-1], true
		default:
			keep, slash = append(keep, span{i + 1, j}), false
		}
		i = j
	}
	var esc, dec strings.Builder
	esc.Grow(len(plain) + 8)
	dec.Grow(len(plain))
	for _, k := range keep {
		esc.WriteByte('/')
		dec.WriteByte('/')
		dec.Write(plain[k.from:k.to])
		for i := k.from; i < k.to; i++ {
			if c := plain[i]; c < utf8.RuneSelf && pathByte[c] && !plus[i] {
				esc.WriteByte(c)
			} else {
				esc.WriteByte('%')
				esc.WriteByte("0123456789ABCDEF"[c>>4])
				esc.WriteByte("0123456789ABCDEF"[c&15])
			}
		}
	}
	if slash || len(keep) == 0 {
		esc.WriteByte('/')
		dec.WriteByte('/')
	}
	return esc.String(), dec.String(), nil
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c >= 'a':
		return c - 'a' + 10
	case c >= 'A':
		return c - 'A' + 10
	}
	return c - '0'
}

// foldPath spells a decoded path the way that the most forgiving upstream would
// read it: letters in one case, segments without trailing dots and spaces.
// Routes with deny are matched on it.
func foldPath(decoded string) string {
	lower := true
	for i := 0; i < len(decoded); i++ {
		c := decoded[i]
		if c >= utf8.RuneSelf || c >= 'A' && c <= 'Z' || c == '.' || c == ' ' {
			lower = false
			break
		}
	}
	if lower {
		return decoded
	}
	segments := strings.Split(strings.ToLower(decoded), "/")
	for i, s := range segments {
		segments[i] = strings.TrimRight(s, ". ")
	}
	return strings.Join(segments, "/")
}

// badTarget is the refusal of a target with two readings.
func badTarget(err error) middleware.Denial {
	return middleware.Denial{By: "http", Reason: "ambiguous_path", Detail: err.Error()}
}
