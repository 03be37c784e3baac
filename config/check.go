package config

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
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
