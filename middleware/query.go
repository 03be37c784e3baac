package middleware

import (
	"net/url"
	"slices"
	"strings"
)

// Query reads the parameters of a query string once, when it is first asked.
// Names are compared without regard to letter case: OGC services read
// REQUEST=GetMap and request=GetMap alike, and a condition that a different
// spelling evades would protect nothing.
type Query struct {
	Raw string

	parsed bool
	values map[string][]string
}

// Has reports whether a parameter has a value, without regard to letter case; "*"
// is any.
func (q *Query) Has(name, want string) bool {
	values := q.All(name)
	return want == "*" && len(values) > 0 || slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, want) })
}

// All lists the values of a parameter.
func (q *Query) All(name string) []string {
	if q.Raw == "" {
		return nil
	}
	if !q.parsed {
		q.parsed = true
		q.values = map[string][]string{}
		for _, pair := range strings.FieldsFunc(q.Raw, func(r rune) bool { return r == '&' || r == ';' }) {
			k, v, _ := strings.Cut(pair, "=")
			k, v = strings.ToLower(unescapeQuery(k)), unescapeQuery(v)
			q.values[k] = append(q.values[k], v)
		}
	}
	return q.values[strings.ToLower(name)]
}

// first is the first value of a parameter, or "".
func (q *Query) first(name string) string {
	if v := q.All(name); len(v) > 0 {
		return v[0]
	}
	return ""
}

// unescapeQuery decodes as much of s as can be decoded.
func unescapeQuery(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
