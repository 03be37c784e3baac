package config

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware"
)

// How many limits may hold at once. All of a route and of an organization count
// for one request, with two periods for each quota.
const (
	mostLimits   = 6
	mostCeilings = 2

	mostConcurrent = 1_000_000
)

// checkUse checks everything that bounds how much is used.
func (t *tree) checkUse(n *yaml.Node, where string, at level) {
	if _, v := get(n, "rate_limit"); v != nil {
		t.checkRateLimits(v, where, at)
	}
	if _, v := get(n, "quota"); v != nil {
		t.checkQuota(v, where, at)
	}
	if _, v := get(n, "concurrency"); v != nil {
		t.checkConcurrency(v, where, at)
	}
	if _, v := get(n, "bandwidth"); v != nil && v.Kind == yaml.MappingNode {
		_, per := get(v, "per")
		t.oneOf(per, "bandwidth.per", middleware.BandwidthPers()...)
		_, down := get(v, "down")
		if _, up := get(v, "up"); down == nil && up == nil {
			t.problem(v, "bandwidth of %s bounds neither down nor up; it is always written whole", where)
		}
		_, mode := get(v, "mode")
		t.oneOf(mode, "bandwidth.mode", middleware.LimitModes()...)
		if per == nil {
			t.problem(v, "bandwidth of %s does not say per whom; write per: %s", where, orList(middleware.BandwidthPers()))
		}
	}
	if _, v := get(n, "costs"); v != nil && v.Kind == yaml.SequenceNode {
		for _, c := range v.Content {
			t.checkCost(c, where)
		}
		if len(v.Content) == 0 {
			t.problem(v, "costs of %s is empty; leave it out, and each request counts 1", where)
		}
	}
}

// oneOrMoreOf lists the mappings of a setting that may be one of them alone.
func oneOrMoreOf(n *yaml.Node) []*yaml.Node {
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.SequenceNode:
		return n.Content
	}
	return []*yaml.Node{n}
}

func orList(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// limitsOf is a list of limits, which has one at least and not too many.
func (t *tree) limitsOf(n *yaml.Node, key, kind, where string, at level) (all []*yaml.Node, ok bool) {
	all, most := oneOrMoreOf(n), mostLimits
	if at == levelOrganization {
		most = mostCeilings
	}
	if len(all) == 0 {
		t.problem(n, "%s of %s is empty", key, where)
	}
	if len(all) > most {
		t.problem(all[most], "%s of %s: at most %d %s can hold at once", key, where, most, kind)
		return nil, false
	}
	return all, true
}

func (t *tree) checkRateLimits(n *yaml.Node, where string, at level) {
	all, ok := t.limitsOf(n, "rate_limit", "limits", where, at)
	if !ok {
		return
	}
	names := map[string]bool{}
	chosen, others := (*yaml.Node)(nil), false
	for _, one := range all {
		if one.Kind != yaml.MappingNode {
			continue // noted by decode
		}
		t.checkRateLimit(one, where, at)
		if _, name := get(one, "name"); name != nil && name.Kind == yaml.ScalarNode {
			switch {
			case !validName(name.Value):
				t.bad(name, "", "rate_limit.name %q: a name has letters, digits, - and _, begins with a letter or digit, and has at most 63 of them", name.Value)
			case name.Value == "ceiling" || name.Value == "concurrency" || name.Value == "bandwidth":
				t.bad(name, "", "rate_limit.name %q is the name of another limit", name.Value)
			case names[name.Value]:
				t.bad(name, "", "rate_limit of %s has two limits of the name %q", where, name.Value)
			}
			names[name.Value] = true
		}
		_, per := get(one, "per")
		if per == nil {
			continue
		}
		if ok, _ := middleware.CheckPer(per.Value); ok {
			chosen = per
		} else {
			others = true
		}
	}
	if chosen != nil && !others {
		t.warn(chosen, "%s counts by what clients choose to send, and by nothing else; add a limit per client_ip, organization or service", where)
	}
}

// checkConcurrency checks bounds on concurrency: a number, a mapping, or a list.
func (t *tree) checkConcurrency(n *yaml.Node, where string, at level) {
	all, ok := t.limitsOf(n, "concurrency", "bounds", where, at)
	if !ok {
		return
	}
	chosen, others := (*yaml.Node)(nil), false
	for _, one := range all {
		if one.Kind == yaml.ScalarNode {
			t.checkInteger(one, "concurrency", 1, mostConcurrent)
			others = true
		}
		if one.Kind != yaml.MappingNode {
			continue
		}
		if _, v := get(one, "max"); v == nil {
			t.problem(one, "concurrency of %s has no max; it is always written whole", where)
		}
		t.checkRange(one, "max", 1, mostConcurrent)
		_, mode := get(one, "mode")
		t.oneOf(mode, "concurrency.mode", middleware.LimitModes()...)
		_, per := get(one, "per")
		switch ok, err := false, error(nil); {
		case per == nil || per.Kind != yaml.ScalarNode:
			others = true
		case at == levelOrganization:
			t.ownOnly(per, where)
		default:
			if ok, err = middleware.CheckPer(per.Value); err != nil {
				t.bad(per, "", "concurrency.per: %v", err)
			} else if ok {
				chosen = per
			} else {
				t.oneOf(per, "concurrency.per", append(middleware.Pers(), "header:NAME", "json:/POINTER")...)
				others = true
			}
		}
	}
	if chosen != nil && !others {
		t.warn(chosen, "%s counts by what clients choose to send, and by nothing else; add a bound for the service, or per client_ip or organization", where)
	}
}

func (t *tree) checkRateLimit(n *yaml.Node, where string, at level) {
	if _, rate := get(n, "rate"); rate == nil {
		t.problem(n, "rate_limit of %s has no rate; it is always written whole", where)
	}
	_, per := get(n, "per")
	switch {
	case per == nil && at != levelOrganization:
		t.problem(n, "rate_limit of %s does not say per whom; write per: client_ip, organization, service or route, header:NAME or json:/POINTER", where)
	case per == nil || per.Kind != yaml.ScalarNode:
	case at == levelOrganization:
		t.ownOnly(per, where)
	default:
		if ok, err := middleware.CheckPer(per.Value); err != nil {
			t.bad(per, "", "rate_limit.per: %v", err)
		} else if !ok {
			t.oneOf(per, "rate_limit.per", append(middleware.Pers(), "header:NAME", "json:/POINTER")...)
		}
	}
	t.checkRange(n, "burst", 1, 1_000_000_000)
	_, mode := get(n, "mode")
	t.oneOf(mode, "rate_limit.mode", middleware.LimitModes()...)
}

// ownOnly checks the per of an organization's own limit, which may be left out.
func (t *tree) ownOnly(per *yaml.Node, where string) {
	if per != nil && per.Kind == yaml.ScalarNode && per.Value != "organization" {
		t.bad(per, "", "per %q: limits of %s count by nothing but itself", per.Value, where)
	}
}

func (t *tree) checkQuota(n *yaml.Node, where string, at level) {
	if n.Kind != yaml.MappingNode {
		return
	}
	t.checkRange(n, "day", 1, 1_000_000_000)
	t.checkRange(n, "month", 1, 1_000_000_000)
	_, day := get(n, "day")
	if _, month := get(n, "month"); day == nil && month == nil {
		t.problem(n, "quota of %s bounds neither day nor month; it is always written whole", where)
	}
	_, per := get(n, "per")
	switch {
	case at == levelOrganization:
		t.ownOnly(per, where)
	case per != nil:
		t.oneOf(per, "quota.per", middleware.QuotaPers()...)
	default:
		t.problem(n, "quota of %s does not say per whom; write per: %s", where, orList(middleware.QuotaPers()))
	}
	_, mode := get(n, "mode")
	t.oneOf(mode, "quota.mode", middleware.LimitModes()...)
}

func (t *tree) checkCost(n *yaml.Node, where string) {
	if n.Kind != yaml.MappingNode {
		return
	}
	if _, cost := get(n, "cost"); cost == nil {
		t.problem(n, "an entry of costs of %s does not say its cost", where)
	}
	t.checkRange(n, "cost", 1, middleware.MaxCost)
	_, methods := get(n, "methods")
	t.checkMethods(methods)
	_, operations := get(n, "operations")
	for _, o := range wordsOf(operations) {
		if o.Value == "" || len(o.Value) > 64 || strings.ContainsFunc(o.Value, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			t.bad(o, "", "operation %q: write its name alone, such as GetFeature", o.Value)
		}
	}
	if k, _ := get(n, "service"); k != nil && operations == nil {
		t.problem(k, "service of a cost of %s says whose operations are meant, and needs operations", where)
	}
	_, match := get(n, "match")
	_, headers := get(match, "headers")
	pairs(headers, func(k, _ *yaml.Node) { t.checkFieldName(k) })
	if _, query := get(match, "query"); match != nil && headers == nil && query == nil {
		t.problem(match, "match of a cost of %s asks for nothing", where)
	}
}
