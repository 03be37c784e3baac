package middleware

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// jsonLine is a JSON object on a line of its own. The names of its members are
// ours and need no escaping; their values may come from clients.
type jsonLine []byte

func (l *jsonLine) begin() { *l = append((*l)[:0], '{') }

// end is the end of the object and of the line.
func (l *jsonLine) end() { *l = append(*l, '}', '\n') }

func (l *jsonLine) name(name string) {
	b := *l
	if n := len(b); n > 0 && b[n-1] != '{' { // no value ends with a brace that opens
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	*l = append(b, '"', ':')
}

// object begins an object within the object, until close.
func (l *jsonLine) object(name string) {
	l.name(name)
	*l = append(*l, '{')
}

func (l *jsonLine) close() { *l = append(*l, '}') }

func (l *jsonLine) int(name string, v int64) {
	l.name(name)
	*l = strconv.AppendInt(*l, v, 10)
}

func (l *jsonLine) ints(name string, values []int) {
	l.name(name)
	b := append(*l, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	*l = append(b, ']')
}

func (l *jsonLine) bool(name string, v bool) {
	l.name(name)
	*l = strconv.AppendBool(*l, v)
}

func (l *jsonLine) time(name string, t time.Time) {
	l.name(name)
	*l = t.UTC().AppendFormat(*l, `"2006-01-02T15:04:05.000000Z"`)
}

// texts writes a list of words of ours, which need no escaping.
func (l *jsonLine) texts(name string, words ...string) {
	l.name(name)
	b := append(*l, '[')
	for i, w := range words {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), w...), '"')
	}
	*l = append(b, ']')
}

// some writes a string unless it is empty.
func (l *jsonLine) some(name, s string) {
	if s != "" {
		l.text(name, s)
	}
}

// text writes a string: what stands between quotes is UTF-8 without control
// characters, whatever s is (RFC 8259 7).
func (l *jsonLine) text(name, s string) {
	l.name(name)
	b := append(*l, '"')
	plain := 0 // s[plain:i] is to be written as it is
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[plain:i]...)
		switch {
		case c >= utf8.RuneSelf:
			b = append(b, `\ufffd`...)
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		i += size
		plain = i
	}
	b = append(b, s[plain:]...)
	*l = append(b, '"')
}
