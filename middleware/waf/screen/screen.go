// Package screen tells of a request's values which rules can't match, so that
// the rule engine need not try them. It owns the conditions that it finds in the
// rules, and knows neither the engine nor HTTP.
//
// It may only ever err on one side: a rule that it leaves out can't match. For
// every rule it has conditions that any match needs, such as "one of these words
// occurs"; a value is looked at after each of the transformations that rules
// apply to it, by the engine's own functions.
package screen

import (
	"fmt"
	"io/fs"
	bits64 "math/bits"
	"strings"
	"sync"
)

// Options is what a Screen is made from.
type Options struct {
	Rules     []Rule
	Files     fs.FS // of phrases, in the folder @owasp_crs
	Transform func(name string) (Transformation, error)
	Detectors map[string]func(string) bool // operators that are asked themselves
}

// Screen is made once for a rule set, and safe for concurrent use.
type Screen struct {
	phases map[int]*phase
	// Without are the rules that are always tried, and why.
	Without map[int]string
	// Screened is how many are not.
	Screened int
}

// phase is the screen for the rules of one phase.
type phase struct {
	rules     []int // ids, by index
	need      []int32
	clauseOf  []int32 // rule of each clause
	detectors []func(string) bool
	detected  bits // rules with a detector
	auto      *automaton
	sources   map[string]*step
	pool      sync.Pool
}

// New makes a screen.
func New(o Options) *Screen {
	s := &Screen{phases: map[int]*phase{}, Without: map[int]string{}}
	byPhase := map[int][]candidate{}
	for _, r := range o.Rules {
		c, err := newCandidate(r, &o)
		if err != nil {
			s.Without[r.ID] = err.Error()
			continue
		}
		byPhase[r.Phase] = append(byPhase[r.Phase], c)
		s.Screened++
	}
	for n, list := range byPhase {
		s.phases[n] = newPhase(list, &o)
	}
	return s
}

// candidate is a rule that can be screened.
type candidate struct {
	parsed
	clauses  []clause
	detector func(string) bool
}

func newCandidate(r Rule, o *Options) (c candidate, err error) {
	if c.parsed, err = parse(r); err != nil {
		return c, err
	}
	for _, t := range c.transforms {
		if _, err := o.Transform(strings.ToLower(t)); err != nil {
			return c, err
		}
	}
	if d := o.Detectors[c.operator]; d != nil && !c.negated {
		c.detector = d
		return c, nil
	}
	c.clauses, err = c.condition(o.Files)
	if err == nil && len(c.clauses) == 0 {
		err = fmt.Errorf("no condition was found")
	}
	return c, err
}

func newPhase(list []candidate, o *Options) *phase {
	p := &phase{sources: map[string]*step{}, detected: newBits(len(list)), detectors: make([]func(string) bool, len(list))}
	literals := map[string][]int32{}
	for i, c := range list {
		p.rules = append(p.rules, c.ID)
		p.need = append(p.need, int32(len(c.clauses)))
		if c.detector != nil {
			p.detected.set(i)
			p.detectors[i] = c.detector
		}
		for _, cl := range c.clauses {
			n := int32(len(p.clauseOf))
			p.clauseOf = append(p.clauseOf, int32(i))
			for _, l := range cl {
				literals[l] = append(literals[l], n)
			}
		}
		for _, src := range c.sources {
			at := p.sources[src]
			if at == nil {
				at = &step{rules: newBits(len(list))}
				p.sources[src] = at
			}
			if c.each {
				at.rules.set(i)
			}
			for _, t := range c.transforms {
				next, err := at.child(t, len(list), o.Transform)
				if err != nil {
					panic(err) // newCandidate has asked
				}
				if at = next; c.each {
					at.rules.set(i)
				}
			}
			at.rules.set(i)
		}
	}
	p.auto = newAutomaton(literals)
	p.pool.New = func() any { return p.newRun() }
	return p
}

// Values gives the values of a collection, such as ARGS or
// REQUEST_HEADERS:user-agent.
type Values func(source string, each func(value string))

// Impossible lists the rules of a phase that can't match any of the values, by
// adding to ids.
func (s *Screen) Impossible(phase int, values Values, ids []int) []int {
	p := s.phases[phase]
	if p == nil {
		return ids
	}
	r := p.pool.Get().(*run)
	r.reset()
	for source, root := range p.sources {
		values(source, func(v string) { r.value(root, v) })
	}
	for i, id := range p.rules {
		if !r.possible.has(i) {
			ids = append(ids, id)
		}
	}
	p.pool.Put(r)
	return ids
}

// MayMatch reports whether a rule may match a value as it is, without
// transformations; true for rules that are not screened.
func (s *Screen) MayMatch(id int, value string) bool {
	for _, p := range s.phases {
		for i, rule := range p.rules {
			if rule != id {
				continue
			}
			r := p.pool.Get().(*run)
			defer p.pool.Put(r)
			r.reset()
			only := newBits(len(p.rules))
			only.set(i)
			r.look(&output{text: value, rules: only})
			return r.possible.has(i)
		}
	}
	return true
}

// run is the state of one pass.
type run struct {
	*phase
	possible bits
	scan     uint32
	clauses  []uint32 // scan in which a clause was satisfied last
	counted  []uint32 // scan that count is of
	count    []int32  // satisfied clauses of a rule
	states   []uint32 // scan in which a state was looked at last
	outputs  []output
	used     int
}

// output is a value as some rules see it.
type output struct {
	text  string
	rules bits
}

func (p *phase) newRun() *run {
	return &run{
		phase: p, possible: newBits(len(p.rules)), clauses: make([]uint32, len(p.clauseOf)), counted: make([]uint32, len(p.rules)),
		count: make([]int32, len(p.rules)), states: make([]uint32, len(p.auto.hits)),
	}
}

func (r *run) reset() {
	clear(r.possible)
	if r.scan > 1<<31 {
		r.scan = 0
		clear(r.clauses)
		clear(r.counted)
		clear(r.states)
	}
}

// value looks at a value after each of a collection's transformations.
func (r *run) value(root *step, v string) {
	if v == "" {
		return // no condition holds for nothing
	}
	r.used = 0
	r.walk(root, r.output(v), signature(v))
	for i := range r.used {
		r.look(&r.outputs[i])
	}
}

// output is the place of a text among those of the present value.
func (r *run) output(text string) *output {
	for i := range r.used {
		if r.outputs[i].text == text {
			return &r.outputs[i]
		}
	}
	if r.used == len(r.outputs) {
		r.outputs = append(r.outputs, output{rules: newBits(len(r.rules))})
	}
	o := &r.outputs[r.used]
	r.used++
	o.text = text
	clear(o.rules)
	return o
}

func (r *run) walk(s *step, o *output, sig uint16) {
	o.rules.add(s.rules)
	text := o.text // outputs may move
	for _, c := range s.children {
		if (sig|always)&c.changes == 0 {
			r.walk(c, r.output(text), sig)
			continue
		}
		// Rules see a value also where its transformation says that it failed.
		changed, _ := c.apply(text)
		if changed == text {
			r.walk(c, r.output(text), sig)
			continue
		}
		if changed == "" {
			r.walk(c, r.output(""), 0)
			continue
		}
		r.walk(c, r.output(changed), signature(changed))
	}
}

// look notes the rules whose conditions a text satisfies.
func (r *run) look(o *output) {
	if o.text == "" {
		return
	}
	r.detect(o)
	r.scan++
	a := r.auto
	state := int32(0)
	high := false
	for i := range len(o.text) {
		b := o.text[i]
		high = high || b >= 0xc5
		state = a.next[int(state)*a.classes+int(a.class[b])]
		if hits := a.hits[state]; hits != nil && r.states[state] != r.scan {
			r.states[state] = r.scan
			r.hit(hits, o.rules)
		}
	}
	if high && (strings.ContainsRune(o.text, longS) || strings.ContainsRune(o.text, kelvin)) {
		r.possible.add(o.rules) // letters that fold to ASCII ones
	}
}

func (r *run) hit(hits []int32, rules bits) {
	for _, c := range hits {
		i := r.clauseOf[c]
		if r.clauses[c] == r.scan || !rules.has(int(i)) {
			continue
		}
		r.clauses[c] = r.scan
		if r.counted[i] != r.scan {
			r.counted[i], r.count[i] = r.scan, 0
		}
		if r.count[i]++; r.count[i] == r.need[i] {
			r.possible.set(int(i))
		}
	}
}

// detect asks the operators that decide by themselves, but not about one plain
// word, which neither SQL nor a script can be.
func (r *run) detect(o *output) {
	asked := false
	for w := range r.detected {
		for m := r.detected[w] & o.rules[w] &^ r.possible[w]; m != 0; m &= m - 1 {
			if !asked {
				if signature(o.text)&hasOther == 0 {
					return
				}
				asked = true
			}
			i := w*64 + bits64.TrailingZeros64(m)
			if r.detectors[i](o.text) {
				r.possible.set(i)
			}
		}
	}
}
