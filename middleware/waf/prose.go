package waf

import (
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// proseRules are those from paranoia 2 on that count punctuation, or take every
// letter but ASCII's for punctuation. A sentence in Cyrillic with a number, a
// quotation or a question mark matches them.
var proseRules = []int{932200, 942200, 942330, 942370, 942430}

// leaveProse takes parameters that are nothing but prose in Cyrillic out of these
// rules' sight. All others look at them.
func (rs *Ruleset) leaveProse(tx transaction) {
	if rs.settings.Bytes || rs.settings.Paranoia < 2 && !strings.Contains(rs.settings.Custom, "paranoia_level") {
		return
	}
	var only map[string]bool // names, and whether all their values are prose
	for _, m := range tx.Collection(variables.Args).FindAll() {
		is := prose(m.Value())
		if !is && only == nil {
			continue
		}
		if only == nil {
			only = map[string]bool{}
		}
		key := strings.ToLower(m.Key())
		if key == "" { // would stand for every name
			continue
		}
		before, seen := only[key]
		only[key] = is && (before || !seen)
	}
	if len(only) == 0 {
		return
	}
	for _, m := range tx.Collection(variables.Args).FindAll() { // also those before the first prose
		if key := strings.ToLower(m.Key()); only[key] && !prose(m.Value()) {
			only[key] = false
		}
	}
	left := 0
	for key, is := range only {
		if !is || left == maxProse {
			continue
		}
		left++
		for _, id := range proseRules {
			tx.RemoveRuleTargetByID(id, variables.Args, key, nil)
		}
	}
}

// maxProse is how many parameters of one request are left out at most: the engine
// compares each of them with each value.
const maxProse = 100

// prose reports whether a value is words in Cyrillic with the punctuation of
// sentences. Without a Latin letter there is no keyword, command or tag in it;
// what could begin code without one is not in it either.
func prose(s string) bool {
	if len(s) < 8 || strings.IndexFunc(s, cyrillic) < 0 {
		return false
	}
	letters := 0
	before := ' '
	for rest := s; rest != ""; {
		r, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
		after := ' '
		if rest != "" {
			after, _ = utf8.DecodeRuneInString(rest)
		}
		switch {
		case cyrillic(r):
			letters++
		case r >= '0' && r <= '9', strings.ContainsRune(" \r\n\t.,:()!„“”«»–—…№°§€•", r):
		case r == ';' && (after == ' ' || after == '\n' || after == '\r'):
		case r == '?' && before != '/' && after != '/' && !asciiWord(after):
		case r == '-' && before != '-' && after != '-', r == '/' && word(before) && word(after), r == '%' && before >= '0' && before <= '9' && !asciiWord(after), r == '\'' && cyrillic(before) && cyrillic(after):
		case r == '"' && (word(before) || before == '.') != word(after): // it begins or ends a quotation
		default:
			return false
		}
		before = r
	}
	return letters >= 6 && letters*3 >= utf8.RuneCountInString(s)
}

func word(r rune) bool { return cyrillic(r) || r >= '0' && r <= '9' }

func asciiWord(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
