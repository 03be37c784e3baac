package dashboards

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

type panel struct {
	ID          int
	Type        string
	Title       string
	Description string
	FieldConfig struct {
		Defaults  struct{ Unit, NoValue string }
		Overrides []struct {
			Properties []struct {
				ID    string
				Value json.RawMessage
			}
		}
	}
	Links   []struct{ Title, URL string }
	Targets []struct {
		Expr       string
		Datasource struct{ Type string }
	}
	Transformations []struct {
		Options struct{ RenameByName map[string]string }
	}
}

type dashboard struct {
	UID, Title  string
	Tags        []string
	Panels      []panel
	Links       []struct{ KeepTime, IncludeVars bool }
	Annotations struct{ List []struct{ Expr string } }
	Templating  struct {
		List []struct {
			Name  string
			Query json.RawMessage
		}
	}
}

func load(t *testing.T) map[string]*dashboard {
	t.Helper()
	files, err := fs.Glob(Files, "grafana/*.json")
	if err != nil || len(files) != 10 {
		t.Fatalf("got %d dashboards (%v), want 10", len(files), err)
	}
	all := map[string]*dashboard{}
	for _, f := range files {
		b, err := Files.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d := &dashboard{}
		if err := json.Unmarshal(b, d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".json")] = d
	}
	return all
}

var cyrillic = regexp.MustCompile(`\p{Cyrillic}`)

// names in both languages are the same in these.
var oneLanguage = []string{"TLS 1.3", "QUIC · QUIC"}

func TestDashboards(t *testing.T) {
	for name, d := range load(t) {
		if d.UID != name {
			t.Errorf("%s: uid %q", name, d.UID)
		}
		if !cyrillic.MatchString(d.Title) || !slices.Contains(d.Tags, "vazel") {
			t.Errorf("%s: title %q, tags %v", name, d.Title, d.Tags)
		}
		var variables []string
		for _, v := range d.Templating.List {
			variables = append(variables, v.Name)
		}
		if len(variables) < 3 || !slices.Equal(variables[:3], []string{"datasource", "job", "instance"}) {
			t.Errorf("%s: variables %v", name, variables)
		}
		if !d.Links[0].KeepTime || !d.Links[0].IncludeVars {
			t.Errorf("%s: links do not carry the selection", name)
		}
		if len(d.Annotations.List) != 2 {
			t.Errorf("%s: %d annotations, want reloads and posture", name, len(d.Annotations.List))
		}
		if d.Panels[0].Type != "text" {
			t.Errorf("%s: the first panel does not say what good looks like", name)
		}
		for _, p := range d.Panels {
			if !slices.Contains([]string{"timeseries", "stat", "bargauge", "table", "text"}, p.Type) {
				t.Errorf("%s: panel %q is a %s", name, p.Title, p.Type)
			}
			if p.Description == "" || p.Type != "text" && p.FieldConfig.Defaults.Unit == "" {
				t.Errorf("%s: panel %q has no description or no unit", name, p.Title)
			}
			if strings.Contains(p.Description, " Empty: ") && !cyrillic.MatchString(p.FieldConfig.Defaults.NoValue) {
				t.Errorf("%s: panel %q does not say why it is empty, in both languages: %q", name, p.Title, p.FieldConfig.Defaults.NoValue)
			}
			if !cyrillic.MatchString(p.Title) && !slices.Contains(oneLanguage, p.Title) {
				t.Errorf("%s: panel %q has no Bulgarian title", name, p.Title)
			}
		}
	}
}

// links are those of a panel: of its title, and of its cells.
func (p *panel) links(t *testing.T) (urls []string) {
	t.Helper()
	for _, l := range p.Links {
		urls = append(urls, l.URL)
	}
	for _, o := range p.FieldConfig.Overrides {
		for _, property := range o.Properties {
			if property.ID != "links" {
				continue
			}
			var l []struct{ Title, URL string }
			if err := json.Unmarshal(property.Value, &l); err != nil {
				t.Fatal(err)
			}
			for _, one := range l {
				urls = append(urls, one.URL)
			}
		}
	}
	return urls
}

var linkURL = regexp.MustCompile(`^/d/([a-z-]+)\?(?:var-([a-z]+)=\$\{__value\.text:percentencode\}&)?\$\{__url_time_range\}&\$\{datasource:queryparam\}&\$\{job:queryparam\}&\$\{instance:queryparam\}$`)

// TestLinks: from the overview, one step leads to the page that answers a question,
// with the selection; and the value of a cell becomes that of a variable which is there.
func TestLinks(t *testing.T) {
	all := load(t)
	for name, d := range all {
		for _, p := range d.Panels {
			for _, url := range p.links(t) {
				if name == "vazel-overview" && strings.HasSuffix(url, "/docs/runbooks/${__value.raw}.md") {
					continue
				}
				m := linkURL.FindStringSubmatch(url)
				if m == nil || all[m[1]] == nil {
					t.Errorf("%s: %q leads to %s", name, p.Title, url)
					continue
				}
				found := m[2] == ""
				for _, v := range all[m[1]].Templating.List {
					found = found || v.Name == m[2]
				}
				if !found {
					t.Errorf("%s: %q leads to %s, which has no variable %s", name, p.Title, m[1], m[2])
				}
			}
		}
	}
	var from []string
	for _, p := range all["vazel-overview"].Panels {
		from = append(from, p.links(t)...)
	}
	for _, want := range []string{
		"/d/vazel-organizations?var-organization=", "/d/vazel-investigation?var-organization=", // who is refused, and why
		"/d/vazel-tls?",                    // whose certificate ends next
		"/d/vazel-upstreams?var-upstream=", // which service is slow
		"/d/vazel-inspection?",             // whether inspection blocks real users
		"/d/vazel-audit?",                  // whether logs are complete
	} {
		if !slices.ContainsFunc(from, func(url string) bool { return strings.HasPrefix(url, want) }) {
			t.Errorf("nothing on the overview leads to %s", want)
		}
	}
}

var pageURL = regexp.MustCompile(`runbook_url: https://github.com/vazel-gateway/vazel/blob/main/docs/runbooks/(\w+)\.md`)

// TestAlerts: each alert has its labels, texts, a runbook page that says what to
// do, and tests that it fires and stays silent.
func TestAlerts(t *testing.T) {
	b, err := Files.ReadFile("rules/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	files, err := filepath.Glob("rules/test/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(b)
	}
	blocks := strings.Split(string(b), "      - alert: ")[1:]
	if len(blocks) < 40 {
		t.Fatalf("%d alerts", len(blocks))
	}
	pages, err := filepath.Glob("../docs/runbooks/Vazel*.md")
	if err != nil || len(pages) != len(blocks) {
		t.Errorf("%d runbook pages for %d alerts (%v)", len(pages), len(blocks), err)
	}
	index, err := os.ReadFile("../docs/runbooks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks {
		name, _, _ := strings.Cut(block, "\n")
		for _, want := range []string{"severity: ", "category: ", "summary: ", "description: "} {
			if !strings.Contains(block, want) {
				t.Errorf("%s has no %s", name, want)
			}
		}
		if m := pageURL.FindStringSubmatch(block); m == nil || m[1] != name {
			t.Errorf("%s: runbook_url of %v", name, m)
		}
		page, err := os.ReadFile("../docs/runbooks/" + name + ".md")
		if err != nil {
			t.Error(err)
		}
		for _, want := range []string{"# " + name, "## What it means", "## Look first", "## What to change"} {
			if !strings.Contains(string(page), want) {
				t.Errorf("the page of %s lacks %q", name, want)
			}
		}
		if !strings.Contains(string(index), "("+name+".md)") {
			t.Errorf("docs/runbooks/README.md does not list %s", name)
		}
		if !strings.Contains(tests.String(), "- name: "+name+" fires\n") || name != "VazelWatchdog" && !strings.Contains(tests.String(), "- name: "+name+" stays silent\n") {
			t.Errorf("no test that %s fires and stays silent", name)
		}
	}
}
