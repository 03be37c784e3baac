package waf

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a query that is read.
const (
	maxQuery      = 8 << 10
	maxQueryDepth = 16
)

// token is one of a query language's.
type token struct {
	kind tokenKind
	text string // of a word in lower case, of a string without quotes
}

type tokenKind byte

const (
	tokenWord   tokenKind = iota // a name or keyword
	tokenName                    // in double quotes
	tokenString                  // in single quotes
	tokenNumber
	tokenSign
)

// tokens splits a query, or reports that there is something in it that ordinary
// ones don't have: comments, semicolons, backslashes, other quotes, bytes that
// are not UTF-8. extra are signs besides those of comparisons.
func tokens(s, extra string) (out []token, ok bool) {
	if len(s) > maxQuery || !utf8.ValidString(s) {
		return nil, false
	}
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == ' ' || r == '\t' || r == '\n' || r == '\r':
			i++
		case r == '\'' || r == '"':
			end := i + 1
			var b strings.Builder
			for ; end < len(s); end++ {
				if s[end] == '\\' || s[end] == 0 {
					return nil, false
				}
				if s[end] == byte(r) {
					if end+1 == len(s) || s[end+1] != byte(r) {
						break
					}
					end++
				}
				b.WriteByte(s[end])
			}
			if end == len(s) {
				return nil, false
			}
			kind := tokenString
			if r == '"' {
				kind = tokenName
			}
			out = append(out, token{kind, b.String()})
			i = end + 1
		case r >= '0' && r <= '9':
			start := i
			for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.') {
				i++
			}
			if next, _ := utf8.DecodeRuneInString(s[i:]); i < len(s) && (unicode.IsLetter(next) || next == '_') {
				return nil, false // 0x1F, 1e5, 1union
			}
			out = append(out, token{tokenNumber, s[start:i]})
		case unicode.IsLetter(r) || r == '_':
			start := i
			for i < len(s) {
				r, size := utf8.DecodeRuneInString(s[i:])
				if !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' {
					break
				}
				i += size
			}
			out = append(out, token{tokenWord, strings.ToLower(s[start:i])})
		case strings.ContainsRune("=<>(),.*+-/%", r) || strings.ContainsRune(extra, r):
			sign := s[i : i+size]
			for _, two := range []string{"<>", "<=", ">=", "!=", "||", "::"} {
				if strings.HasPrefix(s[i:], two) {
					sign = two
				}
			}
			if strings.HasPrefix(s[i:], "--") || strings.HasPrefix(s[i:], "/*") || sign == "!" || sign == "|" {
				return nil, false
			}
			out = append(out, token{tokenSign, sign})
			i += len(sign)
		default:
			return nil, false
		}
	}
	return out, true
}

func set1(words string) map[string]bool {
	out := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		out[w] = true
	}
	return out
}

var (
	// sqlForbidden do more than to read rows, or read what is not in a table.
	sqlForbidden = set1("insert update delete drop alter create grant revoke copy execute exec call do into union intersect except table truncate vacuum set show explain begin commit rollback declare prepare lateral with returning information_schema current_user session_user current_role current_catalog current_schema user lock listen notify load values only tablesample for")
	sqlFunctions = set1("count sum avg min max lower upper length char_length substring substr trim ltrim rtrim btrim replace concat concat_ws coalesce nullif greatest least round floor ceil ceiling abs trunc mod power sqrt extract date_trunc date_part to_char to_date to_number to_timestamp cast now age row_number rank dense_rank lag lead first_value last_value ntile string_agg array_agg percentile_cont stddev variance left right split_part initcap position")
	// sqlBefore are words that a parenthesis follows which is no call.
	sqlBefore = set1("in and or not on where from select by over as when then else case having exists any all some using join between like ilike is distinct filter group within")
	sqlTypes  = set1("numeric decimal int integer bigint smallint text varchar char date timestamp timestamptz time interval float real double boolean bool json jsonb")
	// sqlFrom are functions in which FROM names no table.
	sqlFrom   = set1("extract substring trim position")
	sqlEnding = set1("where group having order limit offset window fetch")
)

// frame is a pair of parentheses, or the query itself.
type frame struct {
	call   string // of a function
	query  bool   // it holds a SELECT
	tables bool   // it is in its FROM clause
	expect bool   // a table has to come
}

// selects reads s as one SELECT over tables that are allowed. The texts in it are
// the caller's to inspect; ok false means that it is something else, or that this
// reader does not understand it.
func selects(s string, allowed func(string) bool) (texts []string, ok bool) {
	list, ok := tokens(s, "|!:")
	if !ok || len(list) == 0 || list[0] != (token{tokenWord, "select"}) {
		return nil, false
	}
	stack := []frame{{query: true}}
	seen := false // a table
	at := func(i int) token {
		if i < 0 || i >= len(list) {
			return token{kind: tokenSign}
		}
		return list[i]
	}
	for i := 0; i < len(list); i++ {
		t, f := list[i], &stack[len(stack)-1]
		if f.expect && !(t.kind == tokenSign && t.text == "(") {
			if t.kind != tokenWord && t.kind != tokenName {
				return nil, false
			}
			if t.text == "public" && at(i+1).text == "." {
				i += 2
				t = at(i)
			}
			if t.kind != tokenWord && t.kind != tokenName || !allowed(t.text) || at(i+1) == (token{tokenSign, "."}) || at(i+1) == (token{tokenSign, "("}) {
				return nil, false
			}
			f.expect, seen = false, true
			continue
		}
		switch t.kind {
		case tokenString:
			texts = append(texts, t.text)
		case tokenName:
			if at(i+1) == (token{tokenSign, "("}) {
				return nil, false
			}
			texts = append(texts, t.text)
		case tokenWord:
			switch {
			case sqlForbidden[t.text], strings.HasPrefix(t.text, "pg_"), strings.HasPrefix(t.text, "reg"), strings.HasPrefix(t.text, "lo_"), strings.HasPrefix(t.text, "dblink"):
				return nil, false
			case t.text == "select":
				if i > 0 && at(i-1) != (token{tokenSign, "("}) {
					return nil, false
				}
				f.query = true
			case t.text == "from" && !sqlFrom[f.call]:
				if p := at(i - 1); p == (token{tokenWord, "distinct"}) {
					break // IS DISTINCT FROM
				}
				if !f.query || f.tables {
					return nil, false
				}
				f.tables, f.expect = true, true
			case t.text == "join":
				if !f.tables {
					return nil, false
				}
				f.expect = true
			case sqlEnding[t.text]:
				f.tables = false
			case at(i+1) == (token{tokenSign, "("}) && !sqlBefore[t.text] && !sqlFunctions[t.text]:
				return nil, false
			}
		case tokenSign:
			switch t.text {
			case "(":
				if len(stack) == maxQueryDepth || f.expect && at(i+1) != (token{tokenWord, "select"}) {
					return nil, false
				}
				f.expect = false
				inner := frame{}
				if p := at(i - 1); p.kind == tokenWord && sqlFunctions[p.text] {
					inner.call = p.text
				}
				stack = append(stack, inner)
			case ")":
				if len(stack) == 1 || f.expect {
					return nil, false
				}
				stack = stack[:len(stack)-1]
			case ",":
				if f.query && f.tables {
					f.expect = true
				}
			case "::":
				if n := at(i + 1); n.kind != tokenWord || !sqlTypes[n.text] {
					return nil, false
				}
			case ":":
				return nil, false
			}
		}
	}
	return texts, len(stack) == 1 && !stack[0].expect && seen
}
