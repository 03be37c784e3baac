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
}

// Inspect reports what the certificate in PEM, with the intermediates that
// follow it, would prove at the given time.
func (s *Set) Inspect(b []byte, now time.Time) (Report, error) {
	var peers []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue // a key may lie in the same file, and is nobody's business
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return Report{}, fmt.Errorf("certificate %d: %w", len(peers)+1, err)
		}
		peers = append(peers, c)
	}
	if len(peers) == 0 {
		return Report{}, errors.New("there is no certificate in PEM")
	}
	c := peers[0]
	sum := sha256.Sum256(c.Raw)
	r := Report{
		Subject: c.Subject.String(), Issuer: c.Issuer.String(), Serial: c.SerialNumber.Text(16), SHA256: hex.EncodeToString(sum[:]),
		Pin: pinOf(c), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Identity: s.Identify(&tls.ConnectionState{PeerCertificates: peers}, now),
	}
	if attributes, err := subjectOf(c); err == nil {
		r.OrganizationIdentifier, _ = single(attributes, oidOrganizationIdentifier)
	}
	for _, kind := range []string{"dns", "uri", "email"} {
		for _, v := range sanValues(c, kind) {
			r.Names = append(r.Names, kind+":"+v)
		}
	}
	for _, u := range c.ExtKeyUsage {
		r.Usages = append(r.Usages, usageWord(u))
	}
	for _, u := range c.UnknownExtKeyUsage {
		r.Usages = append(r.Usages, u.String())
	}
	return r, nil
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
	id := r.Identity
	if id.Reason == "" {
		line("proves", fmt.Sprintf("organization %s, by %s", id.Organization, id.ID))
		line("note", id.Detail)
		return b.String()
	}
	line("proves", fmt.Sprintf("nothing: %s", id.Reason))
	line("why", id.Detail)
	line("claims to be", id.Claimed)
	return b.String()
}

// plain quotes a value that holds more than printable characters.
func plain(s string) string {
	if q := fmt.Sprintf("%q", s); strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) || strings.Contains(q, `\u`) {
		return q
	}
	return s
}
