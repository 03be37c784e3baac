package console

import (
	"fmt"
	"html/template"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

const (
	english   = "en"
	bulgarian = "bg"
)

// languageCookie keeps what the reader switched to.
const languageCookie = "vazel_language"

// languageOf is the language that the reader asked for: by the switch, then as he
// switched before, then as his browser says.
func languageOf(w http.ResponseWriter, r *http.Request, q url.Values) string {
	if l := q.Get("lang"); l == english || l == bulgarian {
		http.SetCookie(w, &http.Cookie{Name: languageCookie, Value: l, Path: "/", MaxAge: 365 * 24 * 3600, HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil})
		return l
	}
	if c, err := r.Cookie(languageCookie); err == nil && (c.Value == english || c.Value == bulgarian) {
		return c.Value
	}
	if middleware.PrefersBulgarian(r.Header["Accept-Language"]) {
		return bulgarian
	}
	return english
}

// translate is a text in a language; the key is the English one.
func translate(lang, text string) string {
	if lang == bulgarian {
		if t, ok := inBulgarian[text]; ok {
			return t
		}
	}
	if t, ok := inEnglish[text]; ok {
		return t
	}
	return text
}

// functions are those of the templates.
func functions(lang string) template.FuncMap {
	t := func(text string) string { return translate(lang, text) }
	return template.FuncMap{
		"t":        t,
		"tf":       func(format string, args ...any) string { return fmt.Sprintf(t(format), args...) },
		"ago":      func(now, at time.Time) string { return ago(lang, now, at) },
		"left":     func(now, at time.Time) string { return left(lang, now, at) },
		"date":     func(at time.Time) string { return at.UTC().Format("2006-01-02") },
		"stamp":    func(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":      func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"rate":     func(f float64) string { return number(lang, f) + t("/s") },
		"percent":  func(f float64) string { return percent(lang, f) },
		"duration": func(d time.Duration) string { return duration(lang, d) },
		"count":    func(n any) string { return grouped(fmt.Sprint(n)) },
		"spark":    spark,
		"bar":      bar,
		"sum":      sum,
		"in": func(b gateway.Bilingual) string {
			return map[string]string{english: b.English, bulgarian: b.Bulgarian}[lang]
		},
		"category": func(c string) string {
			w := waf.CategoryWords(c)
			return map[string]string{english: w.English, bulgarian: w.Bulgarian}[lang]
		},
		"reason": func(i *middleware.Incident) string {
			told := i.Told()
			if lang == bulgarian {
				return told.Bulgarian.Title
			}
			return told.English.Title
		},
		"caller": func(name string) string {
			switch name {
			case "_all":
				return t("all callers together")
			case "_anonymous":
				return t("callers without an organization")
			}
			return name
		},
		"percentOf": func(f *float64) string {
			if f == nil {
				return "–"
			}
			return percent(lang, *f)
		},
		"least": func(a, b float64) bool { return a >= b },
		"join":  strings.Join,
	}
}

// ago is how long ago something was.
func ago(lang string, now, at time.Time) string {
	if at.IsZero() {
		return translate(lang, "never")
	}
	return fmt.Sprintf(translate(lang, "%s ago"), span(lang, now.Sub(at)))
}

// left is how long something lasts yet.
func left(lang string, now, at time.Time) string {
	if d := at.Sub(now); d > 0 {
		return fmt.Sprintf(translate(lang, "in %s"), span(lang, d))
	}
	return fmt.Sprintf(translate(lang, "%s ago"), span(lang, now.Sub(at)))
}

// span is a time in its largest unit.
func span(lang string, d time.Duration) string {
	d = max(0, d)
	n, unit := int(d/time.Second), "s"
	switch {
	case d >= 48*time.Hour:
		n, unit = int(d/(24*time.Hour)), "days"
	case d >= 2*time.Hour:
		n, unit = int(d/time.Hour), "h"
	case d >= 2*time.Minute:
		n, unit = int(d/time.Minute), "min"
	}
	return strconv.Itoa(n) + " " + translate(lang, unit)
}

func decimal(lang, s string) string {
	if lang == bulgarian {
		return strings.Replace(s, ".", ",", 1)
	}
	return s
}

func number(lang string, f float64) string {
	switch {
	case f == 0:
		return "0"
	case f < 0.1:
		return decimal(lang, strconv.FormatFloat(f, 'f', 2, 64))
	case f < 100:
		return decimal(lang, strconv.FormatFloat(f, 'f', 1, 64))
	}
	return grouped(strconv.FormatFloat(f, 'f', 0, 64))
}

func percent(lang string, f float64) string {
	switch {
	case f == 0:
		return "0 %"
	case f < 0.1:
		return decimal(lang, strconv.FormatFloat(f*100, 'f', 1, 64)) + " %"
	}
	return strconv.FormatFloat(f*100, 'f', 0, 64) + " %"
}

func duration(lang string, d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < time.Millisecond:
		return "< 1 ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return decimal(lang, strconv.FormatFloat(d.Seconds(), 'f', 1, 64)) + " " + translate(lang, "s")
}

// grouped sets thin spaces between groups of three digits.
func grouped(s string) string {
	if len(s) < 5 || strings.ContainsAny(s, ".,-") {
		return s
	}
	var parts []string
	for len(s) > 3 {
		parts = append([]string{s[len(s)-3:]}, parts...)
		s = s[:len(s)-3]
	}
	return s + "\u202f" + strings.Join(parts, "\u202f")
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// spark is the line of a small chart, 120 wide and 28 high.
func spark(points []float64) string {
	if len(points) < 2 {
		return ""
	}
	top := max(slices.Max(points), 1e-9)
	var b strings.Builder
	for i, p := range points {
		fmt.Fprintf(&b, "%.1f,%.1f ", float64(i)*120/float64(len(points)-1), 26-24*p/top)
	}
	return strings.TrimSpace(b.String())
}

// bar is the length of a bar of at most 100.
func bar(ratio float64) string {
	return strconv.Itoa(int(math.Round(100 * min(1, max(0, ratio)))))
}
