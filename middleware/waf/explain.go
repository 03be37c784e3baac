package waf

import (
	"net/textproto"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types"
)

// Match is one rule that matched, for the operator who has to tell a false
// positive from an attack.
type Match struct {
	Rule    int      `json:"rule"`
	Message string   `json:"message"`
	Where   string   `json:"where"`          // such as ARGS:q
	Also    []string `json:"also,omitempty"` // further places where it matched
	Part    string   `json:"part"`           // what matched, bounded; the caller masks it
	Tag     string   `json:"tag,omitempty"`
	More    int      `json:"more,omitempty"` // places that are not kept
}

// What is kept of what a client sent is bounded.
const (
	maxPart = 80
	maxAlso = 8
)

func matchOf(m types.MatchedRule) Match {
	out := Match{Rule: m.Rule().ID(), Message: m.Message(), Tag: attackTag(m.Rule().Tags())}
	for _, d := range m.MatchedDatas() {
		name := d.Variable().Name()
		if name == "TX" && len(m.MatchedDatas()) > 1 {
			continue
		}
		where := name
		if d.Key() != "" {
			where += ":" + short(d.Key())
		}
		if out.Where != "" {
			// What later links of a chain match is no place to leave out.
			switch {
			case d.ChainLevel() != 0 || where == out.Where || slices.Contains(out.Also, where):
			case len(out.Also) < maxAlso:
				out.Also = append(out.Also, where)
			default:
				out.More++
			}
			continue
		}
		out.Where = where
		out.Part = d.Value()
		if _, rest, ok := strings.Cut(d.Data(), "Matched Data: "); ok {
			if part, _, ok := strings.Cut(rest, " found within "); ok && part != "" {
				if strings.Contains(out.Part, part) { // otherwise it is what a parser made of it
					out.Part = part
				}
			}
		}
	}
	out.Part = short(out.Part)
	if name := restricted(m); name != "" {
		out.Where, out.Also, out.More, out.Part = "REQUEST_HEADERS_NAMES:"+name, nil, 0, name
	}
	return out
}

// restricted is the header field that a rule about restricted ones (920450, 920451)
// found. These rules look at the names of all fields, and note them in variables.
func restricted(m types.MatchedRule) string {
	for _, d := range m.MatchedDatas() {
		if rest, ok := strings.CutPrefix(strings.ToLower(d.Key()), "header_name_"); ok && d.Variable().Name() == "TX" {
			if _, name, ok := strings.Cut(rest, "_"); ok {
				return short(textproto.CanonicalMIMEHeaderKey(name))
			}
		}
	}
	return ""
}

// short cuts text between characters.
func short(s string) string {
	if len(s) <= maxPart {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	n := maxPart
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.ToValidUTF8(s[:n], "\ufffd") + "…"
}

func attackTag(tags []string) string {
	for _, t := range tags {
		if strings.HasPrefix(t, "attack-") {
			return t
		}
	}
	return ""
}
