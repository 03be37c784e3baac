package config

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is one difference between two configurations that are in force or may
// be.
type Change struct {
	Path     string `json:"path"`             // such as services.parcels.timeout
	Old      string `json:"old,omitempty"`    // as it would be written; "" where there was nothing
	New      string `json:"new,omitempty"`    // likewise
	Weakened string `json:"weaker,omitempty"` // why the new one lets more through, or ""
}

// Diff lists what changes from one effective configuration to another, in the
// order of the paths.
func Diff(from, to map[string]any) []Change {
	d := differ{old: normal(from), new: normal(to)}
	d.global()
	d.organizations()
	d.services()
	slices.SortStableFunc(d.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return d.changes
}

// normal has only the types that JSON has, as what a running gateway tells.
func normal(m map[string]any) (out map[string]any) {
	b, err := json.Marshal(m)
	if err != nil || json.Unmarshal(b, &out) != nil {
		return map[string]any{}
	}
	return out
}

type differ struct {
	old, new map[string]any
	changes  []Change
}

func object(m map[string]any, key string) map[string]any {
	o, _ := m[key].(map[string]any)
	return o
}

// written spells a value in one line, as flow does.
func written(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+": "+written(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case []any:
		parts := make([]string, len(v))
		for i, x := range v {
			parts[i] = written(x)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return fmt.Sprint(v)
}

// flatten lists the values of an object under their dotted keys. Lists, and
// mappings under the keys of whole, are one value.
func flatten(m map[string]any, whole ...string) map[string]any {
	out := map[string]any{}
	var walk func(prefix string, m map[string]any)
	walk = func(prefix string, m map[string]any) {
		for k, v := range m {
			if inner, ok := v.(map[string]any); ok && !slices.Contains(whole, k) {
				walk(prefix+k+".", inner)
			} else {
				out[prefix+k] = v
			}
		}
	}
	walk("", m)
	return out
}

// both lists the keys of two maps in order.
func both[V any](a, b map[string]V) []string {
	keys := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

// compare notes what differs between two objects under a path.
func (d *differ) compare(path string, old, new map[string]any, rules map[string]rule, skip ...string) {
	old, new = sameLimits(old, new)
	o, n := flatten(old), flatten(new)
	for _, k := range both(o, n) {
		first, _, _ := strings.Cut(k, ".")
		if a, b := written(o[k]), written(n[k]); a != b && !slices.Contains(skip, first) {
			weaker := ""
			if r := rules[k]; r != nil {
				weaker = r(o[k], n[k])
			} else if r := rules[first+"."+k[strings.LastIndexByte(k, '.')+1:]]; r != nil && (first == "rate_limit" || first == "concurrency") { // of several
				weaker = r(o[k], n[k])
			} else if r := rules[first]; r != nil && first != k {
				weaker = r(o[k], n[k])
			}
			d.changes = append(d.changes, Change{path + k, a, b, weaker})
		}
	}
}

// sameLimits writes rate_limit and concurrency in the same form on both sides.
// One limit stands for itself and several under their names; where the sides
// differ in that, one that stands for itself is put under its name.
func sameLimits(old, new map[string]any) (map[string]any, map[string]any) {
	for _, key := range []string{"rate_limit", "concurrency"} {
		a, b := old[key], new[key]
		if a == nil || b == nil || limitForm(a) == limitForm(b) {
			continue
		}
		old, new = namedLimit(old, key), namedLimit(new, key)
	}
	return old, new
}

// limitForm tells a number, one limit and several apart.
func limitForm(v any) int {
	m, ok := v.(map[string]any)
	switch {
	case !ok:
		return 0
	case isLimit(m):
		return 1
	}
	return 2
}

// isLimit reports whether m is a limit, and not several under their names.
func isLimit(m map[string]any) bool {
	for _, key := range []string{"rate", "max"} {
		if v, ok := m[key]; ok {
			_, inner := v.(map[string]any)
			return !inner
		}
	}
	return false
}

// namedLimit puts a limit that stands for itself under its name.
func namedLimit(m map[string]any, key string) map[string]any {
	name := "service"
	switch l, ok := m[key].(map[string]any); {
	case ok && !isLimit(l):
		return m
	case ok && key == "rate_limit":
		name = cmp.Or(written(l["name"]), written(l["per"]), "ceiling")
	case ok:
		name = cmp.Or(written(l["per"]), name)
	}
	m = maps.Clone(m)
	m[key] = map[string]any{name: m[key]}
	return m
}

func (d *differ) global() {
	d.compare("", d.old, d.new, globalRules, "organizations", "services")
}

func (d *differ) organizations() {
	o, n := object(d.old, "organizations"), object(d.new, "organizations")
	for _, key := range both(o, n) {
		was, is := object(o, key), object(n, key)
		path := "organizations." + key
		switch {
		case was == nil:
			d.changes = append(d.changes, Change{Path: path, New: written(is)})
		case is == nil:
			d.changes = append(d.changes, Change{Path: path, Old: written(was)})
		default:
			d.compare(path+".", was, is, organizationRules)
		}
	}
}

func (d *differ) services() {
	o, n := object(d.old, "services"), object(d.new, "services")
	owners := map[string]string{}
	for name := range o {
		for _, h := range words(object(o, name)["hosts"]) {
			owners[h] = name
		}
	}
	for _, name := range both(o, n) {
		was, is := object(o, name), object(n, name)
		path := "services." + name
		for _, h := range words(is["hosts"]) {
			if from := owners[h]; from != "" && from != name {
				d.changes = append(d.changes, Change{path + ".hosts", h + " at " + from, h + " at " + name, fmt.Sprintf("host %s moves from service %s", h, from)})
			}
		}
		switch {
		case was == nil:
			d.changes = append(d.changes, Change{Path: path, New: "new service at " + written(is["hosts"])})
		case is == nil:
			d.changes = append(d.changes, Change{Path: path, Old: "service at " + written(was["hosts"])})
		default:
			before := len(d.changes)
			d.compare(path+".", was, is, policyRules(was, is), "routes")
			d.routes(path+".routes.", was, is, slices.Clone(d.changes[before:]))
		}
	}
}

// routes compares what each path gets. What changed for the service as a whole
// is not repeated.
func (d *differ) routes(path string, was, is map[string]any, service []Change) {
	o, n := object(was, "routes"), object(is, "routes")
	add := func(route string, a, b map[string]any, what string) {
		at := path + route
		inner := differ{}
		inner.compare(at+".", a, b, policyRules(a, b))
		if what != "" {
			var why []string
			for _, c := range inner.changes {
				if c.Weakened != "" {
					why = append(why, strings.TrimPrefix(c.Path, at+".")+": "+c.Weakened)
				}
			}
			c := Change{Path: at, Weakened: strings.Join(why, "; ")}
			if what == "new" {
				c.New = "new route " + written(b["paths"])
			} else {
				c.Old = "route " + written(a["paths"])
			}
			d.changes = append(d.changes, c)
			return
		}
		for _, c := range inner.changes {
			key := strings.TrimPrefix(c.Path, at)
			if !slices.ContainsFunc(service, func(s Change) bool {
				return strings.HasSuffix(s.Path, key) && s.Old == c.Old && s.New == c.New
			}) {
				d.changes = append(d.changes, c)
			}
		}
	}
	for _, name := range both(o, n) {
		a, b := object(o, name), object(n, name)
		switch {
		case a == nil:
			add(name, covering(o, b), b, "new")
		case b == nil:
			add(name, a, covering(n, a), "gone")
		default:
			add(name, a, b, "")
		}
	}
}

// covering is the route of a service that the requests of another route's first
// path would reach, or nil, which lets nothing through.
func covering(routes map[string]any, of map[string]any) (best map[string]any) {
	paths := words(of["paths"])
	if len(paths) == 0 {
		return nil
	}
	path, length := strings.TrimPrefix(paths[0], "="), -1
	for _, name := range slices.Sorted(maps.Keys(routes)) {
		r := object(routes, name)
		for _, p := range words(r["paths"]) {
			exact := strings.HasPrefix(p, "=")
			p = strings.TrimSuffix(strings.TrimPrefix(p, "="), "/")
			if (path == p || !exact && strings.HasPrefix(path, p+"/")) && len(p) > length {
				best, length = r, len(p)
			}
		}
	}
	return best
}

func words(v any) (l []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, x := range v {
			l = append(l, fmt.Sprint(x))
		}
	}
	return l
}
