package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
)

// serverPair is a server certificate for open.example with the given key.
func (a *authority) serverPair(t *testing.T, key crypto.Signer) KeyPair {
	t.Helper()
	leaf := a.leafFor(t, key.Public(), subject(t, cn("open.example")), dns("open.example"), usage(x509.ExtKeyUsageServerAuth))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return keyPair(t, certPEM(leaf.Raw), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// result is what a profile let through.
type result struct{ versions, suites, groups12, groups13 []string }

// TestProfiles does a handshake of every profile with every version, suite and
// group that Go has, and wants exactly the ones that the profile's source has.
func TestProfiles(t *testing.T) {
	t.Parallel()
	versions := []uint16{tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13}
	groups := []tls.CurveID{tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519, tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024}
	both := []string{"TLS 1.2", "TLS 1.3"}
	gcm := []string{
		"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
	}
	all := []string{gcm[0], gcm[1], "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", gcm[2], gcm[3], "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"}
	curves := []string{"CurveP256", "CurveP384", "X25519"}
	nist := []string{"CurveP256", "CurveP384", "CurveP521"}
	four := []string{"CurveP256", "CurveP384", "CurveP521", "X25519"}
	hybrids := []string{"X25519MLKEM768", "SecP256r1MLKEM768"}
	with := func(l []string, more ...string) []string { return append(slices.Clip(l), more...) }

	ca := newAuthority(t, "servers", nil)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 3072)
	if err != nil {
		t.Fatal(err)
	}
	pairs := []KeyPair{ca.serverPair(t, newKey(t)), ca.serverPair(t, rsaKey)}
	roots := poolOf([]*x509.Certificate{ca.cert})

	for _, tt := range []struct {
		tls  TLS
		want result
	}{
		{TLS{Profile: "modern"}, result{[]string{"TLS 1.3"}, nil, nil, with(curves, hybrids...)}},
		{TLS{Profile: "intermediate"}, result{both, all, curves, with(curves, hybrids...)}},
		{TLS{Profile: ""}, result{both, all, curves, with(curves, hybrids...)}},
		{TLS{Profile: "ncsc-nl-2025-05"}, result{both, all, four, with(four, hybrids...)}},
		{TLS{Profile: "bsi-tr-02102-2"}, result{both, gcm, nist, with(nist, hybrids[1])}},
		{TLS{Profile: "modern", MLKEM1024: true}, result{[]string{"TLS 1.3"}, nil, nil, with(curves, with(hybrids, "SecP384r1MLKEM1024")...)}},
		{TLS{Profile: "bsi-tr-02102-2", MLKEM1024: true}, result{both, gcm, nist, with(nist, hybrids[1], "SecP384r1MLKEM1024")}},
	} {
		name := tt.tls.Profile
		if tt.tls.MLKEM1024 {
			name += " with mlkem1024"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.tls.Certificates = pairs
			srv := serve(t, build(t, newManager(t), Config{TLS: tt.tls, Hosts: []Host{{Name: "open.example", Service: "open"}}}))
			// try reports whether the handshake succeeds, and with what it was made.
			try := func(change func(*tls.Config)) (tls.ConnectionState, bool) {
				c := &tls.Config{ServerName: "open.example", RootCAs: roots, MinVersion: tls.VersionTLS10}
				change(c)
				client, server, err := srv.dial(t, c)
				if err == nil && (client.Version != server.Version || client.CipherSuite != server.CipherSuite || client.CurveID != server.CurveID) {
					t.Errorf("the two sides disagree: %+v and %+v", client, server)
				}
				return server, err == nil
			}
			var got result
			for _, v := range versions {
				if s, ok := try(func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v }); ok {
					got.versions = append(got.versions, tls.VersionName(s.Version))
				}
			}
			for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
				if !slices.Contains(s.SupportedVersions, tls.VersionTLS12) {
					continue // Go offers the suites of TLS 1.3 all at once
				}
				if s, ok := try(func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{s.ID} }); ok {
					got.suites = append(got.suites, tls.CipherSuiteName(s.CipherSuite))
				}
			}
			for _, g := range groups {
				if s, ok := try(func(c *tls.Config) { c.MaxVersion, c.CurvePreferences = tls.VersionTLS12, []tls.CurveID{g} }); ok {
					got.groups12 = append(got.groups12, s.CurveID.String())
				}
				if s, ok := try(func(c *tls.Config) { c.MinVersion, c.CurvePreferences = tls.VersionTLS13, []tls.CurveID{g} }); ok {
					got.groups13 = append(got.groups13, s.CurveID.String())
				}
			}
			slices.Sort(got.suites)
			want := tt.want.approved()
			for _, l := range []struct {
				what      string
				got, want []string
			}{
				{"versions", got.versions, want.versions}, {"suites of TLS 1.2", got.suites, want.suites},
				{"groups of TLS 1.2", got.groups12, want.groups12}, {"groups of TLS 1.3", got.groups13, want.groups13},
			} {
				if !slices.Equal(l.got, l.want) {
					t.Errorf("%s: got %q, want %q", l.what, l.got, l.want)
				}
			}
			// A client that has everything gets a hybrid.
			if s, ok := try(func(*tls.Config) {}); !ok || !PostQuantum(&s) {
				t.Errorf("got the group %s, want a hybrid", s.CurveID)
			}
		})
	}
}

// approved is what is left of r when the Go Cryptographic Module works in its
// FIPS 140-3 mode.
func (r result) approved() result {
	if !fips140.Enabled() {
		return r
	}
	drop := func(l []string) []string {
		return slices.DeleteFunc(slices.Clone(l), func(s string) bool { return s == "X25519" || strings.Contains(s, "CHACHA20") })
	}
	return result{r.versions, drop(r.suites), drop(r.groups12), drop(r.groups13)}
}

// TestKeyAdvice holds the keys of server certificates against each profile.
func TestKeyAdvice(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "servers", nil)
	curve := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	bits := func(n int) crypto.Signer {
		k, err := rsa.GenerateKey(rand.Reader, n)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{
		"P-256": curve(elliptic.P256()), "P-384": curve(elliptic.P384()), "P-521": curve(elliptic.P521()),
		"RSA 2048": bits(2048), "RSA 3072": bits(3072), "Ed25519": ed,
	}
	good := map[string][]string{
		"modern":          {"P-256", "P-384"},
		"intermediate":    {"P-256", "P-384", "RSA 2048", "RSA 3072"},
		"ncsc-nl-2025-05": {"Ed25519", "P-256", "P-384", "P-521", "RSA 3072"},
		"bsi-tr-02102-2":  {"P-256", "P-384", "P-521", "RSA 3072"},
	}
	for _, profile := range Profiles() {
		var got []string
		for name, key := range keys {
			pair := ca.serverPair(t, key)
			s := build(t, newManager(t), Config{TLS: TLS{Profile: profile, Certificates: []KeyPair{pair}}})
			if w := s.Warnings(); len(w) == 0 {
				got = append(got, name)
			} else if len(w) != 1 || !strings.Contains(w[0], profile) {
				t.Errorf("%s with %s: got the warnings %q", profile, name, w)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, good[profile]) {
			t.Errorf("%s: got %q without advice, want %q", profile, got, good[profile])
		}
	}
	// What nobody takes is not loaded at all.
	for name, key := range map[string]crypto.Signer{"RSA of 1024": bits(1024), "P-224": curve(elliptic.P224())} {
		if _, err := newManager(t).Build(Config{TLS: TLS{Certificates: []KeyPair{ca.serverPair(t, key)}}}); err == nil || !strings.Contains(err.Error(), "weak key") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// TestPostQuantum holds what counts as a post-quantum key exchange.
func TestPostQuantum(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		group tls.CurveID
		want  bool
	}{
		{0, false}, {tls.X25519, false}, {tls.CurveP256, false}, {tls.CurveP384, false}, {tls.CurveP521, false}, {0x6399, false}, {0xffff, false},
		{tls.X25519MLKEM768, true}, {tls.SecP256r1MLKEM768, true}, {tls.SecP384r1MLKEM1024, true},
	} {
		if got := PostQuantum(&tls.ConnectionState{CurveID: tt.group}); got != tt.want {
			t.Errorf("%s: got %v", tt.group, got)
		}
	}
	if PostQuantum(nil) {
		t.Error("no connection has a post-quantum key exchange")
	}
}
