package waf

import (
	"io/fs"
	"strconv"
	"strings"
	"sync"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
)

// Some rules take for attacks what ordinary requests here are full of. What they
// are wrong about is told from the value alone, so nothing else is lost: a rule
// matches only if it still does where that is not in the value.

// tolerances are what rules don't see of a value: all of it if "".
var tolerances = map[int]func(string) string{
	// From paranoia 2 on these count punctuation, or take every letter but ASCII's
	// for it. A sentence in Cyrillic with a number, a quotation or a question mark
	// matches them.
	932200: withoutProse, 942120: withoutProse, 942200: withoutPlain, 942330: withoutProse, 942370: withoutProse, 942430: withoutProse,
	// OData's options are not MongoDB's operators.
	942290: withoutOptions,
	// Encoders of JSON write Cyrillic as \uXXXX, also into a field of a form.
	920540: withoutCyrillicEscapes,
	// A program is called getcap; what every client of OGC services asks for is not.
	932220: withoutCapabilities, 932230: withoutCapabilities, 932235: withoutCapabilities, 932236: withoutCapabilities, 932250: withoutCapabilities, 932260: withoutCapabilities,
}

// tolerancePatterns are the patterns of those rules, for an operator is told no
// rule's id.
var tolerancePatterns = sync.OnceValue(func() map[string]func(string) string {
	out := map[string]func(string) string{}
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
			out[strings.ReplaceAll(rest[:end], `\"`, `"`)] = without
		}
	}
	return out
})

// tolerant is a rule's pattern that is not wrong about some values.
type tolerant struct {
	plugintypes.Operator
	without func(string) string
}

func (o *tolerant) Evaluate(tx plugintypes.TransactionState, value string) bool {
	if !o.Operator.Evaluate(tx, value) {
		return false
	}
	rest := o.without(value)
	return len(rest) == len(value) || rest != "" && o.Operator.Evaluate(tx, rest)
}

func withoutProse(s string) string {
	if prose(s) {
		return ""
	}
	return s
}

// withoutPlain leaves out also lists of numbers, and words in JSON or in the form
// of a query, as cookies hold them: there is no way out of a text in them.
func withoutPlain(s string) string {
	for _, plain := range []shape{numbers, plainPairs} {
		if _, ok := plain(s); ok {
			return ""
		}
	}
	if texts, ok := document(s); ok && len(texts) == 0 {
		return ""
	}
	return withoutProse(s)
}

var plainPairs = pattern(`[\w.]+=[\w.:, +-]*(?:&[\w.]+=[\w.:, +-]*)*`)

func withoutOptions(s string) string {
	switch s {
	case "$filter", "$select", "$orderby", "$expand", "$top", "$skip", "$count", "$search", "$format", "$apply", "$skiptoken":
		return ""
	}
	return s
}

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
