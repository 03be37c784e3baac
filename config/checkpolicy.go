package config

import (
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/middleware"
)

// level is where a policy stands.
type level int

const (
	levelDefaults level = iota
	levelProfile
	levelService
	levelRoute
	levelOrganization // has limits only
)

// checkPolicy checks the settings that one level writes, each where it stands.
func (t *tree) checkPolicy(n *yaml.Node, where string, at level) {
	if n.Kind != yaml.MappingNode {
		return
	}
	t.level(n, strings.ReplaceAll(where, "\"", ""))
	if k, v := get(n, "mtls"); v != nil {
		if at == levelRoute {
			t.problem(k, "mtls belongs to the service, for it is decided with the host; routes narrow with allow")
		} else {
			t.oneOf(v, "mtls", "off", "optional", "required")
		}
	}
	_, allow := get(n, "allow")
	for i, o := range wordsOf(allow) {
		if o.Value != "*" && t.organizations[o.Value] == nil {
			t.undefined(o, "organization", t.organizations)
		}
		for _, other := range wordsOf(allow)[:i] {
			if other.Value == o.Value {
				t.problem(o, "allow of %s names %q twice", where, o.Value)
			} else if other.Value == "*" || o.Value == "*" {
				t.problem(o, "allow of %s names every organization and some; write either [\"*\"] or whom to let in", where)
				break
			}
		}
	}
	if allow != nil && len(wordsOf(allow)) == 0 {
		t.problem(allow, "allow of %s is empty; leave it out, or write deny: true on a route", where)
	}
	if at == levelDefaults && allow != nil {
		t.problem(allow, "allow in \"defaults\" would open every service; write it in services or profiles")
	}
	_, deny := get(n, "deny_from")
	t.checkNetworks(deny)
	_, from := get(n, "allow_from")
	t.checkNetworks(from)
	if from != nil && len(wordsOf(from)) == 0 && !t.noted(from) {
		t.problem(from, "allow_from of %s is empty; leave it out, or write [0.0.0.0/0, \"::/0\"] for every network", where)
	}
	_, methods := get(n, "methods")
	t.checkMethods(methods)
	if methods != nil && len(wordsOf(methods)) == 0 {
		t.problem(methods, "methods of %s is empty; leave it out for the usual ones, or write deny: true on a route", where)
	}
	t.checkSize(n, "max_body", 1, 1<<44)
	t.checkTime(n, "timeout", time.Millisecond, 24*time.Hour)
	t.checkTime(n, "connect_timeout", time.Millisecond, time.Hour)
	t.checkUse(n, where, at)
	t.checkRange(n, "max_connections", 1, 100_000)
	if _, v := get(n, "waf"); v != nil {
		_, mode := get(v, "mode")
		t.oneOf(mode, "waf.mode", "block", "detect", "off")
		t.oneOf(v, "waf", "block", "detect", "off")
		t.checkRange(v, "paranoia", 1, 4)
		t.checkRange(v, "threshold", 1, 10_000)
		t.checkInspection(v, where)
	}
	t.checkContent(n, where)
	_, compress := get(n, "compress")
	for _, c := range wordsOf(compress) {
		t.oneOf(c, "coding", "zstd", "br", "gzip")
	}
	if _, v := get(n, "cors"); v != nil {
		_, origins := get(v, "origins")
		for _, o := range wordsOf(origins) {
			if u, err := url.Parse(o.Value); o.Value != "*" && (u != nil && u.User != nil || err != nil || u.Host == "" || u.Path != "" || u.Scheme != "https" && u.Scheme != "http") {
				t.bad(o, "", "origin %q: write scheme and host, such as https://portal.example, or \"*\"", o.Value)
			}
		}
		t.checkTime(v, "max_age", time.Second, 7*24*time.Hour)
		if at >= levelProfile && origins == nil {
			t.problem(v, "cors of %s names no origins", where)
		}
	}
	if _, v := get(n, "security_headers"); v != nil {
		_, frame := get(v, "frame")
		t.oneOf(frame, "security_headers.frame", "sameorigin", "deny", "off")
		_, kind := get(v, "content_type")
		t.oneOf(kind, "security_headers.content_type", "nosniff", "off")
		_, referrer := get(v, "referrer")
		t.oneOf(referrer, "security_headers.referrer", middleware.ReferrerPolicies()...)
		for key, p := range map[string]func(string) *middleware.SecurityHeaders{
			"csp":  func(s string) *middleware.SecurityHeaders { return &middleware.SecurityHeaders{CSP: s} },
			"hsts": func(s string) *middleware.SecurityHeaders { return &middleware.SecurityHeaders{HSTS: s} },
		} {
			if _, x := get(v, key); x != nil && x.Kind == yaml.ScalarNode {
				if err := p(x.Value).Check(); err != nil {
					t.bad(x, "", "security_headers.%v", err)
				}
			}
		}
	}
	if _, v := get(n, "maintenance"); v != nil {
		_, except := get(v, "except")
		for _, o := range wordsOf(except) {
			if t.organizations[o.Value] == nil {
				t.undefined(o, "organization", t.organizations)
			}
		}
		for _, key := range []string{"en", "bg"} {
			if _, x := get(v, key); x != nil && x.Kind == yaml.ScalarNode {
				if err := (&middleware.Maintenance{English: x.Value}).Check(); err != nil {
					t.bad(x, "", "maintenance.%s: %v", key, err)
				}
			}
		}
	}
	_, errors := get(n, "errors")
	t.oneOf(errors, "errors", middleware.ErrorForms()...)
	if _, v := get(n, "cache"); v != nil {
		_, mode := get(v, "mode")
		t.oneOf(mode, "cache.mode", middleware.CacheModes()...)
	}
	_, priority := get(n, "priority")
	t.oneOf(priority, "priority", middleware.Priorities()...)
	if _, s := get(n, "slo"); s != nil {
		t.checkSLO(s, where)
	}
	_, audit := get(n, "audit")
	t.oneOf(audit, "audit", "full", "refusals", "off")
	_, balance := get(n, "balance")
	t.oneOf(balance, "balance", "round_robin", "least_connections")
	_, protocol := get(n, "upstream_protocol")
	t.oneOf(protocol, "upstream_protocol", "h1", "h2", "h2c")
	if _, v := get(n, "health"); v != nil {
		_, p := get(v, "path")
		if p != nil && !strings.HasPrefix(p.Value, "/") {
			t.bad(p, "", "health.path %q must begin with a slash", p.Value)
		}
		t.checkTime(v, "every", 10*time.Millisecond, 24*time.Hour)
		t.checkTime(v, "timeout", time.Millisecond, time.Hour)
		t.checkRange(v, "unhealthy", 1, 100)
		t.checkRange(v, "healthy", 1, 100)
	}
	if _, v := get(n, "retries"); v != nil {
		t.checkRange(v, "attempts", 1, 10)
	}
	if _, v := get(n, "ejection"); v != nil {
		t.checkRange(v, "failures", 1, 1000)
		t.checkTime(v, "duration", time.Millisecond, 24*time.Hour)
	}
	if _, v := get(n, "headers"); v != nil {
		t.checkHeaders(v)
	}
	if at == levelRoute {
		for _, key := range []string{"upstream_tls", "upstream_protocol", "health", "ejection", "balance", "max_connections", "connect_timeout"} {
			if k, _ := get(n, key); k != nil {
				t.problem(k, "%s belongs to the service, whose routes share its upstreams", key)
			}
		}
	}
}

func (t *tree) checkMethods(n *yaml.Node) {
	for _, m := range wordsOf(n) {
		switch {
		case m.Value == "CONNECT" || m.Value == "TRACE":
			t.bad(m, "", "method %s is never let through", m.Value)
		case len(m.Value) > 32:
			t.bad(m, "", "method %q is too long", m.Value)
		case m.Value == "" || strings.ContainsFunc(m.Value, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '-' }):
			t.bad(m, "", "method %q: write it in capital letters", m.Value)
		}
	}
}

func (t *tree) checkHeaders(n *yaml.Node) {
	before := len(t.errs.Problems)
	for _, side := range []string{"request", "response"} {
		_, c := get(n, side)
		_, remove := get(c, "remove")
		for _, name := range wordsOf(remove) {
			t.checkFieldName(name)
		}
		_, set := get(c, "set")
		pairs(set, func(k, v *yaml.Node) {
			t.checkFieldName(k)
			if strings.ContainsFunc(v.Value, func(r rune) bool { return r < ' ' && r != '\t' || r > 0x7e }) {
				t.problem(v, "the value of %s holds what a header field can't: a line break, control character or non-ASCII letter", k.Value)
			}
		})
	}
	var h middleware.Headers
	t.quiet++
	t.decode(n, reflect.ValueOf(&h).Elem(), "")
	t.quiet--
	if len(t.errs.Problems) == before {
		if _, err := h.Build(middleware.Env{}); err != nil {
			t.problem(n, "headers: %v", err)
		}
	}
}

func (t *tree) checkFieldName(n *yaml.Node) {
	if n.Value == "" || strings.ContainsFunc(n.Value, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
	}) {
		t.bad(n, "", "%q is not the name of a header field", n.Value)
	}
}

// resolvePaths makes the paths in a policy absolute, and says in words what an
// empty mode stands for.
func (t *tree) resolvePaths(p *Policy) {
	if p.WAF != nil {
		p.WAF.Mode = p.WAF.InForce()
	}
	if w := p.WAF; w != nil && w.Rules != "" {
		w.RulesText = string(t.file1(nil, &w.Rules))
	}
	if p.OpenAPI != "" {
		p.OpenAPI = t.abs(p.OpenAPI)
		d := t.document(p.OpenAPI)
		p.OpenAPIText, p.OpenAPIFiles = d.text, d.files
	}
	if u := p.UpstreamTLS; u != nil {
		for _, f := range []*string{&u.CA, &u.Cert} {
			if *f != "" && !filepath.IsAbs(*f) {
				*f = filepath.Join(t.dir, *f)
			}
		}
		t.quiet++
		if !u.Key.IsZero() {
			t.secret(nil, &u.Key)
		}
		t.quiet--
	}
}

func (t *tree) checkRoute(n *yaml.Node, where string, r *Route) {
	_, paths := get(n, "paths")
	if paths != nil && len(wordsOf(paths)) == 0 {
		t.problem(paths, "%s: paths is empty", where)
	}
	for _, p := range wordsOf(paths) {
		t.checkPath(p, p.Value)
	}
	set := []string{}
	for _, key := range []string{"deny", "redirect", "rewrite"} {
		if k, v := get(n, key); k != nil && v.Value != "false" {
			set = append(set, key)
		}
	}
	if len(set) > 1 {
		k, _ := get(n, set[1])
		t.problem(k, "%s has %s and %s; a route does one thing", where, set[0], set[1])
	}
	if r.Redirect != nil {
		_, v := get(n, "redirect")
		_, to := get(v, "to")
		if to == nil {
			t.problem(v, "redirect of %s does not say where to", where)
		} else if u, err := url.Parse(to.Value); u != nil && u.User != nil || strings.ContainsFunc(to.Value, func(r rune) bool { return r <= ' ' || r > 0x7e || r == '\\' }) || err != nil || !(strings.HasPrefix(to.Value, "/") && !strings.HasPrefix(to.Value, "//")) && (u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
			t.bad(to, "", "redirect.to %q must be a URL, or a path that begins with a slash", to.Value)
		}
		if _, s := get(v, "status"); s != nil && !slices.Contains([]int{301, 302, 303, 307, 308}, r.Redirect.Status) {
			t.bad(s, "", "redirect.status must be 301, 302, 303, 307 or 308")
		}
		if path, ok := strings.CutSuffix(r.Redirect.To, "/"); to != nil && !t.noted(to) && (ok || path != "") && strings.HasPrefix(path, "/") {
			for _, p := range r.Paths {
				if p := strings.TrimSuffix(p, "/"); r.Match == nil && !strings.HasPrefix(p, "=") && (path == p || strings.HasPrefix(path, p+"/")) {
					t.warn(to, "redirect.to %q is below the route's own path %q; unless another route takes it, browsers are sent in a circle", to.Value, p)
				}
			}
		}
	}
	if r.Rewrite != nil {
		_, v := get(n, "rewrite")
		_, strip := get(v, "strip_prefix")
		_, replace := get(v, "replace_prefix")
		if (strip == nil) == (replace == nil) {
			t.problem(v, "rewrite of %s: write either strip_prefix or replace_prefix", where)
		}
		for _, p := range []*yaml.Node{strip, replace} {
			if p != nil {
				t.checkPath(p, "="+p.Value)
			}
		}
		if strip != nil {
			for _, p := range r.Paths {
				if p != strip.Value && !strings.HasPrefix(strings.TrimPrefix(p, "="), strings.TrimSuffix(strip.Value, "/")) {
					t.bad(strip, "", "strip_prefix %q is not a prefix of the route's path %q, so it would change nothing", strip.Value, p)
				}
			}
		}
	}
	if r.Match != nil {
		_, v := get(n, "match")
		if len(r.Match.Headers) == 0 && len(r.Match.Query) == 0 {
			t.problem(v, "match of %s asks for nothing", where)
		}
		_, headers := get(v, "headers")
		pairs(headers, func(k, _ *yaml.Node) { t.checkFieldName(k) })
	}
}
