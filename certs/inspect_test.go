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
