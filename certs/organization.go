package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

// organization is an Organization ready to be proven.
type organization struct {
	key     string
	ids     []string
	subject *SubjectMatch
	san     []*sanPattern
	pool    *x509.CertPool
	cas     []*x509.Certificate
	until   time.Time // first moment without an agreement; zero for none
	crl     *CRL
	list    *list // nil without crl
}

// sanPattern is a pattern of one kind of subject alternative name.
type sanPattern struct {
	kind string // dns, uri, email
	text string
	re   *regexp.Regexp
}

// compileSAN reads "dns:*.nra.example".
func compileSAN(s string) (*sanPattern, error) {
	kind, text, ok := strings.Cut(s, ":")
	star, known := map[string]string{"dns": `[^.]+`, "uri": `[^/:]+`, "email": `[^@]+`}[kind]
	if !ok || !known || text == "" {
		return nil, fmt.Errorf("san %q: write dns:, uri: or email: and a pattern", s)
	}
	parts := strings.Split(text, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	flags := ""
	if kind != "uri" {
		flags = "(?i)"
	}
	re, err := regexp.Compile(flags + `\A` + strings.Join(parts, star) + `\z`)
	if err != nil {
		return nil, fmt.Errorf("san %q: %w", s, err)
	}
	return &sanPattern{kind, text, re}, nil
}

// find is the value in c that fits.
func (p *sanPattern) find(c *x509.Certificate) (string, bool) {
	var values []string
	switch p.kind {
	case "dns":
		values = c.DNSNames
	case "email":
		values = c.EmailAddresses
	case "uri":
		for _, u := range c.URIs {
			values = append(values, u.String())
		}
	}
	for _, v := range values {
		if p.re.MatchString(v) && !strings.ContainsRune(v, 0) {
			return v, true
		}
	}
	return "", false
}

// loadOrganizations reads the authorities of each organization and makes sure
// that no certificate can prove two of them.
func (s *Set) loadOrganizations(all map[string]Organization) error {
	var errs []error
	var trust [][]byte
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		c := all[key]
		o := &organization{key: key, ids: c.ID, subject: c.Subject, pool: x509.NewCertPool(), crl: c.CRL}
		if !c.ValidUntil.IsZero() {
			o.until = c.ValidUntil.End()
		}
		fail := func(err error) { errs = append(errs, fmt.Errorf("organization %q: %w", key, err)) }
		if len(c.ID) == 0 && c.Subject == nil && len(c.SAN) == 0 {
			fail(errors.New("needs id, subject or san: an authority alone proves no organization"))
		}
		for _, p := range c.SAN {
			re, err := compileSAN(p)
			if err != nil {
				fail(err)
				continue
			}
			o.san = append(o.san, re)
		}
		trust = append(trust, []byte(key), fmt.Append(nil, c.ID, c.Subject, c.SAN, c.ValidUntil, c.CRL != nil))
		if len(c.CA) == 0 {
			fail(errors.New("needs ca"))
		}
		for _, path := range c.CA {
			cas, err := loadCAs(path)
			if err != nil {
				fail(fmt.Errorf("ca: %w", err))
				continue
			}
			for _, ca := range cas {
				o.pool.AddCert(ca)
				o.cas = append(o.cas, ca)
				trust = append(trust, ca.Raw)
				if !seen[string(ca.Raw)] {
					seen[string(ca.Raw)] = true
					s.byCA.AddCert(ca)
				}
			}
		}
		if c.CRL != nil {
			l, err := s.manager.lists.find(key, *c.CRL, o.cas)
			if err != nil {
				fail(fmt.Errorf("crl: %w", err))
			}
			o.list = l
		}
		s.organizations = append(s.organizations, o)
	}
	s.trustID = digest(trust...)
	return errors.Join(errs...)
}

var oidOrganizationIdentifier = asn1.ObjectIdentifier{2, 5, 4, 97}

// attribute is one attribute of a subject, with the bytes of its value.
type attribute struct {
	oid   asn1.ObjectIdentifier
	tag   int
	value []byte
}

// subjectOf reads the subject's attributes without making strings comparable
// that are not: values are compared byte by byte.
func subjectOf(c *x509.Certificate) ([]attribute, error) {
	var rdns []asn1.RawValue
	if rest, err := asn1.Unmarshal(c.RawSubject, &rdns); err != nil || len(rest) > 0 {
		return nil, errors.New("the subject can't be read")
	}
	var l []attribute
	for _, rdn := range rdns {
		for rest := rdn.Bytes; len(rest) > 0; {
			var a struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}
			var err error
			if rest, err = asn1.Unmarshal(rest, &a); err != nil {
				return nil, errors.New("the subject can't be read")
			}
			l = append(l, attribute{a.Type, a.Value.Tag, a.Value.Bytes})
		}
	}
	return l, nil
}

// single is the one value of an attribute; "" if there is none. Two values, NUL
// or an encoding with more than one spelling of a text are an error.
func single(l []attribute, oid asn1.ObjectIdentifier) (string, error) {
	found := ""
	for _, a := range l {
		if !a.oid.Equal(oid) {
			continue
		}
		if found != "" {
			return "", fmt.Errorf("the attribute %s occurs twice", oid)
		}
		switch a.tag {
		case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String:
		default:
			return "", fmt.Errorf("the attribute %s is neither UTF8String nor PrintableString", oid)
		}
		if len(a.value) == 0 || bytes.IndexByte(a.value, 0) >= 0 {
			return "", fmt.Errorf("the attribute %s is empty or holds NUL", oid)
		}
		found = string(a.value)
	}
	return found, nil
}

var (
	oidCN           = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidSerialNumber = asn1.ObjectIdentifier{2, 5, 4, 5}
	oidC            = asn1.ObjectIdentifier{2, 5, 4, 6}
	oidO            = asn1.ObjectIdentifier{2, 5, 4, 10}
	oidOU           = asn1.ObjectIdentifier{2, 5, 4, 11}
)

// names reports whether c names the organization, and by which identifier.
func (o *organization) names(c *x509.Certificate, subject []attribute, id string) (string, bool, error) {
	matched := ""
	if len(o.ids) > 0 {
		if id == "" || !slices.Contains(o.ids, id) {
			return "", false, nil
		}
		matched = id
	}
	if m := o.subject; m != nil {
		for _, want := range []struct {
			oid   asn1.ObjectIdentifier
			value string
		}{{oidCN, m.CN}, {oidO, m.O}, {oidOU, m.OU}, {oidC, m.C}, {oidSerialNumber, m.SerialNumber}} {
			if want.value == "" {
				continue
			}
			got, err := single(subject, want.oid)
			if err != nil {
				return "", false, err
			}
			if got != want.value {
				return "", false, nil
			}
			if matched == "" {
				matched = got
			}
		}
	}
	if len(o.san) > 0 {
		found := ""
		for _, p := range o.san {
			if v, ok := p.find(c); ok {
				found = v
				break
			}
		}
		if found == "" {
			return "", false, nil
		}
		if matched == "" {
			matched = found
		}
	}
	return matched, matched != "", nil
}
