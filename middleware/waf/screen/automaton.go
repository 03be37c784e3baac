package screen

// automaton finds all literals of a set in one pass over a value, whatever the
// case of ASCII letters: Aho and Corasick's, with a transition for each class of
// bytes.
type automaton struct {
	class   [256]uint8 // of a byte; 0 for those in no literal
	classes int
	next    []int32   // state*classes + class
	hits    [][]int32 // by state: the clauses of the literals that end here
}

// newAutomaton takes literals, in lower case, and the clauses that each of them
// satisfies.
func newAutomaton(literals map[string][]int32) *automaton {
	a := &automaton{classes: 1}
	for s := range literals {
		for i := range len(s) {
			if a.class[s[i]] == 0 {
				a.class[s[i]] = uint8(a.classes)
				a.classes++
			}
		}
	}
	for b := byte('A'); b <= 'Z'; b++ {
		a.class[b] = a.class[b+'a'-'A']
	}
	add := func() int32 {
		for range a.classes {
			a.next = append(a.next, -1)
		}
		a.hits = append(a.hits, nil)
		return int32(len(a.hits) - 1)
	}
	add()
	for s, clauses := range literals {
		at := int32(0)
		for i := range len(s) {
			slot := int(at)*a.classes + int(a.class[s[i]])
			if a.next[slot] < 0 {
				n := add()
				a.next[slot] = n
			}
			at = a.next[slot]
		}
		a.hits[at] = append(a.hits[at], clauses...)
	}
	fail := make([]int32, len(a.hits))
	queue := []int32{}
	for c := range a.classes {
		if n := a.next[c]; n < 0 {
			a.next[c] = 0
		} else {
			queue = append(queue, n)
		}
	}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		a.hits[s] = append(a.hits[s], a.hits[fail[s]]...)
		for c := range a.classes {
			slot := int(s)*a.classes + c
			back := a.next[int(fail[s])*a.classes+c]
			if n := a.next[slot]; n < 0 {
				a.next[slot] = back
			} else {
				fail[n] = back
				queue = append(queue, n)
			}
		}
	}
	return a
}
