// Command vazel is the gateway and the tools around it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// version is set by the linker.
var version = "development"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// command is one subcommand.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string, out, errs io.Writer) error
}

// commands are shown in this order.
func commands() []command {
	return []command{
		{"run", "[-config PATH]", "serve until SIGTERM; SIGHUP reloads", runCommand},
		{"check", "[-config PATH] [-json]", "say everything that is wrong with a configuration", checkCommand},
		{"reload", "[-config PATH | -admin ADDRESS]", "make the running gateway read its configuration again", reloadCommand},
		{"diff", "[-config PATH] [-against OTHER]", "say what a reload would change, and what would let more through", diffCommand},
		{"explain", "METHOD URL [-as ORGANIZATION]", "say what would become of a request, and why", explainCommand},
		{"incident", "ID [-log FILE] [-lang bg]", "say who was refused, by which rule and line, and what to change", incidentCommand},
		{"test", "FILE...", "test a configuration with requests and what should become of them", testCommand},
		{"upgrade", "[-config PATH | -admin ADDRESS]", "have the program that is on disk now take over from the running one", upgradeCommand},
		{"fmt", "[-w] [-l] FILE...", "format configuration files", fmtCommand},
		{"schema", "", "print the JSON Schema of the configuration", schemaCommand},
		{"manual", "", "print the reference manual of the configuration", manualCommand},
		{"orgs", "[-config PATH | -admin ADDRESS] [-json]", "show the organizations: certificates seen, revocation lists, requests, refusals", orgsCommand},
		{"org", "add KEY -name NAME -id ID ...", "make an onboarding bundle for an organization", orgCommand},
		{"report", "qos [-month 2026-10] [-prometheus URL]", "report how services kept what they promise (slo), as HTML and JSON", reportCommand},
		{"waf", "tune [-json] [-threshold N] [LOG...]", "tell false positives of inspection from attacks in an access log, and propose exclusions", wafCommand},
		{"doctor", "[-config PATH] [-json]", "look for what will go wrong: clock, rights, certificates, networks", doctorCommand},
		{"certs", "dev | inspect ...", "make development certificates; say what a certificate proves", certsCommand},
		{"dashboards", "-out DIR", "write Grafana dashboards, alerts and recording rules", dashboardsCommand},
		{"demo", "[flags]", "run a whole node with example services", demoCommand},
		{"version", "", "print the version", versionCommand},
	}
}

// errUsage ends the program with exit code 2 after what was wrong was printed.
var errUsage = errors.New("usage")

// errFailed ends it with exit code 1 after everything was printed.
var errFailed = errors.New("failed")

func run(args []string, out, errs io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		usage(out)
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		context.AfterFunc(ctx, func() { signal.Reset(os.Interrupt) }) // a second Ctrl-C does not wait for the drain
		err := c.run(ctx, args[1:], out, errs)
		switch {
		case err == nil:
			return 0
		case errors.Is(err, errUsage):
			return 2
		case errors.Is(err, errFailed):
			return 1
		}
		fmt.Fprintf(errs, "vazel %s: %v\n", c.name, err)
		return 1
	}
	fmt.Fprintf(errs, "vazel: unknown command %q\n\n", args[0])
	usage(errs)
	return 2
}

func usage(w io.Writer) {
	fmt.Fprint(w, "Vazel, the secure e-government internet node\n\nUsage: vazel COMMAND\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %-40s %s\n", c.name, c.args, c.help)
	}
	fmt.Fprint(w, "\n-config is a file, or a folder with vazel.yaml; default: /etc/vazel, or $VAZEL_CONFIG.\n")
}

func versionCommand(_ context.Context, _ []string, out, _ io.Writer) error {
	fmt.Fprintln(out, "vazel", version)
	return nil
}
