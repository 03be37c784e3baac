package gateway

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAuditOfRefusals: what a service with audit refuses leaves a record over each
// protocol, also by a route that denies and where no route takes the request.
func TestAuditOfRefusals(t *testing.T) {
	n := newNode(t, nil)
	n.config(fmt.Sprintf(`
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://%s"]
    audit: refusals
    routes:
      - {paths: [/wms], methods: [GET]}
      - {paths: [/wms/secret], deny: true}
  full:
    owner: meu
    hosts: [full.wild.example]
    upstreams: ["http://%[1]s"]
    audit: full
    routes: [{paths: [/wms]}]
`, n.upstream.address))
	main := filepath.Join(n.dir, "vazel.yaml")
	b, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	b = []byte(strings.Replace(string(b), `audit_log: {output: "off"}`, `audit_log: {output: audit.log}`, 1))
	if err := os.WriteFile(main, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, p := range protocols {
		for _, tt := range []struct{ method, host, path, record string }{
			{"GET", "open", "/wms/secret", "open/wms/secret deny: denied_by_route 403"},
			{"GET", "open", "/other", " routing: not_found 404"},
			{"PUT", "open", "/wms", " methods: method_not_allowed 405"},
			{"GET", "open", "/wms", ""},
			{"GET", "full.wild", "/wms", "full/wms :  200"},
			{"GET", "full.wild", "/other", " routing: not_found 404"},
		} {
			host := tt.host + ".example"
			n.do(n.dial(p, host, nil), tt.method, "https://"+host+tt.path, nil)
			if tt.record != "" {
				want = append(want, tt.record)
			}
		}
	}
	n.stop() // which writes everything out
	b, err = os.ReadFile(filepath.Join(n.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(b)) {
		var r struct {
			Incident              string `json:"incident_id"`
			Route, Policy, Reason string
			Status                int
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Incident != "" {
			got = append(got, fmt.Sprintf("%s %s: %s %d", r.Route, r.Policy, r.Reason, r.Status))
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
