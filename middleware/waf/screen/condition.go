package screen

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// clause is a set of literals of which one has to occur in a value, in lower
// case, for a rule to match.
type clause []string

// Bounds of what is kept while a condition is made of an expression.
const (
	maxExact   = 1500 // literals that a part of an expression stands for
	maxClass   = 64   // characters of a class
	maxLength  = 32   // bytes of one
	maxClause  = 4096 // literals of a clause
	maxClauses = 3    // of a rule
)

// useless is the weight from which a clause says too little to be worth it.
const useless = 4.0

// evasion are bytes that patterns allow anywhere in a word, so that it is found
// also where a shell would put it together. Each set is tried.
var evasion = []string{`\"'`, `\"')[$`, "\\\"')[]$&|^`", "\\\"'[]$&^`(){};|<>!*?#,@~\x00"}

// conditions are necessary for an expression to match: each clause for itself.
// None means that nothing is known.
func conditions(re *syntax.Regexp) []clause {
	re = re.Simplify()
	var all []clause
	all = append(all, analyze(re).all()...)
	for _, bytes := range evasion {
		var used [256]bool
		special := without(re, bytes, &used)
		var tokens clause
		for i, u := range used {
			if u {
				tokens = append(tokens, strings.ToLower(string([]byte{byte(i)})))
			}
		}
		if special == nil { // it can't match without one of them
			all = append(all, tokens)
			continue
		}
		if len(tokens) == 0 {
			continue
		}
		for _, c := range analyze(special.Simplify()).all() {
			all = append(all, reduce(append(slices.Clone(c), tokens...)))
		}
	}
	return best(all)
}

// best are the few clauses that are the least likely to hold by chance.
func best(all []clause) (out []clause) {
	slices.SortStableFunc(all, func(a, b clause) int {
		switch wa, wb := a.weight(), b.weight(); {
		case wa < wb:
			return -1
		case wa > wb:
			return 1
		}
		return 0
	})
	for _, c := range all {
		if len(c) == 0 || len(c) > maxClause || c.weight() >= useless {
			continue
		}
		if len(out) < maxClauses && !slices.ContainsFunc(out, func(o clause) bool { return slices.Equal(o, c) }) {
			out = append(out, c)
		}
	}
	return out
}

// weight estimates how often one of the literals occurs in a hundred bytes.
func (c clause) weight() (w float64) {
	for _, s := range c {
		p := 100.0
		for i := range len(s) {
			p *= frequency(s[i])
		}
		w += p
	}
	return w
}

func frequency(b byte) float64 {
	switch {
	case strings.IndexByte("etaoinsr", b) >= 0:
		return .07
	case b >= 'a' && b <= 'z':
		return .025
	case b == ' ':
		return .12
	case b >= '0' && b <= '9', b == '.', b == '-', b == ',':
		return .02
	case b == '_', b == '/', b == ':', b == '"', b == '=', b == '&', b == '%':
		return .01
	case b >= 0x80:
		return .05
	}
	return .002
}

// facts is what is known of a part of an expression: the literals that it stands
// for, if there are few, and otherwise what it needs.
type facts struct {
	exact   []string // nil: not known
	clauses []clause
}

// all are the clauses of a whole expression.
func (f facts) all() []clause {
	if f.exact == nil {
		return f.clauses
	}
	if c := toClause(f.exact); c != nil {
		return append(slices.Clone(f.clauses), c)
	}
	return f.clauses
}

// toClause is nil if the empty string is among them, for then nothing is needed.
func toClause(exact []string) clause {
	if slices.Contains(exact, "") {
		return nil
	}
	return reduce(slices.Clone(exact))
}

// reduce leaves out literals that contain another one.
func reduce(in []string) clause {
	slices.SortFunc(in, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	in = slices.Compact(in)
	if len(in) > 300 {
		return in // too many to compare
	}
	out := in[:0:0]
	for _, s := range in {
		if !slices.ContainsFunc(out, func(o string) bool { return strings.Contains(s, o) }) {
			out = append(out, s)
		}
	}
	return out
}

func analyze(re *syntax.Regexp) facts {
	switch re.Op {
	case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
		return facts{exact: []string{""}}
	case syntax.OpLiteral:
		return literal(re.Rune, re.Flags&syntax.FoldCase != 0)
	case syntax.OpCharClass:
		return facts{exact: class(re.Rune)}
	case syntax.OpCapture:
		return analyze(re.Sub[0])
	case syntax.OpQuest:
		if f := analyze(re.Sub[0]); f.exact != nil && len(f.exact) < maxExact && len(f.clauses) == 0 {
			return facts{exact: append(slices.Clone(f.exact), "")}
		}
		return facts{}
	case syntax.OpPlus:
		return facts{clauses: analyze(re.Sub[0]).all()}
	case syntax.OpRepeat: // Simplify leaves none; if it did, min 1 or more needs it once
		if re.Min > 0 {
			return facts{clauses: analyze(re.Sub[0]).all()}
		}
		return facts{}
	case syntax.OpConcat:
		return concat(re.Sub)
	case syntax.OpAlternate:
		return alternate(re.Sub)
	}
	return facts{} // any character, a star, no match
}

// literal is a literal's ASCII parts. What stands between them is not looked at,
// unless it is one character up to U+00FF: the engine has a matcher that reads
// it as a byte.
func literal(runes []rune, fold bool) facts {
	if len(runes) == 1 && runes[0] >= utf8.RuneSelf && runes[0] <= 0xff && !fold {
		return facts{exact: latin1(nil, runes[0])}
	}
	var parts []string
	var part []byte
	for _, r := range runes {
		if r < utf8.RuneSelf {
			part = append(part, lower(byte(r)))
			continue
		}
		parts, part = append(parts, string(part)), nil
	}
	parts = append(parts, string(part))
	if len(parts) == 1 && len(parts[0]) <= maxLength {
		return facts{exact: parts}
	}
	f := facts{}
	for _, p := range parts {
		if p != "" {
			f.clauses = append(f.clauses, clause{p[:min(len(p), maxLength)]})
		}
	}
	return f
}

// class is nil if a class has letters beyond U+00FF, or many. Two letters fold
// to ASCII ones; values that hold them are not screened.
func class(ranges []rune) []string {
	var seen [128]bool
	var high []string
	n := 0
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if r == longS || r == kelvin {
				continue
			}
			if r > 0xff || n > maxClass {
				return nil
			}
			if r >= utf8.RuneSelf {
				high = latin1(high, r)
				n++
				continue
			}
			if b := lower(byte(r)); !seen[b] {
				seen[b] = true
				n++
			}
		}
	}
	if n == 0 || n > maxClass {
		return nil
	}
	out := high
	for i, s := range seen {
		if s {
			out = append(out, string(rune(i)))
		}
	}
	return out
}

// latin1 adds a character in both of the forms that a value can have it in.
func latin1(to []string, r rune) []string {
	return append(to, string([]byte{byte(r)}), string(r))
}

const (
	longS  = '\u017f' // folds to s
	kelvin = '\u212a' // folds to k
)

func lower(b byte) byte {
	if b >= 'A' && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

// concat joins what follows each other, as long as there are few possibilities.
func concat(subs []*syntax.Regexp) facts {
	out := facts{}
	run := []string{""} // literals at the present place
	whole := true
	flush := func() {
		if c := toClause(run); c != nil {
			out.clauses = append(out.clauses, c)
		}
		run, whole = []string{""}, false
	}
	for _, s := range subs {
		f := analyze(s)
		out.clauses = append(out.clauses, f.clauses...)
		if f.exact == nil {
			flush()
			continue
		}
		if joined := product(run, f.exact); joined != nil {
			run = joined
			continue
		}
		flush()
		run = f.exact
	}
	if whole {
		out.exact = run
		return out
	}
	flush()
	return out
}

// product is nil if it is too large.
func product(a, b []string) []string {
	if len(a)*len(b) > maxExact {
		return nil
	}
	var out []string
	for _, x := range a {
		for _, y := range b {
			if len(x)+len(y) > maxLength {
				return nil
			}
			out = append(out, x+y)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// alternate needs what the least demanding clause of each branch needs.
func alternate(subs []*syntax.Regexp) facts {
	var exact []string
	known := true
	var need clause
	demanding := true
	for _, s := range subs {
		f := analyze(s)
		if known = known && f.exact != nil && len(f.clauses) == 0; known {
			exact = append(exact, f.exact...)
		}
		branch := f.all()
		if len(branch) == 0 {
			demanding = false
			continue
		}
		lightest := branch[0]
		for _, c := range branch {
			if c.weight() < lightest.weight() {
				lightest = c
			}
		}
		need = append(need, lightest...)
	}
	if known && len(exact) <= maxExact {
		slices.Sort(exact)
		return facts{exact: slices.Compact(exact)}
	}
	if !demanding || len(need) > maxClause {
		return facts{}
	}
	return facts{clauses: []clause{reduce(need)}}
}

// without is the part of an expression that can match without any of these
// bytes, or nil if there is none. used are the bytes that were assumed absent.
func without(re *syntax.Regexp, bytes string, used *[256]bool) *syntax.Regexp {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			if r < utf8.RuneSelf && strings.IndexByte(bytes, byte(r)) >= 0 {
				used[r] = true
				return nil
			}
		}
		return re
	case syntax.OpCharClass:
		return withoutClass(re, bytes, used)
	case syntax.OpStar, syntax.OpQuest:
		sub := without(re.Sub[0], bytes, used)
		if sub == nil {
			return &syntax.Regexp{Op: syntax.OpEmptyMatch}
		}
		return &syntax.Regexp{Op: re.Op, Flags: re.Flags, Sub: []*syntax.Regexp{sub}}
	case syntax.OpCapture, syntax.OpPlus, syntax.OpConcat:
		out := &syntax.Regexp{Op: re.Op, Flags: re.Flags}
		if re.Op == syntax.OpCapture {
			return without(re.Sub[0], bytes, used)
		}
		for _, s := range re.Sub {
			sub := without(s, bytes, used)
			if sub == nil {
				return nil
			}
			out.Sub = append(out.Sub, sub)
		}
		return out
	case syntax.OpAlternate:
		out := &syntax.Regexp{Op: re.Op, Flags: re.Flags}
		for _, s := range re.Sub {
			if sub := without(s, bytes, used); sub != nil {
				out.Sub = append(out.Sub, sub)
			}
		}
		switch len(out.Sub) {
		case 0:
			return nil
		case 1:
			return out.Sub[0]
		}
		return out
	}
	return re
}

// withoutClass takes the bytes out of a class, where few others remain: then it
// pays to know them.
func withoutClass(re *syntax.Regexp, bytes string, used *[256]bool) *syntax.Regexp {
	var rest []rune
	var dropped []rune
	total := 0
	for i := 0; i+1 < len(re.Rune); i += 2 {
		if total += int(re.Rune[i+1] - re.Rune[i] + 1); total > 256 {
			return re
		}
		for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
			if r < utf8.RuneSelf && strings.IndexByte(bytes, byte(r)) >= 0 {
				dropped = append(dropped, r)
			} else {
				rest = append(rest, r, r)
			}
		}
	}
	if len(dropped) == 0 || len(rest) > 2*maxClass {
		return re
	}
	for _, r := range dropped {
		used[r] = true
	}
	if len(rest) == 0 {
		return nil
	}
	return &syntax.Regexp{Op: syntax.OpCharClass, Flags: re.Flags, Rune: rest}
}
