package config

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/net/idna"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware"
)

// bad notes a wrong value, unless something was found wrong with it already, and
// what to write instead.
func (t *tree) bad(n *yaml.Node, hint, format string, args ...any) {
	if t.noted(n) {
		return
	}
	p := t.problem(n, format, args...)
	t.show(p, n, hint)
}

// oneOf checks a word against the ones that are known.
func (t *tree) oneOf(n *yaml.Node, what string, known ...string) {
	if n == nil || n.Kind != yaml.ScalarNode || slices.Contains(known, n.Value) {
		return
	}
	hint := ""
	if s := suggest(n.Value, known); s != "" {
		hint = fmt.Sprintf("did you mean %q?", s)
	}
	t.bad(n, hint, "%s %q is not known; write %s", what, n.Value, strings.Join(known, ", "))
}

func (t *tree) checkMain() {
	c, root := t.config, t.main.root
	_, listen := get(root, "listen")
	if listen == nil || len(c.Listen) == 0 {
		t.bare(root, "\"listen\" is missing; write for example listen: [{address: \"[::]:443\"}]")
	} else if listen.Kind == yaml.SequenceNode {
		t.checkListens(listen)
	}
	_, limits := get(root, "limits")
	if _, n := get(limits, "http1"); n != nil {
		t.oneOf(n, "limits.http1", "strict", "standard")
	}
	t.checkLimits(limits)
	_, tls := get(root, "tls")
	if _, p := get(tls, "profile"); p != nil {
		t.oneOf(p, "TLS profile", certs.Profiles()...)
	}
	if len(c.TLS.Certificates) == 0 && c.TLS.ACME == nil && len(c.Listen) > 0 {
		t.bare(root, "\"tls\" names no certificate; write tls.certificates, or tls.acme to obtain them")
	}
	_, list := get(tls, "certificates")
	for i := range c.TLS.Certificates {
		k := &c.TLS.Certificates[i]
		var n *yaml.Node
		if list != nil && i < len(list.Content) {
			n = list.Content[i]
		}
		t.checkKeyPair(n, k, true)
	}
	if c.TLS.ACME != nil {
		_, n := get(tls, "acme")
		t.checkACME(n, c.TLS.ACME)
	}
	if c.Store != nil {
		_, n := get(root, "store")
		t.checkStore(n, c.Store)
	}
	_, limits = get(root, "limits")
	if _, n := get(limits, "withdrawal"); n != nil {
		t.oneOf(n, "limits.withdrawal", WithdrawalFinish, WithdrawalCut)
	}
	_, admin := get(root, "admin")
	if _, n := get(admin, "listen"); n != nil && n.Kind == yaml.ScalarNode {
		host, port, err := net.SplitHostPort(n.Value)
		a, aerr := netip.ParseAddr(host)
		socket, unix := strings.CutPrefix(n.Value, "unix:")
		switch {
		case unix && !filepath.IsAbs(socket):
			t.bad(n, "", "admin.listen %q: the path of a socket must begin with a slash", n.Value)
		case unix:
		case err != nil || !validPort(port, 0) || aerr != nil && host != "localhost" && host != "":
			t.bad(n, "", "admin.listen %q is not an address with port, such as 127.0.0.1:9180, or unix:/path", n.Value)
		case (aerr != nil && host != "localhost" || aerr == nil && !a.IsLoopback()) && c.Admin.TLS == nil:
			t.problem(n, "the admin listener is not on a loopback address, and whoever reaches it can reload the gateway; set admin.tls and admin.operators, or listen on 127.0.0.1 or unix:/path")
		}
	}
	t.checkOperators(admin, &c.Admin)
	t.checkRequestLog("access_log", &c.AccessLog)
	t.checkRequestLog("security_log", &c.SecurityLog)
	_, audit := get(root, "audit_log")
	if _, f := get(audit, "format"); f != nil {
		t.oneOf(f, "audit_log.format", "json")
	}
	t.checkLogFile(audit, &c.AuditLog.Output)
	t.checkOneLog(root)
	t.checkTracing(root)
	_, delegate := get(root, "delegate")
	pairs(delegate, func(k, v *yaml.Node) {
		if _, o := get(v, "owner"); o == nil {
			t.problem(k, "delegation %q names no owner", k.Value)
		}
		_, h := get(v, "hosts")
		if h == nil || len(wordsOf(h)) == 0 {
			t.problem(k, "delegation %q names no hosts", k.Value)
		}
		for _, w := range wordsOf(h) {
			if _, err := canonicalHost(w.Value); err != nil {
				t.problem(w, "host %q: %v", w.Value, err)
			}
		}
		if _, o := get(v, "owner"); o != nil && t.organizations[o.Value] == nil {
			t.undefined(o, "organization", t.organizations)
		}
		if _, err := path.Match(k.Value, ""); err != nil {
			t.problem(k, "delegation %q is not a pattern of file names", k.Value)
		}
	})
}

func orNode(n, other *yaml.Node) *yaml.Node {
	if n != nil {
		return n
	}
	return other
}

// abs is a path with the main file's folder in front, if it is relative.
func (t *tree) abs(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(t.dir, p)
}

// file1 makes a path absolute and makes sure that its file can be read.
func (t *tree) file1(n *yaml.Node, p *string) []byte {
	*p = t.abs(*p)
	t.files.note(*p)
	b, err := readBounded(*p)
	if err != nil && n != nil {
		t.bad(n, "", "%s can't be read: %v", *p, err)
	}
	return b
}

// secret resolves a reference: relative file names are looked for in systemd's
// $CREDENTIALS_DIRECTORY first.
func (t *tree) secret(n *yaml.Node, s *unit.Secret) {
	kind, name := s.Source()
	switch kind {
	case "env":
		v, ok := os.LookupEnv(name)
		if !ok {
			if n != nil {
				t.problem(n, "the environment variable %s is not set", name)
			}
			return
		}
		s.Resolve(v)
	case "file":
		paths := []string{t.abs(name)}
		if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && !filepath.IsAbs(name) {
			paths = []string{filepath.Join(dir, name), paths[0]}
		}
		var err error
		for _, p := range paths {
			var b []byte
			t.files.note(p)
			if b, err = readBounded(p); err == nil {
				s.Resolve(string(b))
				return
			}
		}
		if n != nil {
			t.problem(n, "the secret %s can't be read: %v", paths[len(paths)-1], err)
		}
	}
}

// checkACME makes paths absolute, reads secrets, and reports what certs says.
func (t *tree) checkACME(n *yaml.Node, a *certs.ACME) {
	if a.CA != "" {
		_, ca := get(n, "ca")
		before := len(t.errs.Problems)
		if t.file1(ca, &a.CA); len(t.errs.Problems) > before {
			return
		}
	}
	switch a.Storage {
	case "":
	case certs.StorageRedis:
		if _, at := get(n, "storage"); t.config.Store == nil {
			t.problem(orNode(at, n), "tls.acme.storage: redis needs \"store\", which says where the server is")
		}
	default:
		a.Storage = t.abs(a.Storage)
	}
	before := len(t.errs.Problems)
	if !a.StorageKey.IsZero() {
		_, key := get(n, "storage_key")
		t.secret(key, &a.StorageKey)
	}
	if !a.EAB.HMACKey.IsZero() {
		_, eab := get(n, "eab")
		_, key := get(eab, "hmac_key")
		t.secret(key, &a.EAB.HMACKey)
	}
	if a.DNS != nil && a.DNS.RFC2136 != nil && !a.DNS.RFC2136.Secret.IsZero() {
		_, dns := get(n, "dns")
		_, update := get(dns, "rfc2136")
		_, key := get(update, "secret")
		t.secret(key, &a.DNS.RFC2136.Secret)
	}
	if len(t.errs.Problems) > before {
		return
	}
	for _, p := range a.Problems() {
		_, at := get(n, p.Key)
		t.problem(orNode(at, n), "%v", p.Err)
	}
	redirects := slices.ContainsFunc(t.config.Listen, func(l Listen) bool { return l.Redirect != "" })
	if _, at := get(n, "challenges"); a.Answers("http-01") && !redirects && (at != nil || !a.Answers("tls-alpn-01")) {
		t.warn(orNode(at, n), "http-01 is answered only by a listener with redirect: https, and there is none")
	}
}

func (t *tree) checkKeyPair(n *yaml.Node, k *certs.KeyPair, server bool) {
	_, cert := get(n, "cert")
	_, key := get(n, "key")
	if cert == nil || key == nil {
		if n != nil {
			t.problem(n, "a certificate needs cert and key")
		}
		return
	}
	before := len(t.errs.Problems)
	if server {
		defer func() { t.keepFormer(k, before) }()
	}
	t.file1(cert, &k.Cert)
	if !k.Key.IsZero() {
		t.secret(key, &k.Key)
	}
	if len(t.errs.Problems) > before || k.Key.IsZero() {
		return
	}
	pair, _, err := certs.LoadKeyPair(*k)
	if err != nil {
		t.problem(cert, "%v", err)
		return
	}
	if server {
		t.leaves = append(t.leaves, pair.Leaf)
		if advice := certs.KeyAdvice(t.config.TLS.Profile, pair.Leaf); advice != "" {
			t.warn(cert, "%s %s", cert.Value, advice)
		}
	}
}

// keepFormer turns what was found wrong with the files of a server certificate
// into warnings, if a certificate from them is served now.
func (t *tree) keepFormer(k *certs.KeyPair, before int) {
	found := t.errs.Problems[before:]
	if len(found) == 0 || t.previous == nil || !slices.ContainsFunc(t.previous.TLS.Certificates, func(p certs.KeyPair) bool {
		return p.Cert == k.Cert && p.Key.Ref == k.Key.Ref
	}) {
		return
	}
	t.kept = true
	for i := range found {
		found[i].Warning = true
		found[i].Message += "; the former certificate is served"
	}
}

func (t *tree) buildOrganization(key string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	var o Organization
	t.quiet++
	t.decode(n, reflect.ValueOf(&o).Elem(), "")
	t.quiet--
	k := t.keys[n]
	if o.Name == "" {
		o.Name = key
	}
	_, list := get(n, "crl")
	t.checkTime(list, "max_age", time.Second, 10*365*24*time.Hour)
	_, revocation := get(n, "revocation")
	t.checkTime(revocation, "grace", time.Second, 10*365*24*time.Hour)
	_, id := get(n, "id")
	for _, v := range wordsOf(id) {
		if advice, err := certs.CheckIdentifier(v.Value); err == nil && advice != "" {
			t.warn(v, "%s", advice)
		}
	}
	_, subject := get(n, "subject")
	if _, spki := get(n, "spki"); id == nil && subject == nil && spki == nil && len(o.SAN) == 0 {
		t.problem(k, "organization %q needs id, subject, san or spki: an authority alone proves no organization", key)
	}
	for _, m := range o.Organization.Check() {
		_, at := get(n, m.Key)
		for _, w := range wordsOf(at) {
			if w.Value == m.Value && m.Value != "" {
				at = w
			}
		}
		if at != nil && at.Tag != "!!null" {
			t.problem(at, "organization %q: %v", key, m.Err)
		}
	}
	_, ca := get(n, "ca")
	if len(o.CA) == 0 {
		t.problem(k, "organization %q needs ca, the file of the authorities that issue its certificates", key)
	}
	for i, c := range wordsOf(ca) {
		if i >= len(o.CA) {
			break
		}
		if b := t.file1(c, &o.CA[i]); b != nil {
			t.checkCA(c, o.CA[i])
		}
	}
	t.checkRevocation(key, n, &o)
	if _, v := get(n, "valid_until"); v != nil && !o.ValidUntil.IsZero() && time.Now().After(o.ValidUntil.End()) {
		t.warn(v, "the agreement of organization %q ended on %s; its requests are refused", key, o.ValidUntil)
	}
	t.checkUse(n, fmt.Sprintf("organization %q", key), levelOrganization)
	t.config.Trust[key] = o.Organization
	t.config.Callers[key] = middleware.Caller{Key: key, Name: o.Name, RateLimit: o.RateLimit, Quota: o.Quota, Concurrency: o.Concurrency, Contact: o.Contact, RequirePQ: o.RequirePQ}
}

// checkRevocation reads the lists of files, so that one that could not be used is
// found before it refuses everybody.
func (t *tree) checkRevocation(key string, n *yaml.Node, o *Organization) {
	_, crl := get(n, "crl")
	sources := []*yaml.Node{crl}
	if crl != nil && crl.Kind == yaml.SequenceNode {
		sources = crl.Content
	}
	for i := range o.CRL {
		c, node := &o.CRL[i], sources[i]
		_, issuer := get(node, "issuer")
		if c.Issuer != "" && t.file1(issuer, &c.Issuer) == nil {
			continue
		}
		at := node
		if c.File != "" && c.URL == "" {
			_, at = get(node, "file")
			c.File = t.abs(c.File)
			if _, err := readBounded(c.File); err != nil {
				t.files.note(c.File)
				t.problem(at, "crl of organization %q: %s can't be read: %v", key, c.File, err)
				continue
			}
		} else if c.URL != "" && c.File == "" {
			_, at = get(node, "url")
		}
		warning, err := c.Check(o.CA, time.Now())
		if err != nil && c.File != "" {
			t.files.note(c.File) // a good one is followed by itself
		}
		switch {
		case err != nil && strings.Contains(c.URL, "@"): // may hold a password, which is not to be shown
			t.hide(at)
			t.bare(at, "crl of organization %q: %v", key, err)
		case err != nil:
			t.bad(at, "", "crl of organization %q: %v", key, err)
		case warning != "":
			t.warn(at, "crl of organization %q: %s", key, warning)
		}
	}
	if crl != nil && len(o.CRL) == 0 && crl.Kind == yaml.SequenceNode {
		t.problem(crl, "crl of organization %q is an empty list", key)
	}
	_, responder := get(n, "ocsp")
	if responder != nil && o.OCSP != nil {
		if err := o.OCSP.Check(); err != nil {
			t.problem(responder, "ocsp of organization %q: %v", key, err)
		}
	}
	if _, r := get(n, "revocation"); r != nil && o.Revocation != nil {
		if err := o.Revocation.Check(); err != nil {
			t.problem(r, "revocation of organization %q: %v", key, err)
		} else if crl == nil && responder == nil {
			t.problem(r, "revocation of organization %q says what happens without a usable list or answer, but there is neither crl nor ocsp", key)
		}
	}
}

// checkCA makes sure that the file at n, whose full path is given, holds
// certification authorities.
func (t *tree) checkCA(n *yaml.Node, path string) {
	expired, err := certs.CheckAuthorities(path)
	if err != nil {
		t.problem(n, "%s", strings.ReplaceAll(err.Error(), path, n.Value))
	}
	for _, e := range expired {
		t.warn(n, "%s: %s", n.Value, e)
	}
}

// checkOverlaps refuses two organizations that one certificate could prove.
func (t *tree) checkOverlaps() {
	for _, o := range certs.Overlaps(t.config.Trust) {
		first := t.keys[t.organizations[o.A]]
		t.conflict(t.keys[t.organizations[o.B]], first, "one certificate could prove organization %q and %q (%s): %s", o.B, o.A, t.at(first), o.Why)
	}
}

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
