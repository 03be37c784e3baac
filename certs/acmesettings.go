package certs

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
)

// The challenges of ACME.Challenges.
const (
	challengeHTTP = "http-01"
	challengeALPN = "tls-alpn-01"
	challengeDNS  = "dns-01"
)

// Problem is what is wrong with a setting. Key is its place below the settings
// that were looked at, empty for the whole.
type Problem struct {
	Key string
	Err error
}

// Problems lists what is wrong, without asking anyone outside.
func (c *ACME) Problems() (l []Problem) {
	bad := func(key, format string, args ...any) { l = append(l, Problem{key, fmt.Errorf(format, args...)}) }
	if u, err := url.Parse(c.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		bad("directory", "tls.acme.directory must be an https URL")
	}
	if _, err := rootsOf(c); err != nil {
		bad("ca", "%w", err)
	}
	if (c.EAB.KeyID == "") != c.EAB.HMACKey.IsZero() {
		bad("eab", "tls.acme.eab needs both key_id and hmac_key")
	} else if key, err := base64.RawURLEncoding.DecodeString(eabKey(c)); err != nil || len(key) == 0 && c.EAB.KeyID != "" {
		bad("eab", "tls.acme.eab: the key that %s refers to is not in base64url", c.EAB.HMACKey)
	}
	switch {
	case c.Storage == StorageRedis:
		if _, err := sealKeys(c.StorageKey.Reveal()); c.StorageKey.IsZero() {
			bad("storage", "tls.acme.storage: redis needs tls.acme.storage_key, for private keys are not kept there in the clear")
		} else if err != nil {
			bad("storage_key", "tls.acme.storage_key: %w", err)
		}
	case !c.StorageKey.IsZero():
		bad("storage_key", "tls.acme.storage_key is of no use without storage: redis")
	}
	for i, name := range c.Challenges {
		switch {
		case name != challengeHTTP && name != challengeALPN && name != challengeDNS:
			bad("challenges", "tls.acme.challenges: %q is not known; write http-01, tls-alpn-01, dns-01", name)
		case slices.Index(c.Challenges, name) < i:
			bad("challenges", "tls.acme.challenges: %s stands there twice", name)
		}
	}
	switch listed := slices.Contains(c.Challenges, challengeDNS); {
	case listed && c.DNS == nil:
		bad("challenges", "tls.acme.challenges: dns-01 needs tls.acme.dns")
	case !listed && c.DNS != nil && len(c.Challenges) > 0:
		bad("dns", "tls.acme.dns is of no use: dns-01 is not one of tls.acme.challenges")
	}
	if c.DNS != nil {
		if err := c.DNS.check(); err != nil {
			bad("dns", "tls.acme.dns: %w", err)
		}
	}
	return l
}

// Wildcards reports whether certificates for wildcard hosts can be obtained.
func (c *ACME) Wildcards() bool { return c.uses(challengeDNS) }

// Answers reports whether the gateway's listeners have to answer a challenge.
func (c *ACME) Answers(challenge string) bool { return c.uses(challenge) }

func (c *ACME) uses(challenge string) bool {
	if len(c.Challenges) == 0 {
		return challenge != challengeDNS || c.DNS != nil
	}
	return slices.Contains(c.Challenges, challenge)
}

// byDNS reports whether a host is proven by DNS-01.
func (c *ACME) byDNS(host string) bool {
	return strings.HasPrefix(host, "*.") || !c.uses(challengeHTTP) && !c.uses(challengeALPN)
}

// eabKey is the key as RFC 8555 wants it; some authorities hand it out padded.
func eabKey(c *ACME) string {
	return strings.TrimRight(strings.TrimSpace(c.EAB.HMACKey.Reveal()), "=")
}

func rootsOf(c *ACME) (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("tls.acme.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("tls.acme.ca: %s holds no certificate", c.CA)
	}
	return pool, nil
}
