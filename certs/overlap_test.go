package certs

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestOverlaps holds which pairs of organizations one certificate could prove.
func TestOverlaps(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root", nil)
	sub := newAuthority(t, "sub", root)
	subSub := newAuthority(t, "sub of sub", sub)
	other := newAuthority(t, "other", nil)
	otherSub := newAuthority(t, "other sub", other)
	crossed := create(t, template("sub"), other.cert, &sub.key.PublicKey, other.key) // sub's key, under the other root
	file := func(l ...*x509.Certificate) unit.List { return unit.List{write(t, l...)} }
	pinA, pinB := pinOf(root.cert), pinOf(other.cert)
	type org = Organization
	for _, tt := range []struct {
		name string
		a, b org
		more *org // a third one, which is told apart from both
		want string
	}{
		{"one id, one authority", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{ID: unit.List{"A"}, CA: file(root.cert)}, nil, "id A"},
		{"one id of several, authority sets overlap", org{ID: unit.List{"A", "B"}, CA: file(root.cert, other.cert)}, org{ID: unit.List{"C", "B"}, CA: file(otherSub.cert, root.cert)}, nil, "id B"},
		{"one id, a subordinate authority", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{ID: unit.List{"A"}, CA: file(sub.cert)}, nil, "id A"},
		{"one id, the other way around", org{ID: unit.List{"A"}, CA: file(sub.cert)}, org{ID: unit.List{"A"}, CA: file(root.cert)}, nil, "id A"},
		{"one id, far below, seen by a third", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{ID: unit.List{"A"}, CA: file(subSub.cert)}, &org{ID: unit.List{"C"}, CA: file(sub.cert)}, "id A"},
		{"one id, far below through a crossed key", org{ID: unit.List{"A"}, CA: file(other.cert)}, org{ID: unit.List{"A"}, CA: file(subSub.cert)}, &org{ID: unit.List{"C"}, CA: file(sub.cert, crossed)}, "id A"},
		{"one id, one key under two roots", org{ID: unit.List{"A"}, CA: file(sub.cert)}, org{ID: unit.List{"A"}, CA: file(crossed)}, nil, "id A"},
		{"one id, other authorities", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{ID: unit.List{"A"}, CA: file(other.cert)}, nil, ""},
		{"one id, sisters", org{ID: unit.List{"A"}, CA: file(sub.cert)}, org{ID: unit.List{"A"}, CA: file(otherSub.cert)}, nil, ""},
		{"two ids", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{ID: unit.List{"B"}, CA: file(root.cert)}, nil, ""},
		{"one id, two pins", org{ID: unit.List{"A"}, SPKI: unit.List{pinA}, CA: file(root.cert)}, org{ID: unit.List{"A"}, SPKI: unit.List{pinB}, CA: file(root.cert)}, nil, ""},
		{"one id, two subjects", org{ID: unit.List{"A"}, Subject: &SubjectMatch{CN: "x"}, CA: file(root.cert)}, org{ID: unit.List{"A"}, Subject: &SubjectMatch{CN: "y"}, CA: file(root.cert)}, nil, ""},
		{"one id, names apart", org{ID: unit.List{"A"}, SAN: unit.List{"dns:*.a"}, CA: file(root.cert)}, org{ID: unit.List{"A"}, SAN: unit.List{"dns:*.b"}, CA: file(root.cert)}, nil, ""},
		{"one id, a pin on one side", org{ID: unit.List{"A"}, SPKI: unit.List{pinA}, CA: file(root.cert)}, org{ID: unit.List{"A"}, CA: file(root.cert)}, nil, "id A"},
		{"one id, other usage and seal", org{ID: unit.List{"A"}, EKU: "any", CA: file(root.cert)}, org{ID: unit.List{"A"}, QC: &QC{Type: "eseal"}, CA: file(root.cert)}, nil, "id A"},
		{"an id against a subject", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{Subject: &SubjectMatch{CN: "b"}, CA: file(root.cert)}, nil, "nothing that they ask for"},
		{"an id against names", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{SAN: unit.List{"dns:*.b"}, CA: file(sub.cert)}, nil, "nothing that they ask for"},
		{"a subject against names", org{Subject: &SubjectMatch{CN: "a"}, CA: file(root.cert)}, org{SAN: unit.List{"dns:*.b"}, CA: file(root.cert)}, nil, "nothing that they ask for"},
		{"an id against a pin", org{ID: unit.List{"A"}, CA: file(root.cert)}, org{SPKI: unit.List{pinA}, CA: file(root.cert)}, nil, "nothing that they ask for"},
		{"subjects that go together", org{Subject: &SubjectMatch{CN: "a"}, CA: file(root.cert)}, org{Subject: &SubjectMatch{O: "b"}, CA: file(root.cert)}, nil, "one subject"},
		{"subjects that differ", org{Subject: &SubjectMatch{CN: "a", O: "o"}, CA: file(root.cert)}, org{Subject: &SubjectMatch{CN: "b", O: "o"}, CA: file(root.cert)}, nil, ""},
		{"names that meet", org{SAN: unit.List{"dns:x.a", "uri:urn:*"}, CA: file(root.cert)}, org{SAN: unit.List{"uri:urn:a:*", "dns:y.a"}, CA: file(root.cert)}, nil, "fit one name"},
		{"names of two kinds", org{SAN: unit.List{"dns:a.example"}, CA: file(root.cert)}, org{SAN: unit.List{"email:*@a.example"}, CA: file(root.cert)}, nil, ""},
		{"pins that are one", org{SPKI: unit.List{pinA}, CA: file(root.cert)}, org{SPKI: unit.List{pinB, pinA}, CA: file(root.cert)}, nil, "pin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			all := map[string]Organization{"a": tt.a, "b": tt.b}
			if tt.more != nil {
				all["c"] = *tt.more
			}
			found := Overlaps(all)
			switch {
			case tt.want == "" && len(found) > 0:
				t.Errorf("got %v", found)
			case tt.want != "" && (len(found) != 1 || found[0].A != "a" || found[0].B != "b" || !strings.Contains(found[0].Why, tt.want)):
				t.Errorf("got %v, want one of a and b with %q", found, tt.want)
			}
			// The same goes for what is built.
			if _, err := newManager(t).Build(Config{Organizations: all}); (err != nil) != (tt.want != "") {
				t.Errorf("Build: %v", err)
			}
		})
	}
}

// TestOverlapHidden shows what can't be seen in the configuration: the authority
// between two others is nowhere. The certificate is refused when it comes.
func TestOverlapHidden(t *testing.T) {
	t.Parallel()
	root := newAuthority(t, "root", nil)
	between := newAuthority(t, "between", root)
	low := newAuthority(t, "low", between)
	s := build(t, newManager(t), Config{Organizations: map[string]Organization{
		"a": {ID: unit.List{"A"}, CA: unit.List{write(t, root.cert)}},
		"b": {ID: unit.List{"A"}, CA: unit.List{write(t, low.cert)}},
	}})
	leaf := low.leaf(t, subject(t, orgID("A")))
	for range 2 {
		if got := s.Identify(state(leaf, low.cert, between.cert), leaf.NotBefore); got.Reason != BadCertificate || got.Organization != "" {
			t.Errorf("got %q, %q", got.Organization, got.Reason)
		}
		if got := s.Identify(state(leaf), leaf.NotBefore); got.Organization != "b" {
			t.Errorf("got %q, %q", got.Organization, got.Reason)
		}
	}
}

func TestCheckIdentifier(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		id     string
		advice bool
		err    string
	}{
		{"NTRBG-100000001", false, ""}, {"NTRUS+DE-1234567", false, ""}, {"NTRDE-HRB 12345", false, ""}, {"NTRBG-1", false, ""},
		{"VATBG-100000001", false, ""}, {"VATEL-123456789", false, ""},
		{"LEIXG-529900T8BM49AURSDO55", false, ""}, {"LEIXG-529900T8BM49AURSDO56", true, ""},
		{"PSDBG-BNB-100000001", false, ""}, {"PSDPL-PFSA-1234567890", false, ""},
		{"GOVBG-100000001", false, ""}, {"GOVUS+CA-1", false, ""}, {"INTXG-1", false, ""},
		{"XX:BG-1", false, ""}, {"SI:SE-5561234567", false, ""},
		{"A", true, ""}, {"12345", true, ""}, {"INTERNAL-1", true, ""}, {"VATICAN", true, ""}, {"ЕИК 100000001", true, ""},
		{"", false, "1 to"}, {strings.Repeat("A", maxAttribute+1), false, "1 to"},
		{"NTRBG100000001", false, "NTR, the country"}, {"NTR-100000001", false, "NTR, the country"}, {"ntrbg-1", false, "NTR, the country"}, {"NTRB-1", false, "NTR, the country"}, {"NTRBG-", false, "NTR, the country"}, {"NTRBG", false, "NTR, the country"},
		{"VATBG 1", false, "VAT, the country"}, {"VATBG-1 2", false, "VAT, the country"},
		{"LEIXG-529900T8BM49AURSDO5", false, "LEIXG-"}, {"LEIBG-529900T8BM49AURSDO55", false, "LEIXG-"}, {"LEIXG-529900t8bm49aursdo55", false, "LEIXG-"},
		{"PSDBG-1", false, "PSD, the country"}, {"PSDBG-bnb-1", false, "PSD, the country"}, {"GOV-1", false, "GOV, the country"},
		{"XX:1", false, "national scheme"}, {"xx:BG-1", false, "national scheme"},
		{"NTRВG-1", false, "mixes"}, {"NTRBG-1\u00ad", false, "can't be seen"}, {"NTRBG-1\x00", false, "can't be seen"}, {"NTRBG-\u200b1", false, "can't be seen"},
		{" NTRBG-1", false, "space"}, {"NTRBG-1 ", false, "space"},
	} {
		advice, err := CheckIdentifier(tt.id)
		if (advice != "") != tt.advice || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got the advice %q and the error %v", tt.id, advice, err)
		}
	}
}
