// Package waf inspects requests with the OWASP Core Rule Set. It is the only
// door to the rule engine (Coraza) and owns the base configuration that the
// rules run on, and how bodies are read for them. What a verdict leads to is the
// policy's, in package middleware.
package waf

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	coreruleset "github.com/corazawaf/coraza-coreruleset/v4"
	"github.com/corazawaf/coraza/v3"
	"github.com/corazawaf/coraza/v3/experimental"
	"github.com/corazawaf/coraza/v3/types"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Bounds of what is inspected. What exceeds them is refused, never passed on.
const (
	MaxBody      = 8 << 20 // bytes of a body, after decompression
	MaxArguments = 1000    // parameters of the query, and of a form or multipart body
	MaxCookies   = 250     // browsers send 180 of a site at most
	// Timeout is how long a request may be inspected. The engine can't be stopped:
	// it goes on in the background, bounded by the bounds on what it is given.
	Timeout = 20 * time.Second
)

// Settings distinguish one compiled rule set from another. Exclusions are not
// among them: they are applied to each request, so routes share rule sets.
type Settings struct {
	Paranoia, Threshold int
	Custom              string // further rules, in SecLang
	NoScreen            bool   // every rule is tried on every request
	Bytes               bool   // escapes of Cyrillic letters stand for their low bytes
}

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Manager compiles rule sets and shares equal ones.
type Manager struct {
	log     *zap.Logger
	metrics *metrics
	timeout time.Duration

	mu      sync.Mutex
	sets    map[Settings]*Ruleset
	answers map[int]*Responses // by paranoia
}

// NewManager makes a Manager. It compiles nothing.
func NewManager(o Options) *Manager {
	m := &Manager{log: o.Log, timeout: Timeout, sets: map[Settings]*Ruleset{}, answers: map[int]*Responses{}}
	m.metrics = newMetrics(o.Registerer)
	return m
}

// Ruleset is a compiled rule set. It is safe for concurrent use.
type Ruleset struct {
	alone    coraza.WAF // as the rules are written
	waf      coraza.WAF // lean; nil without the screen
	lean     *lean
	settings Settings
	manager  *Manager
	rules    map[int]types.RuleMetadata
	order    []types.RuleMetadata
	kept     map[int]bool // rules that may not be removed: see counted
	screened *screened    // nil: none
}

// Ruleset compiles the rules for s, or finds them compiled.
func (m *Manager) Ruleset(s Settings) (*Ruleset, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.sets[s]; r != nil {
		return r, nil
	}
	r := &Ruleset{settings: s, manager: m, rules: map[int]types.RuleMetadata{}}
	var err error
	if r.alone, err = compile(s, nil, func(rule types.RuleMetadata) {
		if rule.ID() != 0 {
			r.rules[rule.ID()] = rule
			r.order = append(r.order, rule)
		}
	}); err != nil {
		return nil, err
	}
	r.kept = counted(r.order)
	if !s.NoScreen {
		if r.lean = leanOf(s, r.order, r.kept); r.lean == nil {
			r.lean = &lean{}
		}
		if r.waf, err = compile(s, r.lean, func(types.RuleMetadata) {}); err != nil {
			return nil, err
		}
		r.screened = newScreened(r)
	}
	m.sets[s] = r
	m.metrics.compiled(m.name(r), r)
	return r, nil
}

// compile compiles the rules for s: as they are written, or lean and with filters
// in front of patterns.
func compile(s Settings, l *lean, each func(types.RuleMetadata)) (coraza.WAF, error) {
	compiling.Lock()
	defer compiling.Unlock()
	register()
	compiling.plain, compiling.bytes = l == nil, s.Bytes
	if err := registerDecoders(!s.Bytes); err != nil {
		return nil, err
	}
	text := directives(s)
	if l != nil {
		text += l.directives()
	}
	c := coraza.NewWAFConfig().WithRootFS(coreruleset.FS).WithDirectives(text)
	w, err := coraza.NewWAF(experimental.WAFConfigWithRuleObserver(c, each))
	if err != nil {
		return nil, fmt.Errorf("rules can't be compiled: %w", err)
	}
	return w, nil
}

var skips = regexp.MustCompile(`[",\s]skip:'?(\d+)`)

// counted are the rules that other rules skip by their number. If one of them
// were removed, the engine would skip the next rule in its place, and that may
// be the one that ends a level of paranoia.
func counted(order []types.RuleMetadata) map[int]bool {
	out := map[int]bool{}
	for i, r := range order {
		m := skips.FindStringSubmatch(r.Raw())
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(m[1])
		for _, next := range order[i+1:] {
			if n == 0 {
				break
			}
			if next.Phase() == r.Phase() {
				out[next.ID()] = true
				n--
			}
		}
	}
	return out
}

// name is a rule set's label: what it was compiled for.
func (m *Manager) name(r *Ruleset) string {
	name := fmt.Sprintf("crs-%d-%d", r.settings.Paranoia, r.settings.Threshold)
	if r.settings.Custom != "" {
		name += "-custom"
	}
	if r.settings.NoScreen {
		name += "-unscreened"
	}
	if r.settings.Bytes {
		name += "-bytes"
	}
	return name
}

// Keep lets go of the rule sets that no route uses any longer.
func (m *Manager) Keep(used []*Ruleset) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for s, r := range m.sets {
		if !slices.Contains(used, r) {
			delete(m.sets, s)
		}
	}
}
