package waf

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/corazawaf/coraza/v3/types"
)

// lean is a rule set without what only keeps the books: rules that give
// variables their first values, add up scores, or skip levels of paranoia that
// are not wanted. For a small request they cost more than the rules that look
// for attacks. What they do is done here, and the rule set as it was written
// stays the measure: the regression suite and the shadow check compare with it.
type lean struct {
	dropped map[int]bool
	first   []assignment
}

// assignment gives a variable of TX a value.
type assignment struct {
	name, value string
	unset       bool // only if it has none
}

var (
	unsetOnly  = regexp.MustCompile(`^SecRule &TX:([a-z0-9_]+) "@eq 0" "id:901`)
	setVars    = regexp.MustCompile(`setvar:'?(?i:tx)\.([A-Za-z0-9_]+)=([^'"]*?)(?:'|,|"$)`)
	levelSkip  = regexp.MustCompile(`^SecRule TX:DETECTION_PARANOIA_LEVEL "@lt ([1-4])"`)
	notForLean = regexp.MustCompile(`(?i)paranoia_level|sampling|early_blocking|enforce_bodyproc|default_collections|crs_setup_version|skipafter`)
)

// leanOf reads what can be left out. It is nil where the operator's own rules
// have to do with it.
func leanOf(s Settings, order []types.RuleMetadata, kept map[int]bool) *lean {
	if notForLean.MatchString(s.Custom) {
		return nil
	}
	l := &lean{dropped: map[int]bool{}}
	skipping := map[types.RulePhase]int{} // the file whose further rules are skipped
	for _, r := range order {
		id, raw := r.ID(), r.Raw()
		if m := levelSkip.FindStringSubmatch(raw); m != nil && m[1] > strconv.Itoa(s.Paranoia) {
			skipping[r.Phase()] = id / 1000
		}
		switch {
		case kept[id]:
			if levelOf(r.Tags()) > s.Paranoia || attackRule(id) && skipping[r.Phase()] == id/1000 {
				return nil // it would no longer be skipped with its level
			}
		case id >= 900000 && id < 901000, id == 901200:
			for _, m := range setVars.FindAllStringSubmatch(raw, -1) {
				l.first = append(l.first, assignment{name: strings.ToLower(m[1]), value: m[2]})
			}
			if len(setVars.FindAllString(raw, -1)) != strings.Count(raw, "setvar:") {
				return nil
			}
			l.dropped[id] = true
		case id >= 901000 && id < 902000:
			l.dropped[id] = true
			if !unsetOnly.MatchString(raw) {
				continue // they sample, or judge the settings, which are known to be right
			}
			for _, m := range setVars.FindAllStringSubmatch(raw, -1) {
				if strings.Contains(m[2], "%{") {
					continue // the settings say what it would be
				}
				l.first = append(l.first, assignment{strings.ToLower(m[1]), m[2], true})
			}
		case levelSkip.MatchString(raw), id >= 949000 && id < 950000:
			l.dropped[id] = true
		case levelOf(r.Tags()) > s.Paranoia, attackRule(id) && skipping[r.Phase()] == id/1000:
			l.dropped[id] = true
		}
	}
	return l
}

// directives leave out what is dropped.
func (l *lean) directives() string {
	var b strings.Builder
	for id := range l.dropped {
		fmt.Fprintf(&b, "SecRuleRemoveById %d\n", id)
	}
	return b.String()
}

// begin gives variables their first values.
func (l *lean) begin(tx transaction) {
	vars := tx.Variables().TX()
	for _, a := range l.first {
		if a.unset && len(vars.Get(a.name)) > 0 {
			continue
		}
		vars.SetIndex(a.name, 0, a.value)
	}
}

// scoreOf adds up what the levels of paranoia scored.
func (rs *Ruleset) scoreOf(tx transaction) (sum int) {
	vars := tx.Variables().TX()
	for level := 1; level <= rs.settings.Paranoia; level++ {
		sum += number(vars, "inbound_anomaly_score_pl"+strconv.Itoa(level))
	}
	return sum
}
