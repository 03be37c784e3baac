package config

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// checkPath notes what is wrong with a path at n: it must be spelled the way
// that requests are compared with it. A leading = marks an exact path.
func (t *tree) checkPath(n *yaml.Node, path string) {
	fix, err := pathProblem(strings.TrimPrefix(path, "="))
	if err == "" {
		return
	}
	hint := ""
	if fix != "" {
		if strings.HasPrefix(n.Value, "=") {
			fix = "=" + fix
		}
		hint = fmt.Sprintf("write %q", fix)
	}
	t.bad(n, hint, "path %q %s", n.Value, err)
}

// pathProblem says what is wrong with a path, and how it is written if that can
// be said. What it takes, package gateway takes as well.
func pathProblem(p string) (fix, problem string) {
	switch {
	case !strings.HasPrefix(p, "/"):
		return "/" + p, "must begin with a slash"
	case strings.Contains(p, "//"):
		return "", "holds an empty segment"
	case strings.ContainsAny(p, "?#"):
		return "", "holds a query or fragment; use match.query"
	case strings.Contains(p, "*"):
		if fix = strings.TrimSuffix(strings.TrimSuffix(p, "*"), "/"); fix == "" {
			fix = "/"
		}
		if strings.Contains(fix, "*") {
			fix = ""
		}
		return fix, "holds a wildcard; a path covers everything below it by itself"
	case len(p) > 1024:
		return "", "is longer than 1024 bytes"
	}
	plain, err := url.PathUnescape(p)
	if err != nil {
		return "", "holds a percent sign without two hexadecimal digits"
	}
	if !utf8.ValidString(plain) {
		return "", "is not UTF-8 when decoded"
	}
	if strings.Count(plain, "/") != strings.Count(p, "/") || strings.ContainsFunc(plain, func(r rune) bool {
		return r < ' ' || r == 0x7f || strings.ContainsRune("\\;\uff0e\uff0f\uff3c\u2024\u2025\ufeff", r)
	}) {
		return "", "holds a character that no request can have"
	}
	for i := range len(plain) {
		if len(plain)-i >= 3 && plain[i] == '%' && isHex(plain[i+1]) && isHex(plain[i+2]) {
			return "", "is percent-encoded twice"
		}
	}
	for s := range strings.SplitSeq(plain, "/") {
		if s == "." || s == ".." {
			return "", "holds a dot segment"
		}
	}
	if spelled := spellPath(p); spelled != p {
		return spelled, "must be spelled as requests are compared with it"
	}
	return "", ""
}

// spellPath percent-encodes what RFC 3986 3.3 does not let stand in a path, and
// nothing else. An encoded plus sign stays one.
func spellPath(p string) string {
	var b strings.Builder
	for i := 0; i < len(p); i++ {
		c, encoded := p[i], false
		if c == '%' {
			v, err := strconv.ParseUint(p[i+1:i+3], 16, 8)
			if err != nil {
				return p
			}
			c, encoded = byte(v), true
			i += 2
		}
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~!$&'()*+,=:@/", c) >= 0 && !(encoded && c == '+') {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isHex(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }

// checkDuplicateRoutes refuses routes that no request could tell apart, and
// routes of which all methods are taken by others for the same path and
// conditions.
func (t *tree) checkDuplicateRoutes(list *yaml.Node, s *Service) {
	type entry struct {
		route   int
		methods []string
	}
	seen := map[string][]entry{}
	for i, r := range s.Routes {
		if i >= len(list.Content) {
			return
		}
		for _, p := range r.Paths {
			if exact := strings.HasPrefix(p, "="); !exact && len(p) > 1 {
				p = strings.TrimSuffix(p, "/")
			}
			key := p
			if r.Match != nil {
				key += conditions(r.Match)
			}
			same := slices.IndexFunc(seen[key], func(e entry) bool {
				return slices.Equal(slices.Sorted(slices.Values(e.methods)), slices.Sorted(slices.Values(r.Policy.Methods)))
			})
			if same >= 0 {
				t.problem(list.Content[i], "path %q is already taken, for the same methods and conditions, by the route in line %d", p, list.Content[seen[key][same].route].Line)
			}
			seen[key] = append(seen[key], entry{i, r.Policy.Methods})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		// The route with fewer methods goes first, so of a route that others cover
		// together nothing is left.
		for _, e := range seen[key] {
			left := slices.DeleteFunc(slices.Clone(e.methods), func(m string) bool {
				return slices.ContainsFunc(seen[key], func(o entry) bool {
					return (len(o.methods) < len(e.methods)) && slices.Contains(o.methods, m)
				})
			})
			if len(left) == 0 && len(e.methods) > 0 {
				t.problem(list.Content[e.route], "route %q never gets a request: all its methods are taken by other routes with the same path and conditions", s.Routes[e.route].Name)
			}
		}
	}
}

// conditions spells what a route asks for the way that it is compared: names of
// fields and parameters in any letter case, and values of parameters too.
func conditions(m *Match) string {
	var l []string
	for k, v := range m.Headers {
		l = append(l, fmt.Sprintf("header %q %q", strings.ToLower(k), v))
	}
	for k, v := range m.Query {
		l = append(l, fmt.Sprintf("query %q %q", strings.ToLower(k), strings.ToLower(v)))
	}
	slices.Sort(l)
	return fmt.Sprint(l)
}
