package waf

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text that people write in Cyrillic is told from code by its grammar. Code can
// hold Cyrillic in strings and comments alone, so:
//   - straight quotes stand as in a text: in pairs, each opening one before a word
//     and each closing one behind one. Where a value is put between quotes of a
//     query, what its own quotes lay bare are the quotations, and a quotation that
//     begins with a word, but no operator, continues no expression;
//   - where a value is put into a query without quotes, three words in Cyrillic
//     beside each other that stand in no quotation are a mistake in any language;
//   - there is no backslash, backquote, brace, bracket, bar, dollar sign or less-than
//     sign in it, no comment before those three words, and no wildcard in a path.
// Only rules that match fragments of code (see tolerances) don't look at such
// text. Those that look for commands, functions and tags still do.

// prose reports whether a value is a text in Cyrillic.
func prose(s string) bool {
	if len(s) < 8 || strings.IndexFunc(s, cyrillic) < 0 || !utf8.ValidString(s) {
		return false
	}
	return sentence(s) || mixed(s)
}

// sentence reports whether a value is words in Cyrillic with the punctuation of
// sentences. Without a Latin letter there is no keyword, command or tag in it;
// what could begin code without one is not in it either.
func sentence(s string) bool {
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

// mixed reports whether a value is a text in Cyrillic with words, numbers, names
// and addresses in Latin letters between.
func mixed(s string) bool {
	m := mixedText{}
	tokens := strings.Fields(s)
	for i, t := range tokens {
		next := ""
		if i+1 < len(tokens) {
			next = tokens[i+1]
		}
		if !m.token(t, next) {
			return false
		}
	}
	return m.quote == 0 && m.proved && m.cyrillic >= 9 && m.cyrillic*2 >= m.latin
}

// withoutSentences leaves out the sentences of a text that are prose each for
// itself. What is left stands as close together as it can, so code that sentences
// were put into is still code.
func withoutSentences(s string) (rest string, ok bool) {
	if len(s) < 8 || strings.IndexFunc(s, cyrillic) < 0 || !utf8.ValidString(s) {
		return s, false
	}
	var left []string
	for s != "" {
		end := len(s)
		if at := sentenceEnd.FindStringIndex(s); at != nil {
			end = at[1]
		}
		if prose(s[:end]) {
			ok = true
		} else {
			left = append(left, s[:end])
		}
		s = s[end:]
	}
	return strings.Join(left, ""), ok
}

var sentenceEnd = regexp.MustCompile(`[.!?…:][“")]?\s+|[\r\n]+`)

// mixedText is what is known of the tokens of a text until now.
type mixedText struct {
	quote           rune // the straight quote that is open
	cyrillic, latin int  // letters
	row             int  // words in Cyrillic beside each other, outside of quotations
	proved          bool // there were three
	last            string
}

var (
	proseLink    = regexp.MustCompile(`^(?:https?|hxxps?)://[\p{L}\p{N}_.:/?&=%#~+,;-]+$`)
	proseQuery   = regexp.MustCompile(`^/[\w./-]*\?\w+=[\w.%-]*(?:&\w+=[\w.%-]*)*$`)
	proseMail    = regexp.MustCompile(`^[\w.+-]+@[\w-]+(?:\.[\w-]+)+$`)
	prosePath    = regexp.MustCompile(`^/?[\p{L}\p{N}_.,:()№+-]+(?:/[\p{L}\p{N}_.,:()№+%-]+)*/?$`)
	proseEqual   = regexp.MustCompile(`^[\p{L}\p{N}_]+=[\d.,]+$`)
	proseStars   = regexp.MustCompile(`^(?:\*+[\d.,;:]*|\d+\*+[.,]?)$`)
	proseDegrees = regexp.MustCompile(`^\d+°(?:\d+'(?:[\d.]+")?)?[NSEW]?$`)
	proseArrow   = regexp.MustCompile(`^(?:->|=>|>|>>|→)$`)
	operatorWord = regexp.MustCompile(`^(?i:or|and|xor|not|like|ilike|rlike|regexp|between|in|is|div|mod|union|select|insert|update|delete|drop|collate|sounds|escape|limit|offset|order|group|having|into|procedure|for|as|when|then|else|end|case|where|from|join|exec|execute|glob|similar|overlaps|returning|intersect|except)(?:$|[^\p{L}\p{N}_])`)
)

// signs may stand anywhere in a text.
const signs = ".,:!()„“”«»–—…№§€•°‰±²³×µ½"

// statementWord is a word that begins something of its own.
var statementWord = regexp.MustCompile(`(?i)^(?:select|union|insert|drop|exec|execute|sleep|benchmark|waitfor|declare|pg_\w+|xp_\w+)$`)

// token takes the next word with its punctuation.
func (m *mixedText) token(t, next string) bool {
	core := strings.Trim(t, ".,:;!?()„“”«»…\"'")
	if statementWord.MatchString(core) {
		return false
	}
	defer func() { m.last = t }()
	switch {
	case proseLink.MatchString(core) || proseQuery.MatchString(core):
		m.row = 0
		return m.around(t, core)
	case proseMail.MatchString(core):
		m.row = 0
		return m.around(t, core)
	case (t == ">=" || t == "<=" || t == ">" || t == "<") && m.proved && m.quote == 0 && next != "" && strings.Trim(next, "0123456789.,;%") == "": // a bound
		m.row = 0
		return true
	case t == "--" || proseArrow.MatchString(t) || t == "=":
		m.row = 0
		before, _ := utf8.DecodeLastRuneInString(strings.TrimRight(m.last, `.,:;!?()„“”"`))
		after, _ := utf8.DecodeRuneInString(strings.TrimLeft(next, `„“"(`))
		switch {
		case m.last == "" || next == "" || m.quote != 0:
			return false
		case t == "--":
			return m.proved && cyrillic(after) && (cyrillic(before) || before >= '0' && before <= '9')
		case t == "=":
			return word(after) && (word(before) || asciiWord(before))
		case t == "->", t == "→":
			return word(after) || asciiWord(after)
		}
		return cyrillic(after)
	case t == "&" || t == "+" || t == "-" || t == "/" || t == "%" || t == "*":
		m.row = 0
		return t != "*" || m.proved || m.last == ""
	case proseStars.MatchString(t), proseDegrees.MatchString(core):
		return true
	case proseEqual.MatchString(core):
		m.row = 0
		return m.around(t, core)
	}
	return m.runes(t, core)
}

// around takes the punctuation around what was recognized.
func (m *mixedText) around(t, core string) bool {
	head, tail, _ := strings.Cut(t, core)
	m.latin += 3
	return strings.IndexByte(head, '\'') < 0 && strings.IndexByte(tail, '\'') < 0 && m.runes(head+"1"+tail, "1")
}

func (m *mixedText) runes(t, core string) bool {
	letters, ascii := 0, 0
	apostrophes := 0
	before := ' '
	for i, r := range t {
		after := ' '
		if rest := t[i+utf8.RuneLen(r):]; rest != "" {
			after, _ = utf8.DecodeRuneInString(rest)
		}
		letter := func(r rune) bool { return word(r) || asciiWord(r) || r >= 0xc0 && r < 0x250 && unicode.IsLetter(r) }
		switch {
		case cyrillic(r):
			letters++
		case letter(r):
			if r > '9' {
				ascii++
			}
		case r == '(' && (before >= 'a' && before <= 'z' || before >= 'A' && before <= 'Z'): // a call
			return false
		case strings.ContainsRune(signs, r), emoji(r):
		case r == '_' && letter(before) && letter(after):
		case r == ';' && !asciiWord(after) && !cyrillic(after) && after != ';' && (m.proved || m.latin+ascii == 0):
		case r == '?' && before != ' ' && (after == ' ' || strings.ContainsRune("?!.,):;\"“”…", after)):
			if strings.ContainsAny(core, "/*~") && ascii > 0 && !prosePath.MatchString(core) || strings.HasPrefix(core, "/") {
				return false // a wildcard
			}
			if strings.Contains(core, "/") && letters == 0 && ascii > 0 {
				return false
			}
		case r == '-' && before != '-' && after != '-' && after != '>':
		case r == '/':
			if !prosePath.MatchString(core) || strings.Contains(core, "..") {
				return false
			}
		case r == '%' && (before >= '0' && before <= '9' || before == ' ') && !asciiWord(after):
		case r == '+' && (after == ' ' || after >= '0' && after <= '9'), r == '~' && before == ' ' && after >= '0' && after <= '9':
		case r == '#' && m.proved && (before == ' ' || before == '(' || asciiWord(before)) && asciiWord(after): // a number or a color
		case r == '\'' && letter(before) && letter(after) && apostrophes == 0 && m.quote != '\'': // O'Neill
			apostrophes++
		case r == '"' || r == '\'':
			opens, closes := (before == ' ' || strings.ContainsRune("(„/-:", before)) && letter(after), before != ' ' && before != '(' && (after == ' ' || strings.ContainsRune(".,;:!?)…-–/“", after))
			switch {
			case m.quote == 0 && opens && !operatorWord.MatchString(t[i+1:]):
				m.quote = r
				m.row = 0
			case m.quote == r && closes:
				m.quote = 0
			default:
				return false
			}
		default:
			return false
		}
		before = r
	}
	m.cyrillic += letters
	m.latin += ascii
	switch {
	case m.quote == 0 && letters > 0 && ascii == 0 && !strings.ContainsAny(t, `"'`):
		if m.row++; m.row >= 3 {
			m.proved = true
		}
	case letters > 0 || ascii > 0:
		m.row = 0
	}
	return true
}

func emoji(r rune) bool {
	return r >= 0x1f300 && r <= 0x1faff || r >= 0x2600 && r <= 0x27bf || r == 0xfe0f
}

func word(r rune) bool { return cyrillic(r) || r >= '0' && r <= '9' }

func asciiWord(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
