package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityDocument: what docs/security.md promises is proved by tests that
// exist.
func TestSecurityDocument(t *testing.T) {
	doc, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasSuffix(path, ".txtar"):
			exists[filepath.Base(path)] = true
		case strings.HasSuffix(path, "_test.go"):
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range function.FindAllSubmatch(b, -1) {
				exists[string(m[1])] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w+|\w+\.txtar`).FindAllString(string(doc), -1)
	if len(named) < 80 {
		t.Errorf("docs/security.md names %d tests, want about a hundred", len(named))
	}
	for _, name := range named {
		if !exists[name] {
			t.Errorf("docs/security.md names %s, which does not exist", name)
		}
	}
	// Each line of a table that names proofs has one.
	inTable := false
	for line := range strings.Lines(string(doc)) {
		switch {
		case strings.HasSuffix(strings.TrimSpace(line), "proved by |"):
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable && !strings.HasPrefix(line, "|---"):
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			if proof := cells[len(cells)-1]; !strings.Contains(proof, "est") && !strings.Contains(proof, ".txtar") {
				t.Errorf("no proof in %q", line)
			}
		}
	}
}
