package screen

import "strings"

// Filter tells which values a pattern can't match, value by value: a rule that
// has to be tried for one value of a request need not search the others.
type Filter struct {
	auto *automaton
	need int
}

// NewFilter makes the filter of a pattern as the engine's @rx has it; an error
// says why there is none.
func NewFilter(pattern string) (*Filter, error) {
	clauses, err := rxCondition(pattern)
	if err != nil {
		return nil, err
	}
	literals := map[string][]int32{}
	for i, c := range clauses {
		for _, l := range c {
			literals[l] = append(literals[l], int32(i))
		}
	}
	return &Filter{auto: newAutomaton(literals), need: len(clauses)}, nil
}

// MayMatch reports whether the pattern may match a value.
func (f *Filter) MayMatch(value string) bool {
	a := f.auto
	state, found, missing := int32(0), uint32(0), f.need
	high := false
	for i := range len(value) {
		b := value[i]
		high = high || b >= 0xc5
		state = a.next[int(state)*a.classes+int(a.class[b])]
		for _, c := range a.hits[state] {
			if found&(1<<c) == 0 {
				found |= 1 << c
				if missing--; missing == 0 {
					return true
				}
			}
		}
	}
	// Two letters fold to ASCII ones.
	return high && (strings.ContainsRune(value, longS) || strings.ContainsRune(value, kelvin))
}
