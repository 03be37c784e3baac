package waf

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Report is what tuning found.
type Report struct {
	From      time.Time `json:"from"`
	To        time.Time `json:"to"`
	Inspected int       `json:"inspected"`
	Blocked   int       `json:"would_be_blocked"` // by a score or by a guard
	Below     int       `json:"below_threshold"`  // some rule matched, but they passed
	Dropped   int       `json:"not_looked_at,omitempty"`
	Scanners  int       `json:"scanners"` // callers that tried many things
	Groups    []*Group  `json:"groups"`
	Guards    []*Guard  `json:"guards,omitempty"`
	// Passes is how many requests would pass with all exclusions together, and how
	// many of them are by callers that look like scanners.
	Passes         int `json:"passes_with_all"`
	PassesScanners int `json:"passes_with_all_by_scanners"`
}

// Verdicts on a group.
const (
	FalsePositive = "false positive"
	Attack        = "attack"
	Undecided     = "undecided"
)

// Group is what one rule found in one part of the requests of one route.
type Group struct {
	Route         string    `json:"route"`
	Rule          int       `json:"rule"`
	Message       string    `json:"message,omitempty"`
	Part          string    `json:"part"`
	Verdict       string    `json:"verdict"`
	Evidence      []string  `json:"evidence"`
	Requests      int       `json:"requests"`
	Callers       int       `json:"callers"`
	Organizations []string  `json:"organizations,omitempty"`
	Days          int       `json:"days"`
	Succeeded     int       `json:"succeeded"` // the upstream's answer was 2xx or 3xx
	ByScanners    int       `json:"by_scanners"`
	Paths         []string  `json:"paths"`
	First         time.Time `json:"first"`
	Last          time.Time `json:"last"`
	// Exclusion leaves out no more than this group; nil unless it is a false
	// positive. Passes is how many of the requests in the log would pass with it
	// alone, PassesScanners those of them by callers that look like scanners.
	Exclusion      *Exclusion `json:"-"`
	YAML           string     `json:"exclusion,omitempty"`
	Passes         int        `json:"passes,omitempty"`
	PassesScanners int        `json:"passes_by_scanners,omitempty"`

	entries []*Entry
}

// Guard is a refusal before any rule, which no exclusion is for.
type Guard struct {
	Route    string `json:"route"`
	Reason   string `json:"reason"`
	Requests int    `json:"requests"`
	Callers  int    `json:"callers"`
}

// A caller looks like a scanner from this many kinds of attack, or from this many
// different parts of requests in which something was found.
const (
	scannerKinds = 4
	scannerParts = 8
)

// Report sums up what was read.
func (t *Tuner) Report() *Report {
	r := &Report{From: t.from, To: t.to, Inspected: t.inspected, Below: t.passed, Blocked: len(t.flagged) + t.dropped, Dropped: t.dropped}
	scanners := t.scanners()
	r.Scanners = len(scanners)
	groups := map[string]*Group{}
	guards := map[[2]string]map[string]int{}
	for _, e := range t.flagged {
		if e.Guard != "" {
			key := [2]string{e.Route, e.Guard}
			if guards[key] == nil {
				guards[key] = map[string]int{}
			}
			guards[key][e.caller()]++
		}
		done := map[place]bool{}
		for _, p := range e.where {
			if done[p] {
				continue
			}
			done[p] = true
			key := fmt.Sprintf("%s\x00%d\x00%s", e.Route, p.rule, p.part)
			g := groups[key]
			if g == nil {
				g = &Group{Route: e.Route, Rule: p.rule, Part: p.part, Message: readCatalog().messages[p.rule]}
				groups[key] = g
			}
			g.entries = append(g.entries, e)
		}
	}
	for _, g := range groups {
		g.weigh(scanners)
		r.Groups = append(r.Groups, g)
	}
	slices.SortFunc(r.Groups, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(order[a.Verdict], order[b.Verdict]), cmp.Compare(a.Route, b.Route), -cmp.Compare(a.Requests, b.Requests), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Part, b.Part))
	})
	for key, callers := range guards {
		g := &Guard{Route: key[0], Reason: key[1], Callers: len(callers)}
		for _, n := range callers {
			g.Requests += n
		}
		r.Guards = append(r.Guards, g)
	}
	slices.SortFunc(r.Guards, func(a, b *Guard) int {
		return cmp.Or(cmp.Compare(a.Route, b.Route), cmp.Compare(a.Reason, b.Reason))
	})
	t.judge(r, scanners)
	return r
}

var order = map[string]int{FalsePositive: 0, Undecided: 1, Attack: 2}

// scanners are the callers that tried many things, or whose requests are mostly
// of what nobody else sends and the upstream refuses.
func (t *Tuner) scanners() map[string]bool {
	type seen struct{ kinds, parts map[string]bool }
	callers := map[string]*seen{}
	for _, e := range t.flagged {
		c := callers[e.caller()]
		if c == nil {
			c = &seen{map[string]bool{}, map[string]bool{}}
			callers[e.caller()] = c
		}
		for _, p := range e.where {
			if kind := readCatalog().kinds[p.rule]; kind != "" && kind != "other" && kind != "protocol" {
				c.kinds[kind] = true
			}
			if len(c.parts) < scannerParts {
				c.parts[e.Route+" "+p.part+" "+folder(e.Path)] = true
			}
		}
	}
	out := map[string]bool{}
	for name, c := range callers {
		if strings.HasPrefix(name, "organization ") {
			continue // is known, and answers for what it sends
		}
		if len(c.kinds) >= scannerKinds || len(c.parts) >= scannerParts && len(c.kinds) >= 2 {
			out[name] = true
		}
	}
	return out
}

func folder(path string) string { return path[:strings.LastIndexByte(path, '/')+1] }

// weigh decides by the evidence, and says what it is.
func (g *Group) weigh(scanners map[string]bool) {
	callers, organizations, days, paths := map[string]int{}, map[string]int{}, map[string]bool{}, map[string]int{}
	honest, organized, good, failed, kinds := 0, 0, 0, 0, 0
	for _, e := range g.entries {
		if g.First.IsZero() || e.Time.Before(g.First) {
			g.First = e.Time
		}
		if e.Time.After(g.Last) {
			g.Last = e.Time
		}
		if scanners[e.caller()] {
			g.ByScanners++
			continue
		}
		honest++
		callers[e.caller()]++
		days[e.Time.Format(time.DateOnly)] = true
		paths[e.Path]++
		if e.Organization != "" {
			organized++
			organizations[e.Organization]++
		}
		if e.Status >= 200 && e.Status < 400 {
			good++
		} else if e.Status >= 400 {
			failed++
		}
		own := map[string]bool{}
		for _, p := range e.where {
			own[readCatalog().kinds[p.rule]] = true
		}
		kinds += len(own)
	}
	g.Requests, g.Callers, g.Days, g.Succeeded = len(g.entries), len(callers), len(days), good
	g.Organizations = slices.Sorted(maps.Keys(organizations))
	g.Paths = slices.Sorted(maps.Keys(paths))
	points := 0
	say := func(n int, format string, args ...any) {
		points += n
		g.Evidence = append(g.Evidence, fmt.Sprintf(format, args...))
	}
	if honest == 0 {
		g.Verdict = Attack
		say(-9, "all by callers that look like scanners")
		return
	}
	if g.ByScanners > 0 {
		say(-1, "%d of %d by callers that look like scanners", g.ByScanners, g.Requests)
	}
	switch n := len(organizations); {
	case n >= 2:
		say(3, "%d organizations, proven by certificate", n)
	case n == 1 && organized*2 >= honest:
		say(2, "an organization, proven by certificate")
	}
	switch n := len(callers); {
	case n >= 10:
		say(3, "%d different callers", n)
	case n >= 4:
		say(2, "%d different callers", n)
	case n == 1 && organized == 0:
		say(-1, "one caller, who is not known")
	}
	switch n := len(days); {
	case n >= 5:
		say(2, "on %d days", n)
	case n >= 2:
		say(1, "on %d days", n)
	case honest > 20 && g.Last.Sub(g.First) < 10*time.Minute:
		say(-1, "%d requests within %s", honest, g.Last.Sub(g.First).Round(time.Second))
	}
	switch {
	case good*10 >= honest*9:
		say(2, "the service answered %d of %d with success", good, honest)
	case failed*10 >= honest*7:
		say(-2, "the service answered %d of %d with an error", failed, honest)
	}
	if kinds >= 3*honest {
		say(-2, "the same requests look like %d kinds of attack on the average", kinds/honest)
	}
	if len(callers) > 1 && len(paths) <= 3 {
		say(1, "always in the same place")
	}
	switch {
	case points >= 4 && honest >= 3:
		g.Verdict = FalsePositive
	case points < 0:
		g.Verdict = Attack
	default:
		g.Verdict = Undecided
	}
}

// judge proposes exclusions, and says what would have passed with them.
func (t *Tuner) judge(r *Report, scanners map[string]bool) {
	var all []*Exclusion
	for _, g := range r.Groups {
		if g.Verdict != FalsePositive {
			continue
		}
		g.propose(scanners)
		g.YAML = yamlOf(g.Exclusion)
		for _, e := range g.entries {
			if t.passes(e, g.Route, g.Exclusion) {
				g.Passes++
				if scanners[e.caller()] {
					g.PassesScanners++
				}
			}
		}
		all = append(all, g.Exclusion)
	}
	for _, e := range t.flagged {
		var own []*Exclusion
		for i, g := range falsePositives(r) {
			if g.Route == e.Route {
				own = append(own, all[i])
			}
		}
		if len(own) > 0 && t.passes(e, e.Route, own...) {
			r.Passes++
			if scanners[e.caller()] {
				r.PassesScanners++
			}
		}
	}
}

func falsePositives(r *Report) (out []*Group) {
	for _, g := range r.Groups {
		if g.Verdict == FalsePositive {
			out = append(out, g)
		}
	}
	return out
}

// passes reports whether a request would pass with exclusions of its route.
func (t *Tuner) passes(e *Entry, route string, list ...*Exclusion) bool {
	if e.Guard != "" || e.Route != route {
		return false
	}
	open := map[int]bool{} // rules that match still
	for _, p := range e.where {
		covered := slices.ContainsFunc(list, func(x *Exclusion) bool { return x.covers(e, p) })
		open[p.rule] = open[p.rule] || !covered
	}
	score := 0
	for rule, still := range open {
		if still {
			if points, known := readCatalog().scores[rule]; known {
				score += points
			} else {
				score += 5
			}
		}
	}
	return score < t.threshold()
}

// covers reports whether an exclusion would have left out what a rule found.
func (x *Exclusion) covers(e *Entry, p place) bool {
	if x.Rule != p.rule || len(x.Organizations) > 0 && !slices.Contains(x.Organizations, e.Organization) ||
		len(x.Paths) > 0 && !slices.ContainsFunc(x.Paths, func(one string) bool { return below(e.Path, one) }) {
		return false
	}
	if x.Parameter == "" && x.Header == "" && x.Cookie == "" {
		return true
	}
	var own Exclusion
	own.narrow(p.part)
	return own.Parameter == x.Parameter && own.Header == x.Header && own.Cookie == x.Cookie
}

// propose makes the narrowest exclusion that covers the group's requests which
// are not by scanners.
func (g *Group) propose(scanners map[string]bool) {
	x := &Exclusion{Rule: g.Rule}
	x.narrow(g.Part)
	x.Paths = pathsOf(g.Paths)
	anonymous := slices.ContainsFunc(g.entries, func(e *Entry) bool { return e.Organization == "" && !scanners[e.caller()] })
	if !anonymous && len(g.Organizations) <= 8 {
		x.Organizations = g.Organizations
	}
	g.Exclusion = x
}

// pathsOf are the paths themselves if they are few, and otherwise the longest
// folder that holds them all.
func pathsOf(paths []string) (out []string) {
	masked := slices.ContainsFunc(paths, func(p string) bool { return strings.ContainsAny(p, "[…") })
	if len(paths) <= 3 && !masked {
		for _, p := range paths {
			out = append(out, "="+p)
		}
		return out
	}
	common := strings.Split(paths[0], "/")
	for _, p := range paths {
		words := strings.Split(p, "/")
		n := 0
		for n < len(common) && n < len(words) && common[n] == words[n] && !strings.ContainsAny(words[n], "[…") {
			n++
		}
		common = common[:n]
	}
	if len(common) <= 1 {
		return nil // everywhere on the route
	}
	return []string{strings.Join(common, "/")}
}

// narrow aims an exclusion at the part of a request that was found.
func (x *Exclusion) narrow(part string) {
	name, key, ok := strings.Cut(part, ":")
	if !ok || key == "" || strings.Trim(key, "*.") == "" {
		return
	}
	switch {
	case strings.HasPrefix(name, "ARGS"), strings.HasPrefix(name, "MULTIPART"):
		x.Parameter = starred(key)
	case strings.HasPrefix(name, "REQUEST_HEADERS"):
		x.Header = starred(key)
	case strings.HasPrefix(name, "REQUEST_COOKIES"):
		x.Cookie = starred(key)
	}
}

// starred has a star for what the log does not say.
func starred(key string) string {
	for _, masked := range []string{"[id]", "[iban]", "[email]", "…", "\ufffd"} {
		key = strings.ReplaceAll(key, masked, "*")
	}
	return key
}
