package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vazel-gateway/vazel/config"
)

// The statuses of a finding.
const (
	statusOK   = "ok"
	statusWarn = "warn"
	statusFail = "fail"
)

// finding is what a check found.
type finding struct {
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Mend    string `json:"mend,omitempty"` // what to do about it
}

// check looks at one thing. Findings without a name get the check's.
type check struct {
	name string
	run  func(ctx context.Context) []finding
}

// Bounds of the doctor: the checks run side by side, and none holds the others up.
const (
	checkTime   = 5 * time.Second
	checksAside = 16
)

// doctorCommand looks for what is wrong, or will be, with a node. It changes
// nothing, and fails if a check failed.
func doctorCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("doctor", flag.ContinueOnError)
	path := configFlag(f)
	state := f.String("state", "", "the gateway's state folder; default: as for run")
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	all := examine(ctx, *path, *state)
	n := map[string]int{}
	for _, x := range all {
		n[x.Status]++
	}
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(map[string]any{"findings": all, "ok": n[statusOK], "warn": n[statusWarn], "fail": n[statusFail]}); err != nil {
			return err
		}
	} else {
		for _, x := range all {
			subject := x.Check
			if x.Subject != "" {
				subject += " " + printable(x.Subject)
			}
			fmt.Fprintf(out, "%-4s  %s: %s\n", x.Status, subject, strings.ReplaceAll(x.Message, "\n", "\n      "))
			if x.Mend != "" {
				fmt.Fprintf(out, "      -> %s\n", x.Mend)
			}
		}
		fmt.Fprintf(out, "\n%d ok, %d warnings, %d failures\n", n[statusOK], n[statusWarn], n[statusFail])
	}
	if n[statusFail] > 0 {
		return errFailed
	}
	return nil
}

// examine runs every check that the configuration makes possible.
func examine(ctx context.Context, path, state string) []finding {
	checks := []check{{"clock", checkClock}}
	t, err := loadTrust(path, state)
	var found []finding
	switch {
	case t.config == nil:
		found = append(found, configFindings(err)...)
	case err != nil:
		found = append(found, finding{Check: "configuration", Status: statusFail, Message: err.Error(), Mend: "vazel check says more; the gateway does not start like this"})
	default:
		found = append(found, finding{Check: "configuration", Status: statusOK, Message: fmt.Sprintf("%d files are valid", len(t.config.Files))})
	}
	if t.config != nil {
		for _, w := range t.config.Warnings {
			found = append(found, finding{Check: "configuration", Subject: at(w), Status: statusWarn, Message: w.Message})
		}
		checks = append(checks, systemChecks(t)...)
		checks = append(checks, certificateChecks(t)...)
		checks = append(checks, networkChecks(t)...)
	}
	return append(found, runChecks(ctx, checks)...)
}

func at(p config.Problem) string { return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column) }

// configFindings are the mistakes of a configuration.
func configFindings(err error) []finding {
	var all *config.Errors
	if !errors.As(err, &all) {
		return []finding{{Check: "configuration", Status: statusFail, Message: err.Error(), Mend: "-config names the file or folder"}}
	}
	var l []finding
	for _, p := range all.Problems {
		x := finding{Check: "configuration", Subject: at(p), Status: statusFail, Message: p.Message, Mend: "vazel check shows the line"}
		if p.Warning {
			x.Status, x.Mend = statusWarn, ""
		}
		l = append(l, x)
	}
	return l
}

// runChecks runs the checks side by side; the findings are in the order of the checks.
func runChecks(ctx context.Context, checks []check) []finding {
	results := make([][]finding, len(checks))
	places := make(chan struct{}, checksAside)
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			results[i] = c.within(ctx)
		})
	}
	wg.Wait()
	return slices.Concat(results...)
}

// within runs a check that may take checkTime. What hangs longer than that, in a
// resolver that can't be interrupted, is left behind: the program ends soon.
func (c check) within(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	done := make(chan []finding, 1)
	go func() { done <- c.run(ctx) }()
	var l []finding
	select {
	case l = <-done:
	case <-time.After(checkTime + time.Second):
		l = []finding{{Status: statusFail, Message: fmt.Sprintf("no answer within %s", checkTime)}}
	}
	for i := range l {
		if l[i].Check == "" {
			l[i].Check = c.name
		}
	}
	return l
}
