package middleware

import (
	"fmt"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

func refusedBy(id, organization string, at time.Time) *Record {
	return &Record{
		ID: id, Start: at, Status: http.StatusForbidden, Organization: organization, Client: netip.MustParseAddr("203.0.113.77"),
		Method: "GET", Host: "a.example", Path: "/citizens/7501020018/ivan@example.bg", Denial: &Denial{By: "allow", Reason: "not_allowed", Detail: "7501020018"},
	}
}

// TestIncidents: what is kept is bounded, masked, and a stranger's flood does not
// push out what concerns organizations.
func TestIncidents(t *testing.T) {
	t.Parallel()
	l := NewIncidents(func(i *Incident) { i.Hash = "h" })
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l.note(&Record{ID: "passed", Status: 200})
	l.note(refusedBy("known", "nra", start))
	watched := refusedBy("watched", "nra", start)
	watched.Would, watched.Denial, watched.Status = &BodyRefusal{403, Denial{By: "waf", Reason: "inspection_blocked"}}, nil, 200
	l.note(watched)
	for n := range 2*maxIncidents + 1 {
		l.note(refusedBy(fmt.Sprint("stranger", n), "", start.Add(time.Duration(n+1)*time.Second)))
	}
	if l.Find("passed") != nil || l.Find("stranger0") != nil || l.Find(fmt.Sprint("stranger", maxIncidents)) != nil {
		t.Error("what passed or is too old is kept")
	}
	got := l.Find("known")
	if got == nil || got.Hash != "h" || got.Network != "203.0.113.0/24" || got.Organization != "nra" {
		t.Fatalf("got %+v", got)
	}
	for _, s := range []string{got.Path, got.Detail} {
		if strings.Contains(s, "7501020018") || strings.Contains(s, "ivan@") {
			t.Errorf("%q is not masked", s)
		}
	}
	if w := l.Find("watched"); w == nil || !w.Detected || w.Status != 403 || w.Answered != 200 || w.By != "waf" || got.Detected {
		t.Errorf("what detect mode let through: %+v", w)
	}
	later := refusedBy("later", "nra", start)
	later.InspectionOutcome, later.InspectionMode, later.InspectionMatches = "detect", "detect", []waf.Match{{Rule: 942100}}
	if i := later.incident(); i.Detected || i.By != "allow" || i.Inspection == nil || len(i.Inspection.Matches) != 1 {
		t.Errorf("detected, and refused by another policy: %+v", i)
	}
	all := l.List(nil, 3)
	if len(all) != 3 || all[0].ID != fmt.Sprint("stranger", 2*maxIncidents) || !all[1].Time.After(all[2].Time) {
		t.Errorf("got %v, want the newest three", all)
	}
	if mine := l.List(func(i *Incident) bool { return i.Organization == "nra" && !i.Detected }, 10); len(mine) != 1 || mine[0] != got {
		t.Errorf("got %v, want the one of nra", mine)
	}
}

// TestIncidentIsSmall: whatever a client sends, an incident is a few kilobytes.
func TestIncidentIsSmall(t *testing.T) {
	t.Parallel()
	rec := refusedBy("a", "", time.Now())
	rec.Path, rec.Method = "/"+strings.Repeat("я", 4000), strings.Repeat("M", 5000)
	rec.Denial = &Denial{By: "waf", Reason: "inspection_blocked", Detail: strings.Repeat("d", 9000)}
	for range 64 {
		rec.InspectionMatches = append(rec.InspectionMatches, waf.Match{Rule: 942100, Where: "ARGS:q", Part: strings.Repeat("p", 80)})
	}
	i := rec.incident()
	if n := len(fmt.Sprintf("%+v %+v", *i, *i.Inspection)); n > 6000 {
		t.Errorf("an incident of %d bytes", n)
	}
}

// TestProposedExclusions: the narrowest exclusion is proposed, and what a client wrote
// can't write YAML.
func TestProposedExclusions(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, path, organization string
		match                    waf.Match
		want                     string
	}{
		{"a parameter", "/search", "", waf.Match{Rule: 942100, Where: "ARGS:q"}, `- {rule: 942100, paths: ["=/search"], parameter: "q"}`},
		{"of an organization", "/search", "nra", waf.Match{Rule: 942100, Where: "ARGS_GET:q"}, `- {rule: 942100, paths: ["=/search"], organizations: ["nra"], parameter: "q"}`},
		{"in a JSON list", "/api", "", waf.Match{Rule: 941100, Where: "ARGS_POST:json.items.3.note"}, `- {rule: 941100, paths: ["=/api"], parameter: "json.items.*.note"}`},
		{"a header field", "/", "", waf.Match{Rule: 932100, Where: "REQUEST_HEADERS:Referer"}, `- {rule: 932100, paths: ["=/"], header: "Referer"}`},
		{"a cookie", "/", "", waf.Match{Rule: 942420, Where: "REQUEST_COOKIES:sid"}, `- {rule: 942420, paths: ["=/"], cookie: "sid"}`},
		{"what has no name", "/x", "", waf.Match{Rule: 930100, Where: "REQUEST_URI"}, `- {rule: 930100, paths: ["=/x"]}`},
		{"below a masked part", "/people/[id]/x", "", waf.Match{Rule: 942100, Where: "ARGS:q"}, `- {rule: 942100, paths: ["/people/"], parameter: "q"}`},
		{"a masked name", "/", "", waf.Match{Rule: 942100, Where: "ARGS:[id]"}, `- {rule: 942100, paths: ["=/"], parameter: "*"}`},
		{"a name that writes YAML", "/", "", waf.Match{Rule: 942100, Where: "ARGS:q\"}\n- {tag: x"}, `- {rule: 942100, paths: ["=/"], parameter: "q\"}\n- {tag: x"}`},
	} {
		i := &Incident{Path: tt.path, Organization: tt.organization, By: "waf", Reason: "inspection_blocked", Inspection: &Inspection{Matches: []waf.Match{tt.match}}}
		if got := strings.Join(i.Exclusions(), "|"); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	rec := refusedBy("a", "", time.Now())
	rec.Path, rec.Denial = "/s", &Denial{By: "waf", Reason: "inspection_blocked"}
	for n := range 20 {
		rec.InspectionMatches = append(rec.InspectionMatches, waf.Match{Rule: 942100 + n, Where: "ARGS:q", Also: []string{"ARGS:r"}})
	}
	if i := rec.incident(); len(i.Exclusions()) != 40 || strings.Contains(i.ExclusionYAML(), "#") {
		t.Errorf("20 rules in two places: %s", i.ExclusionYAML())
	}
	for n := range 50 {
		rec.InspectionMatches = append(rec.InspectionMatches, waf.Match{Rule: 942100, Where: fmt.Sprint("ARGS:q", n), More: 1})
	}
	if i := rec.incident(); len(i.Inspection.Further) != 24+30 || i.Inspection.More != 70 || !strings.Contains(i.ExclusionYAML(), "# more rules") {
		t.Errorf("50 places: %d, %d, %s", len(i.Inspection.Further), i.Inspection.More, i.ExclusionYAML())
	}
	if got := (&Incident{By: "waf", Reason: "inspection_json", Inspection: &Inspection{}}).ExclusionYAML(); got != "" {
		t.Errorf("a body that can't be read has the exclusion %q", got)
	}
}

// TestAdvice: every reason that people are told has an advice for the operator in
// both languages.
func TestAdvice(t *testing.T) {
	t.Parallel()
	for reason := range texts {
		by := "http"
		if strings.HasPrefix(reason, "inspection_") {
			by = "waf"
		}
		en, bg := (&Incident{By: by, Reason: reason}).Advice()
		if en == "" || bg == "" || en == bg {
			t.Errorf("%s: %q, %q", reason, en, bg)
		}
	}
	for family := 911; family <= 944; family++ { // each that the rules have
		if id := family*1000 + 100; waf.KnownRule(id) {
			if w := waf.RuleWords(id); w.English == "" || w.Bulgarian == "" {
				t.Errorf("rule %d has no words", id)
			}
		}
	}
}

// TestIncidentKeepsNoBody: a few words of a body don't keep the body in memory.
func TestIncidentKeepsNoBody(t *testing.T) {
	l := NewIncidents(nil)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for n := range 100 {
		body := strings.Repeat("x", 1<<20)
		rec := refusedBy(fmt.Sprint(n), "nra", time.Now())
		rec.Host, rec.Path, rec.Method = body[:9], body[:100], body[:5]
		rec.Denial = &Denial{By: "waf", Reason: "inspection_blocked", Detail: body[:50]}
		rec.InspectionMatches = []waf.Match{{Where: body[:20], Part: body[:80], Message: body[:10], Also: []string{body[:7]}}}
		l.note(rec)
	}
	if now := heap(); now > before+10<<20 {
		t.Errorf("100 incidents keep %d bytes", now-before)
	}
	if got := l.List(nil, 1000); len(got) != 100 {
		t.Errorf("%d incidents", len(got))
	}
}
