package waf

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/corazawaf/coraza/v3/types/variables"
)

// Exclusion leaves out a rule, or all rules with a tag: everywhere or only below
// some paths, for some organizations, or for one parameter, header field or
// cookie.
type Exclusion struct {
	Rule                      int
	Tag                       string
	Paths, Organizations      []string
	Parameter, Header, Cookie string
}

// Exclusions are those of a route, resolved.
type Exclusions struct {
	list []exclusion
}

type exclusion struct {
	rules         []int
	emptied       []int // rules that stay, with nothing to look at
	paths         []string
	organizations []string
	targets       []target // none: the whole rule
}

type target struct {
	variable variables.RuleVariable
	key      string
	pattern  *regexp.Regexp
}

// remover is a transaction of the engine.
type remover interface {
	RemoveRuleByID(id int)
	RemoveRuleTargetByID(id int, variable variables.RuleVariable, key string, keyRx *regexp.Regexp)
}

// Exclusions resolves what a route leaves out.
func (rs *Ruleset) Exclusions(list []Exclusion) (*Exclusions, error) {
	out := &Exclusions{}
	for _, x := range list {
		e := exclusion{paths: x.Paths, organizations: x.Organizations}
		if x.Rule != 0 {
			if rs.rules[x.Rule] == nil {
				return nil, fmt.Errorf("there is no rule %d", x.Rule)
			}
			e.rules = append(e.rules, x.Rule)
		}
		if x.Tag != "" {
			for _, r := range rs.order {
				if slices.Contains(r.Tags(), x.Tag) && (attackRule(r.ID()) || customRule(r.ID())) {
					e.rules = append(e.rules, r.ID())
				}
			}
		}
		if len(e.rules) == 0 {
			return nil, fmt.Errorf("no rule has the tag %q", x.Tag)
		}
		add := func(name string, vars ...variables.RuleVariable) {
			if name == "" {
				return
			}
			for _, v := range vars {
				e.targets = append(e.targets, target{variable: v, pattern: wildcard(name)})
			}
		}
		add(x.Parameter, variables.Args, variables.ArgsGet, variables.ArgsPost, variables.ArgsNames, variables.ArgsGetNames, variables.ArgsPostNames,
			variables.MultipartPartHeaders, variables.MultipartFilename, variables.MultipartName)
		add(x.Header, variables.RequestHeaders, variables.RequestHeadersNames)
		if x.Header != "" { // fields of a service's own: see elsewhere
			add(headerName+x.Header, variables.Args, variables.ArgsGet, variables.ArgsNames, variables.ArgsGetNames)
		}
		add(x.Cookie, variables.RequestCookies, variables.RequestCookiesNames)
		if len(e.targets) == 0 {
			all := e.rules
			e.rules = nil
			for _, id := range all {
				if rs.kept[id] {
					e.emptied = append(e.emptied, id)
				} else {
					e.rules = append(e.rules, id)
				}
			}
		}
		out.list = append(out.list, e)
	}
	return out, nil
}

// collections are those that rules look for attacks in.
var collections = []variables.RuleVariable{
	variables.Args, variables.ArgsGet, variables.ArgsPost, variables.ArgsNames, variables.ArgsGetNames, variables.ArgsPostNames, variables.RequestHeaders,
	variables.RequestHeadersNames, variables.RequestCookies, variables.RequestCookiesNames, variables.RequestURI, variables.RequestURIRaw, variables.RequestFilename,
	variables.RequestBasename, variables.RequestLine, variables.RequestBody, variables.QueryString, variables.XML, variables.Files, variables.FilesNames, variables.MultipartPartHeaders,
}

// wildcard is the pattern of a name, with stars or without, and of what is decoded
// of its value. The engine compares names in lower case.
func wildcard(name string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(strings.ToLower(name)), `\*`, ".*") + `(?: \(.*)?$`)
}

// apply leaves out what does not apply to a request.
func (x *Exclusions) apply(tx remover, path, organization string) {
	if x == nil {
		return
	}
	for _, e := range x.list {
		if len(e.paths) > 0 && !slices.ContainsFunc(e.paths, func(p string) bool { return below(path, p) }) ||
			len(e.organizations) > 0 && (organization == "" || !slices.Contains(e.organizations, organization)) {
			continue
		}
		for _, id := range e.emptied {
			for _, v := range collections {
				tx.RemoveRuleTargetByID(id, v, "", nil)
			}
		}
		for _, id := range e.rules {
			if len(e.targets) == 0 {
				tx.RemoveRuleByID(id)
			}
			for _, t := range e.targets {
				tx.RemoveRuleTargetByID(id, t.variable, t.key, t.pattern)
			}
		}
	}
}

// below reports whether path is p or below it. "=p" is p alone.
func below(path, p string) bool {
	if exact, ok := strings.CutPrefix(p, "="); ok {
		return path == exact
	}
	p = strings.TrimSuffix(p, "/")
	return strings.HasPrefix(path, p) && (len(path) == len(p) || path[len(p)] == '/')
}

// Len is how many exclusions there are.
func (x *Exclusions) Len() int {
	if x == nil {
		return 0
	}
	return len(x.list)
}
