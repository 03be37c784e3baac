package config

import (
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
		if err := middleware.CheckContentType(w.Value); err != nil {
			t.bad(w, "", "content_types: %v", err)
		}
	}
	t.notEmpty(types, "content_types", where, "any type")
	_, operations := get(n, "operations")
	for _, w := range wordsOf(operations) {
		if err := middleware.CheckOperation(w.Value); err != nil {
			t.bad(w, "", "operations: %v", err)
		}
	}
	t.notEmpty(operations, "operations", where, "any operation")
	if _, v := get(n, "openapi"); v != nil && v.Kind == yaml.ScalarNode && v.Value != "" {
		path := v.Value
		if b := t.file1(v, &path); b != nil {
			_, problems := openapi.Read(b)
			for _, p := range problems[:min(len(problems), maxDocumentProblems)] {
				t.problem(v, "%s:%d: %s", v.Value, p.Line, p.Text)
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
			t.oneOf(w, "files.types", middleware.FileTypes()...)
		}
		t.notEmpty(types, "files.types", where, "any type")
		t.checkSize(v, "max_size", 1, 1<<44)
		t.checkRange(v, "max_count", 1, 1000)
	}
	if _, v := get(n, "scan"); v != nil && v.Kind == yaml.MappingNode {
		t.checkScan(v)
	}
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
