package middleware

import (
	"strconv"
	"strings"
)

// PrefersHTML reports whether Accept names HTML with at least the weight that it
// gives to JSON, by name or by wildcard (RFC 9110 12.5.1). Programs that accept
// anything get JSON.
func PrefersHTML(accept []string) bool {
	html := -1.0
	json, exact := 0.0, 0 // exact: 3 by name, 2 application/*, 1 */*
	for _, v := range accept {
		for part := range strings.SplitSeq(v, ",") {
			kind, q := weighted(part)
			n := 0
			switch kind {
			case "text/html", "application/xhtml+xml":
				html = max(html, q)
			case "application/json", "application/problem+json":
				n = 3
			case "application/*":
				n = 2
			case "*/*":
				n = 1
			}
			if n > exact || n == exact && q > json {
				json, exact = q, n
			}
		}
	}
	return html > 0 && html >= json
}

// PrefersBulgarian reports whether Accept-Language wants Bulgarian rather than
// English; of equal weights the first named counts. Where neither is named it is
// English: then a program is asking.
func PrefersBulgarian(fields []string) bool {
	best, bulgarian := 0.0, false
	for _, v := range fields {
		for part := range strings.SplitSeq(v, ",") {
			tag, q := weighted(part)
			primary, _, _ := strings.Cut(tag, "-")
			if q > best && (primary == "bg" || primary == "en") {
				best, bulgarian = q, primary == "bg"
			}
		}
	}
	return bulgarian
}

// weighted splits "value;q=0.5".
func weighted(s string) (value string, q float64) {
	value, params, _ := strings.Cut(s, ";")
	q = 1
	for p := range strings.SplitSeq(params, ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), "q="); ok {
			f, err := strconv.ParseFloat(v, 64)
			if err != nil || f < 0 || f > 1 {
				f = 0
			}
			q = f
		}
	}
	return strings.ToLower(strings.TrimSpace(value)), q
}
