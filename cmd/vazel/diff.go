package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"

	"github.com/vazel-gateway/vazel/config"
)

func diffCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("diff", flag.ContinueOnError)
	admin := newAdminFlags(f)
	against := f.String("against", "running", "what to compare with: another configuration, or running for what the gateway has in force")
	asJSON := f.Bool("json", false, "print the changes as JSON")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	next, err := config.Load(*admin.config)
	if err != nil {
		fmt.Fprintln(errs, err)
		return errFailed
	}
	former, err := formerConfig(ctx, *against, admin, errs)
	if err != nil {
		return err
	}
	changes := config.Diff(former, next.Effective())
	weaker := 0
	for _, c := range changes {
		if c.Weakened != "" {
			weaker++
		}
	}
	if *asJSON {
		if changes == nil {
			changes = []config.Change{}
		}
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		enc.Encode(map[string]any{"changes": changes, "weaker": weaker})
	} else {
		for _, c := range changes {
			fmt.Fprintln(out, changeLine(c))
		}
		fmt.Fprintln(out, summary(len(changes), weaker))
	}
	if len(changes) > 0 {
		return errFailed
	}
	return nil
}

// changeLine is one change: what weakens begins with an exclamation mark.
func changeLine(c config.Change) string {
	var s string
	switch {
	case c.Old == "":
		s = fmt.Sprintf("+ %s: %s", c.Path, c.New)
	case c.New == "":
		s = fmt.Sprintf("- %s: %s", c.Path, c.Old)
	default:
		s = fmt.Sprintf("~ %s: %s -> %s", c.Path, c.Old, c.New)
	}
	if c.Weakened != "" {
		s = "!" + s[1:] + "   WEAKER: " + c.Weakened
	}
	return s
}

func summary(changes, weaker int) string {
	switch {
	case changes == 0:
		return "no change"
	case weaker == 0:
		return fmt.Sprintf("%d changed, none of them weaker", changes)
	}
	return fmt.Sprintf("%d changed, %d of them weaker", changes, weaker)
}

// formerConfig is the effective configuration that another is compared with.
func formerConfig(ctx context.Context, against string, admin *adminFlags, errs io.Writer) (map[string]any, error) {
	if against != "running" {
		c, err := config.Load(against)
		if err != nil {
			fmt.Fprintln(errs, err)
			return nil, errFailed
		}
		return c.Effective(), nil
	}
	var running runningConfig
	if err := admin.ask(ctx, http.MethodGet, "/-/config", &running); err != nil {
		return nil, err
	}
	return running.Config, nil
}
