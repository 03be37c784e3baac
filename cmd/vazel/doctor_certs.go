package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

func certificateChecks(t trust) []check {
	var l []check
	for _, k := range t.config.TLS.Certificates {
		l = append(l, check{"server certificate", func(context.Context) []finding { return checkServer(k) }})
	}
	l = append(l, check{"host names", func(context.Context) []finding { return checkNames(t) }})
	for _, s := range t.config.Services {
		u := s.Policy.UpstreamTLS
		if u == nil {
			continue
		}
		l = append(l, check{"upstream certificate", func(context.Context) (found []finding) {
			if u.Cert != "" {
				pair, _, err := certs.LoadKeyPair(u.KeyPair)
				if err != nil {
					return []finding{{Subject: s.Name, Status: statusFail, Message: err.Error()}}
				}
				found = append(found, expiry(s.Name+", "+filepath.Base(u.Cert), pair.Leaf, "ask the authority for a new one; upstreams will refuse the gateway"))
			}
			for _, ca := range readCertificates(u.CA) {
				found = append(found, expiry(s.Name+", authority "+ca.Subject.String(), ca, "replace it in "+u.CA))
			}
			return found
		}})
	}
	for _, key := range slices.Sorted(maps.Keys(t.config.Trust)) {
		l = append(l, check{"organization", func(context.Context) []finding { return checkOrganization(t, key) }})
	}
	return l
}

// checkServer looks at a certificate that clients are shown.
func checkServer(k certs.KeyPair) []finding {
	name := filepath.Base(k.Cert)
	pair, _, err := certs.LoadKeyPair(k)
	if err != nil {
		return []finding{{Subject: name, Status: statusFail, Message: err.Error(), Mend: "the file holds the certificate first, then each issuer; the key must be its own"}}
	}
	found := []finding{
		{Subject: name, Status: statusOK, Message: fmt.Sprintf("its key fits, and its chain of %d is in order", len(pair.Certificate))},
		expiry(name, pair.Leaf, "replace the files; the gateway takes them up by itself"),
	}
	if len(pair.Leaf.DNSNames) == 0 && len(pair.Leaf.IPAddresses) == 0 {
		found = append(found, finding{Subject: name, Status: statusFail, Message: "it names no host: clients look at subject alternative names only", Mend: "ask for one with the names of the hosts"})
	}
	if len(pair.Leaf.ExtKeyUsage) > 0 && !slices.Contains(pair.Leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(pair.Leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		found = append(found, finding{Subject: name, Status: statusFail, Message: "it is not for servers (extended key usage)", Mend: "ask for one for server authentication"})
	}
	if len(pair.Certificate) == 1 && len(pair.Leaf.IssuingCertificateURL) > 0 {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{}); err != nil {
			found = append(found, finding{Subject: name, Status: statusWarn, Message: "its intermediates seem to be missing in the file", Mend: "append the certificate of " + pair.Leaf.IssuingCertificateURL[0]})
		}
	}
	return found
}

// expiry says how long a certificate lasts. Fourteen days are little; for those
// that live for less than seventy, a fifth of their life is.
func expiry(subject string, c *x509.Certificate, mend string) finding {
	now := time.Now()
	left := c.NotAfter.Sub(now)
	f := finding{Subject: subject, Status: statusOK, Message: fmt.Sprintf("lasts until %s, %s days", c.NotAfter.UTC().Format(time.DateOnly), daysLeft(now, c.NotAfter))}
	switch {
	case left <= 0:
		f.Status, f.Message, f.Mend = statusFail, "expired on "+c.NotAfter.UTC().Format(time.RFC3339), mend
	case now.Before(c.NotBefore):
		f.Status, f.Message, f.Mend = statusFail, "is not valid before "+c.NotBefore.UTC().Format(time.RFC3339), "check the clock, or wait"
	case left < min(14*24*time.Hour, c.NotAfter.Sub(c.NotBefore)/5):
		f.Status, f.Message, f.Mend = statusWarn, fmt.Sprintf("ends in %s, on %s", span(left), c.NotAfter.UTC().Format(time.RFC3339)), mend
	}
	return f
}

// checkNames says where the certificate of each host comes from.
func checkNames(t trust) []finding {
	var leaves []*x509.Certificate
	for _, k := range t.config.TLS.Certificates {
		if pair, _, err := certs.LoadKeyPair(k); err == nil {
			leaves = append(leaves, pair.Leaf)
		}
	}
	now := time.Now()
	var found []finding
	files, acme := 0, 0
	for _, s := range t.config.Services {
		for _, h := range s.Hosts {
			covering := slices.DeleteFunc(slices.Clone(leaves), func(c *x509.Certificate) bool { return !certs.Covers(c, h) })
			good := slices.ContainsFunc(covering, func(c *x509.Certificate) bool { return now.After(c.NotBefore) && now.Before(c.NotAfter) })
			switch {
			case good:
				files++
			case len(covering) > 0:
				found = append(found, finding{Subject: h, Status: statusFail, Message: "no certificate that is valid now covers it", Mend: "replace the certificate that does"})
			case t.config.TLS.ACME != nil:
				acme++
			default:
				found = append(found, finding{Subject: h, Status: statusFail, Message: "no certificate of tls.certificates covers it, and tls.acme is not set"})
			}
		}
	}
	text := fmt.Sprintf("%d hosts are covered by certificates from files", files)
	if acme > 0 {
		text += fmt.Sprintf(", %d by ACME", acme)
	}
	return append([]finding{{Status: statusOK, Message: text}}, found...)
}

// checkOrganization looks at an organization's authorities, agreement and the
// certificates that came from it.
func checkOrganization(t trust, key string) []finding {
	o, now := t.config.Trust[key], time.Now()
	var found []finding
	for _, file := range o.CA {
		for _, ca := range readCertificates(file) {
			found = append(found, expiry(key+", authority "+ca.Subject.String(), ca, "ask the organization for its new authority and add it to "+file))
		}
	}
	if !o.ValidUntil.IsZero() {
		left := o.ValidUntil.End().Sub(now)
		switch {
		case left <= 0:
			found = append(found, finding{Subject: key, Status: statusWarn, Message: "its agreement ended on " + o.ValidUntil.String() + "; it is refused", Mend: "renew it and set valid_until, or remove the organization"})
		case left < 30*24*time.Hour:
			found = append(found, finding{Subject: key, Status: statusWarn, Message: "its agreement ends on " + o.ValidUntil.String(), Mend: "renew it and set valid_until"})
		}
	}
	for _, c := range t.manager.Seen(key, now) {
		if left := c.NotAfter.Sub(now); !c.Replaced && left < 14*24*time.Hour {
			found = append(found, finding{Subject: key + ", " + short(printable(c.Subject), 80), Status: statusWarn, Message: fmt.Sprintf("the certificate %s that it called with ends on %s", short(c.Serial, 16), c.NotAfter.Format(time.DateOnly)), Mend: "tell " + contactWords(t, key)})
		}
	}
	return found
}

func contactWords(t trust, key string) string {
	if c := t.config.Callers[key].Contact; c != "" {
		return c
	}
	return "the organization"
}
