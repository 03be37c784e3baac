package config

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/openapi"
	"github.com/vazel-gateway/vazel/middleware/scan"
)

// maxDocumentProblems is how many mistakes of an OpenAPI document are shown.
const maxDocumentProblems = 20

// checkContent checks the policies that look at what requests and responses hold,
// besides waf.
func (t *tree) checkContent(n *yaml.Node, where string) {
	_, types := get(n, "content_types")
	for _, w := range wordsOf(types) {
		if isOff(types) {
			break
		}
		if err := middleware.CheckContentType(w.Value); err != nil {
			t.bad(w, "", "content_types: %v", err)
		}
	}
	t.notEmpty(types, "content_types", where, "any type")
	_, operations := get(n, "operations")
	for _, w := range wordsOf(operations) {
		if isOff(operations) {
			break
		}
		if err := middleware.CheckOperation(w.Value); err != nil {
			t.bad(w, "", "operations: %v", err)
		}
	}
	t.notEmpty(operations, "operations", where, "any operation")
	if _, v := get(n, "openapi"); v != nil && v.Kind == yaml.ScalarNode && v.Value != "" && !isOff(v) {
		path := v.Value
		if t.file1(v, &path) != nil {
			problems := t.document(path).problems
			for _, p := range problems[:min(len(problems), maxDocumentProblems)] {
				t.problem(v, "%s:%d: %s", t.shown(p.File), p.Line, strings.ReplaceAll(p.Text, t.dir+"/", ""))
			}
		}
	}
	if _, v := get(n, "leaks"); v != nil {
		for _, kind := range middleware.LeakKinds() {
			_, action := get(v, kind)
			t.oneOf(action, "leaks."+kind, middleware.LeakActions()...)
		}
	}
	if _, v := get(n, "files"); v != nil && v.Kind == yaml.MappingNode {
		_, types := get(v, "types")
		for _, w := range wordsOf(types) {
			if !isOff(types) {
				t.oneOf(w, "files.types", middleware.FileTypes()...)
			}
		}
		t.notEmpty(types, "files.types", where, "any type")
		t.checkSize(v, "max_size", 1, 1<<44)
		t.checkRange(v, "max_count", 1, 1000)
	}
	if _, v := get(n, "scan"); v != nil && v.Kind == yaml.MappingNode {
		t.checkScan(v)
	}
}

// document is an OpenAPI document that was read.
type document struct {
	text     string
	files    map[string]string // that it refers to
	problems []openapi.Problem
}

// document reads the OpenAPI document at an absolute path, with the files that it
// refers to: those below the folder of the configuration.
func (t *tree) document(path string) *document {
	if d := t.documents[path]; d != nil {
		return d
	}
	d := &document{files: map[string]string{}}
	d.text = string(t.file1(nil, &path))
	_, d.problems = openapi.Read(openapi.Source{Name: path, Text: []byte(d.text), Open: func(name string) ([]byte, error) {
		if rel, err := filepath.Rel(t.dir, name); err != nil || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("%s is not below the folder of the configuration", name)
		}
		t.files.note(name)
		b, err := readBounded(name)
		if err != nil {
			return nil, fmt.Errorf("%s can't be read: %w", t.shown(name), err)
		}
		d.files[name] = string(b)
		return b, nil
	}})
	if t.documents == nil {
		t.documents = map[string]*document{}
	}
	t.documents[path] = d
	return d
}

// shown is the path of a file as messages have it: below the configuration's folder,
// if it is.
func (t *tree) shown(path string) string {
	if rel, err := filepath.Rel(t.dir, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

func (t *tree) checkScan(n *yaml.Node) {
	if _, a := get(n, "clamd"); a != nil && a.Kind == yaml.ScalarNode {
		if err := scan.CheckAddress(a.Value); err != nil {
			t.bad(a, "", "scan.clamd: %v", err)
		}
	}
	if _, a := get(n, "icap"); a != nil && a.Kind == yaml.ScalarNode {
		if err := scan.CheckICAP(a.Value); err != nil {
			t.bad(a, "", "scan.icap: %v", err)
		}
	}
	_, failure := get(n, "on_scanner_failure")
	t.oneOf(failure, "scan.on_scanner_failure", middleware.ScanFailureWords()...)
	t.checkSize(n, "max_size", 1<<10, 1<<40)
	t.checkTime(n, "timeout", 10*time.Millisecond, time.Hour)
}

// checkMerged checks what only all levels together tell.
func (t *tree) checkMerged(merged *yaml.Node, p *Policy, where string) {
	if p.Scan != nil && (p.Scan.Clamd == "") == (p.Scan.ICAP == "") {
		k, _ := get(merged, "scan")
		t.problem(k, "scan of %s does not say where the scanner is: either clamd or icap", where)
	}
}

// notEmpty refuses an empty list where none at all is meant by leaving it out.
func (t *tree) notEmpty(n *yaml.Node, key, where, meaning string) {
	if n != nil && len(wordsOf(n)) == 0 && !t.noted(n) {
		t.problem(n, "%s of %s is empty; leave it out for %s", key, where, meaning)
	}
}
