package config

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// checkInspection checks what waf leaves out and adds, where it stands.
func (t *tree) checkInspection(n *yaml.Node, where string) {
	_, accept := get(n, "accept")
	for _, a := range wordsOf(accept) {
		t.oneOf(a, "waf.accept", middleware.AcceptWords()...)
	}
	_, screen := get(n, "screen")
	t.oneOf(screen, "waf.screen", "auto", "off")
	_, cyrillic := get(n, "cyrillic")
	t.oneOf(cyrillic, "waf.cyrillic", "auto", "off")
	_, app := get(n, "app")
	t.oneOf(app, "waf.app", append(waf.Apps(), Off)...)
	if key, tables := get(n, "tables"); tables != nil && !isOff(tables) && app != nil && app.Value != "ckan" {
		t.bad(key, "", "waf.tables: only app: ckan has SQL")
	}
	_, over := get(n, "body_over_limit")
	t.oneOf(over, "waf.body_over_limit", middleware.OverLimitWords()...)
	_, responses := get(n, "responses")
	t.oneOf(responses, "waf.responses", "off", "detect", "block")
	own := map[int]bool{} // rules of the operator's own
	_, file := get(n, "rules")
	if file != nil && file.Kind == yaml.ScalarNode && file.Value != "" && !isOff(file) {
		path := file.Value
		if b := t.file1(file, &path); b != nil {
			for _, e := range waf.CheckRules(string(b)) {
				t.problem(file, "%s:%d: %s", file.Value, e.Line, e.Text)
			}
			for _, id := range waf.RuleIDs(string(b)) {
				own[id] = true
			}
		}
	}
	_, list := get(n, "exclude")
	if list == nil || list.Kind != yaml.SequenceNode {
		return
	}
	for _, x := range list.Content {
		rule, tag := x, (*yaml.Node)(nil)
		if x.Kind == yaml.MappingNode {
			_, rule = get(x, "rule")
			_, tag = get(x, "tag")
			if (rule == nil) == (tag == nil) {
				t.problem(x, "an exclusion of %s names either a rule or a tag", where)
			}
			t.checkExclusion(x)
		}
		if rule != nil && rule.Kind == yaml.ScalarNode {
			// A rule of a file that another level names is checked when the rules are compiled.
			if id, err := strconv.Atoi(rule.Value); err == nil && !waf.KnownRule(id) && !own[id] && (id > waf.MaxCustom || id < 1) {
				t.bad(rule, "", "waf.exclude: the Core Rule Set has no rule %s", rule.Value)
			}
		}
		if tag != nil && tag.Kind == yaml.ScalarNode && !waf.KnownTag(tag.Value) {
			t.bad(tag, hintOf(tag.Value, waf.Tags()), "waf.exclude: no rule of the Core Rule Set has the tag %q", tag.Value)
		}
	}
}

func hintOf(word string, known []string) string {
	if s := suggest(word, known); s != "" {
		return "did you mean " + strconv.Quote(s) + "?"
	}
	return ""
}

// checkExclusion checks what narrows an exclusion.
func (t *tree) checkExclusion(n *yaml.Node) {
	_, paths := get(n, "paths")
	for _, p := range wordsOf(paths) {
		t.checkPath(p, p.Value)
	}
	_, organizations := get(n, "organizations")
	for _, o := range wordsOf(organizations) {
		if t.organizations[o.Value] == nil {
			t.undefined(o, "organization", t.organizations)
		}
	}
	for _, key := range []string{"parameter", "header", "cookie"} {
		if _, v := get(n, key); v != nil && strings.Trim(v.Value, "*") == "" {
			t.bad(v, "", "waf.exclude: %s %q names nothing in particular; leave it out", key, v.Value)
		}
	}
}
