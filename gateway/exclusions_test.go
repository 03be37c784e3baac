package gateway

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestExclusionsOfIncidents: what an incident proposes is a configuration, lets the
// same request pass, and neither the same attack elsewhere nor in another place.
func TestExclusionsOfIncidents(t *testing.T) {
	n := newNode(t, nil)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	const inspect = "    waf:\n      mode: block\n      paranoia: 3\n"
	const attack = `<script>alert(document.cookie)</script> ' or 1=1 union select password from users-- ; cat /etc/passwd | bash`
	form, esc := "application/x-www-form-urlencoded", url.QueryEscape(attack)
	many := ""
	for _, name := range strings.Fields("a b c d e f g") {
		many += name + "=" + url.QueryEscape("1' or '1'='1") + "&"
	}
	list, _ := json.Marshal(map[string]any{"items": []any{map[string]string{"name": "x"}, map[string]string{"name": attack}}})
	for _, tt := range []struct{ name, method, path, body, other string }{
		{"a parameter of the query", "GET", "/s?q=" + esc, "", "/s?p=" + esc},
		{"a field of a form", "POST", "/f", "comment=" + esc, "/s?p=" + esc},
		{"many fields", "POST", "/f", strings.TrimSuffix(many, "&"), "/s?a=" + esc},
		{"a value in a list", "POST", "/j", string(list), "/s?name=" + esc},
		{"a path", "GET", "/x/.git/config", "", "/y/.git/config"},
		{"a name that YAML has to quote", "POST", "/f", url.QueryEscape("a'b\"c: {}\\") + "=" + url.QueryEscape("1' or '1'='1"), "/s?p=" + esc},
	} {
		n.use(inspect)
		c := n.dial("h2", "inner.example", nra)
		send := func(method, path, body string) (int, string) {
			header := []string{"User-Agent", "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", "Accept", "*/*"}
			if strings.HasPrefix(body, "{") {
				header = append(header, "Content-Type", "application/json")
			} else if body != "" {
				header = append(header, "Content-Type", form)
			}
			resp, answer := n.do(c, method, "https://inner.example"+path, strings.NewReader(body), header...)
			var problem struct {
				ID string `json:"incident_id"`
			}
			json.Unmarshal([]byte(answer), &problem)
			return resp.StatusCode, problem.ID
		}
		status, id := send(tt.method, tt.path, tt.body)
		report := n.incident(id)
		if status != 403 || report == nil || report.Exclusion == "" {
			t.Errorf("%s: %d %+v", tt.name, status, report)
			continue
		}
		_, exclude, _ := strings.Cut(report.Exclusion, "\n")
		n.use(inspect + "    " + strings.ReplaceAll(strings.TrimSuffix(exclude, "\n"), "\n", "\n    ") + "\n")
		if status, id := send(tt.method, tt.path, tt.body); status != 200 {
			t.Errorf("%s: %d with\n%s\n%+v", tt.name, status, report.Exclusion, n.incident(id))
		}
		if status, _ := send("GET", tt.other, ""); status != 403 {
			t.Errorf("%s: another place: %d with\n%s", tt.name, status, report.Exclusion)
		}
	}
}

// incident is that of a request that has been refused; it is noted when the answer
// has gone out.
func (n *node) incident(id string) *IncidentReport {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for range 5000 {
		if r := n.gateway.Incident(id); r != nil || id == "" {
			return r
		}
		<-tick.C
	}
	return nil
}
