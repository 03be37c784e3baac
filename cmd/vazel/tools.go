package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway"
)

func checkCommand(_ context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("check", flag.ContinueOnError)
	path := configFlag(f)
	asJSON := f.Bool("json", false, "print the result as JSON")
	f.SetOutput(errs)
	if err := f.Parse(args); err != nil || f.NArg() > 1 {
		return errUsage
	}
	if f.NArg() == 1 {
		*path = f.Arg(0)
	}
	c, err := config.Load(*path)
	var all *config.Errors
	if err == nil { // what only the gateway's own parts find
		var re *gateway.Rehearsal
		if re, err = gateway.Rehearse(c); err == nil {
			re.Close()
		}
	}
	if *asJSON {
		if err != nil && !errors.As(err, &all) {
			all = &config.Errors{Problems: []config.Problem{{Message: err.Error()}}}
		}
		if all == nil {
			all = &config.Errors{Problems: c.Warnings, Files: len(c.Sources())}
		}
		out.Write(all.JSON())
		if err != nil {
			return errFailed
		}
		return nil
	}
	if err != nil {
		fmt.Fprintln(errs, err)
		return errFailed
	}
	if len(c.Warnings) > 0 {
		fmt.Fprintln(errs, (&config.Errors{Problems: c.Warnings, Files: len(c.Sources())}).Error())
	}
	routes := 0
	for _, s := range c.Services {
		routes += len(s.Routes)
	}
	fmt.Fprintf(out, "valid: %d services, %d routes, %d organizations in %d files\n", len(c.Services), routes, len(c.Callers), len(c.Sources()))
	return nil
}

func schemaCommand(_ context.Context, args []string, out, errs io.Writer) error {
	if err := parse(flag.NewFlagSet("schema", flag.ContinueOnError), args, errs); err != nil {
		return err
	}
	b, err := config.Schema()
	if err != nil {
		return err
	}
	_, err = out.Write(b)
	return err
}

func manualCommand(_ context.Context, args []string, out, errs io.Writer) error {
	if err := parse(flag.NewFlagSet("manual", flag.ContinueOnError), args, errs); err != nil {
		return err
	}
	_, err := io.WriteString(out, config.Manual())
	return err
}

func fmtCommand(_ context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("fmt", flag.ContinueOnError)
	write := f.Bool("w", false, "write the result into the file")
	list := f.Bool("l", false, "list the files that would change; exit code 1 if there are any")
	f.SetOutput(errs)
	if err := f.Parse(args); err != nil {
		return errUsage
	}
	if f.NArg() == 0 {
		fmt.Fprintln(errs, "usage: vazel fmt [-w] [-l] FILE...   (- is standard input)")
		return errUsage
	}
	changed, broken := false, false
	for _, name := range f.Args() {
		src, err := readFile(name)
		if err != nil {
			return err
		}
		dst, err := config.Format(name, src)
		if err != nil {
			fmt.Fprintln(errs, err)
			broken = true
			continue
		}
		same := bytes.Equal(src, dst)
		changed = changed || !same
		switch {
		case *list && !same:
			fmt.Fprintln(out, name)
		case *write && !same && name != "-":
			if err := replaceFile(name, dst); err != nil {
				return err
			}
		case !*list && !*write || name == "-":
			out.Write(dst)
		}
	}
	if broken || *list && changed {
		return errFailed
	}
	return nil
}

func readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(name)
}

// replaceFile writes a file whole or not at all, with the rights that it had.
func replaceFile(name string, b []byte) error {
	info, err := os.Stat(name)
	if err != nil {
		return err
	}
	tmp := name + ".new"
	if err := os.WriteFile(tmp, b, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}

func reloadCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("reload", flag.ContinueOnError)
	admin := newAdminFlags(f)
	if err := parse(f, args, errs); err != nil {
		return err
	}
	var answer struct{ Result, Error string }
	if err := admin.ask(ctx, http.MethodPost, "/-/reload", &answer); err != nil {
		return err
	}
	if answer.Result != "applied" {
		fmt.Fprintln(errs, answer.Error)
		fmt.Fprintln(errs, "refused: the former configuration stays in force")
		return errFailed
	}
	fmt.Fprintln(out, "applied")
	return nil
}
