package middleware

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
)

// The corpus of testdata/outside was written by somebody who had not looked at
// the other one, nor at the rules: templates of what clients of such services
// send, and texts written by hand. Its odd half is kept aside: nothing was tuned
// on it, so its share says what other people's requests meet.

// outsideRequest is a request of that corpus.
type outsideRequest struct {
	name, app string
	aside     bool // of the half that is kept aside
	make      func() *http.Request
}

var outsideApps = []struct{ file, app string }{{"ckan", "ckan"}, {"geonetwork", "geonetwork"}, {"mapserver", "mapserver"}, {"regix", "regix"}, {"portal", ""}}

// outside makes n requests of each template.
func outside(t testing.TB, n int) (out []outsideRequest) {
	t.Helper()
	m := newOutsideMaker(t)
	for _, a := range outsideApps {
		for i, text := range outsideBlocks(t, a.file+".txt") {
			title, text, _ := strings.Cut(text, "\n")
			title = a.file + "/" + strings.TrimPrefix(title, "# ")
			for k := range n {
				out = append(out, outsideRequest{title, a.app, i%2 == 1, func() *http.Request {
					m.seed(title, k, i%2)
					return m.request(text)
				}})
			}
		}
	}
	for _, text := range outsideBlocks(t, "late.txt") {
		title, text, _ := strings.Cut(text, "\n")
		app, title, _ := strings.Cut(strings.TrimPrefix(title, "# "), ":")
		kind := app
		if app == "portal" {
			app = ""
		}
		for k := range n {
			out = append(out, outsideRequest{kind + "/late-" + title, app, true, func() *http.Request {
				m.seed(title, k, 2)
				return m.request(text)
			}})
		}
	}
	return out
}

// outsideTexts are the Bulgarian texts of a half.
func outsideTexts(t testing.TB, half int, names ...string) (out []string) {
	t.Helper()
	for _, name := range names {
		for i, text := range outsideBlocks(t, name) {
			if i%2 == half {
				out = append(out, text)
			}
		}
	}
	return out
}

var outsideBulgarian = []string{"texts-bg-1.txt", "texts-bg-2.txt", "texts-bg-3.txt"}

// outsideBlocks reads what stands between lines of %%.
func outsideBlocks(t testing.TB, name string) []string {
	t.Helper()
	b, err := os.ReadFile("testdata/outside/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n%%\n")
}

// outsideShare sends requests, and counts those that were blocked by half and
// kind. Reasons are told of the half that is looked at.
func outsideShare(t *testing.T, paranoia int, requests []outsideRequest) (blocked, all [2]map[string]int) {
	t.Helper()
	for half := range 2 {
		blocked[half], all[half] = map[string]int{}, map[string]int{}
	}
	gates := map[string]*inspected{}
	seen := map[string]bool{}
	for n, q := range requests {
		if underRace && n%10 != 0 {
			continue
		}
		i := gates[q.app]
		if i == nil {
			i = newInspected(t, &WAF{Mode: "block", Paranoia: paranoia, App: q.app})
			gates[q.app] = i
		}
		r := q.make()
		half := 0
		if q.aside {
			half = 1
		}
		kind, _, _ := strings.Cut(q.name, "/")
		all[half][kind]++
		status, reason := i.pass(r)
		if status == 299 {
			continue
		}
		blocked[half][kind]++
		why := reason
		for _, m := range i.rec.InspectionMatches {
			why += fmt.Sprintf(" %d %s %q;", m.Rule, m.Where, m.Part)
		}
		key := fmt.Sprint(q.name, reason, i.rec.InspectionRules)
		if seen[key] || q.aside && os.Getenv("VAZEL_OUTSIDE") == "" {
			continue
		}
		seen[key] = true
		if i.rec.Denial != nil {
			why += " " + i.rec.Denial.Detail
		}
		t.Logf("paranoia %d, %s: %s", paranoia, q.name, why)
	}
	return blocked, all
}

func total(m map[string]int) (n int) {
	for _, k := range m {
		n += k
	}
	return n
}

// TestOutside: what was written without a look at the rules passes as well.
func TestOutside(t *testing.T) {
	t.Parallel()
	for paranoia := 1; paranoia <= 2; paranoia++ {
		t.Run(fmt.Sprint(paranoia), func(t *testing.T) {
			t.Parallel()
			blocked, all := outsideShare(t, paranoia, outside(t, 6))
			for half, name := range []string{"looked at", "kept aside"} {
				t.Logf("paranoia %d, half that is %s: %d of %d blocked: %v of %v", paranoia, name, total(blocked[half]), total(all[half]), blocked[half], all[half])
			}
			if n, of := total(blocked[0])+total(blocked[1]), total(all[0])+total(all[1]); paranoia == 1 && n*1000 > of*3 {
				t.Errorf("%d of %d are blocked, more than 0.3 %%", n, of)
			}
			for _, a := range outsideApps {
				if n := blocked[0][a.file] + blocked[1][a.file]; paranoia == 2 && a.app != "" && n*50 > all[0][a.file]+all[1][a.file] {
					t.Errorf("%d requests of %s are blocked at paranoia 2", n, a.file)
				}
			}
		})
	}
}

// TestOutsideText: so do texts, at paranoia 1 next to all, at 2 all but 4 %.
func TestOutsideText(t *testing.T) {
	t.Parallel()
	for paranoia := 1; paranoia <= 2; paranoia++ {
		t.Run(fmt.Sprint(paranoia), func(t *testing.T) {
			t.Parallel()
			i := newInspected(t, &WAF{Mode: "block", Paranoia: paranoia})
			for half, name := range []string{"looked at", "kept aside", "late"} {
				blocked, all := 0, 0
				rules := map[int]int{}
				texts := outsideBlocks(t, "texts-bg-late.txt")
				if half < 2 {
					texts = outsideTexts(t, half, outsideBulgarian...)
				}
				for n, text := range texts {
					if underRace && n%10 != 0 {
						continue
					}
					for _, r := range sentenceRequests(text) {
						all++
						if status, _ := i.send(r); status == 299 {
							continue
						}
						blocked++
						for _, id := range i.rec.InspectionRules {
							rules[id]++
						}
						if half == 0 || os.Getenv("VAZEL_OUTSIDE") != "" {
							t.Logf("%s %v: %q %+v", name, i.rec.InspectionRules, text, i.rec.InspectionMatches)
						}
					}
				}
				share := 100 * float64(blocked) / float64(all)
				t.Logf("paranoia %d, half that is %s: %d of %d blocked, %.1f %%, by %v", paranoia, name, blocked, all, share, rules)
				if most := []float64{0, 1.5, 4}[paranoia]; share > most && !underRace {
					t.Errorf("%.1f %% of the texts are blocked at paranoia %d", share, paranoia)
				}
			}
		})
	}
}

// request makes a request of a template: a line with method and target, lines of
// header fields, an empty line and a body. A line @name adds a client's fields.
func (m *outsideMaker) request(text string) *http.Request {
	head, body, hasBody := strings.Cut(text, "\n\n")
	head = m.expand(head)
	lines := strings.Split(head, "\n")
	method, target, _ := strings.Cut(lines[0], " ")
	target = strings.ReplaceAll(target, " ", "%20")
	h := http.Header{}
	client := ""
	for _, line := range lines[1:] {
		if name, ok := strings.CutPrefix(line, "@"); ok {
			client = name
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		h.Set(name, strings.TrimSpace(value))
	}
	if hasBody {
		if strings.HasPrefix(h.Get("Content-Type"), "multipart/") {
			body = strings.ReplaceAll(body, "\n", "\r\n") + "\r\n"
		}
		body = m.expand(body)
	}
	var raw bytes.Buffer
	fmt.Fprintf(&raw, "%s %s HTTP/1.1\r\nHost: portal.example.bg\r\n", method, target)
	if hasBody {
		fmt.Fprintf(&raw, "Content-Length: %d\r\n", len(body))
	}
	raw.WriteString("\r\n" + body)
	r, err := http.ReadRequest(bufio.NewReader(&raw))
	if err != nil {
		m.t.Fatalf("%s %q: %v", method, target, err)
	}
	r.Header = m.client(client, method, h)
	return r
}

// client adds the fields that a client sends.
func (m *outsideMaker) client(name, method string, own http.Header) http.Header {
	h := http.Header{}
	for _, line := range strings.Split(m.expand(outsideClients[name]), "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			h.Set(name, value)
		}
	}
	if outsideClients[name] == "" {
		m.t.Fatalf("no client %q for %s", name, method)
	}
	if strings.HasPrefix(name, "browser") || name == "firefox" || name == "xhr" {
		if m.IntN(3) > 0 {
			h.Set("Cookie", m.expand("<<analytics>>; <<consent>>"))
		}
		if method != "GET" {
			h.Set("Origin", "https://portal.example.bg")
		}
	}
	for name, values := range own {
		h[name] = values
	}
	return h
}
