package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// wafCommand reads access logs of a node in detect mode.
func wafCommand(_ context.Context, args []string, out, errs io.Writer) error {
	if len(args) == 0 || args[0] != "tune" {
		fmt.Fprintln(errs, "usage: vazel waf tune [-json] [-threshold N] [LOG...]")
		return errUsage
	}
	f := flag.NewFlagSet("waf tune", flag.ContinueOnError)
	asJSON := f.Bool("json", false, "print the result as JSON")
	threshold := f.Int("threshold", 5, "the score that blocks, as in waf.threshold")
	f.SetOutput(errs)
	if err := f.Parse(args[1:]); err != nil {
		return errUsage
	}
	t := &waf.Tuner{Threshold: *threshold}
	names := f.Args()
	if len(names) == 0 {
		names = []string{"-"}
	}
	for _, name := range names {
		if err := tuneFile(t, name); err != nil {
			fmt.Fprintf(errs, "%s: %v\n", name, err)
			return errFailed
		}
	}
	r := t.Report()
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			*waf.Report
			YAML string `json:"yaml"`
		}{r, r.YAML()})
	}
	r.WriteText(out)
	return nil
}

// tuneFile reads a log, "-" for the standard input; a name in .gz is unpacked.
func tuneFile(t *waf.Tuner, name string) error {
	var r io.Reader = os.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		r = file
	}
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		r = z
	}
	return t.Read(r)
}
