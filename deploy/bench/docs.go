package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// document puts each part of the results between the marks that bear its name,
// wherever they stand in the project's documents.
func document(root string, parts map[string]string) error {
	for _, name := range []string{"README.md", filepath.Join("docs", "performance.md")} {
		if err := documentIn(filepath.Join(root, name), parts); err != nil {
			return err
		}
	}
	return nil
}

// documentIn does so in one document.
func documentIn(path string, parts map[string]string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, found := string(b), 0
	for part, content := range parts {
		begin, end := "<!-- bench "+part+" -->\n", "<!-- bench end -->"
		before, rest, ok := strings.Cut(text, begin)
		if !ok || content == "" {
			continue
		}
		_, after, ok := strings.Cut(rest, end)
		if !ok {
			return fmt.Errorf("%s: no %s after %s", path, end, strings.TrimSpace(begin))
		}
		text = before + begin + strings.TrimRight(content, "\n") + "\n" + end + after
		found++
	}
	if found == 0 {
		return fmt.Errorf("%s holds no mark such as <!-- bench summary -->", path)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// goBenchmark is a line of BenchmarkRequest.
var goBenchmark = regexp.MustCompile(`(?m)^BenchmarkRequest/(\S+?)(?:-\d+)?\s+\d+\s.*?([0-9.]+) cpu-ns/op\s+([0-9.]+) x-bare\s+(\d+) B/op\s+(\d+) allocs/op`)

// chainTable is what the Go benchmark of the chain printed, as a table of the
// medians.
func chainTable(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var names []string
	runs := map[string][4][]float64{}
	for _, m := range goBenchmark.FindAllStringSubmatch(string(b), -1) {
		r, ok := runs[m[1]]
		if !ok {
			names = append(names, m[1])
		}
		for i := range r {
			v, _ := strconv.ParseFloat(m[2+i], 64)
			r[i] = append(r[i], v)
		}
		runs[m[1]] = r
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%s holds no results of BenchmarkRequest", path)
	}
	var sb strings.Builder
	sb.WriteString("| | CPU µs | of bare | bytes | allocations |\n| --- | --: | --: | --: | --: |\n")
	for _, n := range names {
		r := runs[n]
		fmt.Fprintf(&sb, "| %s | %.1f | %.2f | %.0f | %.0f |\n", strings.ReplaceAll(n, "_", ", "), median(r[0])/1e3, median(r[1]), median(r[2]), median(r[3]))
	}
	return sb.String(), nil
}
