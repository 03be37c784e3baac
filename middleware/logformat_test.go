package middleware

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"math/big"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/certs"
)

var update = flag.Bool("update", false, "write the golden files")

var formats = []string{FormatJSON, FormatECS, FormatOCSF, FormatCEF}

// requests that lines are written of.
func loggedRequests() map[string]*Record {
	at := time.Date(2026, 10, 5, 12, 30, 45, 123456000, time.UTC)
	id := func(c string, n int) string { return strings.Repeat(c, n) }
	base := Record{
		ID: id("a", 32), TraceID: id("b", 32), SpanID: id("c", 16), Start: at, Duration: 12345678, Listener: ":443", Protocol: "h2",
		Peer: netip.MustParseAddrPort("203.0.113.77:5000"), Client: netip.MustParseAddr("203.0.113.77"),
	}
	allowed, refused, blocked, odd := base, base, base, base
	allowed.Method, allowed.Host, allowed.Path, allowed.Service, allowed.Route, allowed.Status, allowed.BytesIn, allowed.BytesOut = "GET", "registry.example", "/v1/parcels", "registry", "registry/parcels", 200, 0, 1024
	allowed.Organization, allowed.OrgName = "nra", "National Revenue Agency"
	allowed.Identity = certs.Identity{Organization: "nra", Leaf: leafFor("nra")}
	allowed.Upstream, allowed.UpstreamServer, allowed.UpstreamDuration, allowed.Attempts = "registry", "192.0.2.7:80", 5*time.Millisecond, 1
	allowed.RateLimitPolicy, allowed.RateLimitDecision = "registry", "allowed"
	allowed.InspectionMode, allowed.LinkTraceID = "block", id("d", 32)

	refused.Method, refused.Host, refused.Path, refused.Service, refused.Route, refused.Status = "POST", "registry.example", "/citizens/7523169263", "registry", "registry", 403
	refused.Client = netip.MustParseAddr("2001:db8:1:2::5")
	refused.Identity = certs.Identity{Claimed: "nra", Reason: "expired", Leaf: leafFor("ivan@example.bg")}
	refused.Denial = &Denial{By: "allow", Reason: "expired", Detail: "line one\nline = two | three \\ of a@example.bg"}

	blocked.Method, blocked.Host, blocked.Path, blocked.Service, blocked.Route, blocked.Status = "GET", "registry.example", "/a=b|c%5Cd", "registry", "registry", 403
	blocked.Denial = &Denial{By: "waf", Reason: "attack_detected"}
	blocked.InspectionMode, blocked.InspectionScore, blocked.InspectionRules, blocked.InspectionCategory = "block", 10, []int{942100, 942190}, "sqli"

	odd.Method, odd.Status, odd.Protocol, odd.Path = "A\r\nB=|\\C", 400, "h1", "/x\x00\xff\u2028 суми=1"
	odd.Denial = &Denial{By: "http", Reason: "bad_request", Detail: "\x1b[31m"}
	return map[string]*Record{"allowed": &allowed, "refused": &refused, "blocked": &blocked, "odd": &odd}
}

func leafFor(name string) *x509.Certificate {
	return &x509.Certificate{Raw: []byte("der"), SerialNumber: big.NewInt(0x1234abcd), Subject: pkix.Name{CommonName: name}, Issuer: pkix.Name{CommonName: "Example CA"}}
}

// lineOf is the line that a format has for a record.
func lineOf(format string, rec *Record, security, whole bool, most int) []byte {
	e := logEntry{rec: rec, version: "1.2.3"}
	var state *tls.ConnectionState
	if rec.Protocol != "h1" {
		state = &tls.ConnectionState{Version: tls.VersionTLS13, CurveID: tls.X25519MLKEM768}
	}
	e.fill(state, security, whole, most)
	e.certificate()
	var l jsonLine
	formatOf(format)(&e, &l)
	return l
}

// TestLogFormats holds each format to golden files; -update writes them.
func TestLogFormats(t *testing.T) {
	t.Parallel()
	for name, rec := range loggedRequests() {
		for _, format := range formats {
			t.Run(name+"/"+format, func(t *testing.T) {
				t.Parallel()
				got := append(lineOf(format, rec, false, false, logLongest), lineOf(format, rec, true, true, logLongest)...)
				file := filepath.Join("testdata", "logs", name+"."+format)
				if *update {
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(file, got, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
				if n := bytes.Count(got, []byte{'\n'}); n != 2 {
					t.Errorf("%d lines, want 2", n)
				}
				for line := range bytes.Lines(got) {
					if format != FormatCEF && !json.Valid(line) {
						t.Errorf("not JSON: %s", line)
					}
				}
			})
		}
	}
}

// cefFields reads a line as a receiver does.
func cefFields(t *testing.T, line string) (header []string, ext map[string]string) {
	t.Helper()
	var field strings.Builder
	i := 0
	for ; i < len(line) && len(header) < 7; i++ {
		switch c := line[i]; {
		case c == '\\' && i+1 < len(line):
			i++
			field.WriteByte(line[i])
		case c == '|':
			header = append(header, field.String())
			field.Reset()
		default:
			field.WriteByte(c)
		}
	}
	if len(header) != 7 {
		t.Fatalf("%d fields in the header of %q, want 7", len(header), line)
	}
	ext = map[string]string{}
	rest := strings.TrimSuffix(line[i:], "\n")
	key := ""
	for rest != "" {
		// A key ends with the first equals sign that is not escaped; its value with the
		// space before the next key.
		at := -1
		for j := 0; j < len(rest); j++ {
			if rest[j] == '\\' {
				j++
			} else if rest[j] == '=' {
				at = j
				break
			}
		}
		if at < 0 {
			ext[key] += unescapeCEF(rest)
			break
		}
		before := rest[:at]
		if key != "" {
			space := strings.LastIndexByte(before, ' ')
			if space < 0 {
				t.Fatalf("no key before the equals sign in %q", rest)
			}
			ext[key] += unescapeCEF(before[:space])
			before = before[space+1:]
		}
		key = before
		if _, twice := ext[key]; twice {
			t.Fatalf("%s stands twice in %q", key, line)
		}
		ext[key] = ""
		rest = rest[at+1:]
	}
	return header, ext
}

func unescapeCEF(s string) string {
	return strings.NewReplacer(`\\`, `\`, `\=`, `=`, `\n`, "\n", `\r`, "\r").Replace(s)
}

func TestCEFReadsBack(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]string{
		"refused": {"msg": "line one\nline = two | three \\ of [email]", "request": "/citizens/[id]", "src": "2001:db8:1:2::5", "reason": "expired", "act": "deny", "suser": "CN=[email]"},
		"blocked": {"request": "/a=b|c%5Cd", "cs6": "942100,942190", "cs6Label": "inspection_rules", "cn3": "10"},
		"odd":     {"requestMethod": "A\r\nB=|\\C", "msg": " [31m"},
	} {
		header, ext := cefFields(t, string(lineOf(FormatCEF, loggedRequests()[name], true, true, logLongest)))
		if header[0] != "CEF:0" || header[3] != "1.2.3" {
			t.Errorf("%s: header %q", name, header)
		}
		for key, w := range want {
			if ext[key] != w {
				t.Errorf("%s: %s = %q, want %q", name, key, ext[key], w)
			}
		}
	}
}

// FuzzLogFormats writes whatever a client may have sent in every format: one line
// that reads back, and no number that Mask was to take out.
func FuzzLogFormats(f *testing.F) {
	for _, s := range []string{
		"7523169263", "/citizens/7523169263", "%37%35%32%33%31%36%39%32%36%33", "7523169263%", "75231692%2563", "%257523169263", "7523169263@example.bg", "a|7523169263=b\\c",
		"7523\n169263", "\xff7523169263\xff", strings.Repeat("x", 505) + "7523169263", strings.Repeat("/", 2040) + "7523169263", "７５２３１６９２６３", `\u0037523169263`, "0|", "00A000 \x00\x0007123192", "\x01752316", "BG80BNBG96611020345678",
		"752316-9263", "75 23 16 92 63", "NzUyMzE2OTI2Mw==", "eyJlZ24iOiI3NTIzMTY5MjYzIn0", "x/NzUyMzE2OTI2MwNzUyMzE2OTI2Mw", "752316-%4E", strings.Repeat("x", 506) + "752316-92639",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rec := loggedRequests()["refused"]
		rec.Path, rec.Host, rec.Method, rec.Denial = s, s, s, &Denial{By: "allow", Reason: "expired", Detail: s}
		rec.Identity.Leaf = leafFor(s)
		for _, format := range formats {
			for _, most := range []int{logLongest, syslogLongest} {
				line := lineOf(format, rec, true, true, most)
				if n := bytes.Count(line, []byte{'\n'}); n != 1 || line[len(line)-1] != '\n' {
					t.Fatalf("%s: not one line: %q", format, line)
				}
				if format == FormatCEF {
					cefFields(t, string(line))
				} else if !json.Valid(line) {
					t.Fatalf("%s: not JSON: %q", format, line)
				}
				noEGN(t, format, string(line))
				framed := jsonLine(bytes.Clone(line))
				newSyslogFrame("security").wrap(&framed, &logEntry{rec: rec})
				if messages(framed) != 1 {
					t.Fatalf("%d messages in %q, want 1", messages(framed), framed)
				}
				noEGN(t, "syslog "+format, string(framed))
			}
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.Path, r.URL.RawQuery, r.Host = s, s, s, s
		r.Header["User-Agent"], r.Header["Accept"], r.Header["X-Id"] = []string{s}, []string{s}, []string{s}
		w := httptest.NewRecorder()
		rec.Status = 0
		Deny(w, r.WithContext(WithRecord(r.Context(), rec)), 403, Denial{By: "allow", Reason: "expired", Detail: s})
		noEGN(t, "error page", w.Body.String())

		span := traced(rec, r)
		span.Start, span.End = time.Time{}, time.Time{}
		noEGN(t, "trace", fmt.Sprintf("%+v", span))

		reg := prometheus.NewRegistry()
		m := NewMetrics(reg)
		m.done(rec)
		m.MTLSRejected(rec.Listener, rec.Identity.Claimed, rec.Denial.Reason)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			for _, metric := range f.Metric {
				for _, label := range metric.Label {
					noEGN(t, f.GetName(), label.GetValue())
				}
			}
		}
	})
}

// noEGN looks for the civil numbers in a text, as it stands and as it is after it
// was decoded. Numbers that the gateway made itself are left out: times,
// durations and ids.
func noEGN(t *testing.T, where, text string) {
	t.Helper()
	for range maskDepth + 1 {
		noEGNWithin(t, where, text)
		for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return r > 'z' || !alphanumeric(byte(r)) && r != '+' }) {
			if len(word) >= 14 && strings.ContainsAny(word, "MNO") { // what digits look like in Base64
				for begin := range 4 {
					b, _ := base64.RawStdEncoding.DecodeString(word[begin:]) // as far as it is any
					noEGNWithin(t, where, string(b))
				}
			}
		}
		former := text
		if text, _ = decoded(text, 1); text == former {
			return
		}
	}
}

// noEGNWithin looks for ten digits in a row, and for six and four that a space or dash
// parts.
func noEGNWithin(t *testing.T, where, text string) {
	t.Helper()
	run := func(i int) (end int) {
		for end = i; end < len(text) && digit(text[end]); end++ {
		}
		return end
	}
	for i := 0; i < len(text); {
		j := run(i)
		n := text[i:j]
		if len(n) == 6 && j < len(text) && (text[j] == ' ' || text[j] == '-') {
			n += text[j+1 : run(j+1)]
		}
		if len(n) == 10 && validEGN(n) {
			t.Fatalf("%s: the civil number %s stands in %q", where, n, text)
		}
		i = max(j, i+1)
	}
}
