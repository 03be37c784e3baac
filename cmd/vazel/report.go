package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"time"
	_ "time/tzdata" // -zone, where the system has no list of zones
)

// reportCommand publishes how services kept what they promise.
func reportCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	const usage = "vazel report: write qos, such as: vazel report qos -month 2026-10 -prometheus http://127.0.0.1:9090"
	if len(args) == 0 || args[0] != "qos" {
		fmt.Fprintln(errs, usage)
		return errUsage
	}
	f := flag.NewFlagSet("report qos", flag.ContinueOnError)
	month := f.String("month", "", "calendar month, such as 2026-10; default: the last one that is over")
	server := f.String("prometheus", "http://127.0.0.1:9090", "Prometheus that scrapes the gateways")
	zone := f.String("zone", "Europe/Sofia", "time zone that months begin in")
	dir := f.String("out", ".", "folder for qos-MONTH.html and qos-MONTH.json")
	asJSON := f.Bool("json", false, "print the JSON instead of writing files")
	if err := parse(f, args[1:], errs); err != nil {
		return err
	}
	from, to, err := monthOf(*month, *zone, time.Now())
	if err != nil {
		return err
	}
	p, err := prometheusAt(*server)
	if err != nil {
		return err
	}
	q, err := p.quality(ctx, from, to, time.Now())
	if err != nil {
		return err
	}
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(q)
	}
	base := filepath.Join(*dir, "qos-"+q.Month)
	for ext, write := range map[string]func(io.Writer) error{".html": q.html, ".json": q.json} {
		if err := writeReport(base+ext, write); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%s.html\n%s.json\n", base, base)
	if len(q.Services) == 0 {
		fmt.Fprintln(errs, "vazel report qos: Prometheus knows no service with slo in that month; the report is empty")
	}
	return nil
}

// monthOf is the beginning and the end of a calendar month.
func monthOf(month, zone string, now time.Time) (from, to time.Time, err error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return from, to, fmt.Errorf("-zone: %w", err)
	}
	if month == "" {
		month = now.In(loc).AddDate(0, 0, -now.In(loc).Day()).Format("2006-01")
	}
	if from, err = time.ParseInLocation("2006-01", month, loc); err != nil {
		return from, to, fmt.Errorf("-month %q is no month; write for example 2026-10", month)
	}
	if from.After(now) {
		return from, to, errors.New("-month lies in the future")
	}
	return from, from.AddDate(0, 1, 0), nil
}

func writeReport(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}

func (q *quality) json(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(q)
}

//go:embed report.html
var reportPage string

func (q *quality) html(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"percent": func(v *float64) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf("%.3f %%", *v*100)
		},
		"ratio": func(v float64) string { return fmt.Sprintf("%g %%", v*100) },
		"whole": func(v float64) string { return fmt.Sprintf("%.0f", v) },
		"rate":  func(v float64) string { return fmt.Sprintf("%.3g", v) },
		"time": func(v *float64) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf("%.3g s", *v)
		},
		"speed": func(v *float64) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf("%.3g MB/s", *v/1e6)
		},
		"at":   func(v float64) *float64 { return &v },
		"kept": func(v *bool) bool { return v != nil && *v },
		"kind": func(operation string) [2]string { return operationWords[operation] },
	}).Parse(reportPage)
	if err != nil {
		return err
	}
	return t.Execute(w, q)
}

// operationWords are English and Bulgarian words for kinds of operations.
var operationWords = map[string][2]string{
	"all": {"all requests", "всички заявки"}, "map": {"maps", "карти"}, "metadata": {"metadata and descriptions", "метаданни и описания"},
	"data": {"data", "данни"}, "other": {"other operations", "други операции"},
}
