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

// valuesOf are the values of the runs without errors, of all if proxy is empty.
func valuesOf(all []sample, proxy, scenario string, f func(sample) float64) (v []float64) {
	for _, s := range all {
		if (proxy == "" || s.Proxy == proxy && s.Scenario == scenario) && s.Err == "" && s.Errors == 0 {
			v = append(v, f(s))
		}
	}
	return v
}

// tables renders medians per proxy and scenario, and the ratio of CPU time per
// operation to the first proxy.
func tables(defs []*proxyDef, all []sample) string {
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
		for i, d := range defs {
			n := d.name
			if sc.fresh {
				kb, k := get(n, sc.name, func(s sample) float64 { return s.PerConnKB })
				if k == 0 {
					continue
				}
				mb, _ := get(n, sc.name, func(s sample) float64 { return s.BaseMB })
				if i == 0 {
					base = kb
				}
				fmt.Fprintf(&sb, "| %s | %.1f | %.1f | %s |\n", d.Title, kb, mb, ratio(kb, base))
				continue
			}
			cpu, k := get(n, sc.name, func(s sample) float64 { return s.CPUus })
			if k == 0 {
				fmt.Fprintf(&sb, "| %s | — | | | | | | | 0 |\n", d.Title)
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
			fmt.Fprintf(&sb, "| %s | %.1f | %.1f | %.1f | %s | %.0f | %.2f | %.2f | %d |\n", d.Title, cpu, u, sy, ratio(cpu, base), rps, p50, p99, k)
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
// and what else is asked of a scenario, with the gateway's ratios to the others.
// A brief one leaves out what only completes the picture.
func summary(defs []*proxyDef, all []sample, brief bool) string {
	var sb strings.Builder
	var others []*proxyDef
	gateway := false
	sb.WriteString("| |")
	for _, d := range defs {
		sb.WriteString(" " + d.Title + " |")
		if d.name == ours {
			gateway = true
		} else {
			others = append(others, d)
		}
	}
	columns := len(defs)
	if gateway {
		for _, d := range others {
			sb.WriteString(" of " + d.Title + " |")
		}
		columns += len(others)
	}
	sb.WriteString("\n| --- |" + strings.Repeat(" --: |", columns) + "\n")
	row := func(name, title, format string, f func(sample) float64) {
		line, seen := "| "+title+" |", false
		medians := map[string]float64{}
		for _, d := range defs {
			v := valuesOf(all, d.name, name, f)
			if len(v) == 0 {
				line += " - |"
				continue
			}
			seen = true
			medians[d.name] = median(v)
			line += " " + fmt.Sprintf(format, medians[d.name]) + " |"
		}
		if gateway {
			for _, d := range others {
				if a, b := medians[ours], medians[d.name]; a > 0 && b > 0 {
					line += " " + ratio(a, b) + " |"
				} else {
					line += " |"
				}
			}
		}
		if seen {
			sb.WriteString(line + "\n")
		}
	}
	for _, sc := range scenarios {
		if brief && sc.detail {
			continue
		}
		if sc.fresh {
			row(sc.name, sc.short+", KiB", "%.1f", func(s sample) float64 { return s.PerConnKB })
			continue
		}
		format := "%.1f"
		if sc.unit != "request" {
			format = "%.0f"
		}
		row(sc.name, sc.short+", µs", format, func(s sample) float64 { return s.CPUus })
		if sc.name == "rate" {
			row(sc.name, sc.short+", p50 ms", "%.2f", func(s sample) float64 { return s.P50 })
			row(sc.name, sc.short+", p99 ms", "%.2f", func(s sample) float64 { return s.P99 })
		}
	}
	return sb.String()
}

// ours is the folder of the gateway.
const ours = "gateway"

// processor is the name of the machine's.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(b)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.Trim(name, "\t :\n")
		}
	}
	return "unknown CPU"
}

// conditions tells what was measured, when and where.
func conditions(o options, defs []*proxyDef, all []sample) string {
	var versions []string
	for _, d := range defs {
		versions = append(versions, strings.TrimSpace(d.Title+" "+d.version()))
	}
	busy := median(valuesOf(all, "", "", func(s sample) float64 { return s.OtherPct }))
	caution := ""
	if busy > 10 {
		caution = " With so much else to do, latencies say little, and CPU times are higher than on a quiet machine."
	}
	return fmt.Sprintf("%s; %s, %d cores, of which other programs took %.0f %%; medians of %d interleaved rounds of %v; %s.%s\n", time.Now().UTC().Format(time.DateOnly), processor(), runtime.NumCPU(), max(0, busy), o.rounds, o.dur, strings.Join(versions, ", "), caution)
}
