package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware"
	"go.yaml.in/yaml/v4"
)

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
