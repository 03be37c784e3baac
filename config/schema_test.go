package config

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	b, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("vazel.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("vazel.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchema: the example fits the schema, and what is wrong in shape does not.
func TestSchema(t *testing.T) {
	s := compiled(t)
	files, err := filepath.Glob("testdata/example/conf.d/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range append(files, "testdata/example/vazel.yaml", "testdata/minimal.yaml") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var v any
		if err := yaml.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	for _, bad := range []string{
		"services: {s: {hots: [a]}}", "services: {s: {timeout: 30}}", "services: {s: {timeout: 30x}}", "services: {s: {mtls: yes}}", "services: {s: {rate_limit: 5/s}}",
		"services: {s: {rate_limit: {rate: 5/s, per: client}}}", "services: {s: {compress: [deflate]}}", "listen: [{address: a, protocols: [h4]}]", "tls: {certificates: [{cert: a, key: secret}]}",
		"services: {s: {concurrency: many}}", "organisations: {}", "services: {s: {hosts: a.example}}",
	} {
		var v any
		if err := yaml.Unmarshal([]byte(bad), &v); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}

// TestSchemaRefusesBadShapes: what is wrong in shape alone does not fit the
// schema either, so that editors show it.
func TestSchemaRefusesBadShapes(t *testing.T) {
	s := compiled(t)
	shapes := regexp.MustCompile(`unknown key|must be (a|an|one|text|true|words)|is not known; write|has no unit|is not a (rate|size|share|duration|date)|must be a reference`)
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	// Spellings that YAML has read before a schema sees them, and values that need
	// more than a pattern.
	beyond := []string{"acme-directory", "hsts-value", "boolean-capital", "date-impossible", "number-hex", "number-plus", "number-underscore", "octal", "redirect-control", "redirect-target", "text-leading-zero"}
	tried := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want, in := splitWant(string(b))
		var v any
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		if !shapes.MatchString(want) || slices.Contains(beyond, name) || strings.Contains(in, "-- vazel.yaml --") || yaml.Unmarshal([]byte(in), &v) != nil {
			continue
		}
		tried++
		if err := s.Validate(v); err == nil {
			t.Errorf("the schema takes %s: %s", f, want)
		}
	}
	if tried < 40 {
		t.Errorf("only %d files were tried", tried)
	}
}

// TestEveryKeyIsDocumented: a setting without a comment is a defect.
func TestEveryKeyIsDocumented(t *testing.T) {
	if strings.Contains(Manual(), "| |\n") {
		for line := range strings.SplitSeq(Manual(), "\n") {
			if strings.HasSuffix(line, "|  |") {
				t.Errorf("no documentation: %s", line)
			}
		}
	}
	for line := range strings.SplitSeq(Manual(), "\n") {
		if strings.HasPrefix(line, "| `") && strings.HasSuffix(line, "|  |") {
			t.Errorf("no documentation: %s", line)
		}
	}
}

// TestGenerated: what is generated from the settings is up to date.
func TestGenerated(t *testing.T) {
	dir := t.TempDir()
	out := filepath.Join(dir, "docs_gen.go")
	if b, err := exec.Command("go", "run", "docsgen.go", "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("docs_gen.go")
	if err != nil || !bytes.Equal(got, want) {
		t.Error("docs_gen.go is stale; run make generate")
	}
	if b, err := os.ReadFile("../docs/configuration.md"); err != nil || string(b) != Manual() {
		t.Error("docs/configuration.md is stale; run make generate")
	}
	schema, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile("../docs/vazel.schema.json"); err != nil || !bytes.Equal(b, schema) {
		t.Error("docs/vazel.schema.json is stale; run make generate")
	}
}

// TestFormat: formatting is stable, and the example means the same afterwards.
func TestFormat(t *testing.T) {
	dir := example(t, "testdata/example")
	before, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range before.Sources() {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		once, err := Format(f, b)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		twice, err := Format(f, once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s: formatting twice is not the same as once: %v", f, err)
		}
		if a, b := strings.Count(string(b), "#"), strings.Count(string(once), "#"); a != b {
			t.Errorf("%s: %d comments became %d", f, a, b)
		}
		if err := os.WriteFile(f, once, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	after, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if before.Hash != after.Hash {
		t.Error("formatting changed the configuration")
	}
}

// FuzzLoad: no input panics, takes long or gives a report without a position;
// what loads can be formatted, and means the same afterwards.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/example/*.yaml", "testdata/example/conf.d/*.yaml", "testdata/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			if b, err := os.ReadFile(name); err == nil {
				f.Add(b)
			}
		}
	}
	dir := f.TempDir()
	pki(f, dir)
	path := filepath.Join(dir, "vazel.yaml")
	f.Fuzz(func(t *testing.T, in []byte) {
		if bytes.Contains(in, []byte("include")) {
			return // of other files on this machine
		}
		if err := os.WriteFile(path, in, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path)
		all, ok := err.(*Errors)
		if err != nil && (!ok || len(all.Problems) == 0) {
			t.Fatalf("an error without a problem: %v", err)
		}
		if ok {
			for _, p := range all.Problems {
				if p.File == "" || p.Message == "" {
					t.Fatalf("a problem without a place: %+v", p)
				}
			}
		}
		out, ferr := Format("input", in)
		if err == nil {
			if ferr != nil {
				t.Fatalf("%q loads, but can't be formatted: %v", in, ferr)
			}
			if err := os.WriteFile(path, out, 0o600); err != nil {
				t.Fatal(err)
			}
			if again, err := Load(path); err != nil || again.Hash != c.Hash {
				t.Fatalf("%q loads, but not as %q: %v", in, out, err)
			}
		}
		if ferr == nil {
			if again, err := Format("input", out); err != nil || !bytes.Equal(out, again) {
				t.Fatalf("formatting %q is not stable: %q, then %q (%v)", in, out, again, err)
			}
		}
	})
}
