package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway"
)

func testCommand(_ context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("test", flag.ContinueOnError)
	path := configFlag(f)
	files, err := parseMixed(f, args, errs)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		fmt.Fprintln(errs, "usage: vazel test [-config PATH] FILE...")
		return errUsage
	}
	given := false
	f.Visit(func(f *flag.Flag) { given = given || f.Name == "config" })
	passed, failed := 0, 0
	for _, file := range files {
		tests, err := config.LoadTests(file)
		if err != nil {
			fmt.Fprintln(errs, err)
			return errFailed
		}
		of := *path
		if tests.Config != "" && !given {
			if of = tests.Config; !filepath.IsAbs(of) {
				of = filepath.Join(filepath.Dir(file), of)
			}
		}
		c, re, err := rehearse(of, errs)
		if err != nil {
			return err
		}
		for _, t := range tests.Tests {
			problems := policyTest(c, re, t)
			if len(problems) == 0 {
				passed++
				continue
			}
			failed++
			for _, p := range problems {
				fmt.Fprintln(errs, p)
			}
		}
		re.Close()
	}
	if failed > 0 {
		fmt.Fprintf(errs, "%d of %d tests failed\n", failed, failed+passed)
		return errFailed
	}
	fmt.Fprintf(out, "%d tests passed\n", passed)
	return nil
}

// policyTest lists what is otherwise than a test expects.
func policyTest(c *config.Config, re *gateway.Rehearsal, t config.PolicyTest) (problems []string) {
	name := t.Request
	if t.As != "" {
		name += " as " + t.As
	}
	if t.From != "" {
		name += " from " + t.From
	}
	if t.Name != "" {
		name = t.Name + ": " + name
	}
	note := func(at config.Position, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s:%d:%d: %s: %s", at.File, at.Line, at.Column, name, fmt.Sprintf(format, args...)))
	}
	if err := knownOrganization(c, t.As); err != nil {
		note(t.At, "%v", err)
		return problems
	}
	header := http.Header{}
	for k, v := range t.Headers {
		header.Add(k, v)
	}
	method, url, _ := strings.Cut(t.Request, " ")
	client, err := clientAddress(t.From)
	var a gateway.Answer
	if err == nil {
		a, err = re.Ask(gateway.Question{Method: method, URL: strings.TrimSpace(url), Header: header, Body: t.Body, Organization: t.As, From: client})
	}
	if err != nil {
		note(t.At, "%v", err)
		return problems
	}
	for _, e := range []struct{ key, want, got string }{
		{"outcome", t.Expect.Outcome, a.Outcome},
		{"status", number(t.Expect.Status), number(a.Status)},
		{"service", t.Expect.Service, a.Service},
		{"route", t.Expect.Route, a.Route},
		{"by", t.Expect.By, a.By},
		{"reason", t.Expect.Reason, a.Reason},
		{"location", t.Expect.Location, a.Location},
		{"upstream", t.Expect.Upstream, a.Upstream},
	} {
		if e.want == "" || e.want == e.got {
			continue
		}
		got := e.got
		if got == "" {
			got = "none"
		}
		note(t.Places[e.key], "%s is %s, want %s; the request is %s", e.key, got, e.want, outcome(a))
	}
	return problems
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
