package screen

import (
	"maps"
	"regexp/syntax"
	"strings"
	"sync"
	"sync/atomic"
)

// Filter tells which values a pattern can't match, value by value: a rule that
// has to be tried for one value of a request need not search the others. What it
// needs is made when it is first asked: many patterns never are.
type Filter struct {
	pattern string
	budget  *Budget
	once    sync.Once
	needs

	mu      sync.Mutex
	special atomic.Pointer[map[uint32]*needs] // by the evasion bytes that a value has
}

// needs is what a value must hold. A nil automaton asks for nothing.
type needs struct {
	auto  *automaton
	need  int
	never bool // nothing can match
}

// evasionBytes are the bytes of all sets. Patterns allow them in so many places
// that most of a pattern is about them; of a value that has but a few of them,
// or none, a pattern asks much more.
var (
	evasionBytes = evasion[len(evasion)-1]
	evasionBit   = func() (bit [256]uint32) {
		for i := range len(evasionBytes) {
			bit[evasionBytes[i]] = 1 << i
		}
		return bit
	}()
)

// Budget bounds what values, which clients choose, make filters remember: for
// each combination of evasion bytes that comes, what is needed of such values.
type Budget struct {
	each int
	left atomic.Int32
}

// NewBudget allows for that many combinations, of one pattern and of all.
func NewBudget(each, all int) *Budget {
	b := &Budget{each: each}
	b.left.Store(int32(all))
	return b
}

// NewFilter makes the filter of a pattern as the engine's @rx has it.
func NewFilter(pattern string, b *Budget) *Filter { return &Filter{pattern: pattern, budget: b} }

// make finds what the pattern needs; nothing, if nothing is known.
func (f *Filter) make() {
	if clauses, err := rxCondition(f.pattern); err == nil {
		f.needs = newNeeds(clauses)
	}
}

func newNeeds(clauses []clause) needs {
	if len(clauses) == 0 {
		return needs{}
	}
	literals := map[string][]int32{}
	for i, c := range clauses {
		for _, l := range c {
			literals[l] = append(literals[l], int32(i))
		}
	}
	return needs{auto: newAutomaton(literals), need: len(clauses)}
}

// MayMatch reports whether the pattern may match a value.
func (f *Filter) MayMatch(value string) bool {
	f.once.Do(f.make)
	if f.auto == nil {
		return true
	}
	may, has := f.met(value)
	if !may {
		return false
	}
	if has == everyEvasion {
		return true
	}
	s := f.specialFor(has)
	if s == nil {
		return true
	}
	may, _ = s.met(value)
	return may
}

const everyEvasion = ^uint32(0)

// met reports whether a value has what is needed, and which evasion bytes it
// has. Two letters fold to ASCII ones; nothing is known of values that hold them.
func (n *needs) met(value string) (may bool, has uint32) {
	if n.never {
		return false, 0
	}
	a, state, found, missing := n.auto, int32(0), uint32(0), n.need
	high := false
	for i := range len(value) {
		b := value[i]
		high = high || b >= 0xc5
		has |= evasionBit[b]
		if a == nil || missing == 0 {
			continue
		}
		state = a.next[int(state)*a.classes+int(a.class[b])]
		for _, c := range a.hits[state] {
			if found&(1<<c) == 0 {
				found |= 1 << c
				missing--
			}
		}
	}
	if high && (strings.ContainsRune(value, longS) || strings.ContainsRune(value, kelvin)) {
		return true, everyEvasion
	}
	return missing == 0, has
}

// specialFor is what is needed of a value with these evasion bytes and no others;
// nil if that is not known.
func (f *Filter) specialFor(has uint32) *needs {
	if m := f.special.Load(); m != nil {
		if s, ok := (*m)[has]; ok {
			return s
		}
		if len(*m) >= f.budget.each {
			return nil
		}
	}
	if f.budget.left.Load() <= 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known := map[uint32]*needs{}
	if m := f.special.Load(); m != nil {
		if s, ok := (*m)[has]; ok {
			return s
		}
		known = maps.Clone(*m)
	}
	f.budget.left.Add(-1)
	absent := strings.Map(func(r rune) rune {
		if evasionBit[byte(r)]&has != 0 {
			return -1
		}
		return r
	}, evasionBytes)
	s := &needs{}
	if re, err := syntax.Parse("(?sm)"+f.pattern, syntax.Perl); err == nil {
		if re = without(re.Simplify(), absent, new([256]bool)); re != nil {
			*s = newNeeds(best(analyze(re.Simplify()).all()))
		} else {
			s.never = true
		}
	}
	known[has] = s
	f.special.Store(&known)
	return s
}
