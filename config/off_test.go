package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// nodeText is a node of one service, with further settings.
func nodeText(defaults, service string) string {
	return `version: 1
listen: [{address: "127.0.0.1:8443"}]
tls: {certificates: [{cert: pki/server.pem, key: "${file:server.key}"}]}
organizations:
  nra: {name: NRA, id: NTRBG-100000003, ca: pki/qualified-cas.pem}
defaults:
` + defaults + `services:
  s:
    owner: nra
    hosts: [s.egov.example]
    upstreams: [http://127.0.0.1:9000]
` + service
}

const openAPIText = `openapi: 3.0.3
info: {title: a, version: "1"}
paths:
  /x:
    post:
      requestBody: {content: {application/json: {schema: {$ref: "api-schemas.yaml#/Person"}}}}
      responses: {"200": {description: ok}}
`

// TestOff: a service and a route can do without what lower levels say, and say
// it anew.
func TestOff(t *testing.T) {
	dir := example(t, "testdata/example")
	for name, text := range map[string]string{"api.yaml": openAPIText, "api-schemas.yaml": "Person: {type: object}\n", "own.conf": `SecRule ARGS "@rx x" "id:1,phase:2,deny"` + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := loadText(t, dir, nodeText(`  content_types: [application/json]
  files: {types: [pdf], max_size: 1MiB}
  operations: [WMS:GetMap]
  openapi: api.yaml
  waf: {mode: block, paranoia: 2, app: ckan, tables: [a], rules: own.conf}
  scan: {clamd: "127.0.0.1:3310", max_size: 1MiB}
  leaks: {egn: block}
`, `    routes:
      - {paths: [/]}
      - {paths: [/off], content_types: off, files: off, operations: "off", openapi: off, waf: off, scan: off, leaks: off}
      - {paths: [/parts], files: {types: off}, waf: {app: off, tables: off, rules: off}, scan: {icap: "icap://127.0.0.1/avscan"}, leaks: {egn: off}}
      - {paths: [/detect], waf: detect}
`))
	if err != nil {
		t.Fatal(err)
	}
	r := map[string]Policy{}
	for _, route := range c.Services[0].Routes {
		r[route.Paths[0]] = route.Policy
	}
	all := r["/"]
	if len(all.ContentTypes) != 1 || all.Files == nil || len(all.Operations) != 1 || all.OpenAPIText != openAPIText || len(all.OpenAPIFiles) != 1 || all.WAF.Mode != "block" || all.Scan == nil || all.Leaks == nil {
		t.Errorf("what defaults say: %+v", all)
	}
	if p := r["/off"]; p.ContentTypes != nil || p.Files != nil || p.Operations != nil || p.OpenAPI != "" || p.OpenAPIText != "" || p.WAF.Mode != "off" || p.Scan != nil || p.Leaks != nil {
		t.Errorf("off: %+v", p)
	}
	if p := r["/parts"]; p.Files.Types != nil || p.Files.MaxSize != 1<<20 || p.WAF.App != "" || p.WAF.Tables != nil || p.WAF.Rules != "" || p.WAF.RulesText != "" || p.WAF.Mode != "block" || p.WAF.Paranoia != 2 || p.Scan.Clamd != "" || p.Scan.ICAP == "" || p.Scan.MaxSize != 1<<20 || p.Leaks.EGN != "off" {
		t.Errorf("parts: %+v %+v %+v", p.Files, p.WAF, p.Scan)
	}
	if p := r["/detect"]; p.WAF.Mode != "detect" || p.WAF.Paranoia != 2 || p.WAF.Rules == "" {
		t.Errorf("detect: %+v", p.WAF)
	}
	for _, route := range c.Services[0].Routes {
		for _, s := range route.Settings {
			if route.Paths[0] == "/off" && (s.Key == "scan" || s.Key == "waf.mode") && (s.Value != "off" || !strings.HasPrefix(s.From, "route") || s.Line == 0) {
				t.Errorf("%+v does not say where it is from", s)
			}
		}
	}

	c, err = loadText(t, dir, nodeText("  scan: off\n  waf: off\n  content_types: off\n", "    scan: {clamd: \"127.0.0.1:3310\"}\n    waf: {mode: block}\n    content_types: [a/b]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Services[0].Policy; p.Scan == nil || p.WAF.Mode != "block" || len(p.ContentTypes) != 1 {
		t.Errorf("said anew: %+v", p)
	}
}
