package waf

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/corazawaf/libinjection-go"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/waf/screen"
)

func testRuleset(t testing.TB, s Settings) *Ruleset {
	t.Helper()
	if s.Threshold == 0 {
		s.Threshold = 5
	}
	rs, err := NewManager(Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry()}).Ruleset(s)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func testRequest(uri, kind, body string) *Request {
	r := &Request{
		Client: netip.MustParseAddr("192.0.2.7"), Method: "GET", URI: uri, Proto: "HTTP/1.1", Host: "a.example", Body: []byte(body),
		Header: map[string][]string{"User-Agent": {"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}, "Accept": {"application/json"}, "Accept-Language": {"bg,en;q=0.5"}},
	}
	if body != "" {
		r.Method = "POST"
		r.Header["Content-Type"], r.Header["Content-Length"] = []string{kind}, []string{strconv.Itoa(len(body))}
	}
	return r
}

// TestScreenNeverMisses makes strings of the language of every pattern, and asks
// the screen about them. VAZEL_PROPERTY says how many; a million is the promise.
func TestScreenNeverMisses(t *testing.T) {
	t.Parallel()
	total := 60_000
	if s := os.Getenv("VAZEL_PROPERTY"); s != "" {
		total, _ = strconv.Atoi(s)
	}
	rs := testRuleset(t, Settings{Paranoia: 4})
	type pattern struct {
		id int
		re *syntax.Regexp
		ok *regexp.Regexp
		f  *screen.Filter
	}
	budget := screen.NewBudget(100, total/20)
	var patterns []pattern
	for _, r := range rs.order {
		if _, unscreened := rs.screened.screen.Without[r.ID()]; unscreened || !strings.Contains(r.Raw(), `"@rx `) {
			continue
		}
		_, rest, _ := strings.Cut(r.Raw(), `"@rx `)
		p := regexp.MustCompile(`^(?:[^"\\]|\\.)*`).FindString(rest)
		p = "(?sm)" + strings.ReplaceAll(p, `\"`, `"`)
		re, err := syntax.Parse(p, syntax.Perl)
		if err != nil {
			t.Fatalf("%d: %v", r.ID(), err)
		}
		patterns = append(patterns, pattern{r.ID(), re, regexp.MustCompile(p), screen.NewFilter(strings.TrimPrefix(p, "(?sm)"), budget)})
	}
	if len(patterns) < 120 {
		t.Fatalf("only %d patterns", len(patterns))
	}
	rnd := rand.New(rand.NewPCG(1, uint64(total)))
	tried, misses := 0, 0
	for i := 0; tried < total && i < 4*total; i++ {
		p := patterns[i%len(patterns)]
		g := generator{rnd: rnd, plain: i/len(patterns)%2 == 1}
		g.walk(p.re)
		s := g.out.String()
		if len(s) > 4096 || !p.ok.MatchString(s) {
			continue // word boundaries and the like
		}
		tried++
		if !rs.screened.screen.MayMatch(p.id, s) || !p.f.MayMatch(s) {
			if misses++; misses < 20 {
				t.Errorf("rule %d: %q is missed", p.id, s)
			}
		}
	}
	if tried < total {
		t.Errorf("only %d of %d strings matched their own pattern", tried, total)
	}
	t.Logf("%d strings of %d patterns, %d misses", tried, len(patterns), misses)
}

// generator makes a string that an expression matches, with luck.
type generator struct {
	rnd   *rand.Rand
	plain bool // what may be left out mostly is: of evasions, few remain
	out   strings.Builder
}

func (g *generator) walk(re *syntax.Regexp) {
	switch re.Op {
	case syntax.OpLiteral:
		for _, r := range re.Rune {
			g.rune(r, re.Flags&syntax.FoldCase != 0)
		}
	case syntax.OpCharClass:
		n := 0
		for i := 0; i+1 < len(re.Rune); i += 2 {
			n += min(int(re.Rune[i+1]-re.Rune[i])+1, 300)
		}
		at := g.rnd.IntN(max(n, 1))
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if size := min(int(re.Rune[i+1]-re.Rune[i])+1, 300); at < size {
				g.out.WriteRune(re.Rune[i] + rune(at))
				return
			} else {
				at -= size
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		g.out.WriteRune([]rune("aZ0 '\"<;()=\\/ёж\u017f\u212a")[g.rnd.IntN(16)])
	case syntax.OpBeginLine, syntax.OpEndLine:
		if g.out.Len() > 0 && g.rnd.IntN(2) == 0 {
			g.out.WriteByte('\n')
		}
	case syntax.OpWordBoundary:
		if g.rnd.IntN(2) == 0 {
			g.out.WriteByte(' ')
		}
	case syntax.OpCapture, syntax.OpConcat:
		for _, s := range re.Sub {
			g.walk(s)
		}
	case syntax.OpAlternate:
		g.walk(re.Sub[g.rnd.IntN(len(re.Sub))])
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		least, most := 0, 3
		switch re.Op {
		case syntax.OpPlus:
			least = 1
		case syntax.OpQuest:
			most = 1
		case syntax.OpRepeat:
			if least, most = re.Min, re.Max; most < 0 || most > least+3 {
				most = least + 3
			}
		}
		if g.plain && g.rnd.IntN(20) > 0 {
			most = least
		}
		for range least + g.rnd.IntN(most-least+1) {
			g.walk(re.Sub[0])
		}
	}
}

func (g *generator) rune(r rune, fold bool) {
	if fold {
		for range g.rnd.IntN(4) {
			r = unicode.SimpleFold(r)
		}
	}
	g.out.WriteRune(r)
}

// TestPlainWords: what the screen does not ask libinjection about, it would not
// find anything in.
func TestPlainWords(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(2, 3))
	words := []string{"select", "union", "or", "and", "1", "0x1F", "null", "true", "like", "in", "is", "not", "exec", "sleep", "a", "e", "N", "javascript", "onload", "script", "_", "user", "binary", "x"}
	for range 300_000 {
		s := ""
		for range 1 + rnd.IntN(4) {
			s += words[rnd.IntN(len(words))]
		}
		if is, print := libinjection.IsSQLi(s); is {
			t.Fatalf("%q is SQL: %s", s, print)
		}
		if libinjection.IsXSS(s) {
			t.Fatalf("%q is a script", s)
		}
	}
}

// same reports whether a request has the same result with the screen as without.
func same(t testing.TB, rs *Ruleset, r *Request) bool {
	with, err1 := rs.run(r, rs.screened)
	without, err2 := rs.run(r, nil)
	if !slices.Equal(rs.found(with), rs.found(without)) || (err1 == nil) != (err2 == nil) {
		t.Errorf("%s %.200q: %v %d %v with the screen, %v %d %v without", r.URI, r.Body, rs.found(with), with.Score, err1, rs.found(without), without.Score, err2)
		return false
	}
	return true
}

// FuzzScreen: whatever a request holds, the screen changes nothing.
func FuzzScreen(f *testing.F) {
	for _, s := range []string{"a", "1' or '1'='1", "<script>alert(1)</script>", "%3Cscript%3E", "..%2f..%2fetc%2fpasswd", "; cat /etc/passwd", "\\u003cimg src=x onerror=1>", "&lt;script&gt;", "${jndi:ldap://x}", "c'a't /e\"t\"c", "уважаеми", "\u017felect 1", "\xbcscript\xbe", "a\x00b", "/*!select*/ 1", "php://filter"} {
		for kind := range 4 {
			f.Add(s, kind)
		}
	}
	rs := testRuleset(f, Settings{Paranoia: 4})
	f.Fuzz(func(t *testing.T, s string, kind int) {
		if len(s) > 2000 {
			return
		}
		q := strings.NewReplacer(" ", "+", "\n", "%0a", "#", "%23").Replace(s)
		r := testRequest("/a?q="+q, "", "")
		switch kind & 3 {
		case 1:
			r = testRequest("/a", "application/json", fmt.Sprintf(`{"a":[%q]}`, strings.ToValidUTF8(s, "?")))
		case 2:
			r = testRequest("/a", "application/x-www-form-urlencoded", "a="+q+"&"+q+"=b")
		case 3:
			r = testRequest("/a", "text/plain", s)
			r.Header["Cookie"], r.Header["Referer"] = []string{"a=" + s}, []string{s}
		}
		same(t, rs, r)
	})
}

// TestShadow: a screen that is wrong is found out and put out of use, and the
// request has the right result.
func TestShadow(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	attack := testRequest("/?q=1%27+or+1=1+union+select+1", "", "")
	if v, err := rs.shadow(attack); err != nil || !v.Block || rs.screened.off.Load() {
		t.Fatalf("%+v %v", v, err)
	}
	rs.screened.screen = screen.New(screen.Options{Rules: []screen.Rule{{ID: 942100, Phase: 2, Raw: `SecRule ARGS "@contains zzz" "id:942100,phase:2"`}}})
	if v, err := rs.shadow(attack); err != nil || !v.Block || !rs.screened.off.Load() {
		t.Errorf("a wrong screen: %v %v, out of use %v", v, err, rs.screened.off.Load())
	}
}

// TestExcludeCountedRule: a rule that another one skips by its number can be left
// out, and what comes after it is skipped no more and no less.
func TestExcludeCountedRule(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	if !rs.kept[920540] {
		t.Fatal("rule 920540 is no longer skipped by number; choose another one")
	}
	x, err := rs.Exclusions([]Exclusion{{Rule: 920540}})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"application/json", "application/x-www-form-urlencoded"} {
		r := testRequest("/?a=%5Cu0061lert", kind, `{"a":1}`)
		r.Exclude = x
		v, err := rs.run(r, rs.screened)
		if err != nil || rs.lean.dropped[920539] || slices.Contains(v.all, 920540) {
			t.Errorf("%s: %v %v", kind, v.all, err)
		}
		same(t, rs, r)
	}
}

// TestFickle: the rules that are left out of comparing are few.
func TestFickle(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 4})
	var got []int
	for _, r := range rs.order {
		if fickle(r) {
			got = append(got, r.ID())
		}
	}
	if len(got) > 25 || !slices.Contains(got, 942130) {
		t.Errorf("%v", got)
	}
}
