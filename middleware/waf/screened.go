package waf

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	_ "unsafe" // for the transformations

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3/experimental/plugins/plugintypes"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/corazawaf/coraza/v3/types/variables"
	"github.com/corazawaf/libinjection-go"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/waf/screen"
)

// shadowEvery is of how many requests one is inspected without the screen as
// well.
const shadowEvery = 1000

// screened is the screen of a rule set, with what watches over it.
type screened struct {
	screen  *screen.Screen
	off     atomic.Bool // it was wrong once
	counter atomic.Uint64
}

// engineTransformation finds a transformation of the engine. The screen has to
// see values exactly as the engine's rules do. The engine exports no way to its
// transformations, and a copy of them that differs in one case would let attacks
// pass unseen; so this is the engine's own function, which the linker finds, or
// the build fails.
//
//go:linkname engineTransformation github.com/corazawaf/coraza/v3/internal/transformations.GetTransformation
func engineTransformation(name string) (plugintypes.Transformation, error)

// transformation is a transformation as the screen calls it. The caller holds
// compiling.
func transformation(name string) (screen.Transformation, error) {
	f, err := engineTransformation(name)
	if err != nil {
		return nil, err
	}
	return func(s string) (string, error) {
		out, _, err := f(s)
		return out, err
	}, nil
}

// newScreened makes the screen for a rule set. Rules of a higher level of
// paranoia are left to the engine, which skips them, unless the operator's own
// rules may set the level.
func newScreened(rs *Ruleset) *screened {
	custom := strings.ToLower(rs.settings.Custom)
	var rules []screen.Rule
	for _, r := range rs.order {
		if rs.kept[r.ID()] || rs.lean.dropped[r.ID()] || !strings.Contains(custom, "paranoia_level") && levelOf(r.Tags()) > rs.settings.Paranoia {
			continue
		}
		rules = append(rules, screen.Rule{ID: r.ID(), Phase: int(r.Phase()), Raw: r.Raw()})
	}
	// The same transformations as the rules have got.
	compiling.Lock()
	defer compiling.Unlock()
	if err := registerDecoders(!rs.settings.Bytes); err != nil {
		panic(err) // compile has had it
	}
	s := &screened{screen: screen.New(screen.Options{
		Rules: rules, Files: coreruleset.FS, Transform: transformation,
		Detectors: map[string]func(string) bool{
			"detectxss":  libinjection.IsXSS,
			"detectsqli": func(v string) bool { is, _ := libinjection.IsSQLi(v); return is },
		},
	})}
	// Bookkeeping looks at variables of the engine's own and costs next to
	// nothing. An attack rule that is always tried is worth knowing.
	for _, id := range slices.Sorted(maps.Keys(s.screen.Without)) {
		if r := rs.rules[id]; (attackRule(id) || customRule(id)) && r.Severity() >= 0 && strings.Contains(r.Raw(), "@rx") {
			rs.manager.log.Warn("a rule can't be screened and is tried on every request", zap.Int("rule", id), zap.String("why", s.screen.Without[id]))
		}
	}
	return s
}

// levelOf is the level of paranoia that a rule belongs to.
func levelOf(tags []string) int {
	for _, t := range tags {
		if n, ok := strings.CutPrefix(t, "paranoia-level/"); ok {
			level, _ := strconv.Atoi(n)
			return level
		}
	}
	return 0
}

// leaveOut takes the rules of a phase out of a transaction that can't match.
func (s *screened) leaveOut(tx transaction, phase int) {
	ids := s.screen.Impossible(phase, func(source string, each func(string)) { valuesOf(tx, source, each) }, nil)
	for _, id := range ids {
		tx.RemoveRuleByID(id)
	}
}

// valuesOf gives the values that rules look at.
func valuesOf(tx transaction, source string, each func(string)) {
	name, key, selected := strings.Cut(source, ":")
	if selected {
		for _, v := range tx.Variables().RequestHeaders().Get(key) {
			each(v)
		}
		return
	}
	v, err := variables.Parse(name)
	if err != nil {
		panic(err) // the screen knows only collections that there are
	}
	for _, m := range tx.Collection(v).FindAll() {
		each(m.Value())
	}
}

// shadow inspects a request with the screen and without. The engine alone is
// right; where they differ, the screen is out of use until the process starts
// anew.
func (rs *Ruleset) shadow(r *Request) (Verdict, error) {
	with, _ := rs.run(r, rs.screened)
	alone, err := rs.run(r, nil)
	rs.manager.metrics.shadowed.Inc()
	if !slices.Equal(rs.found(with), rs.found(alone)) {
		rs.manager.metrics.disagreed.Inc()
		rs.screened.off.Store(true)
		rs.manager.log.Error("the screen left out a rule that matches; it is out of use until the next start", zap.Ints("with", with.all), zap.Ints("without", alone.all))
	}
	return alone, err
}

var (
	captures = regexp.MustCompile(`[",\s]capture\b`)
	chained  = regexp.MustCompile(`[",\s]chain\b`)
)

// fickle are rules that go on with what their pattern captured. The engine goes
// on once, with what was captured from the last of a request's values, and those
// come in any order: with several that match, the result is a matter of chance.
func fickle(r types.RuleMetadata) bool {
	return captures.MatchString(r.Raw()) && chained.MatchString(r.Raw())
}

// found are the rules that matched, but those that the engine may find or not in
// one and the same request, and the bookkeeping that counts them.
func (rs *Ruleset) found(v Verdict) (out []int) {
	for _, id := range v.all {
		if r := rs.rules[id]; r != nil && (attackRule(id) || customRule(id)) && !rs.lean.dropped[id] && !fickle(r) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
