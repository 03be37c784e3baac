package waf

import (
	"slices"
	"testing"
)

// TestFileBodies: a document that is what it says is no form, and anything else
// is looked at.
func TestFileBodies(t *testing.T) {
	t.Parallel()
	rs := testRuleset(t, Settings{Paranoia: 1})
	const attack = "a=1' or '1'='1' union select password from users--"
	for _, tt := range []struct {
		kind, body string
		want       bool
	}{
		{"application/pdf", "%PDF-1.7\n" + attack, false}, {"application/pdf", attack, true}, {"application/zip", "%PDF-1.7\n&" + attack, true}, {"image/png", "\x89PNG\r\n\x1a\n\x00" + attack, false},
		{"text/csv", "id;name\n1;Иван\n2;\"O\"\"Neill; Sean\"\n", false}, {"text/csv; charset=utf-8", "id,name\n1," + attack + "\n", true}, {"text/csv", "id;\"name\n1\";\"<script>alert(1)</script>\"", true},
		{"text/csv", "\xcf\xf0\xe8;" + attack, true}, {"application/octet-stream", "%PDF-1.7\n&" + attack, true},
	} {
		v, err := rs.run(testRequest("/", tt.kind, tt.body), rs.screened)
		found := slices.ContainsFunc(v.Rules, func(id int) bool { return id >= 941000 })
		if found != tt.want || err != nil {
			t.Errorf("%s %q: %v %v", tt.kind, tt.body, v.Rules, err)
		}
	}
}

// TestCSVCells: the cells are what a spreadsheet shows.
func TestCSVCells(t *testing.T) {
	t.Parallel()
	got, err := csvArguments([]byte("\ufeffa;b\r\n1;\"x;\"\"y\"\"\"\r\n;z\n\"open;\n"))
	want := []pair{{"csv.0.0", "a"}, {"csv.0.1", "b"}, {"csv.1.0", "1"}, {"csv.1.1", `x;"y"`}, {"csv.2.1", "z"}, {"csv.3.0", "open;"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q %v", got, err)
	}
}
