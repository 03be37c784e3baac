package waf

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// Propose is the narrowest exclusions with which the same request would not have
// matched: each rule, on the path alone, in the one place where it matched. path
// and matches are masked; what the mask hides is widened to the folder above it,
// or to a star.
func Propose(matches []Match, path, organization string) (list []Exclusion) {
	paths := []string{"=" + path}
	if i := strings.IndexAny(path, "[…"); i >= 0 {
		paths = []string{path[:strings.LastIndexByte(path[:i], '/')+1]}
	}
	for _, m := range matches {
		for _, where := range append([]string{m.Where}, m.Also...) {
			x := Exclusion{Rule: m.Rule, Paths: paths}
			if organization != "" {
				x.Organizations = []string{organization}
			}
			x.aim(where)
			if !slices.ContainsFunc(list, func(o Exclusion) bool { return o.YAML() == x.YAML() }) {
				list = append(list, x)
			}
		}
	}
	return list
}

// aim narrows x to the place where a rule matched, if exclusions can name it.
func (x *Exclusion) aim(where string) {
	name, key, ok := strings.Cut(where, ":")
	if !ok {
		return
	}
	key = hidden.ReplaceAllString(key, "*")
	switch name {
	case "ARGS", "ARGS_GET", "ARGS_POST", "ARGS_NAMES", "ARGS_GET_NAMES", "ARGS_POST_NAMES", "MULTIPART_PART_HEADERS", "MULTIPART_FILENAME", "MULTIPART_NAME":
		x.Parameter = listIndex.ReplaceAllString(key, ".*")
	case "REQUEST_HEADERS", "REQUEST_HEADERS_NAMES":
		x.Header = key
	case "REQUEST_COOKIES", "REQUEST_COOKIES_NAMES":
		x.Cookie = key
	}
}

var (
	hidden    = regexp.MustCompile(`\[(id|iban|email)\]|…|\x{fffd}`) // by the mask, or cut
	listIndex = regexp.MustCompile(`\.[0-9]+\b`)                     // in a JSON list
)

// YAML writes an exclusion as an entry of waf.exclude, in one line. What a client
// wrote is quoted.
func (x Exclusion) YAML() string {
	var parts []string
	add := func(key string, value any) {
		b, err := json.Marshal(value) // in YAML too
		if err != nil {
			return
		}
		if s, ok := value.(string); ok && plain.MatchString(s) {
			b = []byte(s)
		}
		parts = append(parts, key+": "+string(b))
	}
	switch {
	case x.Rule != 0:
		add("rule", x.Rule)
	default:
		add("tag", x.Tag)
	}
	for _, l := range []struct {
		key    string
		values []string
	}{{"paths", x.Paths}, {"organizations", x.Organizations}} {
		if len(l.values) > 0 {
			add(l.key, l.values)
		}
	}
	for _, t := range []struct{ key, value string }{{"parameter", x.Parameter}, {"header", x.Header}, {"cookie", x.Cookie}} {
		if t.value != "" {
			add(t.key, t.value)
		}
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// plain is what YAML reads as a text without quotes.
var plain = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*([._-][A-Za-z0-9]+)+$`)
