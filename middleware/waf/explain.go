package waf

import (
	"strings"
	"unicode/utf8"

	"github.com/corazawaf/coraza/v3/types"
)

// Match is one rule that matched, for the operator who has to tell a false
// positive from an attack.
type Match struct {
	Rule    int    `json:"rule"`
	Message string `json:"message"`
	Where   string `json:"where"` // such as ARGS:q
	Part    string `json:"part"`  // what matched, bounded; the caller masks it
	Tag     string `json:"tag,omitempty"`
}

// maxPart bounds what is kept of what a client sent.
const maxPart = 80

func matchOf(m types.MatchedRule) Match {
	out := Match{Rule: m.Rule().ID(), Message: m.Message(), Tag: attackTag(m.Rule().Tags())}
	for _, d := range m.MatchedDatas() {
		name := d.Variable().Name()
		if name == "TX" && len(m.MatchedDatas()) > 1 {
			continue
		}
		if out.Where = name; d.Key() != "" {
			out.Where += ":" + short(d.Key())
		}
		out.Part = d.Value()
		if _, rest, ok := strings.Cut(d.Data(), "Matched Data: "); ok {
			if part, _, ok := strings.Cut(rest, " found within "); ok && part != "" {
				out.Part = part
			}
		}
		break
	}
	out.Part = short(out.Part)
	return out
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
