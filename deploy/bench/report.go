package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"time"
)

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sort.Float64s(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// valuesOf are the values of the runs without errors.
func valuesOf(all []sample, proxy, scenario string, f func(sample) float64) (v []float64) {
	for _, s := range all {
		if s.Proxy == proxy && s.Scenario == scenario && s.Err == "" && s.Errors == 0 {
			v = append(v, f(s))
		}
	}
	return v
}

// tables renders medians per proxy and scenario, and the ratio of CPU time per
// operation to the first proxy.
func tables(names []string, all []sample) string {
	var sb strings.Builder
	get := func(proxy, sc string, f func(sample) float64) (float64, int) {
		v := valuesOf(all, proxy, sc, f)
		return median(v), len(v)
	}
	for _, sc := range scenarios {
		any := false
		for _, s := range all {
			any = any || s.Scenario == sc.name
		}
		if !any {
			continue
		}
		fmt.Fprintf(&sb, "\n### %s: %s\n\n", sc.name, sc.what)
		if sc.fresh {
			sb.WriteString("| proxy | KiB per connection | MiB at start | ratio |\n| --- | ---: | ---: | ---: |\n")
		} else {
			fmt.Fprintf(&sb, "| proxy | CPU µs per %s | user | sys | ratio | %s/s | p50 ms | p99 ms | runs |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n", sc.unit, sc.unit)
		}
		base := 0.0
		for i, n := range names {
			if sc.fresh {
				kb, k := get(n, sc.name, func(s sample) float64 { return s.PerConnKB })
				if k == 0 {
					continue
				}
				mb, _ := get(n, sc.name, func(s sample) float64 { return s.BaseMB })
				if i == 0 {
					base = kb
				}
				fmt.Fprintf(&sb, "| %s | %.1f | %.1f | %s |\n", n, kb, mb, ratio(kb, base))
				continue
			}
			cpu, k := get(n, sc.name, func(s sample) float64 { return s.CPUus })
			if k == 0 {
				fmt.Fprintf(&sb, "| %s | — | | | | | | | 0 |\n", n)
				continue
			}
			u, _ := get(n, sc.name, func(s sample) float64 { return s.UserUS })
			sy, _ := get(n, sc.name, func(s sample) float64 { return s.SysUS })
			rps, _ := get(n, sc.name, func(s sample) float64 { return s.RPS })
			p50, _ := get(n, sc.name, func(s sample) float64 { return s.P50 })
			p99, _ := get(n, sc.name, func(s sample) float64 { return s.P99 })
			if i == 0 {
				base = cpu
			}
			fmt.Fprintf(&sb, "| %s | %.1f | %.1f | %.1f | %s | %.0f | %.2f | %.2f | %d |\n", n, cpu, u, sy, ratio(cpu, base), rps, p50, p99, k)
		}
	}
	for _, s := range all {
		if s.Err != "" || s.Errors != 0 {
			fmt.Fprintf(&sb, "\nleft out: %s %s round %d: %s %s", s.Scenario, s.Proxy, s.Round, s.Note, s.Err)
		}
	}
	sb.WriteString("\n")
	return sb.String()
}

func ratio(v, base float64) string {
	if base == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", v/base)
}

// summary is one line per scenario: the CPU time per operation of each proxy,
// and what else is asked of a scenario.
func summary(names []string, all []sample) string {
	var sb strings.Builder
	sb.WriteString("| scenario |")
	for _, n := range names {
		sb.WriteString(" " + n + " |")
	}
	sb.WriteString("\n| --- |" + strings.Repeat(" --: |", len(names)) + "\n")
	row := func(name, title string, format string, get ...func(sample) float64) {
		seen := false
		line := "| " + title + " |"
		for _, n := range names {
			var v []any
			for _, f := range get {
				if x := valuesOf(all, n, name, f); len(x) > 0 {
					v = append(v, median(x))
				}
			}
			if len(v) < len(get) {
				line += " - |"
				continue
			}
			seen = true
			line += " " + fmt.Sprintf(format, v...) + " |"
		}
		if seen {
			sb.WriteString(line + "\n")
		}
	}
	for _, sc := range scenarios {
		if sc.fresh {
			row(sc.name, sc.name+", KiB", "%.1f", func(s sample) float64 { return s.PerConnKB })
			continue
		}
		row(sc.name, sc.name+", µs", "%.1f", func(s sample) float64 { return s.CPUus })
		if sc.name == "rate" {
			row(sc.name, "rate, p50/p99 ms", "%.2f/%.2f", func(s sample) float64 { return s.P50 }, func(s sample) float64 { return s.P99 })
		}
	}
	return sb.String()
}

// conditions tells what was measured, when and where.
func conditions(o options, defs []*proxyDef) string {
	var versions []string
	for _, d := range defs {
		versions = append(versions, d.name+" "+d.version())
	}
	cpu := "unknown CPU"
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			cpu = strings.Trim(name, "\t :\n")
			break
		}
	}
	return fmt.Sprintf("%s; %s, %d cores; %d rounds of %v; %s.\n", time.Now().UTC().Format(time.DateOnly), cpu, runtime.NumCPU(), o.rounds, o.dur, strings.Join(versions, ", "))
}
