package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
)

// profile is what TLS offers, and which keys of server certificates its source
// asks for. Go decides the order of suites and groups, and which suites TLS 1.3
// has, by itself. It never renegotiates, compresses or takes early data.
type profile struct {
	min    uint16
	suites []uint16 // of TLS 1.2
	groups []tls.CurveID
	rsa    int // least bits of RSA keys; 0 if the source has none
	pss    bool
	curves []elliptic.Curve // of ECDSA keys
	eddsa  bool             // Ed25519 keys
}

// The suites of TLS 1.2 that have forward secrecy and authenticate what they
// encrypt, as far as Go knows them.
var (
	aesGCM = []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	}
	chaCha = []uint16{tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256}
)

// profiles are the names that tls.profile may have.
var profiles = map[string]profile{
	// Mozilla's "modern", guidelines 5.8: TLS 1.3, certificates of P-256 and P-384.
	"modern": {
		min:    tls.VersionTLS13,
		groups: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
		curves: []elliptic.Curve{elliptic.P256(), elliptic.P384()},
	},
	// Mozilla's "intermediate", guidelines 5.8, without finite-field DHE, which
	// Go does not have.
	"intermediate": {
		min:    tls.VersionTLS12,
		suites: slices.Concat(aesGCM, chaCha),
		groups: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384},
		rsa:    2048,
		curves: []elliptic.Curve{elliptic.P256(), elliptic.P384()},
	},
	// NCSC-NL, IT security guidelines for TLS, May 2025: what they call good or
	// sufficient.
	"ncsc-nl-2025-05": {
		min:    tls.VersionTLS12,
		suites: slices.Concat(aesGCM, chaCha),
		groups: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		rsa:    3072,
		curves: []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()},
		eddsa:  true,
	},
	// BSI TR-02102-2, 2025: no ChaCha20, no X25519, RSA of 3000 bits, and PSS
	// since 2026. Of the hybrids only those whose two halves it recommends.
	"bsi-tr-02102-2": {
		min:    tls.VersionTLS12,
		suites: aesGCM,
		groups: []tls.CurveID{tls.SecP256r1MLKEM768, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		rsa:    3000,
		pss:    true,
		curves: []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()},
	},
}

// Profiles lists the names of TLS profiles.
func Profiles() []string {
	return []string{"modern", "intermediate", "ncsc-nl-2025-05", "bsi-tr-02102-2"}
}

const defaultProfile = "intermediate"

func profileOf(c TLS) (profile, error) {
	p, ok := profiles[profileName(c.Profile)]
	if !ok {
		return p, fmt.Errorf("tls: unknown profile %q", c.Profile)
	}
	if c.MLKEM1024 {
		p.groups = append([]tls.CurveID{tls.SecP384r1MLKEM1024}, p.groups...)
	}
	return p, nil
}

func profileName(name string) string {
	if name == "" {
		return defaultProfile
	}
	return name
}

// KeyAdvice says what the source of a profile has against the key of a server
// certificate; "" if nothing. Such a certificate is served all the same: clients
// take it, and another profile is no remedy.
func KeyAdvice(name string, c *x509.Certificate) string {
	name = profileName(name)
	p, ok := profiles[name]
	if !ok {
		return "" // complained of elsewhere
	}
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		if p.rsa == 0 {
			return fmt.Sprintf("has an RSA key, and the profile %s wants ECDSA", name)
		}
		if n := k.N.BitLen(); n < p.rsa {
			return fmt.Sprintf("has an RSA key of %d bits, and the profile %s wants at least %d", n, name, p.rsa)
		}
	case *ecdsa.PublicKey:
		if !slices.Contains(p.curves, k.Curve) {
			return fmt.Sprintf("has a key on the curve %s, which the profile %s does not list", k.Curve.Params().Name, name)
		}
	case ed25519.PublicKey:
		if !p.eddsa {
			return fmt.Sprintf("has an Ed25519 key, which the profile %s does not list", name)
		}
	}
	return ""
}

// limit narrows the signatures that server certificates make to what the profile
// has. The certificates themselves are shared by sets of other profiles.
func (p profile) limit(choose func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !p.pss {
		return choose
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		c, err := choose(hello)
		if err != nil || c.Leaf == nil {
			return c, err
		}
		if _, isRSA := c.Leaf.PublicKey.(*rsa.PublicKey); !isRSA {
			return c, nil
		}
		limited := *c
		limited.SupportedSignatureAlgorithms = []tls.SignatureScheme{tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512}
		return &limited, nil
	}
}

// PostQuantum reports whether the key exchange of a connection withstands
// quantum computers, as far as anybody knows: whether it is a hybrid with ML-KEM.
func PostQuantum(cs *tls.ConnectionState) bool {
	if cs == nil {
		return false
	}
	switch cs.CurveID {
	case tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024:
		return true
	}
	return false
}
