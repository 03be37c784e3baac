package config

import (
	"slices"

	"github.com/vazel-gateway/vazel/certs"
	"go.yaml.in/yaml/v4"
)

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
