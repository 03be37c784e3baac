package waf

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// Some rules take for attacks what ordinary requests here are full of. What they
// are wrong about is told from the value alone, so nothing else is lost: a rule
// matches only if it still does where that is not in the value.

// tolerance is what a rule sees of a value in its place: other values, each for
// itself. ok false means that it sees the value.
type tolerance func(s string) (parts []string, ok bool)

var tolerances = func() map[int]tolerance {
	out := map[int]tolerance{
		// A link within a text is nothing that a program opens.
		931130: linkInText,
		// Identifiers that begin like one of MongoDB's operators are none, nor are
		// OData's options.
		942290: replaced(withoutNames),
		// Encoders of JSON write Cyrillic as \uXXXX, also into a field of a form.
		920540: replaced(withoutCyrillicEscapes),
		// м and о end in the bytes that < and > were for a browser of 2008 which
		// was told that a page is in ASCII of seven bits.
		941310: withoutLetters,
		// Pages of JSF are named so; as an attribute of HTML, no dot stands before it.
		941130: replaced(withoutPages),
		// SOAP 1.2 names the operation in the type.
		921422: replaced(withoutAction),
	}
	// From paranoia 2 on these count punctuation, take every letter but ASCII's for
	// it, or match any word that a command or function has, too.
	for _, id := range []int{932200, 932240, 932271, 941340, 942120, 942131, 942150, 942180, 942200, 942210, 942260, 942300, 942310, 942330, 942340, 942370, 942380, 942390, 942400, 942410, 942430, 942440, 942450, 942480, 942510, 942520, 942521, 942522} {
		out[id] = plainly
	}
	// A geometry is written like a call.
	for _, id := range []int{942151, 942152} {
		out[id] = func(s string) ([]string, bool) { return wkt(s) }
	}
	// A program is called getcap; what every client of OGC services asks for is not.
	// Nor is base64, in the address of a file.
	for _, id := range []int{934170, 941170} {
		out[id] = plainFile
	}
	// Nor is the time of a consent to cookies, or a name's note of how it was decoded.
	for _, id := range []int{932220, 932230, 932235, 932236, 932250, 932260} {
		out[id] = replaced(func(s string) string {
			return consentTime.ReplaceAllString(decodedNote.ReplaceAllString(withoutCapabilities(s), ""), "")
		})
	}
	// <( begins a command of a shell, but not with a number or in Cyrillic.
	out[932130] = replaced(func(s string) string { return bracketText.ReplaceAllString(s, "$1") })
	for _, id := range []int{932235, 932236, 932250, 932260, 941130} {
		out[id] = either(plainFile, out[id])
	}
	// Markup as editors of text make it runs nothing.
	for _, id := range []int{941130, 941150, 941160, 941310, 941320, 941330, 941340, 942131, 942200, 942430, 942520, 942440} {
		out[id] = either(markup, out[id])
	}
	return out
}()

// replaced is a tolerance for what leaves a part of a value out.
func replaced(without func(string) string) tolerance {
	return func(s string) ([]string, bool) {
		rest := without(s)
		return []string{rest}, len(rest) != len(s)
	}
}

// either is the first of two tolerances that knows a value, and then the second
// for the parts that the first leaves.
func either(one, two tolerance) tolerance {
	if two == nil {
		return one
	}
	return func(s string) (out []string, ok bool) {
		parts, ok := one(s)
		if !ok {
			return two(s)
		}
		for _, p := range parts {
			if rest, ok := two(p); ok {
				out = append(out, rest...)
			} else {
				out = append(out, p)
			}
		}
		return out, true
	}
}

// tolerancePatterns are the patterns of those rules, for an operator is told no
// rule's id.
var tolerancePatterns = sync.OnceValue(func() map[string]tolerance {
	out := map[string]tolerance{}
	for _, file := range ruleFiles() {
		b, err := fs.ReadFile(coreruleset.FS, file)
		if err != nil {
			panic(err) // embedded: a bug
		}
		for _, d := range splitDirectives(string(b)) {
			m := ruleID.FindStringSubmatch(d.text)
			if m == nil {
				continue
			}
			id, _ := strconv.Atoi(m[1])
			without := tolerances[id]
			_, rest, ok := strings.Cut(d.text, `"@rx `)
			if without == nil || !ok {
				continue
			}
			end := 0
			for end < len(rest) && rest[end] != '"' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			out[strings.Clone(strings.ReplaceAll(rest[:end], `\"`, `"`))] = without // not the whole file
		}
	}
	return out
})

// tolerant is a rule's pattern that is not wrong about some values.
type tolerant struct {
	plugintypes.Operator
	tolerance tolerance
}

func (o *tolerant) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if !o.Operator.Evaluate(tx, value) {
		return false
	}
	parts, ok := o.tolerance(value)
	if !ok {
		return true
	}
	for _, p := range parts {
		if p != "" && o.Operator.Evaluate(tx, p) {
			return true
		}
	}
	return false
}

// plainly leaves out texts in Cyrillic; lists of numbers and words, in JSON, in
// the form of a query or of an object of JavaScript, as cookies hold them: there
// is no way out of a text in them. Of other JSON it leaves the texts.
func plainly(s string) (parts []string, ok bool) {
	for _, plain := range []shape{numbers, citation, plainPairs, plainObject, plainLink, plainBytes, plainFile, wkt} {
		if _, ok := plain(s); ok {
			return nil, true
		}
	}
	if prose(s) {
		return nil, true
	}
	texts, ok := document(s)
	if !ok {
		rest, ok := withoutSentences(s)
		return []string{rest}, ok
	}
	for _, t := range texts {
		if rest, ok := plainly(t); ok {
			parts = append(parts, rest...)
		} else {
			parts = append(parts, t)
		}
	}
	return parts, true
}

// citation is words in Cyrillic and numbers without a quotation mark, as places in
// laws are written.
func citation(s string) ([]string, bool) {
	if strings.IndexFunc(s, cyrillic) < 0 {
		return nil, false
	}
	return cited(s)
}

var (
	cited       = pattern(`(?:[\p{Cyrillic}\d\s.,:()№§!…„“«»]|–|—|[\p{Cyrillic}\d.]-[\p{Cyrillic}\d]|; ?[\p{Cyrillic}\d])*`)
	plainPairs  = pattern(`[\w.]+=` + plainValue + `(?:&[\w.]+=` + plainValue + `)*`)
	plainValue  = `(?:[\p{L}\p{N}_.:, +-]*(?: \([A-Za-z ]+\))?|[A-Za-z]{2};\w{0,3})`
	plainObject = pattern(`\{(?:\w+:(?:'[\w+/=. :-]*'|true|false|null|-?[\d.]+)(?:,|\}$))*`)
	plainLink   = pattern(`https?://[\p{L}\p{N}_.:/-]+(?:\?[\w.\[\]-]+=` + plainQuery + `(?:&[\w.\[\]-]+=` + plainQuery + `)*)?(?:#[\w/.-]*)?`)
	plainQuery  = `(?:"[\p{L}\p{N}_., +-]*"|[\p{L}\p{N}_.,:/ +-]*)`
)

// plainBytes are bytes in Base64, of which the form of a query makes some signs
// spaces.
func plainBytes(s string) ([]string, bool) {
	if len(s) < 20 || len(s)%4 != 0 || strings.Count(s, " ") > len(s)/16 {
		return nil, false
	}
	for part := range strings.FieldsSeq(s) {
		if operatorWord.MatchString(part) {
			return nil, false
		}
	}
	s = strings.ReplaceAll(s, " ", "+")
	_, err := base64.StdEncoding.DecodeString(s)
	return nil, err == nil && strings.ContainsAny(s, "0123456789") && strings.ToLower(s) != s && strings.ToUpper(s) != s
}

// plainFile is a file as an address, as scripts of pages send it: of a type that
// no browser runs, which it is, and in which no PHP would find a program.
func plainFile(s string) ([]string, bool) {
	if !strings.HasPrefix(s, "data:") {
		return nil, false
	}
	kind, content, ok := strings.Cut(s[len("data:"):], ";base64,")
	if !ok || len(kind) > 100 {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(content, " ", "+"))
	return nil, err == nil && isFile(kind, b) && !bytes.Contains(b, []byte("<?php")) && !bytes.Contains(b, []byte("<?="))
}

// linkInText: what a program opens begins with the address.
func linkInText(s string) ([]string, bool) {
	at := strings.Index(s, "://")
	if at < 0 {
		return nil, false
	}
	text := strings.TrimRightFunc(s[:at], func(r rune) bool { return r < 0x80 && asciiWord(r) })
	first := strings.IndexFunc(text, cyrillic)
	return nil, first >= 0 && strings.ContainsAny(text[first:], " \t\n") && utf8.ValidString(s)
}

// withoutNames leaves out names with a dollar sign that are no operators.
func withoutNames(s string) string {
	switch s {
	case "$filter", "$select", "$orderby", "$expand", "$top", "$skip", "$count", "$search", "$format", "$apply", "$skiptoken": // OData's
		return ""
	case "$set": // what Livewire calls a method; as an operator, it is a name with something below
		return ""
	}
	return dollarNames.ReplaceAllStringFunc(s, func(n string) string {
		if mongoOperators[strings.ToLower(n[1:])] {
			return n
		}
		return ""
	})
}

var dollarNames = regexp.MustCompile(`\$[A-Za-z]\w*`)

// mongoOperators are those that questions to MongoDB have; of a longer name they
// are no part.
var mongoOperators = set1("eq ne gt gte lt lte in nin and or nor not xor exists type expr jsonschema mod regex text where all elemmatch size slice like between function accumulator options search language comment nearsphere near geowithin geointersects natural rand lookup match project group unionwith out merge graphlookup facet sum avg min max first last push addtoset cond ifnull switch map filter reduce let literal concat substr tolower toupper dateadd unset inc rename pull pop each set")

// withoutLetters leaves out letters of words in Cyrillic, and what such text is
// punctuated with. A letter that stands alone is no word.
func withoutLetters(s string) ([]string, bool) {
	if !utf8.ValidString(s) || strings.IndexFunc(s, kept) < 0 {
		return nil, false
	}
	runes := []rune(s)
	out := make([]rune, 0, len(runes))
	for i, r := range runes {
		if kept(r) && (!cyrillic(r) || i > 0 && cyrillic(runes[i-1]) || i+1 < len(runes) && cyrillic(runes[i+1])) {
			continue
		}
		out = append(out, r)
	}
	return []string{string(out)}, true
}

var (
	consentTime = regexp.MustCompile(`GMT(?:[ +-]|%2B|%2D)\d{4}[ +]\([A-Z][A-Za-z +]*[ +]Time\)`)
	decodedNote = regexp.MustCompile(` \((?:text|url|html|js|hex|base64)\)`)
	bracketText = regexp.MustCompile(`>\(([\p{Cyrillic}\d])`)
)

func withoutPages(s string) string { return pageNames.ReplaceAllString(s, "${1} ${2}") }

var pageNames = regexp.MustCompile(`(?i)([\w-])\.xhtml($|[;?#&/ ])`)

func withoutAction(s string) string { return soapAction.ReplaceAllString(s, "$1") }

var soapAction = regexp.MustCompile(`(?i)^(application/soap\+xml[^"]*?); *action="[\p{L}\p{N}_:/.?=#-]*"`)

func withoutCyrillicEscapes(s string) string {
	at := nextCyrillic(s, 0, '\\')
	if at < 0 {
		return s
	}
	var b strings.Builder
	for at >= 0 {
		b.WriteString(s[:at])
		s = s[at+6:]
		at = nextCyrillic(s, 0, '\\')
	}
	b.WriteString(s)
	return b.String()
}

// withoutCapabilities leaves out a word that names no program.
func withoutCapabilities(s string) string {
	const word = "getcapabilities"
	low := asciiLower(s)
	if !strings.Contains(low, word) {
		return s
	}
	var b strings.Builder
	for i := strings.Index(low, word); i >= 0; i = strings.Index(low, word) {
		b.WriteString(s[:i])
		b.WriteString("wms") // keeps apart what it stands between
		s, low = s[i+len(word):], low[i+len(word):]
	}
	b.WriteString(s)
	return b.String()
}

// asciiLower keeps the length of a text.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}
