package config

import (
	"crypto/x509"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware"
)

// tree is the files of a node put together.
type tree struct {
	*loader
	config   *Config
	previous *Config // in force while this one is loaded; nil at start
	main     *source

	organizations, profiles, services map[string]*yaml.Node // values by name
	keys                              map[*yaml.Node]*yaml.Node
	hosts                             map[string]*yaml.Node // where each host was taken
	routes                            map[string]*yaml.Node // where each route name was taken
	sets                              map[string]*yaml.Node // address sets by name
	used                              map[string]bool       // of these
	lastGood                          bool                  // what was kept is loaded
	leaves                            []*x509.Certificate   // server certificates from files
	kept                              bool                  // files of a certificate can't be used, and the former one is served
	levels                            map[*yaml.Node]string // whose each value of a policy is
	documents                         map[string]*document  // OpenAPI documents by path
}

// collect takes the objects of a file.
func (t *tree) collect(s *source) {
	if t.keys == nil {
		t.keys = map[*yaml.Node]*yaml.Node{}
	}
	if s != t.main {
		t.decodeDropIn(s)
	}
	for _, kind := range []struct {
		key string
		in  map[string]*yaml.Node
		one string
	}{{"organizations", t.organizations, "organization"}, {"profiles", t.profiles, "profile"}, {"services", t.services, "service"}} {
		_, all := get(s.root, kind.key)
		pairs(all, func(k, v *yaml.Node) {
			if !validName(k.Value) {
				t.problem(k, "%s %q: a name has letters, digits, - and _, begins with a letter or digit, and has at most 63 of them", kind.one, k.Value)
			}
			if first := kind.in[k.Value]; first != nil && t.file[first] != s {
				t.conflict(k, first, "%s %q is already defined in %s", kind.one, k.Value, t.at(t.keys[first]))
				return
			}
			t.keys[v] = k
			kind.in[k.Value] = v
		})
	}
}

// decodeDropIn checks a file other than the main one.
func (t *tree) decodeDropIn(s *source) {
	var f File
	t.decode(s.root, reflect.ValueOf(&f).Elem(), "the file")
	pairs(s.root, func(k, _ *yaml.Node) {
		switch k.Value {
		case "organizations", "profiles", "services":
		default:
			for _, known := range fieldsOf(reflect.TypeFor[File]()) {
				if known.name == k.Value {
					t.problem(k, "%q belongs in the main file; drop-in files hold organizations, profiles and services", k.Value)
				}
			}
		}
	})
	for _, pattern := range slices.Sorted(maps.Keys(t.config.Delegate)) {
		if ok, _ := path.Match(pattern, filepath.ToSlash(s.path)); ok {
			t.checkDelegation(s, pattern, t.config.Delegate[pattern])
		}
	}
}

// checkDelegation holds a drop-in file to what was delegated to its authors.
func (t *tree) checkDelegation(s *source, pattern string, d Delegation) {
	for _, key := range []string{"organizations", "profiles"} {
		if k, _ := get(s.root, key); k != nil {
			t.problem(k, "%q is not delegated to %s, which may define only services of owner %q", key, pattern, d.Owner)
		}
	}
	_, services := get(s.root, "services")
	pairs(services, func(k, v *yaml.Node) {
		if _, owner := get(v, "owner"); owner == nil || owner.Value != d.Owner {
			t.problem(k, "service %q: files of %s may define only services of owner %q", k.Value, pattern, d.Owner)
		}
		_, hosts := get(v, "hosts")
		if hosts == nil {
			return
		}
		for _, h := range hosts.Content {
			host, err := canonicalHost(h.Value)
			if err == nil && !slices.ContainsFunc(d.Hosts, func(p string) bool { return hostFits(p, host) }) {
				t.problem(h, "host %q is not delegated to %s; its hosts are %s", h.Value, pattern, strings.Join(d.Hosts, ", "))
			}
		}
	})
}

// hostFits reports whether a delegated pattern covers a host or pattern.
func hostFits(pattern, host string) bool {
	pattern, err := canonicalHost(pattern)
	if err != nil {
		return false
	}
	if pattern == host {
		return true
	}
	rest, ok := strings.CutPrefix(pattern, "*.")
	label, domain, found := strings.Cut(host, ".")
	return ok && found && label != "*" && domain == rest
}

func validName(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', i > 0 && (c == '-' || c == '_'):
		default:
			return false
		}
	}
	return true
}

// build checks the objects and merges the levels of each service.
func (t *tree) build() {
	c := t.config
	t.hosts, t.routes = map[string]*yaml.Node{}, map[string]*yaml.Node{}
	t.used = map[string]bool{}
	t.checkMain()
	t.checkAddressSets()
	c.Callers, c.Trust = map[string]middleware.Caller{}, map[string]certs.Organization{}
	for _, key := range slices.Sorted(maps.Keys(t.organizations)) {
		t.buildOrganization(key, t.organizations[key])
	}
	t.checkOverlaps()
	_, defaults := get(t.main.root, "defaults")
	if defaults != nil {
		t.checkPolicy(defaults, "\"defaults\"", levelDefaults)
	}
	for _, key := range slices.Sorted(maps.Keys(t.profiles)) {
		t.checkPolicy(t.profiles[key], fmt.Sprintf("profile %q", key), levelProfile)
	}
	for _, key := range slices.Sorted(maps.Keys(t.services)) {
		t.buildService(key, t.services[key], defaults)
	}
	t.checkUnused()
	t.notePlaces()
	if n, _, _ := t.errs.count(); n == 0 && len(t.services) == 0 {
		t.warn(t.main.root, "no service is configured")
	}
}

// policyKeys are the keys that have the same meaning at every level.
var policyKeys = func() map[string]bool {
	m := map[string]bool{}
	for _, f := range fieldsOf(reflect.TypeFor[Policy]()) {
		m[f.name] = true
	}
	return m
}()

// wholeKeys are those of limits: a rate of one level with a per of another would
// be a limit that nobody wrote.
var wholeKeys = map[string]bool{"rate_limit": true, "quota": true, "bandwidth": true, "concurrency": true, "slo": true}

// merge puts upper over lower: mappings key by key, one level deep; lists and
// scalars replace; limits are always written whole. The nodes of the result
// are those of the files, so that each effective value knows where it stands.
func merge(lower, upper *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	put := func(k, v *yaml.Node) {
		v = switching(k.Value, v)
		for i := 0; i < len(out.Content); i += 2 {
			if out.Content[i].Value != k.Value {
				continue
			}
			if old := out.Content[i+1]; old.Kind == yaml.MappingNode && v.Kind == yaml.MappingNode && !wholeKeys[k.Value] {
				v = overlay(instead(k.Value, old, v), v)
			}
			out.Content[i], out.Content[i+1] = k, v
			return
		}
		out.Content = append(out.Content, k, v)
	}
	for _, n := range []*yaml.Node{lower, upper} {
		pairs(n, func(k, v *yaml.Node) {
			if policyKeys[k.Value] {
				put(k, v)
			}
		})
	}
	return out
}

// level notes for whom a policy was written: which profile, service or route its
// values come from.
func (t *tree) level(n *yaml.Node, name string) {
	if t.levels == nil {
		t.levels = map[*yaml.Node]string{}
	}
	pairs(n, func(_, v *yaml.Node) {
		t.levels[v] = name
		pairs(v, func(_, inner *yaml.Node) { t.levels[inner] = name })
	})
}

// overlay is one level of two mappings.
func overlay(lower, upper *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Line: upper.Line, Column: upper.Column}
	out.Content = append(out.Content, lower.Content...)
	pairs(upper, func(k, v *yaml.Node) {
		for i := 0; i < len(out.Content); i += 2 {
			if out.Content[i].Value == k.Value {
				out.Content[i], out.Content[i+1] = k, v
				return
			}
		}
		out.Content = append(out.Content, k, v)
	})
	return out
}

// effective decodes a merged policy, whose parts have been checked already.
func (t *tree) effective(n *yaml.Node) (p Policy) {
	t.quiet++
	t.decode(n, reflect.ValueOf(&p).Elem(), "")
	t.quiet--
	undo(&p)
	fillPolicy(&p)
	t.resolvePaths(&p)
	return p
}

func (t *tree) buildService(name string, n, defaults *yaml.Node) {
	where := fmt.Sprintf("service %q", name)
	if n.Kind != yaml.MappingNode {
		return // noted by decode
	}
	var e ServiceEntry
	t.quiet++
	t.decode(n, reflect.ValueOf(&e).Elem(), where)
	t.quiet--
	s := &Service{Name: name, Owner: e.Owner, Upstreams: e.Upstreams, At: t.position(t.keys[n])}
	t.checkOwner(n, where, e.Owner)
	t.checkHosts(n, where, s)
	t.checkPolicy(n, where, levelService)

	base := merge(defaults, nil)
	_, use := get(n, "use")
	for _, p := range wordsOf(use) {
		profile := t.profiles[p.Value]
		if profile == nil {
			t.undefined(p, "profile", t.profiles)
			continue
		}
		base = merge(base, profile)
	}
	merged := merge(base, n)
	s.Policy = t.effective(merged)
	t.checkMerged(merged, &s.Policy, where)

	_, routes := get(n, "routes")
	if routes == nil || len(routes.Content) == 0 {
		if routes != nil && routes.Kind == yaml.SequenceNode {
			t.problem(routes, "%s: routes is empty; leave it out, and the service is one route", where)
		}
		s.Routes = []*Route{{Name: name, Paths: []string{"/"}, Policy: s.Policy, At: s.At}}
		s.Routes[0].Settings = t.settings(merged)
		t.takeRouteName(name, t.keys[n], n)
	} else if routes.Kind == yaml.SequenceNode {
		for i, rn := range routes.Content {
			if rn.Kind == yaml.MappingNode && i < len(e.Routes) {
				s.Routes = append(s.Routes, t.buildRoute(s, rn, e.Routes[i], merged))
			}
		}
		t.checkDuplicateRoutes(routes, s)
	}
	t.checkService(n, where, s, merged)
	t.config.Services = append(t.config.Services, s)
}

func (t *tree) buildRoute(s *Service, n *yaml.Node, e RouteEntry, service *yaml.Node) *Route {
	r := &Route{Name: e.Name, Paths: e.Paths, Match: e.Match, Deny: e.Deny, Redirect: e.Redirect, Rewrite: e.Rewrite}
	if len(r.Paths) == 0 {
		r.Paths = []string{"/"}
	}
	if r.Name == "" {
		r.Name = s.Name
		if p := strings.TrimPrefix(r.Paths[0], "="); p != "/" {
			r.Name += p
		}
		// Routes of one path need names of their own; what tells them apart is in
		// the file, so its order must do.
		for i := 2; t.routes[r.Name] != nil; i++ {
			r.Name = fmt.Sprintf("%s#%d", strings.SplitN(r.Name, "#", 2)[0], i)
		}
		t.routes[r.Name] = n
	} else {
		_, at := get(n, "name")
		t.takeRouteName(r.Name, at, n)
	}
	where := fmt.Sprintf("route %q", r.Name)
	t.checkPolicy(n, where, levelRoute)
	t.checkRoute(n, where, r)
	merged := merge(service, n)
	r.Policy = t.effective(merged)
	t.checkMerged(merged, &r.Policy, where)
	r.At, r.Settings = t.position(n), t.settings(merged)
	_, own := get(n, "rate_limit")
	r.OwnRateLimit = own != nil
	_, own = get(n, "quota")
	r.OwnQuota = own != nil
	_, own = get(n, "bandwidth")
	r.OwnBandwidth = own != nil
	_, own = get(n, "concurrency")
	r.OwnConcurrency = own != nil
	return r
}

func (t *tree) takeRouteName(name string, at, n *yaml.Node) {
	if first := t.routes[name]; first != nil {
		t.conflict(at, first, "route name %q is already taken in %s", name, t.at(first))
		return
	}
	t.routes[name] = n
}

// wordsOf lists the nodes of a word or list of words.
func wordsOf(n *yaml.Node) []*yaml.Node {
	switch {
	case n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return nil
	case n.Kind == yaml.ScalarNode:
		return []*yaml.Node{n}
	case n.Kind == yaml.SequenceNode:
		return n.Content
	}
	return nil
}

// conflict notes a mistake at n that is one only because of first, which may
// stand in another file.
func (t *tree) conflict(n, first *yaml.Node, format string, args ...any) {
	p := t.problem(n, format, args...)
	if s := t.file[first]; s != nil && s != t.file[n] {
		p.other = s.path
	}
}

// undefined notes a name that stands for nothing. While a file can't be read,
// the name may be defined there, and only that file is to blame.
func (t *tree) undefined(n *yaml.Node, kind string, in map[string]*yaml.Node) {
	if n.Kind != yaml.ScalarNode || t.noted(n) || slices.ContainsFunc(t.sources, func(s *source) bool { return s.root == nil && !s.valid }) {
		return
	}
	message := fmt.Sprintf("%s %q is not defined", kind, n.Value)
	if s := suggest(n.Value, slices.Sorted(maps.Keys(in))); s != "" {
		message += fmt.Sprintf("; did you mean %q (%s)?", s, t.at(t.keys[in[s]]))
	} else if len(in) == 0 {
		message += fmt.Sprintf("; no %s is", kind)
	}
	t.bare(n, "%s", message)
}
