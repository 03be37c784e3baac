package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDocument(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	readme, manual := filepath.Join(dir, "README.md"), filepath.Join(dir, "docs", "performance.md")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(readme, "a\n<!-- bench brief -->\nformer\n<!-- bench end -->\nb\n")
	write(manual, "<!-- bench chain -->\nkept\n<!-- bench end -->\n<!-- bench details -->\n<!-- bench end -->\n")
	if err := document(dir, map[string]string{"brief": "| new |\n\n", "details": "table", "chain": ""}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		readme: "a\n<!-- bench brief -->\n| new |\n<!-- bench end -->\nb\n",
		manual: "<!-- bench chain -->\nkept\n<!-- bench end -->\n<!-- bench details -->\ntable\n<!-- bench end -->\n",
	} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s: %v\ngot  %q\nwant %q", path, err, got, want)
		}
	}
	write(manual, "no marks")
	if err := document(dir, map[string]string{"brief": "x"}); err == nil || !strings.Contains(err.Error(), "performance.md") {
		t.Errorf("got %v, want an error that names the file", err)
	}
}

func TestChainTable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chain.txt")
	out := `BenchmarkRequest/bare-2    3000   131423 ns/op   44822 cpu-ns/op   1.000 x-bare   5084 B/op   67 allocs/op
BenchmarkRequest/log_limit_headers    3000   32376 ns/op   20000 cpu-ns/op   0.5000 x-bare   1891 B/op   24 allocs/op
BenchmarkRequest/log_limit_headers    3000   32376 ns/op   30000 cpu-ns/op   0.7000 x-bare   1891 B/op   24 allocs/op
PASS
`
	if err := os.WriteFile(path, []byte(out), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := chainTable(path)
	want := "| | CPU µs | of bare | bytes | allocations |\n| --- | --: | --: | --: | --: |\n" +
		"| bare | 44.8 | 1.00 | 5084 | 67 |\n| log, limit, headers | 25.0 | 0.60 | 1891 | 24 |\n"
	if err != nil || got != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
	}
}
