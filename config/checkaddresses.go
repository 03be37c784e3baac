package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware/addresses"
)

// checkAddressSets checks the sets, reads the lists of files, and makes their
// paths absolute.
func (t *tree) checkAddressSets() {
	_, all := get(t.main.root, "address_sets")
	t.sets = map[string]*yaml.Node{}
	pairs(all, func(k, n *yaml.Node) {
		if !validName(k.Value) {
			t.problem(k, "address set %q: a name has letters, digits, - and _, begins with a letter or digit, and has at most 63 of them", k.Value)
		}
		t.sets[k.Value], t.keys[n] = n, k
		s, ok := t.config.AddressSets[k.Value]
		if !ok || n.Kind != yaml.MappingNode {
			return // noted by decode
		}
		_, stale := get(n, "on_stale")
		t.oneOf(stale, "on_stale", addresses.Keep, addresses.Closed)
		_, missing := get(n, "on_missing")
		t.oneOf(missing, "on_missing", addresses.Closed, addresses.Open)
		t.checkTime(n, "every", time.Second, 30*24*time.Hour)
		t.checkTime(n, "max_age", time.Second, 10*365*24*time.Hour)
		t.checkRange(n, "column", 1, 1000)
		t.checkRange(n, "max_entries", 1, addresses.MostEntries)
		if stale != nil && s.MaxAge == 0 {
			t.problem(stale, "address set %q: on_stale needs max_age, without which no list is too old", k.Value)
		}
		_, url := get(n, "url")
		switch err := s.Check(); {
		case err != nil && strings.Contains(s.URL, "@"): // may hold a password, which is not to be shown
			t.hide(url)
			t.bare(url, "address set %q: %v", k.Value, err)
			return
		case err != nil:
			t.bad(orNode(url, k), "", "address set %q: %v", k.Value, err)
			return
		case strings.HasPrefix(s.URL, "http://"):
			t.warn(url, "address set %q is fetched without TLS, so whoever is on the way can change it", k.Value)
		}
		if s.CA != "" {
			_, ca := get(n, "ca")
			if t.file1(ca, &s.CA); s.CheckCA() != nil && !t.noted(ca) {
				t.bad(ca, "", "address set %q: %v", k.Value, s.CheckCA())
			}
			t.config.AddressSets[k.Value] = s
		}
		if s.File != "" {
			_, file := get(n, "file")
			s.File = t.abs(s.File)
			t.config.AddressSets[k.Value] = s
			t.checkAddressFile(file, k.Value, s)
		}
	})
	_, deny := get(t.main.root, "deny_from")
	t.checkNetworks(deny)
}

// checkAddressFile tells each line of a list that can't be read. A list that is in
// force stays so meanwhile: then nothing of it keeps others from going live.
func (t *tree) checkAddressFile(n *yaml.Node, name string, s addresses.Source) {
	err := s.CheckFile()
	if err == nil {
		return
	}
	t.files.note(s.File) // a good one is followed by itself
	before := len(t.errs.Problems)
	var bad *addresses.BadList
	if errors.As(err, &bad) {
		t.lists++
		for _, l := range bad.Lines {
			t.errs.Problems = append(t.errs.Problems, Problem{Position: Position{t.name(s.File), l.Line, 1}, Message: fmt.Sprintf("address set %q: %s", name, l.Message)})
		}
		if more := bad.Total - len(bad.Lines); more > 0 {
			t.errs.Problems = append(t.errs.Problems, Problem{Position: Position{File: t.name(s.File)}, Message: fmt.Sprintf("address set %q: %d more lines can't be read", name, more)})
		}
	} else {
		t.problem(n, "address set %q: %s: %v", name, n.Value, unwrapPath(err))
	}
	if former, ok := t.formerSets()[name]; !t.lastGood && (!ok || former.File != s.File) {
		return
	}
	for i := range t.errs.Problems[before:] {
		p := &t.errs.Problems[before+i]
		p.Warning = true
		p.Message += "; the former list stays in force"
	}
}

func (t *tree) formerSets() map[string]addresses.Source {
	if t.previous == nil {
		return nil
	}
	return t.previous.AddressSets
}

// checkNetworks checks the words of a deny_from or allow_from.
func (t *tree) checkNetworks(n *yaml.Node) {
	for _, w := range wordsOf(n) {
		_, err := addresses.ParsePrefix(w.Value)
		switch {
		case err == nil:
		case t.sets[w.Value] != nil:
			t.used[w.Value] = true
		case strings.ContainsAny(w.Value, ".:/"):
			t.bad(w, "", "%v", err)
		default:
			t.undefined(w, "address set", t.sets)
		}
	}
}

// checkUnused warns of sets that decide nothing.
func (t *tree) checkUnused() {
	for _, name := range slices.Sorted(maps.Keys(t.sets)) {
		if !t.used[name] {
			t.warn(t.keys[t.sets[name]], "address set %q stands in no deny_from and no allow_from, so it decides nothing", name)
		}
	}
}
