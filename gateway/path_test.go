package gateway

import (
	"net/url"
	"strings"
	"testing"
)

func TestCanonicalTarget(t *testing.T) {
	tests := []struct {
		raw, escaped, decoded, query string
	}{
		{"/", "/", "/", ""},
		{"/a/b", "/a/b", "/a/b", ""},
		{"/a/b/?x=1;y=2&z", "/a/b/", "/a/b/", "x=1;y=2&z"},
		{"/a?", "/a", "/a", ""},
		{"/a?b?c", "/a", "/a", "b?c"},
		{"//a///b//", "/a/b/", "/a/b/", ""},
		{"/a/./b", "/a/b", "/a/b", ""},
		{"/a/../b", "/b", "/b", ""},
		{"/a/b/..", "/a/", "/a/", ""},
		{"/a/b/.", "/a/b/", "/a/b/", ""},
		{"/a/../", "/", "/", ""},
		{"/a//../b", "/b", "/b", ""},
		{"/.well-known/x", "/.well-known/x", "/.well-known/x", ""},
		{"/..a/.b./c..", "/..a/.b./c..", "/..a/.b./c..", ""},
		{"/%61dmin", "/admin", "/admin", ""},
		{"/%7Euser/%2D", "/~user/-", "/~user/-", ""},
		{"/a%2etxt", "/a.txt", "/a.txt", ""},
		{"/a%20b", "/a%20b", "/a b", ""},
		{"/a%c3%a9", "/a%C3%A9", "/aé", ""},
		{"/%d0%b3%d1%80%d0%b0%d0%b4", "/%D0%B3%D1%80%D0%B0%D0%B4", "/град", ""},
		{"/100%25", "/100%25", "/100%", ""},
		{"/a%25zz", "/a%25zz", "/a%zz", ""},
		{"/a+b", "/a+b", "/a+b", ""},
		{"/a%2Bb", "/a%2Bb", "/a+b", ""},
		{"/a%3Db%26c", "/a=b&c", "/a=b&c", ""},
		{"/a%3fb%23c", "/a%3Fb%23c", "/a?b#c", ""},
		{"/%22%3C%3E", "/%22%3C%3E", `/"<>`, ""},
		{`/"<>{|}^` + "`", "/%22%3C%3E%7B%7C%7D%5E%60", `/"<>{|}^` + "`", ""},
		{"/a:b@c,d'e(f)*!$", "/a:b@c,d'e(f)*!$", "/a:b@c,d'e(f)*!$", ""},
	}
	for _, tt := range tests {
		got, err := canonicalTarget(tt.raw)
		if err != nil {
			t.Errorf("canonicalTarget(%q): %v", tt.raw, err)
			continue
		}
		if got.escaped != tt.escaped || got.decoded != tt.decoded || got.query != tt.query {
			t.Errorf("canonicalTarget(%q) = %q, %q, %q, want %q, %q, %q", tt.raw, got.escaped, got.decoded, got.query, tt.escaped, tt.decoded, tt.query)
		}
	}
}

func TestCanonicalTargetRefuses(t *testing.T) {
	for raw, want := range map[string]string{
		"":                     "does not begin with a slash",
		"*":                    "does not begin with a slash",
		"a":                    "does not begin with a slash",
		"http:a":               "does not begin with a slash",
		"/%2fa":                "slash is percent-encoded",
		"/a%2Fb":               "slash is percent-encoded",
		"/a\\b":                "backslash",
		"/a%5cb":               "backslash",
		"/a;b":                 "semicolon",
		"/a%3bb":               "semicolon",
		"/..;/a":               "semicolon",
		"/%00":                 "control byte",
		"/a%0d%0ab":            "control byte",
		"/a\x00":               "control byte",
		"/a\tb":                "control byte",
		"/a b":                 "space",
		"/a%7f":                "control byte",
		"/%2e%2e/a":            "dot segment is percent-encoded",
		"/a/.%2e/b":            "dot segment is percent-encoded",
		"/a/%2e":               "dot segment is percent-encoded",
		"/../a":                "above the root",
		"/a/../../b":           "above the root",
		"/%252e%252e/a":        "percent-encoded twice",
		"/a%252Fb":             "percent-encoded twice",
		"/a%2525":              "percent-encoded twice",
		"/%c0%ae":              "not UTF-8",
		"/%c0%af":              "not UTF-8",
		"/%e0%80%ae":           "not UTF-8",
		"/%ff":                 "not UTF-8",
		"/%ed%a0%80":           "not UTF-8",
		"/a\xc3\xa9":           "must be percent-encoded",
		"/a%":                  "two hexadecimal digits",
		"/a%2":                 "two hexadecimal digits",
		"/a%g0":                "two hexadecimal digits",
		"/a%u002f":             "two hexadecimal digits",
		"/%ef%bc%8e%ef%bc%8e/": "look-alike",
		"/a%ef%bc%8fb":         "look-alike",
		"/a#b":                 "fragment",
		"/a?b#c":               "query",
		"/a?b c":               "query",
		"/a?\x01":              "query",
		"/a?\xd0":              "query",
		"/a?b=c%00d":           "NUL",
	} {
		if got, err := canonicalTarget(raw); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("canonicalTarget(%q) = %+v, %v, want an error with %q", raw, got, err, want)
		}
	}
}

func TestFoldPath(t *testing.T) {
	for path, want := range map[string]string{
		"/admin": "/admin", "/ADMIN/x": "/admin/x", "/admin./x": "/admin/x", "/admin /": "/admin/", "/Админ": "/админ", "/a.b": "/a.b",
	} {
		if got := foldPath(path); got != want {
			t.Errorf("foldPath(%q) = %q, want %q", path, got, want)
		}
	}
}

// FuzzCanonicalTarget holds what every later step relies on: the canonical path
// is a fixed point, decodes to what routes are matched on, and holds nothing
// that two readers could read differently.
func FuzzCanonicalTarget(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/%61", "//x//", "/a%25b", "/%d0%b3?q", "/a%2Bb/./", "/%2e%2e/", "/a;b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := canonicalTarget(raw)
		if err != nil {
			return
		}
		again, err := canonicalTarget(got.escaped)
		if err != nil || again.escaped != got.escaped || again.decoded != got.decoded {
			t.Fatalf("%q: %q is not a fixed point: %q, %v", raw, got.escaped, again.escaped, err)
		}
		if u, err := url.PathUnescape(got.escaped); err != nil || u != got.decoded {
			t.Fatalf("%q: %q decodes to %q, want %q", raw, got.escaped, u, got.decoded)
		}
		u, err := url.ParseRequestURI(got.escaped)
		if err != nil || u.Path != got.decoded || u.EscapedPath() != got.escaped {
			t.Fatalf("%q: net/url reads %q otherwise: %v", raw, got.escaped, err)
		}
		for _, bad := range []string{"//", "/./", "/../", "\\", ";", "\x00"} {
			if strings.Contains(got.decoded+"/", bad) && !(bad == "//" && strings.HasSuffix(got.decoded, "/")) {
				t.Fatalf("%q: canonical path %q holds %q", raw, got.decoded, bad)
			}
		}
		if got.decoded[0] != '/' {
			t.Fatalf("%q: canonical path %q", raw, got.decoded)
		}
	})
}

func BenchmarkCanonicalTarget(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		canonicalTarget("/api/3/action/package_search?q=registry&rows=10")
	}
}
