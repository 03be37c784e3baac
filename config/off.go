package config

import (
	"reflect"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware"
)

// Off in place of what a policy would say undoes what lower levels say: a route has
// to be able to do without what its service does.
const Off = "off"

// switched are the keys that may be off.
var switched = map[string]bool{
	"content_types": true, "files": true, "operations": true, "openapi": true, "waf": true, "scan": true, "leaks": true,
}

func isOff(n *yaml.Node) bool { return n != nil && n.Kind == yaml.ScalarNode && n.Value == Off }

// maySwitch reports whether a key may be off.
func maySwitch(f field) bool {
	return f.owner == reflect.TypeFor[middleware.Chain]() && switched[f.name]
}

// switching is a value of a policy as it is merged: a mode alone stands for a
// mapping with it.
func switching(key string, v *yaml.Node) *yaml.Node {
	if key != "waf" || v.Kind != yaml.ScalarNode {
		return v
	}
	mode := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "mode", Line: v.Line, Column: v.Column}
	return &yaml.Node{Kind: yaml.MappingNode, Line: v.Line, Column: v.Column, Content: []*yaml.Node{mode, v}}
}

// instead drops from the lower of two mappings what the upper one has another way.
func instead(key string, lower, upper *yaml.Node) *yaml.Node {
	if key != "scan" {
		return lower
	}
	_, clamd := get(upper, "clamd")
	_, icap := get(upper, "icap")
	if clamd == nil && icap == nil {
		return lower
	}
	out := &yaml.Node{Kind: yaml.MappingNode, Line: lower.Line, Column: lower.Column}
	pairs(lower, func(k, v *yaml.Node) {
		if k.Value != "clamd" && k.Value != "icap" {
			out.Content = append(out.Content, k, v)
		}
	})
	return out
}

// undo empties what is off in a merged policy.
func undo(p *Policy) {
	for _, list := range []*[]string{(*[]string)(&p.ContentTypes), (*[]string)(&p.Operations)} {
		if len(*list) == 1 && (*list)[0] == Off {
			*list = nil
		}
	}
	if p.OpenAPI == Off {
		p.OpenAPI = ""
	}
	if f := p.Files; f != nil && len(f.Types) == 1 && f.Types[0] == Off {
		f.Types = nil
	}
	if w := p.WAF; w != nil {
		for _, s := range []*string{&w.App, &w.Rules} {
			if *s == Off {
				*s = ""
			}
		}
		if len(w.Tables) == 1 && w.Tables[0] == Off {
			w.Tables = nil
		}
	}
}
