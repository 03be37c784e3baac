package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/vazel-gateway/vazel/dashboards"
)

// dashboardsCommand writes the dashboards, rules and provisioning that fit this
// program. Files that differ are overwritten.
func dashboardsCommand(_ context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("dashboards", flag.ContinueOnError)
	dir := f.String("out", "", "folder to write to; made if absent")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	if *dir == "" {
		fmt.Fprintln(errs, "vazel dashboards: -out is missing: the folder to write to")
		return errUsage
	}
	n := 0
	err := fs.WalkDir(dashboards.Files, ".", func(name string, e fs.DirEntry, err error) error {
		to := filepath.Join(*dir, filepath.FromSlash(name))
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		b, err := dashboards.Files.ReadFile(name)
		if err != nil {
			return err
		}
		n++
		return os.WriteFile(to, b, 0o644)
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d files in %s: grafana/ (dashboards), rules/ (for Prometheus), provisioning/ (examples of both)\n", n, *dir)
	return nil
}
