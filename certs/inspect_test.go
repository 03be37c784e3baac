package certs

import (
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

func TestInspect(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t, "root", nil), newAuthority(t, "other", nil)
	s := build(t, newManager(t), Config{Organizations: map[string]Organization{"meu": {ID: unit.List{"NTRBG-1"}, CA: unit.List{write(t, ca.cert)}}}})
	who := subject(t, orgID("NTRBG-1"), cn("client\x1b[2J"))
	for _, tt := range []struct {
		name string
		by   *authority
		want []string
	}{
		{"proves", ca, []string{"organization meu, by NTRBG-1", "organizationIdentifier:  NTRBG-1", "dns:a.example", "usages:                  client", `\x1b`}},
		{"does not", other, []string{"nothing: unknown_ca", "why:                     no chain to a configured authority", "claims to be:            meu"}},
	} {
		r, err := s.Inspect(certPEM(tt.by.leaf(t, who, dns("a.example")).Raw), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if got := r[0].String(); !strings.Contains(got, want) || strings.Contains(got, "\x1b") {
				t.Errorf("%s: got\n%s\nwant %q in it, and no control characters", tt.name, got, want)
			}
		}
	}
	for _, bad := range []string{"", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if _, err := s.Inspect([]byte(bad), time.Now()); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}

// TestInspectSeveral: PEM with several chains, DER, and what is known of revocation.
func TestInspectSeveral(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root", nil)
	between := newAuthority(t, "between", root)
	m := newManager(t)
	list := writeFile(t, root.crl(t, nil))
	s := build(t, m, Config{Organizations: map[string]Organization{
		"meu": {ID: unit.List{"NTRBG-1"}, CA: unit.List{write(t, root.cert)}, CRL: CRLs{{File: list}}},
		"nra": {ID: unit.List{"NTRBG-2"}, CA: unit.List{write(t, root.cert)}},
	}})
	one, two := root.leaf(t, subject(t, orgID("NTRBG-1"))), between.leaf(t, subject(t, orgID("NTRBG-2")))
	b := append(append(certPEM(one.Raw), certPEM(two.Raw)...), certPEM(between.cert.Raw)...)
	r, err := s.Inspect(b, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if len(r) != 2 || r[0].Identity.Organization != "meu" || r[1].Identity.Organization != "nra" {
		t.Fatalf("got %v, want meu, and nra by its intermediate", r)
	}
	if got := r[0].Revocation(); !strings.HasPrefix(got, "not on the fresh list of ") {
		t.Errorf("got revocation %q", got)
	}
	if got := r[1].Revocation(); got != "not checked: the organization has neither crl nor ocsp" {
		t.Errorf("got revocation %q", got)
	}
	if got := strings.Join(r[1].Authorities, " "); got != "meu nra" {
		t.Errorf("got authorities %q, want both that share it", got)
	}
	r, err = s.Inspect(append(two.Raw, between.cert.Raw...), time.Now())
	if err != nil || len(r) != 1 || r[0].Identity.Organization != "nra" {
		t.Errorf("DER: got %v, %v", r, err)
	}
	if _, err := s.Inspect([]byte("0\x82 no certificate"), time.Now()); err == nil {
		t.Error("broken DER: got no error")
	}
}
