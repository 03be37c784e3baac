package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// withoutFile are messages that no file of testdata/bad can bring about, with
// the reason.
var withoutFile = []string{
	"the file has more than %d values",             // too large to keep
	"larger than %d MiB",                           // likewise
	"include %q: the folder %s can't be read: %v",  // rights, which root does not feel: TestUnreadable
	"include %q matches no file",                   // a warning that a file beside it can't have: TestWarnings
	"no service is configured",                     // likewise: errors hide it
	"every listener only redirects, so nothing is", // likewise
	"%s: %s",                    // an authority whose time is over: TestWarnings
	"%s can't be set",           // a bug in a settings type
	"a key must be a word",      // kept: see key-not-a-word.yaml
	"the secret %s can't be re", // shown without its value
}

// TestEveryRuleHasAFile: each message that the checks can give is wanted by a
// file of testdata/bad.
func TestEveryRuleHasAFile(t *testing.T) {
	var wanted strings.Builder
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files in testdata/bad", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		want, _ := splitWant(string(b))
		wanted.WriteString(want + "\n")
	}
	verb := regexp.MustCompile(`%[+#]?[a-zA-Z0-9]*[qsvdX]`)
	seen := 0
	for _, m := range messages(t) {
		if slices.ContainsFunc(withoutFile, func(p string) bool { return strings.HasPrefix(m.text, p) }) {
			continue
		}
		seen++
		var pattern strings.Builder
		for i, part := range verb.Split(m.text, -1) {
			if i > 0 {
				pattern.WriteString(".*")
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		if !regexp.MustCompile(pattern.String()).MatchString(wanted.String()) {
			t.Errorf("%s: no file of testdata/bad wants %q", m.at, m.text)
		}
	}
	if seen < 100 {
		t.Errorf("found only %d messages", seen)
	}
}

type message struct {
	at   token.Position
	text string
}

// messages lists the texts that the package's code notes as problems.
func messages(t *testing.T) (l []message) {
	t.Helper()
	noting := []string{"problem", "bad", "warn", "bare", "conflict", "fileProblem", "fail"}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "policytest.go" { // another file, another test
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			called := ""
			switch fun := call.Fun.(type) {
			case *ast.SelectorExpr:
				called = fun.Sel.Name
			case *ast.Ident:
				called = fun.Name
			}
			if !slices.Contains(noting, called) {
				return true
			}
			for _, a := range call.Args {
				lit, ok := a.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				if text, err := strconv.Unquote(lit.Value); err == nil && strings.Trim(text, "%sqvd ") != "" {
					l = append(l, message{fset.Position(lit.Pos()), text})
					break
				}
			}
			return true
		})
	}
	return l
}
