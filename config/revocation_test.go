package config

import (
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// TestRevocationShapes: crl is one source or a list of them, for the loader as for
// the schema, and each file is found below the configuration.
func TestRevocationShapes(t *testing.T) {
	dir := t.TempDir()
	pki(t, dir)
	s := compiled(t)
	for shape, want := range map[string]int{
		"crl: {url: http://x.example/a.crl, max_age: 24h}":                                   1,
		"crl: {file: pki/agkk.crl}":                                                          1,
		"crl: [{file: pki/agkk.crl, issuer: pki/agkk.pem}, {url: https://x.example/b.crl}]":  2,
		"crl: {file: pki/agkk.crl}, ocsp: {url: http://ocsp.example}":                        1,
		"ocsp: {from_certificate: true, max_age: 12h}, revocation: {mode: grace, grace: 2h}": 0,
	} {
		text := `version: 1
listen: [{address: "127.0.0.1:8443"}]
tls: {certificates: [{cert: pki/server.pem, key: "${file:server.key}"}]}
organizations: {nra: {id: NTRBG-100000003, ca: pki/agkk.pem, ` + shape + `}}
services: {s: {owner: nra, hosts: [s.egov.example], upstreams: ["http://127.0.0.1:9000"], allow: [nra]}}
`
		c, err := loadText(t, dir, text)
		if err != nil {
			t.Errorf("%s: %v", shape, err)
			continue
		}
		o := c.Trust["nra"]
		if len(o.CRL) != want || (o.OCSP != nil) != strings.Contains(shape, "ocsp") {
			t.Errorf("%s: got %+v, %+v", shape, o.CRL, o.OCSP)
		}
		for _, l := range o.CRL {
			if l.File != "" && !filepath.IsAbs(l.File) || l.Issuer != "" && !filepath.IsAbs(l.Issuer) {
				t.Errorf("%s: got %+v", shape, l)
			}
		}
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); err != nil {
			t.Errorf("%s: the schema says: %v", shape, err)
		}
	}
}
