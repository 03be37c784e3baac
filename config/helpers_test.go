package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "rewrite golden files")

// splitWant parts a file of testdata/bad into the report that its first lines
// want ("#! ") and the rest.
func splitWant(s string) (want, in string) {
	var lines []string
	for {
		line, rest, ok := strings.Cut(s, "\n")
		text, wanted := strings.CutPrefix(line, "#!")
		if !ok || !wanted {
			return strings.Join(lines, "\n"), s
		}
		lines = append(lines, strings.TrimPrefix(text, " "))
		s = rest
	}
}

func joinWant(want, in string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(want, "\n") {
		b.WriteString(strings.TrimRight("#! "+line, " ") + "\n")
	}
	return b.String() + in
}

// loadText loads a configuration from text: one file, or several in txtar form.
func loadText(t *testing.T, dir, in string) (*Config, error) {
	t.Helper()
	ar := txtar.Parse([]byte(in))
	if len(ar.Files) == 0 {
		ar.Files = []txtar.File{{Name: "vazel.yaml", Data: []byte(in)}}
	}
	for _, f := range ar.Files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
		defer os.Remove(path)
	}
	return Load(filepath.Join(dir, "vazel.yaml"))
}
