package waf

import (
	"slices"
	"strings"
	"testing"
)

// TestDecoders: escapes of Cyrillic are letters, and everything else is what the
// engine makes of it.
func TestDecoders(t *testing.T) {
	t.Parallel()
	compiling.Lock()
	own, err := engineDecoders()
	compiling.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	url, js := keepCyrillic(own["urldecodeuni"], '%'), keepCyrillic(own["jsdecode"], '\\')
	for _, tt := range []struct {
		decode   func(string) (string, bool, error)
		in, want string
	}{
		{url, "%u043c%U043D%u043E", "мно"},
		{url, "a+b%20%u0441%u003c%u04", "a b с<%u04"},
		{url, "%%u0416%2%u052F%u0530", "%Ж%2ԯ0"},
		{url, "%uff1cscript%uff1e", "<script>"},
		{url, "без промяна", "без промяна"},
		{js, `\u043c\u043d\x3c\u003d`, "мн<="},
		{js, `\\u0441\u0441`, `\u0441с`},
		{js, `\u04\u0416\`, `u04Ж\`},
		{js, `\U0416`, `U0416`},
	} {
		if got, _, err := tt.decode(tt.in); got != tt.want || err != nil {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// FuzzDecoders: with no Cyrillic in it, nothing is decoded differently; with some
// of it, the parts around it are not.
func FuzzDecoders(f *testing.F) {
	for _, s := range []string{"%u0416", `\u0416a\`, "%%u003c%u04", `\\u0416\101`, "+%2b%", `\x4\u{41}`} {
		f.Add(s)
	}
	compiling.Lock()
	own, err := engineDecoders()
	compiling.Unlock()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, escape := range decoders {
			keep := keepCyrillic(own[name], escape)
			// A character of another script, whose low byte is one that nothing else here
			// has, stands for the same place in the engine's own way.
			want := s
			var b strings.Builder
			for at := nextCyrillic(want, 0, escape); at >= 0; at = nextCyrillic(want, 0, escape) {
				b.WriteString(want[:at] + want[at:at+2] + "0580")
				want = want[at+6:]
			}
			b.WriteString(want)
			engine, _, _ := own[name](b.String())
			got, _, _ := keep(s)
			if nextCyrillic(s, 0, escape) < 0 && got != engine {
				t.Errorf("%s %q: %q, the engine %q", name, s, got, engine)
			}
			if strings.IndexByte(s, 0x80) >= 0 || strings.Contains(s, "80") || strings.ContainsFunc(s, kept) || strings.Contains(s, "\ufffd") || strings.Contains(s, "200") {
				continue
			}
			ascii := func(s string) string {
				return strings.Map(func(r rune) rune {
					if r < 0x80 {
						return r
					}
					return -1
				}, strings.ToValidUTF8(s, ""))
			}
			if ascii(got) != ascii(engine) {
				t.Errorf("%s %q: %q, the engine %q", name, s, got, engine)
			}
		}
	})
}

// TestProse: only sentences in Cyrillic are taken for such.
func TestProse(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"Подадох в \"Дунавски район\" искане на 17.09.2025 г., кога мога да го получа?", "Г-н/г-жа О'Браян (м. сестра): 10% от оценката;\r\nда!", "бул. \"Витоша\" 89, ет. 3, ап. 12",
	} {
		if !prose(s) {
			t.Errorf("%q is prose", s)
		}
	}
	for _, s := range []string{
		"", "аб", "Моля, виж http://a", "Уважаеми' or 1=1 --", "Уважаеми г-н кмет' || 1", "Уважаеми г-н /???/??? кмет", "Уважаеми `г-н` кмет", "Уважаеми $(г-н) $ кмет", "Уважаеми\x00г-н кмет", "Уважаеми г-н -- кмет",
		"Уважаеми\xffкмете на града", "Уважаеми %27 кмете", "уважаеми кмете \" 1 \"", "Уважаеми <кмете>", "ѕеlесt раѕѕwоrd frоm", "Уважаеми кмете &#39;",
	} {
		if prose(s) {
			t.Errorf("%q is not prose", s)
		}
	}
}

// TestTolerances: what is left out of some rules' sight is no cover for anything
// beside it.
func TestTolerances(t *testing.T) {
	t.Parallel()
	if n := len(tolerancePatterns()); n < len(tolerances)-1 {
		t.Fatalf("the patterns of only %d rules were found", n)
	}
	rs := testRuleset(t, Settings{Paranoia: 2})
	const text = "Подадох+искане+в+%22Дунавски+район%22,+кога+мога+да+го+получа?"
	const probe = "%22+%3d%3d+%22"
	for _, tt := range []struct {
		query string
		rule  int
		want  bool
	}{
		{"/?q=" + text, 942370, false}, {"/?q=" + probe, 942370, true}, {"/?q=" + text + "&q=" + probe, 942370, true}, {"/?Q=" + probe + "&q=" + text, 942370, true}, {"/?=" + text + "&=" + probe, 942370, true},
		{"/?q=" + text + probe, 942370, true},
		{"/?request=GetCapabilities", 932260, false}, {"/?request=getcap+-r+/", 932260, true}, {"/?request=GetCapabilities;getcap+-r+/", 932260, true},
		{"/?q=%7b%22a%22:%22%5cu0441%5cu0442%22%7d", 920540, false}, {"/?q=%5cu0441%5cu003c", 920540, true}, {"/?q=%5cu003c", 920540, true},
	} {
		r := testRequest("/", "application/x-www-form-urlencoded", strings.TrimPrefix(tt.query, "/?"))
		v, err := rs.run(r, rs.screened)
		if got := slices.Contains(v.all, tt.rule); got != tt.want || err != nil {
			t.Errorf("%s: rule %d matches: %v, want %v; %v %v", tt.query, tt.rule, got, tt.want, v.all, err)
		}
		same(t, rs, r)
	}
}
