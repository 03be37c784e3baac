package certs

import (
	"crypto/tls"
	"fmt"
)

// profile is what TLS offers. Go decides the order of suites and groups, and
// which suites TLS 1.3 has, by itself.
type profile struct {
	min    uint16
	suites []uint16 // of TLS 1.2
	groups []tls.CurveID
}

var hybrids = []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768}

// profiles are the names that tls.profile may have.
var profiles = map[string]profile{
	// Mozilla's "modern": TLS 1.3 only.
	"modern": {min: tls.VersionTLS13, groups: append(hybrids[:2:2], tls.X25519, tls.CurveP256, tls.CurveP384)},
	// Mozilla's "intermediate" without the suites that lack forward secrecy or AEAD.
	"intermediate": {
		min: tls.VersionTLS12,
		suites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		groups: append(hybrids[:2:2], tls.X25519, tls.CurveP256, tls.CurveP384),
	},
	// NCSC-NL, IT Security Guidelines for TLS, version of May 2025: what it calls
	// good or sufficient.
	"ncsc-nl-2025-05": {
		min: tls.VersionTLS12,
		suites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		},
		groups: append(hybrids[:2:2], tls.X25519, tls.CurveP256, tls.CurveP384),
	},
	// BSI TR-02102-2: no ChaCha20, no X25519 alone.
	"bsi-tr-02102-2": {
		min: tls.VersionTLS12,
		suites: []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		},
		groups: []tls.CurveID{tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024, tls.CurveP256, tls.CurveP384, tls.CurveP521},
	},
}

// Profiles lists the names of TLS profiles.
func Profiles() []string {
	return []string{"modern", "intermediate", "ncsc-nl-2025-05", "bsi-tr-02102-2"}
}

func profileOf(name string) (profile, error) {
	if name == "" {
		name = "intermediate"
	}
	p, ok := profiles[name]
	if !ok {
		return p, fmt.Errorf("tls: unknown profile %q", name)
	}
	return p, nil
}
