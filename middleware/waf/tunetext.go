package waf

import (
	"fmt"
	"io"
	"strings"
)

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) {
	if r.Inspected == 0 {
		fmt.Fprintln(out, "No request in this log was inspected. It has to be the access log, in JSON, of a node with waf: {mode: detect}.")
		return
	}
	fmt.Fprintf(out, "%d requests were inspected from %s to %s. %d would have been blocked; in %d more a rule matched below the threshold.\n", r.Inspected, r.From.Format("2006-01-02 15:04"), r.To.Format("2006-01-02 15:04"), r.Blocked, r.Below)
	if r.Scanners > 0 {
		fmt.Fprintf(out, "%d callers look like scanners: they tried many kinds of attack, or many places.\n", r.Scanners)
	}
	if r.Dropped > 0 {
		fmt.Fprintf(out, "%d of those that would have been blocked were not looked at, for the log is too large.\n", r.Dropped)
	}
	last := ""
	for _, g := range r.Groups {
		if g.Verdict != last {
			fmt.Fprintf(out, "\n%s\n", map[string]string{FalsePositive: "FALSE POSITIVES", Undecided: "UNDECIDED: look at these yourself", Attack: "ATTACKS: leave these alone"}[g.Verdict])
			last = g.Verdict
		}
		where := g.Part
		if where == "" {
			where = "a part that the log does not name"
		}
		fmt.Fprintf(out, "\n  %s: rule %d in %s\n", g.Route, g.Rule, where)
		if w := RuleWords(g.Rule).English; w != "" { // in plain words, as an incident has it
			fmt.Fprintf(out, "    %s\n", w)
		} else if g.Message != "" {
			fmt.Fprintf(out, "    %s\n", g.Message)
		}
		fmt.Fprintf(out, "    %d requests, %d callers: %s\n", g.Requests, g.Callers, strings.Join(g.Evidence, "; "))
		if g.Exclusion != nil {
			fmt.Fprintf(out, "    - %s\n", g.YAML)
			fmt.Fprintf(out, "      alone lets %d of them pass, %d by scanners\n", g.Passes, g.PassesScanners)
		}
	}
	if len(r.Guards) > 0 {
		fmt.Fprint(out, "\nREFUSED BEFORE ANY RULE: no exclusion is for these; errors.md says what to do\n\n")
		for _, g := range r.Guards {
			fmt.Fprintf(out, "  %s: %s, %d requests, %d callers\n", g.Route, g.Reason, g.Requests, g.Callers)
		}
	}
	if text := r.YAML(); text != "" {
		fmt.Fprintf(out, "\nTO PASTE: with all of it, %d of the %d would have passed, %d of them by callers that look like scanners\n\n%s", r.Passes, r.Blocked, r.PassesScanners, text)
	}
}

// YAML is all that is proposed, by route.
func (r *Report) YAML() string {
	var b strings.Builder
	route := ""
	for _, g := range falsePositives(r) {
		if g.Route != route {
			fmt.Fprintf(&b, "# route %s\nwaf:\n  exclude:\n", g.Route)
			route = g.Route
		}
		fmt.Fprintf(&b, "    - %s\n", g.YAML)
	}
	return b.String()
}
