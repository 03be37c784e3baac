//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestE2EConsole: every page of the console, of a node on which everything
// happens, in both languages, light, dark and on a phone: axe-core finds nothing
// against WCAG 2.2 AA, nothing is too wide, and the Content-Security-Policy stops
// nothing that the pages need.
func TestE2EConsole(t *testing.T) {
	t.Parallel()
	need(t, "chromium", "chromium")
	need(t, "npm", "npm")
	w := newWatched(t)
	for i := range 12 {
		w.round(i)
	}
	newest := func(query string) string {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/-/incidents?reason=inspection_blocked&%s", w.admin, query))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var l []struct{ ID string }
		if err := json.NewDecoder(resp.Body).Decode(&l); err != nil || len(l) == 0 {
			t.Fatalf("no request was refused by inspection, %q: %v", query, err)
		}
		return l[0].ID
	}
	refused, detected := newest(""), newest("mode=detect")
	// A copy, so that no test writes into the sources.
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../.ci/console")); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(t.Context(), "npm", "ci", "--no-audit", "--no-fund", "--silent")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	look := exec.CommandContext(t.Context(), "node", filepath.Join(dir, "console.mjs"), "-base", fmt.Sprintf("http://127.0.0.1:%d", w.admin), "-incident", refused, "-detected", detected)
	if out, err := look.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
