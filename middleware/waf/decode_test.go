package waf

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	decodedSQL = "1' or '1'='1' union select password from users--"
	decodedXSS = "<script>alert(document.cookie)</script>"
)

// encodings are ways in which an application gets a value that it decodes.
var encodings = []struct {
	name   string
	encode func(string) string
}{
	{"Base64", func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},
	{"Base64 without padding", func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) }},
	{"Base64 for URLs", func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) }},
	{"Base64 twice", func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(s))))
	}},
	{"Base64 in lines", func(s string) string {
		b := base64.StdEncoding.EncodeToString([]byte(s + strings.Repeat(" ", 60)))
		return b[:76] + "\r\n" + b[76:]
	}},
	{"data URL", func(s string) string { return "data:text/plain;base64," + base64.StdEncoding.EncodeToString([]byte(s)) }},
	{"hex", func(s string) string { return hex.EncodeToString([]byte(s)) }},
	{"hex with 0x", func(s string) string { return "0x" + hex.EncodeToString([]byte(s)) }},
	{"URL encoding, twice more", func(s string) string { return url.QueryEscape(url.QueryEscape(s)) }},
	{"HTML entities", func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, "&#%d;", r)
		}
		return b.String()
	}},
	{"JavaScript escapes", func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		return b.String()
	}},
	{"JSON in a value", func(s string) string { return fmt.Sprintf(`{"a":{"b":%q}}`, s) }},
	{"JSON in Base64", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"a":%q}`, s))) }},
	{"the payload of a token", func(s string) string {
		return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(fmt.Sprintf(`{"sub":%q}`, s))) + "."
	}},
	{"a message of XML in Base64", func(s string) string {
		return base64.StdEncoding.EncodeToString([]byte(`<p:a xmlns:p="urn:x:y"><p:b><![CDATA[` + s + `]]></p:b></p:a>`))
	}},
}

// TestDecoded: what an application would decode is found in each of the places
// where values come.
func TestDecoded(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	places := map[string]func(string) *Request{
		"query": func(v string) *Request { return testRequest("/a?q="+url.QueryEscape(v), "", "") },
		"form": func(v string) *Request {
			return testRequest("/a", "application/x-www-form-urlencoded", "q="+url.QueryEscape(v))
		},
		"JSON": func(v string) *Request {
			return testRequest("/a", "application/json", fmt.Sprintf(`{"a":[{"b":%q}]}`, v))
		},
		"XML": func(v string) *Request { return testRequest("/a", "text/xml", "<a><b><![CDATA["+v+"]]></b></a>") },
		"cookie": func(v string) *Request {
			r := testRequest("/a", "", "")
			r.Header["Cookie"] = []string{"a=b; c=" + url.QueryEscape(v)}
			return r
		},
	}
	for _, e := range encodings {
		for place, request := range places {
			for _, attack := range []string{decodedSQL, decodedXSS} {
				r := request(e.encode(attack))
				v, err := rs.run(r, rs.screened)
				if !v.Block || err != nil {
					t.Errorf("%s in %s: %q passes, %v %v", e.name, place, attack, v.Rules, err)
				}
				same(t, rs, r)
			}
		}
	}
}

// TestDecodedNames: the operator is told how a value was decoded, and can leave
// the parameter out.
func TestDecodedNames(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	r := testRequest("/?Q="+base64.RawURLEncoding.EncodeToString([]byte(decodedSQL)), "", "")
	v, err := rs.run(r, rs.screened)
	if err != nil || len(v.Matches) == 0 || v.Matches[0].Where != "ARGS:Q (base64)" {
		t.Errorf("%+v %v", v.Matches, err)
	}
	x, err := rs.Exclusions([]Exclusion{{Tag: "attack-sqli", Parameter: "q"}})
	if err != nil {
		t.Fatal(err)
	}
	r.Exclude = x
	if v, err := rs.run(r, rs.screened); err != nil || slices.ContainsFunc(v.Rules, func(id int) bool { return id/1000 == 942 }) {
		t.Errorf("left out: %v %v", v.Rules, err)
	}
	r = testRequest("/?qq="+base64.RawURLEncoding.EncodeToString([]byte(decodedSQL)), "", "")
	r.Exclude = x
	if v, err := rs.run(r, rs.screened); err != nil || !v.Block {
		t.Errorf("another parameter: %v %v", v.Rules, err)
	}
}

// TestDecodeBounds: what decodes to nothing costs nothing, and there is an end to
// what is decoded.
func TestDecodeBounds(t *testing.T) {
	t.Parallel()
	for _, v := range []string{"", "администрация", "administration", "registration-number", "68134.905.1745", "7501010010", "d41d8cd98f00b204e9800998ecf8427e", "6f625929-dbe5-4154-adc0-a5582a0c6f96", "100% и повече", `C:\temp`, "a & b", "Ул. Иван Вазов 5", "ZHJvcA", "{не е JSON}", "eyJhbGciOiJub25lIn0"} {
		var d decoder
		d.value("q", v, 0)
		if n := len(d.out) + len(d.texts); n > 0 && v != "eyJhbGciOiJub25lIn0" {
			t.Errorf("%q decodes to %q %q", v, d.out, d.texts)
		}
	}
	var many strings.Builder
	for i := range maxDecoded + 10 {
		fmt.Fprintf(&many, `%q,`, base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "a text, number %d", i)))
	}
	rs := testRuleset(t, Settings{Paranoia: 1})
	_, err := rs.run(testRequest("/", "application/json", "["+strings.TrimSuffix(many.String(), ",")+"]"), rs.screened)
	if r := asRefusal(err); r == nil || r.Reason != ReasonArguments {
		t.Errorf("too many encoded values: %v", err)
	}
	deep := decodedSQL
	for range 3 {
		deep = base64.StdEncoding.EncodeToString([]byte(deep))
	}
	var d decoder
	d.value("q", deep, 0)
	if len(d.out) != decodeDepth {
		t.Errorf("%d steps", len(d.out))
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range encodings {
		f.Add(e.encode(decodedXSS))
	}
	f.Fuzz(func(t *testing.T, s string) {
		var d decoder
		d.value("q", s, 0)
		total := 0
		for _, a := range d.out {
			total += len(a.value)
			if !printable(a.value) && len(s) > 0 && s[0] != '{' && s[0] != '[' {
				t.Errorf("%q: %q", s, a.value)
			}
		}
		if total > 16*len(s)+64 {
			t.Errorf("%d bytes decode to %d", len(s), total)
		}
	})
}
