package waf

import (
	"strings"
	"unicode/utf8"
)

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
