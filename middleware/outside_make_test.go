package middleware

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"html"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// outsideMaker fills in templates. <<name>> stands for a value of a kind, and
// <<name|encoding|encoding>> for one that is encoded, from left to right;
// <<"text"|encoding>> is a text; <<name 1>> is the same in the whole of a request.
// ⟦encoding|...⟧ encodes what was filled in between.
type outsideMaker struct {
	t testing.TB
	*rand.Rand
	half int
	same map[string]string
	text [3][]string
	en   [3][]string
}

func newOutsideMaker(t testing.TB) *outsideMaker {
	m := &outsideMaker{t: t}
	for half := range 2 {
		m.text[half] = outsideTexts(t, half, outsideBulgarian...)
		m.en[half] = outsideTexts(t, half, "texts-en.txt")
	}
	m.text[2], m.en[2] = outsideBlocks(t, "texts-bg-late.txt"), outsideBlocks(t, "texts-en.txt")
	return m
}

func (m *outsideMaker) seed(name string, k, half int) {
	h := fnv.New64a()
	h.Write([]byte(name))
	m.Rand = rand.New(rand.NewPCG(h.Sum64(), uint64(k)))
	m.half, m.same = half, map[string]string{}
}

func (m *outsideMaker) expand(s string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, "<<")
		b.WriteString(before)
		if !ok {
			break
		}
		inner, after, ok := strings.Cut(rest, ">>")
		if !ok {
			m.t.Fatalf("no end of <<%.40s", rest)
		}
		b.WriteString(m.value(inner))
		s = after
	}
	s = b.String()
	for {
		end := strings.Index(s, "⟧")
		if end < 0 {
			return s
		}
		start := strings.LastIndex(s[:end], "⟦")
		encoding, text, _ := strings.Cut(s[start+len("⟦"):end], "|")
		s = s[:start] + m.encode(encoding, text) + s[end+len("⟧"):]
	}
}

func (m *outsideMaker) value(inner string) string {
	v := ""
	if text, ok := strings.CutPrefix(inner, `"`); ok {
		v, inner, _ = strings.Cut(text, `"`)
		inner = strings.TrimPrefix(inner, "|")
	} else {
		var name string
		name, inner, _ = strings.Cut(inner, "|")
		if name, ok := strings.CutSuffix(name, " 1"); ok {
			if m.same[name] == "" {
				m.same[name] = m.make(name)
			}
			v = m.same[name]
		} else {
			v = m.make(name)
		}
	}
	for inner != "" {
		var encoding string
		encoding, inner, _ = strings.Cut(inner, "|")
		v = m.encode(encoding, v)
	}
	return v
}

func (m *outsideMaker) encode(encoding, v string) string {
	switch encoding {
	case "q": // as a form does
		return url.QueryEscape(v)
	case "p": // as scripts and programs do
		return strings.NewReplacer("+", "%20", "%28", "(", "%29", ")", "%21", "!", "%2A", "*", "%27", "'").Replace(url.QueryEscape(v))
	case "j":
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(strings.ReplaceAll(v, "\r\n", "\n")); err != nil {
			m.t.Fatal(err)
		}
		s := strings.TrimSpace(b.String())
		return s[1 : len(s)-1]
	case "ja":
		return escapeJSON(strings.ReplaceAll(v, "\r\n", "\n"))
	case "x":
		return html.EscapeString(strings.ReplaceAll(v, "\r\n", "\n"))
	case "sp": // as old browsers do: letters as they are
		return strings.ReplaceAll(v, " ", "+")
	case "w": // as a form of a page in windows-1251 does
		var b strings.Builder
		for _, r := range v {
			switch {
			case r < 0x80:
				b.WriteString(url.QueryEscape(string(r)))
			case r >= 'А' && r <= 'я':
				fmt.Fprintf(&b, "%%%02X", r-'А'+0xc0)
			default:
				if at := strings.IndexRune("„…‰“”•–—№§°«»±", r); at >= 0 {
					b.WriteString([]string{"%84", "%85", "%89", "%93", "%94", "%95", "%96", "%97", "%B9", "%A7", "%B0", "%AB", "%BB", "%B1"}[strings.Count("„…‰“”•–—№§°«»±"[:at], "")-1])
				} else {
					fmt.Fprintf(&b, "%%26%%23%d%%3B", r)
				}
			}
		}
		return b.String()
	}
	m.t.Fatalf("no encoding %q", encoding)
	return ""
}

func (m *outsideMaker) one(list ...string) string { return list[m.IntN(len(list))] }

func (m *outsideMaker) letters(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[m.IntN(len(alphabet))]
	}
	return string(b)
}

func (m *outsideMaker) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.Uint32())
	}
	return b
}

const (
	digits = "0123456789"
	hexes  = "0123456789abcdef"
	alnum  = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// make makes a value of a kind.
func (m *outsideMaker) make(name string) string {
	name, arg, _ := strings.Cut(name, " ")
	n, _ := strconv.Atoi(arg)
	if list, ok := outsideWords[name]; ok {
		return m.expand(m.one(list...))
	}
	switch name {
	case "text":
		return strings.ReplaceAll(m.one(m.text[m.half]...), "\n", "\r\n")
	case "entext":
		return strings.ReplaceAll(m.one(m.en[m.half]...), "\n", "\r\n")
	case "digit":
		return m.letters("123456789", 1)
	case "int":
		return strconv.Itoa(1000 + m.IntN(900_000))
	case "float":
		return fmt.Sprintf("%d.%02d", m.IntN(5000), m.IntN(100))
	case "year":
		return strconv.Itoa(2015 + m.IntN(10))
	case "date":
		return fmt.Sprintf("20%02d-%02d-%02d", 15+m.IntN(10), 1+m.IntN(12), 1+m.IntN(28))
	case "datetime":
		return m.make("date") + fmt.Sprintf("T%02d:%02d:%02d", m.IntN(24), m.IntN(60), m.IntN(60))
	case "uuid":
		h := m.letters(hexes, 32)
		return h[:8] + "-" + h[8:12] + "-4" + h[13:16] + "-a" + h[17:20] + "-" + h[20:]
	case "hex16":
		return m.letters(hexes, 16)
	case "hex32":
		return m.letters(hexes, 32)
	case "tok16":
		return m.letters(alnum, 16)
	case "tok40":
		return m.letters(alnum, 40)
	case "b64":
		return base64.StdEncoding.EncodeToString(m.bytes(n))
	case "jwt":
		enc := base64.RawURLEncoding.EncodeToString
		return enc([]byte(`{"alg":"RS256","typ":"JWT","kid":"`+m.make("tok16")+`"}`)) + "." +
			enc([]byte(`{"iss":"https://login.example.bg/realms/egov","sub":"`+m.make("uuid")+`","name":"`+m.make("name")+`","exp":17`+m.make("int")+`,"roles":["user","urn:egov:citizen"],"scope":"openid profile"}`)) + "." + enc(m.bytes(64))
	case "laravel":
		b, _ := json.Marshal(map[string]string{"iv": base64.StdEncoding.EncodeToString(m.bytes(16)), "value": base64.StdEncoding.EncodeToString(m.bytes(180)), "mac": m.letters(hexes, 64), "tag": ""})
		return base64.StdEncoding.EncodeToString(b)
	case "cert":
		return "MIIF" + base64.StdEncoding.EncodeToString(m.bytes(600))
	case "saml":
		return base64.StdEncoding.EncodeToString([]byte(m.expand(outsideSAML)))
	case "iso":
		return m.expand(outsideISO)
	case "egn", "eik":
		return m.letters("123456789", 1) + m.letters(digits, map[string]int{"egn": 9, "eik": 8}[name])
	case "phone":
		return m.one("+359 88 ", "0888/", "02/", "0"+m.letters("789", 2)+"-", "(032) ") + m.letters(digits, 3) + m.one(" ", "-", "") + m.letters(digits, 3)
	case "iban":
		return "BG" + m.letters(digits, 2) + "BNBG" + m.letters(digits, 14)
	case "email":
		return m.one("ivan.petrov", "m_georgieva", "office", "info+"+m.make("tok16"), "k.d.1985", "o'neil", "zahari-todorov") + "@" + m.one("abv.bg", "mail.bg", "gmail.com", "obshtina-example.bg", "minfin.example.bg")
	case "pass":
		return m.one("Парола", "Qwerty", "S0fia!", "p@ss w0rd", "лято&зима;", "x'Y\"z<>", "#Rakia=100%", "C:\\temp", "a|b||c") + m.letters(alnum+"!@#$%^&*()-_=+", 6)
	case "slug":
		return m.one("stolichna-obshtina", "registar-na-detskite-zavedenia", "mrrb", "nsi", "air-quality", "select-committee", "budget_2024", "obshtina-varna", "grao", "drop-off-points") + m.one("", "-"+m.letters(digits, 2))
	case "bbox":
		x, y := 22+6*m.Float64(), 41+3*m.Float64()
		return fmt.Sprintf("%.6f,%.6f,%.6f,%.6f", x, y, x+0.4, y+0.3)
	case "bbox3857":
		x, y := 2.5e6+6e5*m.Float64(), 5.1e6+4e5*m.Float64()
		return fmt.Sprintf("%.8f,%.8f,%.8f,%.8f", x, y, x+2445.98, y+2445.98)
	case "poslist":
		var b strings.Builder
		for range 40 {
			fmt.Fprintf(&b, "%.7f %.7f ", 41+3*m.Float64(), 22+6*m.Float64())
		}
		return strings.TrimSpace(b.String())
	case "geojson":
		var coords []string
		for range 60 {
			coords = append(coords, fmt.Sprintf("[%.14f,%.14f]", 22+6*m.Float64(), 41+3*m.Float64()))
		}
		return fmt.Sprintf(`{"type":"FeatureCollection","name":%q,"crs":{"type":"name","properties":{"name":"urn:ogc:def:crs:OGC:1.3:CRS84"}},"features":[{"type":"Feature","properties":{"ime":%q,"adres":%q,"ekatte":"68134","plosht":%s,"zab":null},"geometry":{"type":"MultiPolygon","coordinates":[[[%s]]]}}]}`,
			m.make("slug"), m.make("firm"), m.make("addr"), m.make("float"), strings.Join(append(coords, coords[0]), ","))
	case "csv":
		rows := []string{"\ufeff№;Наименование;Адрес;ЕИК;Сума;Забележка"}
		for i := range 12 {
			rows = append(rows, fmt.Sprintf(`%d;"%s";"%s";%s;%s;"%s"`, i+1, strings.ReplaceAll(m.make("firm"), `"`, `""`), strings.ReplaceAll(m.make("addr"), `"`, `""`), m.make("eik"), m.one(m.make("float"), "=SUM(E2:E9)", "-12,50", "1 234,00 лв."), strings.ReplaceAll(m.make("phrase"), `"`, `""`)))
		}
		return strings.Join(rows, "\r\n") + "\r\n"
	case "pdf":
		return "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<</Type/Catalog/Pages 2 0 R/OpenAction<</S/GoTo/D[3 0 R /Fit]>>>>\nendobj\n4 0 obj\n<</Filter/FlateDecode/Length 600>>stream\n" + string(m.bytes(600)) + "\nendstream\nendobj\ntrailer\n<</Root 1 0 R>>\nstartxref\n9\n%%EOF\n"
	case "png":
		return "\x89PNG\r\n\x1a\n" + string(m.bytes(700))
	case "zip":
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.Create("xl/worksheets/sheet1.xml")
		if err != nil {
			m.t.Fatal(err)
		}
		w.Write(m.bytes(500))
		z.Close()
		return b.String()
	case "analytics":
		return strings.Join([]string{"_ga=GA1.2." + m.letters(digits, 10) + ".17" + m.letters(digits, 8), "_gid=GA1.2." + m.letters(digits, 9) + ".17" + m.letters(digits, 8), m.expand(m.one(outsideCookies...)), m.expand(m.one(outsideCookies...))}, "; ")
	case "consent":
		return m.expand(m.one(outsideConsent...))
	}
	m.t.Fatalf("nothing is named %q", name)
	return ""
}
