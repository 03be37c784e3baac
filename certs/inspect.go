package certs

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Report says which organization a certificate would prove, and why or why not.
type Report struct {
	Subject, Issuer        string
	Serial, SHA256         string // hexadecimal
	Pin                    string // for spki
	NotBefore, NotAfter    time.Time
	OrganizationIdentifier string
	Names                  []string // subject alternative names, as patterns of san would spell them
	Usages                 []string // extended key usages; none stands for all
	Identity               Identity
	Authorities            []string     // organizations with an authority behind the certificate
	Expected               string       // identifiers of the organization that the certificate names
	Lists                  []ListStatus // that organization's revocation lists
	Responder              string       // where that organization's OCSP answers come from; none is asked
}

// Inspect reports what each certificate in b, PEM or DER, would prove at the
// given time. Certificates of authorities go along with the one that they
// follow, as its intermediates.
func (s *Set) Inspect(b []byte, now time.Time) ([]Report, error) {
	all, err := certificatesOf(b)
	if err != nil {
		return nil, err
	}
	var reports []Report
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].IsCA {
			n++
		}
		reports = append(reports, s.inspect(all[:n], now))
		all = all[n:]
	}
	return reports, nil
}

// certificatesOf reads PEM, or else DER.
func certificatesOf(b []byte) (all []*x509.Certificate, err error) {
	rest := b
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a key may lie in the same file, and is nobody's business
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(all)+1, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 && len(b) > 0 && b[0] == 0x30 { // SEQUENCE
		if all, err = x509.ParseCertificates(b); err != nil {
			return nil, fmt.Errorf("not a certificate in DER: %w", err)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in PEM or DER")
	}
	return all, nil
}

func (s *Set) inspect(peers []*x509.Certificate, now time.Time) Report {
	c := peers[0]
	sum := sha256.Sum256(c.Raw)
	r := Report{
		Subject: subjectText(c), Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16), SHA256: hex.EncodeToString(sum[:]),
		Pin: pinOf(c), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Identity: s.Identify(&tls.ConnectionState{PeerCertificates: peers}, now),
	}
	if attributes, err := subjectOf(c); err == nil {
		r.OrganizationIdentifier, _ = single(attributes, oidOrganizationIdentifier)
	}
	if names, err := sanNames(c); err == nil {
		for _, n := range names {
			r.Names = append(r.Names, n.kind+":"+n.value)
		}
	}
	for _, u := range c.ExtKeyUsage {
		r.Usages = append(r.Usages, usageWord(u))
	}
	for _, u := range c.UnknownExtKeyUsage {
		r.Usages = append(r.Usages, u.String())
	}
	s.whose(&r, peers, now)
	return r
}

// whose notes whose authorities stand behind the certificate, and what its
// organization's revocation list says.
func (s *Set) whose(r *Report, peers []*x509.Certificate, now time.Time) {
	path := verifier{leaf: peers[0], sent: peers}
	at := now // the authority is of interest after the certificate's end, too
	if at.After(peers[0].NotAfter) {
		at = peers[0].NotAfter
	}
	if at.Before(peers[0].NotBefore) {
		at = peers[0].NotBefore
	}
	for _, o := range s.organizations {
		if len(peers) <= maxChain {
			if _, err := path.verify(o.pool, at, x509.ExtKeyUsageAny); err == nil {
				r.Authorities = append(r.Authorities, o.key)
			}
		}
		if o.key != r.Identity.Claimed {
			continue
		}
		r.Expected = strings.Join(o.ids, " or ")
		r.Lists, r.Responder = o.listStatus(now), o.responderName()
	}
}

// subjectText is the subject as people read it, the organizationIdentifier too,
// of which x509 shows the DER.
func subjectText(c *x509.Certificate) string {
	s := c.Subject.String()
	attributes, err := subjectOf(c)
	if err != nil {
		return s
	}
	id, err := single(attributes, oidOrganizationIdentifier)
	head := oidOrganizationIdentifier.String() + "=#"
	before, after, found := strings.Cut(s, head)
	if err != nil || id == "" || !found || strings.Contains(after, head) {
		return s
	}
	return before + "organizationIdentifier=" + id + strings.TrimLeft(after, "0123456789abcdef")
}

func usageWord(u x509.ExtKeyUsage) string {
	switch u {
	case x509.ExtKeyUsageAny:
		return "any"
	case x509.ExtKeyUsageClientAuth:
		return "client"
	case x509.ExtKeyUsageServerAuth:
		return "server"
	case x509.ExtKeyUsageEmailProtection:
		return "email"
	}
	return fmt.Sprintf("other (%d)", u)
}

// String is the report for a terminal. What the certificate says is quoted where
// it could hide something.
func (r Report) String() string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-24s %s\n", name+":", plain(value))
		}
	}
	line("subject", r.Subject)
	line("issuer", r.Issuer)
	line("serial", r.Serial)
	line("sha256", r.SHA256)
	line("spki pin", r.Pin)
	line("valid", r.NotBefore.UTC().Format(time.RFC3339)+" to "+r.NotAfter.UTC().Format(time.RFC3339))
	line("organizationIdentifier", r.OrganizationIdentifier)
	line("names", strings.Join(r.Names, ", "))
	line("usages", strings.Join(r.Usages, ", "))
	line("authority of", orNone(strings.Join(r.Authorities, ", ")))
	id := r.Identity
	if id.Reason == "" {
		line("proves", fmt.Sprintf("organization %s, by %s", id.Organization, id.ID))
		line("note", id.Detail)
	} else {
		line("proves", fmt.Sprintf("nothing: %s", id.Reason))
		line("why", id.Detail)
		line("claims to be", id.Claimed)
		line("which has the id", r.Expected)
	}
	line("revocation", r.Revocation())
	return b.String()
}

func orNone(s string) string {
	if s == "" {
		return "no configured organization"
	}
	return s
}

// Revocation says in words what is known of the certificate's revocation; ""
// if it is of no organization.
func (r Report) Revocation() string {
	switch {
	case r.Identity.Claimed == "":
		return ""
	case len(r.Lists) == 0 && r.Responder == "":
		return "not checked: the organization has neither crl nor ocsp"
	}
	var all []string
	for _, l := range r.Lists {
		switch {
		case l.State == "missing":
			all = append(all, "no list of "+l.Source+" is kept here yet")
		case r.Identity.Reason == Revoked:
			all = append(all, fmt.Sprintf("revoked; a list of %s is known", l.ThisUpdate.Format(time.RFC3339)))
		case r.Identity.Reason != "" && r.Identity.Reason != AgreementExpired:
			all = append(all, fmt.Sprintf("a %s list of %s is known; it is asked only for certificates that are good otherwise", l.State, l.ThisUpdate.Format(time.RFC3339)))
		default:
			all = append(all, fmt.Sprintf("not on the %s list of %s with %d entries, next one by %s", l.State, l.ThisUpdate.Format(time.RFC3339), l.Entries, l.NextUpdate.Format(time.RFC3339)))
		}
	}
	if r.Responder != "" {
		all = append(all, "the OCSP responder ("+r.Responder+") is asked only by the running gateway")
	}
	return strings.Join(all, "; ")
}

// plain quotes a value that holds more than printable characters.
func plain(s string) string {
	if q := fmt.Sprintf("%q", s); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.Contains(q, `\u`) {
		return q
	}
	return s
}
