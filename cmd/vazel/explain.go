package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway"
)

// fieldList is a flag for header fields, written "Name: value".
type fieldList http.Header

func (l fieldList) String() string { return "" }

func (l fieldList) Set(s string) error {
	name, value, ok := strings.Cut(s, ":")
	if !ok || name == "" {
		return fmt.Errorf("write \"Name: value\"")
	}
	http.Header(l).Add(strings.TrimSpace(name), strings.TrimSpace(value))
	return nil
}

func explainCommand(_ context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("explain", flag.ContinueOnError)
	path := configFlag(f)
	as := f.String("as", "", "the organization that calls; default: a client without certificate")
	from := f.String("from", "", "the client's address, for deny_from and allow_from; sets of URLs are taken for empty; default: 192.0.2.1")
	body := f.String("body", "", "the request's body")
	header := fieldList{}
	f.Var(header, "header", "a header field, as \"Name: value\"; may be given several times")
	words, err := parseMixed(f, args, errs)
	if err != nil {
		return err
	}
	if len(words) != 2 {
		fmt.Fprintln(errs, "usage: vazel explain METHOD URL [-as ORGANIZATION] [-from ADDRESS] [-header \"Name: value\"] [-body TEXT] [-config PATH]")
		return errUsage
	}
	c, re, err := rehearse(*path, errs)
	if err != nil {
		return err
	}
	defer re.Close()
	if err := knownOrganization(c, *as); err != nil {
		return err
	}
	client, err := clientAddress(*from)
	if err != nil {
		return err
	}
	a, err := re.Ask(gateway.Question{Method: words[0], URL: words[1], Header: http.Header(header), Body: *body, Organization: *as, From: client})
	if err != nil {
		return err
	}
	explain(out, c, a, *as)
	return nil
}

// rehearse loads a configuration and prepares it without serving it.
func rehearse(path string, errs io.Writer) (*config.Config, *gateway.Rehearsal, error) {
	c, err := config.Load(path)
	if err != nil {
		fmt.Fprintln(errs, err)
		return nil, nil, errFailed
	}
	re, err := gateway.Rehearse(c)
	return c, re, err
}

// clientAddress reads an address of -from and from; it is invalid for "".
func clientAddress(s string) (a netip.Addr, err error) {
	if s == "" {
		return a, nil
	}
	if a, err = netip.ParseAddr(s); err != nil {
		return a, fmt.Errorf("from: %q is not an address", s)
	}
	return a.Unmap(), nil
}

func knownOrganization(c *config.Config, key string) error {
	if _, ok := c.Callers[key]; ok || key == "" {
		return nil
	}
	if s := config.Suggest(key, slices.Sorted(maps.Keys(c.Callers))); s != "" {
		return fmt.Errorf("organization %q is not defined; did you mean %q?", key, s)
	}
	return fmt.Errorf("organization %q is not defined", key)
}

// explain prints what would become of a request, and every value that is in
// force for it.
func explain(out io.Writer, c *config.Config, a gateway.Answer, as string) {
	var service *config.Service
	var route *config.Route
	for _, s := range c.Services {
		if s.Name == a.Service {
			service = s
			for _, r := range s.Routes {
				if r.Name == a.Route {
					route = r
				}
			}
		}
	}
	fmt.Fprintln(out, outcome(a))
	if a.Outcome == "forwarded" && service != nil {
		fmt.Fprintf(out, "upstreams: %s, as %s\n", strings.Join(service.Upstreams, ", "), a.Upstream)
	}
	caller := "a client without certificate"
	if as != "" {
		caller = fmt.Sprintf("organization %s (%s)", as, c.Callers[as].Name)
	}
	fmt.Fprintf(out, "caller: %s\n", caller)
	if a.Mode != "" {
		fmt.Fprintf(out, "inspection: %s, score %d, rules %v\n", a.Mode, a.Score, a.Rules)
	}
	if service == nil {
		return
	}
	fmt.Fprintf(out, "service: %s (%s)\n", service.Name, lineOf(service.At))
	if route == nil {
		return
	}
	fmt.Fprintf(out, "route: %s (%s)\n", route.Name, lineOf(route.At))
	width, from := 0, 0
	for _, s := range route.Settings {
		width, from = max(width, len(s.Key)+len(s.Value)), max(from, len(s.From))
	}
	for _, s := range route.Settings {
		at := ""
		if s.Line > 0 {
			at = lineOf(s.Position)
		}
		fmt.Fprintln(out, strings.TrimRight(fmt.Sprintf("  %-*s  %-*s  %s", min(width, 60)+2, s.Key+": "+s.Value, from, s.From, at), " "))
	}
	for _, r := range c.Callers[as].RateLimit {
		fmt.Fprintf(out, "  and the ceiling of %s over all services: %s, burst %d\n", as, r.Rate, r.BurstOr())
	}
	if q := c.Callers[as].Quota; q != nil {
		fmt.Fprintf(out, "  and the quota of %s over all services:%s%s\n", as, amount(q.Day, "day"), amount(q.Month, "month"))
	}
	for _, b := range c.Callers[as].Concurrency {
		fmt.Fprintf(out, "  and of %s over all services: %d requests at once\n", as, b.Max)
	}
}

func amount(n int, period string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" %d a %s", n, period)
}

func lineOf(p config.Position) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// outcome is the answer in one line.
func outcome(a gateway.Answer) string {
	switch a.Outcome {
	case "forwarded":
		return "forwarded to an upstream"
	case "redirected":
		return fmt.Sprintf("redirected with %d to %s", a.Status, a.Location)
	case "refused":
		s := fmt.Sprintf("refused with %d by %s: %s", a.Status, a.By, a.Reason)
		if a.Detail != "" {
			s += " (" + a.Detail + ")"
		}
		return s
	}
	return fmt.Sprintf("answered with %d by the gateway itself", a.Status)
}
