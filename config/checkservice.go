package config

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"go.yaml.in/yaml/v4"
	"golang.org/x/net/idna"
)

func (t *tree) checkOwner(n *yaml.Node, where, owner string) {
	_, o := get(n, "owner")
	switch {
	case o == nil:
		t.problem(t.keys[n], "%s names no owner, the organization that answers for it", where)
	case t.organizations[owner] == nil:
		t.undefined(o, "organization", t.organizations)
	}
}

func (t *tree) checkHosts(n *yaml.Node, where string, s *Service) {
	_, hosts := get(n, "hosts")
	if len(wordsOf(hosts)) == 0 && !t.noted(hosts) {
		t.problem(t.keys[n], "%s has no hosts", where)
		return
	}
	for _, h := range wordsOf(hosts) {
		name, err := canonicalHost(h.Value)
		if err != nil {
			hint := ""
			if u, uerr := url.Parse(h.Value); uerr == nil && strings.Contains(h.Value, "://") && u.Hostname() != "" {
				hint = fmt.Sprintf("did you mean %q?", u.Hostname())
			} else if name, _, perr := net.SplitHostPort(h.Value); perr == nil && name != "" {
				hint = fmt.Sprintf("did you mean %q?", name)
			}
			t.bad(h, hint, "host %q: %v", h.Value, err)
			continue
		}
		if first := t.hosts[name]; first != nil {
			if slices.Contains(s.Hosts, name) {
				t.problem(h, "host %q is named twice in %s", name, where)
			} else {
				t.conflict(h, first, "host %q is already served by another service (%s); a host belongs to one service", name, t.at(first))
			}
			continue
		}
		t.hosts[name] = h
		s.Hosts = append(s.Hosts, name)
		covered := slices.ContainsFunc(t.leaves, func(c *x509.Certificate) bool {
			return c.VerifyHostname(strings.Replace(name, "*", "any-label", 1)) == nil
		})
		switch acme := t.config.TLS.ACME; {
		case covered || len(t.leaves) == 0 && acme == nil: // the latter is an error of its own
		case t.kept: // what is served in their place is known to certs
		case acme == nil:
			t.bad(h, "", "no certificate of tls.certificates covers host %q, and tls.acme is not set", name)
		case strings.HasPrefix(name, "*.") && !acme.Wildcards():
			t.bad(h, "", "no certificate of tls.certificates covers host %q, and ACME proves wildcards only by dns-01: set tls.acme.dns", name)
		}
	}
}

// canonicalHost is a host as requests are compared with it.
func canonicalHost(h string) (string, error) {
	h = strings.TrimSuffix(h, ".")
	if a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(h, "["), "]")); err == nil && a.Zone() == "" {
		return a.String(), nil
	}
	rest, wild := strings.CutPrefix(h, "*.")
	if strings.Contains(rest, "*") {
		return "", fmt.Errorf("a wildcard stands only for the whole first label, as in *.egov.example")
	}
	if strings.ContainsAny(rest, ":/ ") {
		return "", fmt.Errorf("write only the name, without scheme, port or path")
	}
	if rest == "" {
		return "", fmt.Errorf("not a host name")
	}
	name, err := idna.Lookup.ToASCII(rest)
	if err != nil || len(name) > 253 || slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return label == "" || len(label) > 63 }) {
		return "", fmt.Errorf("not a host name")
	}
	if wild && !strings.Contains(name, ".") {
		return "", fmt.Errorf("a wildcard for a whole top-level domain would take what is not yours")
	}
	if wild {
		return "*." + name, nil
	}
	return name, nil
}

func (t *tree) checkService(n *yaml.Node, where string, s *Service, merged *yaml.Node) {
	needs := slices.ContainsFunc(s.Routes, func(r *Route) bool { return !r.Deny && r.Redirect == nil })
	_, up := get(n, "upstreams")
	switch {
	case needs && t.noted(up):
	case needs && len(wordsOf(up)) == 0:
		t.problem(t.keys[n], "%s has no upstreams", where)
	default:
		https := false
		for _, u := range wordsOf(up) {
			https = t.checkUpstream(u) || https
		}
		if s.Policy.UpstreamTLS != nil && !https && up != nil {
			_, v := get(merged, "upstream_tls")
			t.warn(orNode(v, n), "%s: upstream_tls has no effect, for no upstream is https", where)
		}
		if p := s.Policy.UpstreamProtocol; p == "h2" && !https && up != nil {
			t.problem(up, "%s: upstream_protocol h2 needs https upstreams; write h2c for HTTP/2 without TLS", where)
		}
	}
	if tlsNode := s.Policy.UpstreamTLS; tlsNode != nil {
		_, v := get(merged, "upstream_tls")
		t.checkUpstreamTLS(v, s)
	}
	t.checkAccess(n, where, s, merged)
}

// checkUpstream reports whether the upstream is https.
func (t *tree) checkUpstream(n *yaml.Node) bool {
	u, err := url.Parse(n.Value)
	if (err != nil || u.User != nil) && strings.Contains(n.Value, "@") {
		t.hide(n)
		t.bare(n, "an upstream must not hold a user name or password")
		return false
	}
	if err != nil || u.Host == "" || u.Hostname() == "" {
		hint := ""
		if host, port, err := net.SplitHostPort(strings.TrimPrefix(n.Value, "//")); err == nil && host != "" && validPort(port, 1) {
			hint = fmt.Sprintf("did you mean %q?", "http://"+net.JoinHostPort(host, port))
		}
		t.bad(n, hint, "upstream %q is not a URL with host and port; write for example http://10.0.0.1:8080", n.Value)
		return false
	}
	scheme, srv := strings.CutPrefix(u.Scheme, "srv+")
	hint := ""
	if s := suggest(u.Scheme, []string{"http", "https", "srv+http", "srv+https"}); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	switch {
	case scheme != "http" && scheme != "https":
		t.bad(n, hint, "upstream %q: the scheme must be http, https, srv+http or srv+https", n.Value)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		t.bad(n, "", "upstream %q must be scheme, host and port only; a route's rewrite changes paths", n.Value)
	case srv && u.Port() != "":
		t.bad(n, "", "upstream %q: an SRV record names the port itself", n.Value)
	case u.Port() != "" && !validPort(u.Port(), 1) || strings.HasSuffix(u.Host, ":"):
		t.bad(n, "", "upstream %q: a port is a number from 1 to 65535", n.Value)
	case strings.ContainsFunc(u.Hostname(), func(r rune) bool { return r <= ' ' || r > 0x7e || strings.ContainsRune("*%<>^\"", r) }):
		t.bad(n, "", "upstream %q: %q is neither an address nor a host name", n.Value, u.Hostname())
	}
	return scheme == "https"
}

func (t *tree) checkUpstreamTLS(n *yaml.Node, s *Service) {
	u := s.Policy.UpstreamTLS
	if u.CA != "" {
		_, ca := get(n, "ca")
		if b := t.file1(ca, &u.CA); b != nil && ca != nil {
			t.checkCA(ca, u.CA)
		}
	}
	_, cert := get(n, "cert")
	_, key := get(n, "key")
	if cert != nil || key != nil {
		t.checkKeyPair(n, &u.KeyPair, false)
	}
	for _, r := range s.Routes {
		r.Policy.UpstreamTLS = u
	}
}

// checkAccess holds who is asked for a certificate against who is let in. What
// was left out is never read as "anyone".
func (t *tree) checkAccess(n *yaml.Node, where string, s *Service, merged *yaml.Node) {
	_, mtls := get(merged, "mtls")
	_, allow := get(merged, "allow")
	var some, without *Route
	for _, r := range s.Routes {
		if len(r.Policy.Allow) > 0 {
			some = r
		} else if !r.Deny {
			without = r
		}
	}
	at := orNode(mtls, orNode(allow, t.keys[n]))
	switch {
	case mtls == nil && allow != nil:
		s.Policy.MTLS = certs.MTLSRequired // allow implies a certificate
	case mtls == nil && some != nil:
		t.problem(t.keys[n], "%s: route %q has allow, so the service must say whether all its callers are asked for a certificate; write mtls: required or mtls: optional", where, some.Name)
	case s.Policy.MTLS == certs.MTLSRequired && without != nil:
		t.problem(at, "%s: mtls is required, but %s names no organization in allow; write whom to let in, or [\"*\"] for every configured organization", where, routeOf(without, s))
	case s.Policy.MTLS == certs.MTLSOff && some != nil:
		t.problem(at, "%s: allow needs a certificate, but mtls is off", where)
	case s.Policy.MTLS == certs.MTLSOptional && some == nil:
		t.warn(at, "%s: mtls is optional, but no route uses allow", where)
	case s.Policy.MTLS == certs.MTLSOptional && without != nil:
		t.warn(at, "%s: mtls is optional and only some routes have allow; browsers will ask citizens for a certificate. A host of its own for the allowed organizations avoids that", where)
	}
	for _, r := range s.Routes {
		r.Policy.MTLS = s.Policy.MTLS
		if r.Settings[0].Key == "mtls" && mtls == nil && s.Policy.MTLS == certs.MTLSRequired {
			r.Settings[0].Value, r.Settings[0].From = "required", "allow, which implies it"
		}
	}
	if s.Policy.MTLS == certs.MTLSOff {
		_, r := get(merged, "rate_limit")
		_, c := get(merged, "concurrency")
		for _, one := range slices.Concat(oneOrMoreOf(r), oneOrMoreOf(c)) {
			if _, per := get(one, "per"); per != nil && per.Value == "organization" {
				t.warn(per, "%s asks for no certificate, so a limit per organization counts addresses", where)
			}
		}
	}
	for _, h := range s.Hosts {
		if _, err := netip.ParseAddr(h); err == nil && s.Policy.MTLS != certs.MTLSOff {
			t.problem(t.hosts[h], "%s asks for certificates, which needs a host name: clients send none for an address", where)
		}
	}
}

func routeOf(r *Route, s *Service) string {
	if r.Name == s.Name {
		return "it"
	}
	return fmt.Sprintf("route %q", r.Name)
}
