package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway"
)

// orgsCommand shows how the organizations stand: asked of the running gateway,
// or, without one, what the configuration and its state folder tell.
func orgsCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("orgs", flag.ContinueOnError)
	admin := newAdminFlags(f)
	state := f.String("state", "", "the gateway's state folder, to look at if it does not run; default: as for run")
	asJSON := f.Bool("json", false, "print JSON")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	all := new(gateway.Organizations)
	bounded, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if err := admin.ask(bounded, http.MethodGet, "/-/organizations", all); err != nil {
		if *admin.address != "" {
			return err
		}
		ask, _ := admin.find()
		fmt.Fprintf(errs, "the gateway does not answer on %s (%v)\nwhat follows is what the configuration and the state folder tell; requests and refusals are not known\n\n", ask, err)
		t, err := loadTrust(*admin.config, *state)
		if err != nil {
			return t.explain(err, errs)
		}
		all = gateway.OrganizationsOf(t.config, t.manager, t.set, time.Now())
	}
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(all)
	}
	printOrganizations(out, all)
	return nil
}

// trust is a configuration's trust, for commands that look and change nothing.
type trust struct {
	config  *config.Config
	manager *certs.Manager
	set     *certs.Set
	state   string
}

func loadTrust(path, state string) (trust, error) {
	var t trust
	var err error
	if t.config, err = config.Load(path); err != nil {
		return t, err
	}
	if t.state, err = stateDir(state, path); err != nil {
		return t, err
	}
	t.manager = certs.NewManager(certs.Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), StateDir: t.state})
	t.set, err = t.manager.Build(gateway.TrustOf(t.config))
	return t, err
}

// explain prints a mistake of the configuration as "vazel check" does.
func (t trust) explain(err error, errs io.Writer) error {
	if t.config == nil {
		fmt.Fprintln(errs, err)
		return errFailed
	}
	return err
}

// stateDir is the folder for what must survive a restart.
func stateDir(flag, configuration string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if dir := os.Getenv("STATE_DIRECTORY"); dir != "" {
		return dir, nil
	}
	dir, err := config.Dir(configuration)
	return filepath.Join(dir, "state"), err
}

// printOrganizations prints one line for each organization, and below it one for
// each of its certificates.
func printOrganizations(out io.Writer, all *gateway.Organizations) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORGANIZATION\tLAST SEEN\tREQUESTS\tREFUSED\tPOST-QUANTUM\tCRL\tAGREEMENT\tNAME")
	for _, o := range all.Organizations {
		requests, refused, pq := "-", "-", "-"
		if o.Usage != nil {
			requests, refused = counts(o.Usage.Requests), counts(o.Usage.Refusals)
		}
		if o.PostQuantum != nil {
			pq = fmt.Sprintf("%.0f%%", *o.PostQuantum*100)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", o.Key, ago(all.At, o.LastSeen), requests, refused, pq, listWords(o.Trust, all.At), agreement(o.ValidUntil, all.At), printable(o.Name))
	}
	w.Flush()
	if !all.Since.IsZero() {
		fmt.Fprintf(out, "\nrequests, refusals and key exchanges are counted since %s\n", all.Since.Format(time.RFC3339))
	}
	if len(all.Unknown) > 0 {
		fmt.Fprintf(out, "refused, of no configured organization: %s\n", counts(all.Unknown))
	}
	fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ORGANIZATION\tCERTIFICATE SEEN\tSERIAL\tDAYS LEFT\tENDS\tLAST SEEN")
	for _, o := range all.Organizations {
		for _, c := range o.Certificates {
			left := daysLeft(all.At, c.NotAfter)
			if c.Replaced {
				left += " (replaced)"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.Key, short(printable(c.Subject), 60), short(c.Serial, 16), left, c.NotAfter.UTC().Format(time.DateOnly), ago(all.At, c.LastSeen))
		}
		if len(o.Certificates) == 0 {
			fmt.Fprintf(w, "%s\tnone yet\t-\t-\t-\t-\n", o.Key)
		}
	}
	w.Flush()
}

// counts spells numbers by their names: "ok 12, limited 3".
func counts(m map[string]uint64) string {
	var l []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] > 0 {
			l = append(l, fmt.Sprintf("%s %d", k, m[k]))
		}
	}
	if len(l) == 0 {
		return "0"
	}
	return strings.Join(l, ", ")
}

func listWords(t certs.TrustStatus, now time.Time) string {
	var all []string
	for _, l := range t.Revocation {
		s := fmt.Sprintf("%s old, %d entries, next in %s", span(now.Sub(l.ThisUpdate)), l.Entries, span(l.NextUpdate.Sub(now)))
		switch l.State {
		case "missing":
			s = "MISSING (mode " + l.Mode + ")"
		case "stale":
			s = "STALE (mode " + l.Mode + "): " + s
		}
		all = append(all, s)
	}
	if t.Responder != "" {
		all = append(all, "OCSP")
	}
	if len(all) == 0 {
		return "none configured"
	}
	return strings.Join(all, "; ")
}

func agreement(until string, now time.Time) string {
	if until == "" {
		return "-"
	}
	if t, err := time.Parse(time.DateOnly, until); err == nil && !now.Before(t.AddDate(0, 0, 1)) {
		return "ENDED " + until
	}
	return "until " + until
}

func daysLeft(now, end time.Time) string {
	if !now.Before(end) {
		return "EXPIRED"
	}
	return fmt.Sprint(int(end.Sub(now) / (24 * time.Hour)))
}

func ago(now, t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(now.Sub(t)) + " ago"
}

// span is a duration in its largest unit.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + span(-d)
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// printable keeps a text from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '?'
		}
		return r
	}, s)
}

func short(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
