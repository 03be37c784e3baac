package waf

import (
	"strings"
	"unsafe"

	"github.com/corazawaf/coraza/v3/collection"
)

// The engine keeps what transformations made of a value by the place in memory
// of the value's name and by the value's place in a list whose order changes
// from rule to rule. So two values whose names share their memory, such as two
// cookies of one name, are taken for each other: a rule may see one of them
// twice and the other never. Each name that the engine gets has a place of its
// own. Without that, in 3.8.1, 941100 and others miss a script in one of two cookies
// of a name now and then, and of a hundred requests such as ?=<script>...&=1&=1 one
// or two pass all rules (TestRepeatedNames fails on cookies and values without a
// name; header fields, forms and XML happen to keep their order, or have names of
// their own).

// apart is a copy of a name, also of an empty one.
func apart(name string) string {
	if name == "" {
		return strings.Clone("-")[:0]
	}
	return strings.Clone(name)
}

// unshare gives values names of their own.
func unshare(collections ...collection.Map) {
	for _, c := range collections {
		all := c.FindAll()
		if len(all) < 2 {
			continue
		}
		seen := make(map[*byte]bool, len(all))
		shared := map[string][][2]string{} // names and values, by name as the engine knows it
		for _, m := range all {
			at := unsafe.StringData(m.Key())
			if seen[at] {
				shared[strings.ToLower(m.Key())] = nil
			}
			seen[at] = true
		}
		if len(shared) == 0 {
			continue
		}
		for _, m := range all {
			key := strings.ToLower(m.Key())
			if list, ok := shared[key]; ok {
				shared[key] = append(list, [2]string{m.Key(), m.Value()})
			}
		}
		for _, list := range shared {
			for _, m := range list {
				c.Remove(m[0])
			}
			for _, m := range list {
				c.Add(apart(m[0]), m[1])
			}
		}
	}
}
