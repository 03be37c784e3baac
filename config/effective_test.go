package config

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestEffective: what is in force is shown under the keys of the language, with
// secrets as references, and a configuration does not differ from itself.
func TestEffective(t *testing.T) {
	dir := example(t, "testdata/example")
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(c.Effective())
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Contains(text, "PRIVATE KEY") || strings.Contains(text, dir) {
		t.Errorf("shows a secret or a full path: %s", text)
	}
	for _, want := range []string{`"key":"${file:gw-client.key}"`, `"rate":"50/s"`, `"max_body":"200MiB"`, `"trusted_proxies":["10.20.0.0/24"]`, `"valid_until":"2027-06-30"`, `"budget":"20%"`} {
		if !strings.Contains(text, want) {
			t.Errorf("does not show %s", want)
		}
	}
	var running map[string]any
	if err := json.Unmarshal(b, &running); err != nil {
		t.Fatal(err)
	}
	if changes := Diff(running, c.Effective()); len(changes) > 0 {
		t.Errorf("differs from itself: %+v", changes)
	}
}
