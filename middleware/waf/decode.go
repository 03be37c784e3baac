package waf

import (
	"encoding/base64"
	"encoding/hex"
	"html"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/collection"
)

// Applications decode what they are sent: a state in Base64, JSON in a field of a
// form, an address within an address. A value that decodes to text is inspected
// decoded as well, by the same rules, under a name that says how it was decoded.
// Decoding makes a value smaller, or as good as, so what it costs is bounded by
// what is sent.
const (
	decodeDepth = 2      // how often a value is decoded
	maxDecoded  = 10_000 // values that come of it; more are refused
	minBase64   = 12     // less than that is a word
	minHex      = 16
)

// decoder collects what the values of one request decode to.
type decoder struct {
	out   []pair
	texts []string // of XML
	over  bool
	token bool // what is decoded is a signed token
}

// value decodes a value in all the ways in which it can be. Most values can't be,
// which one pass over them tells.
func (d *decoder) value(name, v string, depth int) {
	if len(v) < 4 || depth == decodeDepth {
		return
	}
	word, escapes, hexed := true, false, true
	dots := 0
	for i := range len(v) {
		switch c := v[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		case c >= 'g' && c <= 'z', c >= 'G' && c <= 'Z', c == '+', c == '/', c == '-', c == '_', c == '=', c == '\r', c == '\n':
			hexed = false
		case c == '.':
			dots++
			hexed = false
		default:
			word, hexed = false, false
			escapes = escapes || c == '%' || c == '\\' || c == '&' || c == '{' || c == '['
		}
	}
	switch {
	case word && dots == 2:
		d.token = true
		for _, part := range strings.SplitN(v, ".", 3)[:2] { // a token: header and payload
			d.base64(name, part, depth)
		}
		d.token = false
	case word && dots == 0:
		if hexed && len(v) >= minHex && len(v)%2 == 0 {
			if b, err := hex.DecodeString(v); err == nil {
				d.add(name, "hex", string(b), depth)
			}
		}
		if rest, ok := strings.CutPrefix(v, "0x"); ok && len(rest) >= minHex/2 && len(rest)%2 == 0 {
			if b, err := hex.DecodeString(rest); err == nil {
				d.add(name, "hex", string(b), depth)
			}
		}
		d.base64(name, v, depth)
	case !word && escapes:
		d.escapes(name, v, depth)
	}
	if i := strings.Index(v, ";base64,"); i >= 0 && i < 100 && strings.HasPrefix(v, "data:") {
		d.base64(name, v[i+len(";base64,"):], depth)
	}
}

// escapes undoes what is written in text.
func (d *decoder) escapes(name, v string, depth int) {
	if v[0] == '{' || v[0] == '[' {
		if d.json(name, v, depth) {
			return
		}
	}
	if strings.IndexByte(v, '%') >= 0 {
		if u := unescape(strings.ReplaceAll(v, "+", "%2B")); u != v {
			d.add(name, "url", u, depth)
		}
	}
	if strings.IndexByte(v, '&') >= 0 {
		if u := html.UnescapeString(v); u != v {
			u = strings.ReplaceAll(u, "<?", "< ?") // PHP never runs what was an entity
			d.add(name, "html", u, depth)
		}
	}
	if strings.IndexByte(v, '\\') >= 0 {
		if u := unescapeJS(v); u != v {
			d.add(name, "js", u, depth)
		}
	}
}

// base64 accepts both alphabets, with padding or without, and in lines.
func (d *decoder) base64(name, v string, depth int) {
	if strings.ContainsAny(v, "\r\n") {
		v = strings.NewReplacer("\r", "", "\n", "").Replace(v)
	}
	v = strings.TrimRight(v, "=")
	if len(v) < minBase64 || len(v)%4 == 1 {
		return
	}
	// A look at the beginning spares the decoding of most.
	e := base64.RawStdEncoding
	if strings.ContainsAny(v, "-_") {
		e = base64.RawURLEncoding
	}
	var head [9]byte
	if n, err := e.Decode(head[:], []byte(v[:minBase64])); err != nil || !startsPrintable(head[:n]) {
		return
	}
	if b, err := e.DecodeString(v); err == nil {
		d.add(name, "base64", string(b), depth)
	}
}

// startsPrintable: no byte of text's beginning is a control character.
func startsPrintable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

// printable reports whether decoded bytes are text.
func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if r != '\t' && r != '\n' && r != '\r' && (unicode.IsControl(r) || r == utf8.RuneError) {
			return false
		}
	}
	return true
}

// add notes a text that a value decodes to. What is a document is taken apart, as
// the same document as a body would be.
func (d *decoder) add(name, how, text string, depth int) {
	if text == "" || !printable(text) {
		return
	}
	name += " (" + how + ")"
	if (text[0] == '{' || text[0] == '[') && d.json(name, text, depth+1) {
		return
	}
	if text[0] == '<' && d.xml(text) {
		return
	}
	d.note(name, text)
	d.value(name, text, depth+1)
}

func (d *decoder) note(name, text string) {
	if len(d.out)+len(d.texts) >= maxDecoded {
		d.over = true
		return
	}
	d.out = append(d.out, pair{name, text})
}

// json notes the texts of a document.
func (d *decoder) json(name, v string, depth int) bool {
	pairs, err := jsonArguments([]byte(v), false)
	if err != nil {
		return false
	}
	for _, a := range pairs {
		if _, plain := words(a.value); plain {
			if _, plain := words(a.key); plain {
				continue
			}
		}
		if d.token && (a.key == "json.iss" || a.key == "json.aud") {
			if texts, ok := link(a.value); ok && len(texts) == 0 { // who signed it, and for whom
				continue
			}
		}
		key := name + strings.TrimPrefix(a.key, "json")
		d.note(key, a.value)
		d.value(key, a.value, depth+1)
	}
	return true
}

// xml notes the texts of a document between programs. What a browser might run is
// none of those.
func (d *decoder) xml(text string) bool {
	for _, s := range []string{"http://www.w3.org/1999/xhtml", "http://www.w3.org/2000/svg", "http://www.w3.org/1998/Math"} {
		if strings.Contains(text, s) {
			return false
		}
	}
	var b body
	if err := b.readXML([]byte(text), Accept{}); err != nil || !messageOf(text) || len(d.out)+len(d.texts)+len(b.texts) > maxDecoded {
		return false
	}
	d.texts = append(append(d.texts, b.texts...), b.attrs...)
	return true
}

// decodeInto adds what the values of a query or of cookies decode to. Cookies
// come percent-encoded, which is one step more.
func decodeInto(c collection.Map, cookies bool) error {
	var d decoder
	for _, m := range c.FindAll() {
		depth := 0
		if cookies && strings.IndexByte(m.Value(), '%') >= 0 {
			depth = -1
		}
		d.value(m.Key(), m.Value(), depth)
	}
	for _, a := range d.out {
		c.Add(apart(a.key), a.value)
	}
	for _, t := range d.texts {
		c.Add(apart("xml"), t)
	}
	return d.err()
}

// decode does so for a body.
func (b *body) decode() error {
	var d decoder
	for _, a := range b.args {
		d.value(a.key, a.value, 0)
	}
	b.args = append(b.args, d.out...)
	texts := append([]string(nil), d.texts...)
	d.out, d.texts = nil, nil
	for _, t := range b.texts {
		d.value("", t, 0)
	}
	for _, t := range b.attrs { // the others are among the texts
		if _, plain := words(t); plain {
			d.value("", t, 0)
		}
	}
	for _, a := range d.out {
		texts = append(texts, a.value)
	}
	b.texts = append(append(b.texts, texts...), d.texts...)
	return d.err()
}

func (d *decoder) err() error {
	if d.over {
		return &Refusal{http.StatusRequestEntityTooLarge, ReasonArguments, "more encoded values than are inspected"}
	}
	return nil
}

// unescapeJS undoes the escapes of strings in JavaScript and JSON.
func unescapeJS(s string) string {
	if !strings.Contains(s, `\u`) && !strings.Contains(s, `\x`) && !strings.Contains(s, `\"`) && !strings.Contains(s, `\/`) && !strings.Contains(s, `\'`) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if s[i] != '\\' || i+1 == len(s) {
			out = append(out, s[i])
			i++
			continue
		}
		switch c := s[i+1]; {
		case c == 'u' && i+5 < len(s) && isHex(s[i+2]) && isHex(s[i+3]) && isHex(s[i+4]) && isHex(s[i+5]):
			out = utf8.AppendRune(out, rune(unhex(s[i+2]))<<12|rune(unhex(s[i+3]))<<8|rune(unhex(s[i+4]))<<4|rune(unhex(s[i+5])))
			i += 6
		case c == 'x' && i+3 < len(s) && isHex(s[i+2]) && isHex(s[i+3]):
			out = append(out, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 4
		case c == 'n' || c == 'r' || c == 't':
			out = append(out, ' ')
			i += 2
		case c == '"' || c == '\'' || c == '/' || c == '\\':
			out = append(out, c)
			i += 2
		default:
			out = append(out, '\\')
			i++
		}
	}
	return string(out)
}
