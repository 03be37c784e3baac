package waf

import (
	"net/http"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of JSON. What exceeds them is refused.
const (
	maxJSONDepth  = 64
	maxJSONValues = 100_000
	maxJSONPaths  = 8 // bytes of names that values are listed under, for each byte of the document
)

// jsonArguments lists the values of a JSON document under their paths, such as
// json.items.0.name, and the lengths of arrays under theirs. It is strict, for
// parsers differ in what they make of a name that stands twice, of bytes that are
// not UTF-8 and of half a surrogate pair (RFC 8259 4, 8.1 and 8.2).
// The beginning of a document may end anywhere.
func jsonArguments(b []byte, head bool) ([]pair, error) {
	if head {
		b = wholeRunes(b)
	}
	out, err := readJSON(b, head)
	if r := asRefusal(err); head && r != nil && r.Reason == ReasonJSON && r.Detail == cutOff {
		err = nil
	}
	return out, err
}

// CheckJSON refuses what is not JSON, or JSON with two readings.
func CheckJSON(b []byte) error {
	_, err := jsonArguments(b, false)
	return err
}

// cutOff is what is wrong with a document that ends too early.
const cutOff = "the document ends too early"

func readJSON(b []byte, head bool) ([]pair, error) {
	p := &jsonParser{b: b, head: head, path: []byte("json"), budget: max(4096, maxJSONPaths*len(b))}
	if !utf8.Valid(b) {
		return nil, badBody(ReasonJSON, "invalid UTF-8")
	}
	p.space()
	if p.i < len(b) && b[p.i] != '{' && b[p.i] != '[' { // a value alone stands as an array of one
		p.path = append(p.path, ".0"...)
		err := p.value(0)
		if err == nil {
			p.out = append(p.out, pair{"json", "1"})
			err = p.end()
		}
		return p.out, err
	}
	err := p.value(0)
	if err == nil {
		err = p.end()
	}
	return p.out, err
}

type jsonParser struct {
	b      []byte
	i      int
	path   []byte
	out    []pair
	budget int
	head   bool // more follows
}

// longestToken is the longest that is read at once. So close to the end, what is
// wrong may only be cut off.
const longestToken = len(`\ud83d\ude00`)

func (p *jsonParser) fail(what string) error {
	if p.head && len(p.b)-p.i < longestToken {
		return badBody(ReasonJSON, cutOff)
	}
	return badBody(ReasonJSON, "%s at byte %d", what, p.i)
}

func (p *jsonParser) end() error {
	if p.space(); p.i < len(p.b) {
		return p.fail("something after the end of the document")
	}
	return nil
}

func (p *jsonParser) space() {
	for p.i < len(p.b) {
		switch p.b[p.i] {
		case ' ', '\t', '\r', '\n':
			p.i++
		default:
			return
		}
	}
}

// add lists a value under the present path.
func (p *jsonParser) add(v string) error {
	p.budget -= len(p.path) + len(v)
	if p.budget < 0 || len(p.out) >= maxJSONValues {
		return &Refusal{http.StatusRequestEntityTooLarge, ReasonArguments, "more JSON values than are inspected"}
	}
	p.out = append(p.out, pair{string(p.path), v})
	return nil
}

func (p *jsonParser) value(depth int) error {
	if p.space(); p.i >= len(p.b) {
		return p.fail("the document ends too early")
	}
	switch c := p.b[p.i]; {
	case c == '{':
		return p.object(depth + 1)
	case c == '[':
		return p.array(depth + 1)
	case c == '"':
		s, err := p.str()
		if err != nil && !p.head {
			return err
		}
		if full := p.add(s); full != nil { // also what is there of a string that is cut off
			return full
		}
		return err
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if len(p.b)-p.i >= len(word) && string(p.b[p.i:p.i+len(word)]) == word {
			p.i += len(word)
			if word == "null" {
				word = ""
			}
			return p.add(word)
		}
	}
	return p.fail("not a value")
}

func (p *jsonParser) object(depth int) error {
	if depth > maxJSONDepth {
		return badBody(ReasonDepth, "JSON deeper than %d", maxJSONDepth)
	}
	p.i++
	base := len(p.path)
	var names nameSet
	for first := true; ; first = false {
		p.space()
		if p.i < len(p.b) && p.b[p.i] == '}' && first {
			p.i++
			return nil
		}
		if p.i >= len(p.b) || p.b[p.i] != '"' {
			return p.fail("a name is missing")
		}
		name, err := p.str()
		if err != nil {
			if p.head {
				p.path = append(append(p.path, '.'), name...)
				p.add("")
			}
			return err
		}
		if !names.add(name) {
			return p.fail("a name stands twice in one object")
		}
		if p.space(); p.i >= len(p.b) || p.b[p.i] != ':' {
			return p.fail("a colon is missing")
		}
		p.i++
		p.path = append(append(p.path, '.'), name...)
		if err := p.value(depth); err != nil {
			return err
		}
		p.path = p.path[:base]
		more, err := p.next('}')
		if err != nil || !more {
			return err
		}
	}
}

func (p *jsonParser) array(depth int) error {
	if depth > maxJSONDepth {
		return badBody(ReasonDepth, "JSON deeper than %d", maxJSONDepth)
	}
	p.i++
	base := len(p.path)
	if p.space(); p.i < len(p.b) && p.b[p.i] == ']' {
		p.i++
		return nil
	}
	for n := 0; ; n++ {
		p.path = strconv.AppendInt(append(p.path, '.'), int64(n), 10)
		if err := p.value(depth); err != nil {
			return err
		}
		p.path = p.path[:base]
		more, err := p.next(']')
		if err != nil {
			return err
		}
		if !more {
			return p.add(strconv.Itoa(n + 1))
		}
	}
}

// next goes over a comma, or over the end.
func (p *jsonParser) next(end byte) (more bool, err error) {
	if p.space(); p.i >= len(p.b) {
		return false, p.fail("the document ends too early")
	}
	switch p.b[p.i] {
	case ',':
		p.i++
		return true, nil
	case end:
		p.i++
		return false, nil
	}
	return false, p.fail("a comma is missing")
}

func (p *jsonParser) number() error {
	start := p.i
	digits := func() bool {
		n := p.i
		for p.i < len(p.b) && p.b[p.i] >= '0' && p.b[p.i] <= '9' {
			p.i++
		}
		return p.i > n
	}
	if p.b[p.i] == '-' {
		p.i++
	}
	zero := p.i < len(p.b) && p.b[p.i] == '0'
	first := p.i
	if !digits() || zero && p.i > first+1 {
		return p.fail("not a number")
	}
	if p.i < len(p.b) && p.b[p.i] == '.' {
		if p.i++; !digits() {
			return p.fail("not a number")
		}
	}
	if p.i < len(p.b) && p.b[p.i]|0x20 == 'e' {
		p.i++
		if p.i < len(p.b) && (p.b[p.i] == '+' || p.b[p.i] == '-') {
			p.i++
		}
		if !digits() {
			return p.fail("not a number")
		}
	}
	return p.add(string(p.b[start:p.i]))
}

func (p *jsonParser) str() (string, error) {
	p.i++
	start := p.i
	for p.i < len(p.b) && p.b[p.i] != '"' && p.b[p.i] != '\\' && p.b[p.i] >= ' ' {
		p.i++
	}
	if p.i < len(p.b) && p.b[p.i] == '"' {
		p.i++
		return string(p.b[start : p.i-1]), nil
	}
	out := append([]byte(nil), p.b[start:p.i]...)
	for p.i < len(p.b) {
		switch c := p.b[p.i]; {
		case c == '"':
			p.i++
			return string(out), nil
		case c < ' ':
			return string(out), p.fail("a control character in a string")
		case c != '\\':
			out = append(out, c)
			p.i++
		default:
			r, err := p.escape()
			if err != nil {
				return string(out), err
			}
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out), p.fail("a string does not end")
}

func (p *jsonParser) escape() (rune, error) {
	if p.i+1 >= len(p.b) {
		return 0, p.fail("a string does not end")
	}
	p.i += 2
	switch p.b[p.i-1] {
	case '"', '\\', '/':
		return rune(p.b[p.i-1]), nil
	case 'b':
		return '\b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'u':
		r, ok := p.hex4()
		if !ok {
			return 0, p.fail("not an escape")
		}
		if !utf16.IsSurrogate(r) {
			return r, nil
		}
		if p.i+1 < len(p.b) && p.b[p.i] == '\\' && p.b[p.i+1] == 'u' {
			p.i += 2
			if low, ok := p.hex4(); ok {
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					return r, nil
				}
			}
		}
		return 0, p.fail("half of a surrogate pair")
	}
	return 0, p.fail("not an escape")
}

func (p *jsonParser) hex4() (rune, bool) {
	if p.i+4 > len(p.b) {
		return 0, false
	}
	var r rune
	for _, c := range p.b[p.i : p.i+4] {
		if !isHex(c) {
			return 0, false
		}
		r = r<<4 | rune(unhex(c))
	}
	p.i += 4
	return r, true
}

// nameSet finds names that stand twice: by looking at each where there are few.
type nameSet struct {
	few  []string
	many map[string]bool
}

func (s *nameSet) add(name string) bool {
	if s.many == nil {
		for _, n := range s.few {
			if n == name {
				return false
			}
		}
		if s.few = append(s.few, name); len(s.few) > 16 {
			s.many = map[string]bool{}
			for _, n := range s.few {
				s.many[n] = true
			}
		}
		return true
	}
	if s.many[name] {
		return false
	}
	s.many[name] = true
	return true
}
