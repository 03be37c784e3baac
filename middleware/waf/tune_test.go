package waf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// script writes a log: what a node in detect mode would have written.
type script struct {
	bytes.Buffer
	at time.Time
}

func (s *script) line(fields map[string]any) {
	s.at = s.at.Add(time.Minute)
	all := map[string]any{
		"@timestamp": s.at.Format(time.RFC3339), "event.dataset": "vazel.access", "http.request.method": "GET", "url.path": "/search", "http.response.status_code": 200, "client.address": "192.0.2.0", "vazel.service": "portal", "vazel.route": "portal",
		"vazel.inspection.mode": "detect", "vazel.inspection.score": 0,
	}
	for k, v := range fields {
		all[k] = v
	}
	b, _ := json.Marshal(all)
	s.Write(append(b, '\n'))
}

func (s *script) found(fields map[string]any, places ...string) {
	var rules []int
	for _, p := range places {
		var id int
		fmt.Sscan(p, &id)
		rules = append(rules, id)
	}
	all := map[string]any{"vazel.inspection.score": 5 * len(rules), "vazel.inspection.rules": rules, "vazel.inspection.outcome": "detect", "vazel.inspection.matches": places, "vazel.inspection.category": "sqli"}
	for k, v := range fields {
		all[k] = v
	}
	s.line(all)
}

// scripted is two weeks of a portal: people whose searches look like SQL, two
// organizations that send their own language, a scanner, a burglar.
func scripted() *script {
	s := &script{at: time.Date(2025, 6, 2, 8, 0, 0, 0, time.UTC)}
	for day := range 10 {
		s.at = time.Date(2025, 6, 2+day, 8, 0, 0, 0, time.UTC)
		for n := range 40 {
			s.line(map[string]any{"client.address": fmt.Sprintf("198.51.%d.0", n)})
		}
		for n := range 3 { // people
			s.found(map[string]any{"client.address": fmt.Sprintf("198.51.%d.0", 3*day+n)}, "942100 ARGS:q")
		}
		for _, org := range []string{"nra", "sofia"} { // programs
			s.found(map[string]any{"vazel.route": "registry/api", "vazel.service": "registry", "url.path": fmt.Sprintf("/api/v%d/records", day%5), "vazel.organization": org, "http.request.method": "POST"}, fmt.Sprintf("942360 ARGS:json.items.%d.query", day))
		}
	}
	for n, path := range []string{"/search", "/admin", "/login", "/wp-login.php", "/a", "/b", "/search", "/cgi-bin/x"} { // a scanner
		place := "ARGS:q"
		if n%2 == 1 {
			place = fmt.Sprintf("ARGS:p%d", n)
		}
		s.found(map[string]any{"client.address": "203.0.113.0", "url.path": path, "http.response.status_code": 404}, "942100 "+place, "941100 "+place, "932160 "+place, "930120 "+place)
	}
	s.found(map[string]any{"client.address": "203.0.113.0"}, "942100 ARGS:q") // and where people search
	for range 4 {                                                             // a burglar
		s.found(map[string]any{"client.address": "192.0.2.128", "url.path": "/login", "http.response.status_code": 500}, "942190 ARGS:user")
	}
	for range 2 { // who knows
		s.found(map[string]any{"client.address": "192.0.2.64", "url.path": "/form"}, "941160 ARGS:text")
	}
	s.line(map[string]any{"vazel.inspection.outcome": "detect", "vazel.inspection.guard": ReasonJSON})
	s.line(map[string]any{"vazel.inspection.score": 3, "vazel.inspection.rules": []int{920280}})
	s.WriteString("not JSON\n{\"@timestamp\":\"2025-06-02T08:00:00Z\",\"message\":\"something else\"}\n")
	return s
}

// TestTune: false positives are told from attacks by who sends them, when and
// with what success, and what is proposed is narrow.
func TestTune(t *testing.T) {
	t.Parallel()
	tuner := &Tuner{}
	if err := tuner.Read(scripted()); err != nil {
		t.Fatal(err)
	}
	r := tuner.Report()
	if r.Inspected != 467 || r.Blocked != 66 || r.Below != 1 || r.Scanners != 1 {
		t.Errorf("%d inspected, %d blocked, %d below, %d scanners", r.Inspected, r.Blocked, r.Below, r.Scanners)
	}
	verdicts := map[string]string{}
	for _, g := range r.Groups {
		verdicts[fmt.Sprintf("%s %d %s", g.Route, g.Rule, g.Part)] = g.Verdict
	}
	for group, want := range map[string]string{
		"portal 942100 ARGS:q": FalsePositive, "registry/api 942360 ARGS:json.items.*.query": FalsePositive, "portal 941100 ARGS:q": Attack, "portal 942190 ARGS:user": Attack, "portal 941160 ARGS:text": Undecided,
	} {
		if verdicts[group] != want {
			t.Errorf("%s: %q, want %q", group, verdicts[group], want)
		}
	}
	want := `# route portal
waf:
  exclude:
    - {rule: 942100, paths: ["=/search"], parameter: "q"}
# route registry/api
waf:
  exclude:
    - {rule: 942360, paths: ["/api"], organizations: ["nra", "sofia"], parameter: "json.items.*.query"}
`
	if got := r.YAML(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	// The scanner's plain request would pass as well, and the report says so.
	if g := r.Groups[0]; g.Passes != 31 || g.PassesScanners != 1 || r.Passes != 51 || r.PassesScanners != 1 {
		t.Errorf("%d pass, %d by scanners; of all %d, %d", g.Passes, g.PassesScanners, r.Passes, r.PassesScanners)
	}
	if len(r.Guards) != 1 || r.Guards[0].Reason != ReasonJSON {
		t.Errorf("%+v", r.Guards)
	}
	var out strings.Builder
	r.WriteText(&out)
	for _, part := range []string{"FALSE POSITIVES", "UNDECIDED", "ATTACKS", "30 different callers", "2 organizations, proven by certificate", "alone lets 31 of them pass, 1 by scanners", "inspection_json", "TO PASTE"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("%q is missing in\n%s", part, &out)
		}
	}
}

// TestTunePlaces: what can't be named is not narrowed to something else, and
// what the log hides has a star.
func TestTunePlaces(t *testing.T) {
	t.Parallel()
	for part, want := range map[string]string{
		"ARGS:q": `{rule: 1, parameter: "q"}`, "ARGS:json.a.*.b": `{rule: 1, parameter: "json.a.*.b"}`, "REQUEST_COOKIES:c": `{rule: 1, cookie: "c"}`, "REQUEST_HEADERS:referer": `{rule: 1, header: "referer"}`,
		"REQUEST_URI": `{rule: 1}`, "XML:/*": `{rule: 1}`, "": `{rule: 1}`, "ARGS:": `{rule: 1}`, "ARGS:a[id]b": `{rule: 1, parameter: "a*b"}`, "ARGS:a\"]: b": `{rule: 1, parameter: "a\"]: b"}`,
	} {
		x := &Exclusion{Rule: 1}
		x.narrow(part)
		if got := yamlOf(x); got != want {
			t.Errorf("%q: %s, want %s", part, got, want)
		}
	}
	for _, tt := range []struct{ in, want []string }{
		{[]string{"/a", "/b"}, []string{"=/a", "=/b"}}, {[]string{"/a/1", "/a/2", "/a/3", "/a/4"}, []string{"/a"}}, {[]string{"/1", "/2", "/3", "/4"}, nil}, {[]string{"/citizens/[id]/x", "/citizens/5/x"}, []string{"/citizens"}},
	} {
		if got := pathsOf(tt.in); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
	if got := generalize("ARGS:json.items.12.name (base64)"); got != "ARGS:json.items.*.name" {
		t.Error(got)
	}
}

// TestTuneBadLogs: what is no log is said to be none.
func TestTuneBadLogs(t *testing.T) {
	t.Parallel()
	for _, log := range []string{"a\nb\n", strings.Repeat("x y\n", 200)} {
		if err := (&Tuner{}).Read(strings.NewReader(log)); err == nil {
			t.Errorf("%.20q is taken for a log", log)
		}
	}
	if err := (&Tuner{}).Read(strings.NewReader(strings.Repeat("x", maxLine+10))); err == nil {
		t.Error("a line without end")
	}
	var out strings.Builder
	tuner := &Tuner{}
	if err := tuner.Read(strings.NewReader("")); err != nil {
		t.Error(err)
	}
	tuner.Report().WriteText(&out)
	if !strings.Contains(out.String(), "No request in this log was inspected") {
		t.Error(out.String())
	}
}
