package gateway

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

func zlibbed(s string) string {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	io.WriteString(w, s)
	w.Close()
	return b.String()
}

// TestGuards: what inspection refuses before any rule is asked has a name and a
// status, over each protocol and with a length or without; the upstream gets nothing of it, and
// exactly what was inspected of all else.
func TestGuards(t *testing.T) {
	type got struct{ kind, coding, body string }
	var mu sync.Mutex
	var seen []got
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, got{r.Header.Get("Content-Type"), r.Header.Get("Content-Encoding"), string(b) + fmt.Sprint(err)})
	})
	n.use("    waf: {mode: block}\n    max_body: 64MiB\n")
	nra, clients := n.client(n.orgCA, "NTRBG-100000003"), map[string]*http.Client{}
	for _, p := range protocols {
		clients[p] = n.dial(p, "inner.example", nra)
	}
	const form, js, x, mp = "application/x-www-form-urlencoded", "application/json", "text/xml", "multipart/form-data; boundary=bound"
	const attack = "1' or '1'='1' union select password from users--"
	part := func(header, content string) string {
		return "--bound\r\n" + header + "\r\n\r\n" + content + "\r\n--bound--\r\n"
	}
	field := func(content string) string { return part(`Content-Disposition: form-data; name="a"`, content) }
	for _, tt := range []struct {
		name, kind, coding, body string
		status                   int
		reason                   string
	}{
		{"JSON", js, "", `{"a":"текст"}`, 200, ""},
		{"JSON with a byte order mark", js, "", "\ufeff{}", 400, "inspection_json"},
		{"JSON in UTF-16", js, "", "\xff\xfe{\x00}\x00", 400, "inspection_json"},
		{"JSON in UTF-16 without a mark", "application/json; charset=utf-16", "", "{\x00}\x00", 400, "inspection_json"},
		{"JSON with a name twice", js, "", `{"a":1,"a":2}`, 400, "inspection_json"},
		{"JSON with a name twice, deep", js, "", `[{"b":{"a":1,"\u0061":2}}]`, 400, "inspection_json"},
		{"JSON with half a character", js, "", `"\ud83d"`, 400, "inspection_json"},
		{"JSON with a comment", js, "", `{/**/"a":1}`, 400, "inspection_json"},
		{"JSON with a comma too many", js, "", `[1,]`, 400, "inspection_json"},
		{"JSON with NaN", js, "", `[NaN]`, 400, "inspection_json"},
		{"two JSON documents", js, "", "{}\n{}", 400, "inspection_json"},
		{"deep JSON", js, "", strings.Repeat("[", 65) + strings.Repeat("]", 65), 400, "inspection_depth"},
		{"much JSON", js, "", `{"` + strings.Repeat("n", 4000) + `":[` + strings.Repeat("1,", 4000) + `1]}`, 413, "inspection_arguments"},
		{"XML", x, "", "<a>текст</a>", 200, ""},
		{"external entity", x, "", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, 400, "inspection_xml_unsafe"},
		{"entities within entities", x, "", `<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;">]><a>&y;</a>`, 400, "inspection_xml_unsafe"},
		{"document type of elsewhere", x, "", `<!DOCTYPE a SYSTEM "http://evil.example/a.dtd"><a/>`, 400, "inspection_xml_unsafe"},
		{"XInclude", "application/soap+xml", "", `<a xmlns:i="http://www.w3.org/2001/XInclude"><i:include href="file:///etc/passwd"/></a>`, 400, "inspection_xml_unsafe"},
		{"schema of elsewhere", x, "", `<a xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:noNamespaceSchemaLocation="http://evil.example/a.xsd"/>`, 400, "inspection_xml_unsafe"},
		{"XML in Windows-1251", x, "", "<?xml version=\"1.0\" encoding=\"windows-1251\"?><a>\xd2</a>", 415, "inspection_xml_unsafe"},
		{"XML that says Windows-1251 only outside", "text/xml; charset=windows-1251", "", "<a>\xd2</a>", 415, "inspection_xml_unsafe"},
		{"XML in UTF-7", x, "", "<?xml version=\"1.0\" encoding=\"utf-7\"?>+ADw-a+AD4-", 415, "inspection_xml_unsafe"},
		{"XML in UTF-16", x, "", "\xfe\xff\x00<\x00a\x00/\x00>", 415, "inspection_xml_unsafe"},
		{"XML that is not well-formed", x, "", "<a><b></a>", 400, "inspection_xml"},
		{"two roots", x, "", "<a/><b/>", 400, "inspection_xml"},
		{"deep XML", x, "", strings.Repeat("<a>", 129) + strings.Repeat("</a>", 129), 400, "inspection_depth"},
		{"multipart", mp, "", field("текст"), 200, ""},
		{"multipart with a preamble", mp, "", "x\r\n" + field("x"), 400, "inspection_multipart"},
		{"multipart with an epilogue", mp, "", field("x") + "x", 400, "inspection_multipart"},
		{"multipart with line feeds", mp, "", strings.ReplaceAll(field("x"), "\r\n", "\n"), 400, "inspection_multipart"},
		{"multipart without an end", mp, "", strings.TrimSuffix(field("x"), "--bound--\r\n"), 400, "inspection_multipart"},
		{"multipart with a transfer encoding", mp, "", part("Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: quoted-printable", "x"), 400, "inspection_multipart"},
		{"multipart with a folded field", mp, "", part("Content-Disposition: form-data;\r\n name=\"a\"", "x"), 400, "inspection_multipart"},
		{"multipart with two file names", mp, "", part(`Content-Disposition: form-data; name="a"; filename="a.txt"; filename="a.php"`, "x"), 400, "inspection_multipart"},
		{"multipart with an encoded file name", mp, "", part(`Content-Disposition: form-data; name="a"; filename*=utf-8''a.php`, "x"), 400, "inspection_multipart"},
		{"multipart with two dispositions", mp, "", part("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; name=\"b\"", "x"), 400, "inspection_multipart"},
		{"multipart in multipart", mp, "", part("Content-Disposition: form-data; name=\"a\"\r\nContent-Type: multipart/mixed; boundary=c", "--c\r\n\r\nx\r\n--c--"), 400, "inspection_multipart"},
		{"two boundaries", "multipart/form-data; boundary=bound; boundary=other", "", field("x"), 400, "inspection_multipart"},
		{"multipart of another kind", "multipart/mixed; boundary=bound", "", field("x"), 400, "inspection_multipart"},
		{"form of 1,000", form, "", strings.Repeat("a=1&", 999) + "b=2", 200, ""},
		{"form of 1,101", form, "", strings.Repeat("a=1&", 1100) + "b=2", 400, "inspection_arguments"},
		{"gzip", js, "gzip", gz(`{"a":1}`), 200, ""},
		{"deflate", js, "deflate", zlibbed(`{"a":1}`), 200, ""},
		{"an attack in gzip", js, "gzip", gz(`{"a":"` + attack + `"}`), 403, "inspection_blocked"},
		{"a bomb", js, "gzip", gz(strings.Repeat(" ", 6<<20)), 413, "inspection_expansion"},
		{"gzip that breaks off", js, "gzip", gz(`{"a":1}`)[:20], 400, "inspection_encoding"},
		{"two streams of gzip", js, "gzip", gz("{}") + gz(`{"a":"`+attack+`"}`), 400, "inspection_encoding"},
		{"gzip twice", js, "gzip, gzip", gz(gz(`{"a":1}`)), 415, "inspection_encoding"},
		{"brotli", js, "br", "\x0b\x02\x80{}\x03", 415, "inspection_encoding"},
		{"Zstandard", js, "zstd", "\x28\xb5\x2f\xfd", 415, "inspection_encoding"},
		{"UTF-7", "text/plain; charset=utf-7", "", "+ADw-script+AD4-", 403, "inspection_blocked"},
		{"no type", "", "", "a=" + attack, 403, "inspection_blocked"},
		{"too large", js, "", "[" + strings.Repeat(" ", 8<<20) + "]", 413, "inspection_too_large"},
	} {
		for _, p := range protocols {
			c := clients[p]
			for _, length := range []string{"a length", "chunks"} {
				if len(tt.body) > 1<<20 && (p == "h2" || p == "h1" == (length == "chunks")) { // once each, for they take time
					continue
				}
				var body io.Reader = strings.NewReader(tt.body)
				if length == "chunks" {
					body = io.MultiReader(body)
				}
				header := []string{"User-Agent", "Mozilla/5.0", "Accept", "*/*"}
				if tt.kind != "" {
					header = append(header, "Content-Type", tt.kind)
				}
				if tt.coding != "" {
					header = append(header, "Content-Encoding", tt.coding)
				}
				resp, answer := n.do(c, "POST", "https://inner.example/x", body, header...)
				var problem struct{ Reason string }
				json.Unmarshal([]byte(answer), &problem)
				mu.Lock()
				if resp.StatusCode != tt.status || problem.Reason != tt.reason {
					t.Errorf("%s, %s, %s: %d %s, want %d %s", tt.name, p, length, resp.StatusCode, problem.Reason, tt.status, tt.reason)
				}
				switch want := (got{tt.kind, tt.coding, tt.body + "<nil>"}); {
				case tt.status == 200 && (len(seen) != 1 || seen[0] != want):
					t.Errorf("%s, %s, %s: the upstream got %q", tt.name, p, length, seen)
				case tt.status != 200 && len(seen) > 0:
					t.Errorf("%s, %s, %s: the upstream got %q of what is refused", tt.name, p, length, seen)
				}
				if tt.status == 415 && resp.Header.Get("Accept-Encoding") == "" && tt.reason == "inspection_encoding" {
					t.Errorf("%s: the answer does not say which codings are taken", tt.name)
				}
				seen = nil
				mu.Unlock()
			}
		}
	}
}

// TestGuardsOfHeads: what the head of a request says of its body in two ways is not
// left to the upstream to choose, and bodies are inspected whatever the method.
func TestGuardsOfHeads(t *testing.T) {
	var mu sync.Mutex
	reached := ""
	n := newNode(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		reached = fmt.Sprintf("%q %q", r.Header["Content-Type"], b)
	})
	n.use("    waf: {mode: block}\n")
	nra := n.client(n.orgCA, "NTRBG-100000003")
	const js, attack = "application/json", `{"a":"1' or '1'='1' union select password from users--"}`
	for _, tt := range []struct {
		name, method string
		header       []string
		body         string
		status       int
	}{
		{"two types", "POST", []string{"Content-Type", js, "Content-Type", "text/xml"}, `{"a":1}`, 403},
		{"a list of types", "POST", []string{"Content-Type", js + ", text/xml"}, `{"a":1}`, 403},
		{"a type in two cases", "POST", []string{"Content-Type", "Application/JSON ;charset=UTF-8"}, attack, 403},
		{"an odd parameter", "POST", []string{"Content-Type", js + `; a="b;c"; charset="utf-8"`}, attack, 403},
		{"GET with a body", "GET", []string{"Content-Type", js}, attack, 403},
		{"GET with another body", "GET", []string{"Content-Type", js}, `{"a":`, 400},
		{"DELETE with a body", "DELETE", []string{"Content-Type", js}, attack, 403},
		{"PATCH of another kind", "PATCH", []string{"Content-Type", "application/merge-patch+json"}, attack, 403},
	} {
		for _, p := range protocols {
			c := n.dial(p, "inner.example", nra)
			for _, length := range []string{"a length", "chunks"} {
				var body io.Reader = strings.NewReader(tt.body)
				if length == "chunks" {
					body = io.MultiReader(body)
				}
				resp, answer := n.do(c, tt.method, "https://inner.example/x", body, append([]string{"User-Agent", "Mozilla/5.0", "Accept", "*/*"}, tt.header...)...)
				mu.Lock()
				if resp.StatusCode != tt.status || reached != "" {
					t.Errorf("%s, %s, %s: %d %s, want %d; the upstream got %s", tt.name, p, length, resp.StatusCode, answer, tt.status, reached)
				}
				reached = ""
				mu.Unlock()
			}
		}
	}
}
