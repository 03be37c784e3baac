package config

import (
	"strings"

	"go.yaml.in/yaml/v4"
)

// Setting is one value that is in force for a route, as it was written, and
// where it comes from. Secrets are the references that were written.
type Setting struct {
	Key   string // such as timeout, or waf.mode
	Value string
	From  string // the level: defaults, profile x, service x, route x; or "built in"
	Position
}

func (t *tree) position(n *yaml.Node) Position {
	if s := t.file[n]; s != nil {
		return Position{s.path, n.Line, n.Column}
	}
	return Position{}
}

// settings lists a merged policy in the order of the keys' declaration.
func (t *tree) settings(merged *yaml.Node) (l []Setting) {
	add := func(key string, v *yaml.Node) {
		l = append(l, Setting{key, flow(v), t.levels[v], t.position(v)})
	}
	for _, f := range fieldsOf(policyType) {
		_, v := get(merged, f.name)
		switch {
		case v == nil:
			if d := builtIn[f.name]; d != "" {
				l = append(l, Setting{Key: f.name, Value: d, From: "built in"})
			}
		case v.Kind == yaml.MappingNode && !wholeKeys[f.name]:
			pairs(v, func(k, inner *yaml.Node) { add(f.name+"."+k.Value, inner) })
		default:
			add(f.name, v)
		}
	}
	return l
}

// builtIn is what fillPolicy sets, as it would be written.
var builtIn = map[string]string{
	"mtls": "off", "methods": "[GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS]", "max_body": "10MiB", "timeout": "30s", "waf.mode": "off",
}

// flow spells a value in one line.
func flow(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		var parts []string
		pairs(n, func(k, v *yaml.Node) { parts = append(parts, k.Value+": "+flow(v)) })
		return "{" + strings.Join(parts, ", ") + "}"
	case yaml.SequenceNode:
		parts := make([]string, len(n.Content))
		for i, c := range n.Content {
			parts[i] = flow(c)
		}
		return "[" + strings.Join(parts, ", ") + "]"
	}
	return n.Value
}
