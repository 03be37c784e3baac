package screen

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rule is a rule of SecLang, as the engine has it.
type Rule struct {
	ID    int
	Phase int
	Raw   string // the directive, and those that are chained to it
}

// parsed is the first directive of a rule: what has to match for the rest to
// be looked at.
type parsed struct {
	Rule
	sources    []string // such as ARGS or REQUEST_HEADERS:user-agent
	operator   string
	argument   string
	negated    bool
	transforms []string
	each       bool // multiMatch: every step of the transformations is looked at
}

// known are the collections that are screened. What a rule looks at beyond them
// keeps the rule unscreened.
var known = map[string]bool{
	"ARGS": true, "ARGS_GET": true, "ARGS_POST": true, "ARGS_NAMES": true, "ARGS_GET_NAMES": true, "ARGS_POST_NAMES": true,
	"REQUEST_COOKIES": true, "REQUEST_COOKIES_NAMES": true, "REQUEST_HEADERS": true, "REQUEST_HEADERS_NAMES": true, "XML": true,
	"REQUEST_FILENAME": true, "REQUEST_BASENAME": true, "REQUEST_URI": true, "REQUEST_URI_RAW": true, "REQUEST_LINE": true,
	"REQUEST_BODY": true, "QUERY_STRING": true, "REQUEST_METHOD": true, "REQUEST_PROTOCOL": true,
	"FILES": true, "FILES_NAMES": true, "MULTIPART_PART_HEADERS": true,
}

// parse reads a rule; an error says why it can't be screened.
func parse(r Rule) (p parsed, err error) {
	p.Rule = r
	rest, ok := strings.CutPrefix(strings.TrimSpace(r.Raw), "SecRule ")
	if !ok {
		return p, fmt.Errorf("not a SecRule")
	}
	// A directive is on one line here; those chained to it follow on others.
	rest, _, _ = strings.Cut(rest, " \nSecRule ")
	vars, rest := word(rest)
	operator, rest := word(rest)
	actions, _ := word(rest)
	if err := p.variables(vars); err != nil {
		return p, err
	}
	p.operation(operator)
	for _, a := range splitActions(actions) {
		name, value, _ := strings.Cut(a, ":")
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case name == "t" && strings.EqualFold(value, "none"):
			p.transforms = nil
		case name == "t":
			p.transforms = append(p.transforms, value)
		case name == "multimatch":
			p.each = true
		}
	}
	return p, nil
}

// word cuts off the next word, or what stands between quotes.
func word(s string) (w, rest string) {
	s = strings.TrimLeft(s, " \t\n")
	if s == "" {
		return "", ""
	}
	if s[0] != '"' {
		w, rest, _ = strings.Cut(s, " ")
		return w, rest
	}
	var b []byte
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			b = append(b, '"')
			i++
		case s[i] == '"':
			return string(b), s[i+1:]
		default:
			b = append(b, s[i])
		}
	}
	return string(b), ""
}

func (p *parsed) variables(s string) error {
	for _, v := range splitVariables(s) {
		if strings.HasPrefix(v, "!") {
			continue // fewer targets: what is screened is more than what is looked at
		}
		name, selector, _ := strings.Cut(v, ":")
		name = strings.ToUpper(name)
		if !known[name] {
			return fmt.Errorf("it looks at %s", v)
		}
		if name == "REQUEST_HEADERS" && selector != "" && !strings.HasPrefix(selector, "/") && !strings.HasPrefix(selector, "'") {
			name += ":" + strings.ToLower(selector)
		}
		p.sources = append(p.sources, name)
	}
	if len(p.sources) == 0 {
		return fmt.Errorf("it looks at nothing")
	}
	return nil
}

// splitVariables splits at bars outside of patterns.
func splitVariables(s string) (out []string) {
	pattern := false
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '/' && i > 0 && (pattern || s[i-1] == ':' || s[i-1] == '\'') && !strings.HasPrefix(s[start:], "XML"):
			pattern = !pattern
		case s[i] == '|' && !pattern:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

func (p *parsed) operation(s string) {
	if s, p.negated = strings.CutPrefix(s, "!"); !strings.HasPrefix(s, "@") {
		p.operator, p.argument = "rx", s
		return
	}
	name, argument, _ := strings.Cut(s[1:], " ")
	p.operator, p.argument = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(argument)
}

// splitActions splits at commas outside of quotes.
func splitActions(s string) (out []string) {
	quoted := false
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out = append(out, strings.TrimSpace(s[start:i]))
			start = i + 1
		}
	}
	return append(out, strings.TrimSpace(s[start:]))
}

// condition is what a value has to hold for the rule's operator. The operators
// that decide by themselves (libinjection) have none.
func (p *parsed) condition(files fs.FS) ([]clause, error) {
	if p.negated {
		return nil, fmt.Errorf("it matches what is not like something")
	}
	switch p.operator {
	case "rx":
		return rxCondition(p.argument)
	case "pm":
		return phrases(strings.Split(strings.ToLower(p.argument), " "))
	case "pmfromfile", "pmf":
		var list []string
		for name := range strings.FieldsSeq(p.argument) {
			b, err := fs.ReadFile(files, "@owasp_crs/"+name)
			if err != nil {
				return nil, err
			}
			for l := bufio.NewScanner(bytes.NewReader(b)); l.Scan(); {
				if s := strings.TrimSpace(l.Text()); s != "" && s[0] != '#' {
					list = append(list, strings.ToLower(s))
				}
			}
		}
		return phrases(list)
	case "contains", "streq", "beginswith", "endswith":
		if strings.Contains(p.argument, "%{") {
			return nil, fmt.Errorf("it compares with a variable")
		}
		return phrases([]string{asciiLower(p.argument)})
	case "validatebyterange":
		return byteRange(p.argument)
	case "validateurlencoding":
		return []clause{{"%"}}, nil
	case "validateutf8encoding":
		var c clause
		for b := utf8.RuneSelf; b < 256; b++ {
			c = append(c, string([]byte{byte(b)}))
		}
		return []clause{c}, nil
	}
	return nil, fmt.Errorf("@%s has no condition", p.operator)
}

func rxCondition(pattern string) ([]clause, error) {
	// The engine's other matcher, for patterns with bytes, has "." and "^" match
	// less than this.
	re, err := syntax.Parse("(?sm)"+pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	c := conditions(re)
	if len(c) == 0 {
		return nil, fmt.Errorf("its pattern has no condition")
	}
	return c, nil
}

func phrases(list []string) ([]clause, error) {
	for _, s := range list {
		if s == "" {
			return nil, fmt.Errorf("a phrase is empty")
		}
	}
	if len(list) == 0 || len(list) > maxClause {
		return nil, fmt.Errorf("no phrases, or too many")
	}
	c := reduce(list)
	if c.weight() >= useless {
		return nil, fmt.Errorf("its phrases are too common")
	}
	return []clause{c}, nil
}

// byteRange: one byte outside of the range has to be there. Letters stand in
// either case for the automaton, which makes more match, not less.
func byteRange(s string) ([]clause, error) {
	var valid [256]bool
	for one := range strings.SplitSeq(s, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(one), "-")
		if !ranged {
			last = first
		}
		a, err1 := strconv.Atoi(first)
		b, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || a < 0 || b > 255 {
			return nil, fmt.Errorf("its range can't be read")
		}
		for i := a; i <= b; i++ {
			valid[i] = true
		}
	}
	var c clause
	for i, v := range valid {
		if !v {
			c = append(c, string([]byte{lower(byte(i))}))
		}
	}
	if len(c) == 0 || c.weight() >= 100 {
		return nil, fmt.Errorf("its range leaves out what is common")
	}
	return []clause{reduce(c)}, nil
}

// asciiLower leaves letters other than ASCII as they are, as operators that tell
// cases apart do.
func asciiLower(s string) string {
	b := []byte(s)
	for i, c := range b {
		b[i] = lower(c)
	}
	return string(b)
}
