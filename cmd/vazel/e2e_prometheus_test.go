//go:build e2e

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestE2ERules: promtool finds the rules well formed, and each alert fires and
// stays silent when it should.
func TestE2ERules(t *testing.T) {
	t.Parallel() // promtool takes a minute of one CPU
	promtool := need(t, "promtool", "prometheus")
	rules, err := filepath.Abs("../../dashboards/rules")
	if err != nil {
		t.Fatal(err)
	}
	tests, err := filepath.Glob(filepath.Join(rules, "test/*.yaml"))
	if err != nil || len(tests) == 0 {
		t.Fatalf("no tests of rules: %v", err)
	}
	for _, args := range [][]string{
		{"check", "rules", filepath.Join(rules, "recording.yaml"), filepath.Join(rules, "alerts.yaml")},
		append([]string{"test", "rules"}, tests...),
	} {
		if out, err := exec.Command(promtool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args[:2], " "), err, out)
		}
	}
}

// monitor is a running Prometheus with the project's rules.
type monitor struct {
	url    string
	client *http.Client
}

// newPrometheus scrapes the admin listener of a node each second. Flags are further
// ones of Prometheus.
func newPrometheus(t *testing.T, admin int, flags ...string) *monitor {
	t.Helper()
	rules, err := filepath.Abs("../../dashboards/rules")
	if err != nil {
		t.Fatal(err)
	}
	dir, at := t.TempDir(), fmt.Sprintf("127.0.0.1:%d", port(t))
	settings := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q, %q]
scrape_configs: [{job_name: vazel, static_configs: [{targets: ["127.0.0.1:%d"]}]}]
`, filepath.Join(rules, "recording.yaml"), filepath.Join(rules, "alerts.yaml"), admin)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, need(t, "prometheus", "prometheus"), append(flags, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address="+at, "--log.level=warn")...)
	p := &monitor{url: "http://" + at, client: &http.Client{Timeout: 30 * time.Second}}
	until(t, "Prometheus scrapes", func() bool {
		n, err := p.samples("query", url.Values{"query": {`up{job="vazel"} == 1`}})
		return err == nil && n == 1
	})
	return p
}

// get reads what Prometheus answers to a question of its API.
func (p *monitor) get(path string, form url.Values, data any) error {
	resp, err := p.client.Get(p.url + "/api/v1/" + path + "?" + form.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return fmt.Errorf("%w: %.200s", err, b)
	}
	if answer.Status != "success" {
		return errors.New(answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// samples counts the values that are numbers in what a query returns.
func (p *monitor) samples(path string, form url.Values) (n int, err error) {
	var data struct {
		Result []struct {
			Value  [2]any
			Values [][2]any
		}
	}
	if err := p.get(path, form, &data); err != nil {
		return 0, err
	}
	for _, r := range data.Result {
		if r.Values == nil {
			r.Values = [][2]any{r.Value}
		}
		for _, v := range r.Values {
			if s, _ := v[1].(string); s != "" && s != "NaN" {
				n++
			}
		}
	}
	return n, nil
}

// healthy says which rules Prometheus could not evaluate.
func (p *monitor) healthy(t *testing.T) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError string }
		}
	}
	if err := p.get("rules", nil, &data); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, g := range data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
			}
		}
	}
	if n < 60 {
		t.Errorf("Prometheus has %d rules", n)
	}
}
