package config

import (
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/scan"
)

// checkContent checks the policies that look at what requests and responses hold,
// besides waf.
func (t *tree) checkContent(n *yaml.Node, where string) {
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
	_, failure := get(n, "on_scanner_failure")
	t.oneOf(failure, "scan.on_scanner_failure", middleware.ScanFailureWords()...)
	t.checkSize(n, "max_size", 1<<10, 1<<40)
	t.checkTime(n, "timeout", 10*time.Millisecond, time.Hour)
}

// checkMerged checks what only all levels together tell.
func (t *tree) checkMerged(merged *yaml.Node, p *Policy, where string) {
	if p.Scan != nil && p.Scan.Clamd == "" {
		k, _ := get(merged, "scan")
		t.problem(k, "scan of %s does not say where the scanner is: clamd", where)
	}
}
