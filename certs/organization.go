package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// organization is an Organization ready to be proven.
type organization struct {
	key        string
	digest     string // of everything in the configuration that decides whether it is proven
	ids        []string
	subject    *SubjectMatch
	san        []sanPattern
	pins       []string
	usage      x509.ExtKeyUsage
	qc         *QC
	pool       *x509.CertPool
	cas        []*x509.Certificate
	until      time.Time // first moment without an agreement; zero for none
	revocation revocationPolicy
	lists      []*list
	responder  *responder                   // nil without ocsp
	above      map[string]*x509.Certificate // of an authority that is configured, the one that issued it, if that is too

	admitted, refused prometheus.Counter // without certainty
}

// loadOrganizations reads the authorities of each organization and makes sure
// that no certificate can prove two of them.
func (s *Set) loadOrganizations(all map[string]Organization) error {
	var errs []error
	var trust [][]byte
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		c := all[key]
		fail := func(err error) { errs = append(errs, fmt.Errorf("organization %q: %w", key, err)) }
		o := &organization{key: key, ids: c.ID, subject: c.Subject, pins: c.SPKI, qc: c.QC, pool: x509.NewCertPool()}
		if !c.ValidUntil.IsZero() {
			o.until = c.ValidUntil.End()
		}
		for _, err := range o.readNames(c) {
			fail(err)
		}
		if len(c.CA) == 0 {
			fail(errors.New("needs ca"))
		}
		for _, path := range c.CA {
			cas, err := LoadCAs(path)
			if err != nil {
				fail(fmt.Errorf("ca: %w", err))
				continue
			}
			for _, ca := range cas {
				o.pool.AddCert(ca)
				o.cas = append(o.cas, ca)
				if !seen[string(ca.Raw)] {
					seen[string(ca.Raw)] = true
					s.byCA.AddCert(ca)
				}
			}
		}
		var err error
		if o.revocation, err = policyOf(c.Revocation); err != nil {
			fail(fmt.Errorf("revocation: %w", err))
		}
		for _, err := range s.loadRevocation(o, c) {
			fail(err)
		}
		o.digest = o.trust(c)
		trust = append(trust, []byte(o.digest))
		s.organizations = append(s.organizations, o)
	}
	for _, o := range overlaps(s.organizations) {
		errs = append(errs, o)
	}
	s.trustID = digest(trust...)
	return errors.Join(errs...)
}

// loadRevocation finds where the status of the organization's certificates is
// learned.
func (s *Set) loadRevocation(o *organization, c Organization) (errs []error) {
	if len(c.CRL) > 0 || c.OCSP != nil {
		unknown := s.manager.lists.unknown
		o.admitted, o.refused = unknown.WithLabelValues(o.key, "admitted"), unknown.WithLabelValues(o.key, "refused")
	}
	for i, source := range c.CRL {
		l, err := s.manager.lists.find(numbered(o.key, i), source, o.cas)
		if err != nil {
			errs = append(errs, fmt.Errorf("crl: %w", err))
			continue
		}
		o.lists = append(o.lists, l)
	}
	if c.OCSP != nil {
		var err error
		if o.responder, err = s.manager.responders.find(o.key, *c.OCSP, o.revocation); err != nil {
			errs = append(errs, fmt.Errorf("ocsp: %w", err))
		}
	}
	if c.Revocation != nil && len(c.CRL) == 0 && c.OCSP == nil {
		errs = append(errs, errors.New("revocation: says what happens without a usable list or answer, but there is neither crl nor ocsp"))
	}
	o.above = map[string]*x509.Certificate{}
	for _, ca := range o.cas {
		for _, by := range o.cas {
			if !bytes.Equal(ca.Raw, by.Raw) && issued(by, ca) {
				o.above[string(ca.Raw)] = by
			}
		}
	}
	return errs
}

// numbered names the first of several things by its key alone.
func numbered(key string, i int) string {
	if i == 0 {
		return key
	}
	return key + "/" + strconv.Itoa(i+1)
}

// readNames reads what a certificate of the organization has to say.
func (o *organization) readNames(c Organization) (errs []error) {
	if len(c.ID) == 0 && c.Subject == nil && len(c.SAN) == 0 && len(c.SPKI) == 0 {
		errs = append(errs, errors.New("needs id, subject, san or spki: an authority alone proves no organization"))
	}
	for _, pin := range c.SPKI {
		if err := CheckPin(pin); err != nil {
			errs = append(errs, err)
		}
	}
	if c.QC != nil {
		if err := c.QC.Check(); err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	if o.usage, err = usageOf(c.EKU); err != nil {
		errs = append(errs, err)
	}
	if c.Subject != nil && *c.Subject == (SubjectMatch{}) {
		errs = append(errs, errors.New("subject: demands nothing; write at least one of cn, o, ou, c and serial_number"))
	}
	for _, id := range c.ID {
		if id == "" || len(id) > maxAttribute {
			errs = append(errs, fmt.Errorf("id %q: an identifier has 1 to %d bytes", id, maxAttribute))
		}
	}
	for _, text := range c.SAN {
		p, err := compileSAN(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		o.san = append(o.san, p)
	}
	return errs
}

// trust is a digest of everything that decides whether o is proven.
func (o *organization) trust(c Organization) string {
	parts := [][]byte{[]byte(o.key), []byte(c.ValidUntil.String()), fmt.Append(nil, o.revocation.mode, o.revocation.grace)}
	list := func(l []string) {
		parts = append(parts, fmt.Append(nil, len(l)))
		for _, v := range l {
			parts = append(parts, []byte(v))
		}
	}
	list(c.ID)
	list(c.SAN)
	list(c.SPKI)
	list([]string{c.EKU})
	if c.QC != nil {
		list([]string{"qc", c.QC.Type, strconv.FormatBool(c.QC.Compliance)})
	}
	if m := c.Subject; m != nil {
		list([]string{m.CN, m.O, m.OU, m.C, m.SerialNumber})
	}
	for _, l := range c.CRL {
		list([]string{"crl", l.URL, l.File, l.Issuer, l.MaxAge.String()})
	}
	if r := c.OCSP; r != nil {
		list([]string{"ocsp", r.URL, strconv.FormatBool(r.FromCertificate), r.MaxAge.String()})
	}
	for _, ca := range o.cas {
		parts = append(parts, ca.Raw)
	}
	return digest(parts...)
}

type wanted struct {
	oid   asn1.ObjectIdentifier
	value string
}

func (m *SubjectMatch) values() [5]wanted {
	return [5]wanted{{oidCN, m.CN}, {oidO, m.O}, {oidOU, m.OU}, {oidC, m.C}, {oidSerialNumber, m.SerialNumber}}
}

// names reports whether c names the organization, and by which value: the
// organizationIdentifier, else the first demanded subject attribute, else the
// alternative name, else the pin. An error is an attribute that this
// organization asks for and that must not be interpreted, or a qualified
// statement that is missing.
func (o *organization) names(c *claim) (string, bool, error) {
	matched := ""
	if len(o.ids) > 0 {
		if c.identifier == "" || !slices.Contains(o.ids, c.identifier) {
			return "", false, nil
		}
		matched = c.identifier
	}
	if o.subject != nil {
		for _, want := range o.subject.values() {
			if want.value == "" {
				continue
			}
			got, err := single(c.subject, want.oid)
			if err != nil || got != want.value {
				return "", false, err
			}
			if matched == "" {
				matched = got
			}
		}
	}
	if len(o.san) > 0 {
		i := slices.IndexFunc(o.san, func(p sanPattern) bool { _, ok := p.find(c.names); return ok })
		if i < 0 {
			return "", false, nil
		}
		if matched == "" {
			matched, _ = o.san[i].find(c.names)
		}
	}
	if len(o.pins) > 0 {
		pin := pinOf(c.leaf)
		if !slices.Contains(o.pins, pin) {
			return "", false, nil
		}
		if matched == "" {
			matched = pin
		}
	}
	if matched != "" && o.qc != nil {
		if err := o.qc.met(c.leaf); err != nil {
			return "", false, err
		}
	}
	return matched, matched != "", nil
}
