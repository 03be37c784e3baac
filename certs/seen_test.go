package certs

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestReplaced: which of the certificates that came is still in use.
func TestReplaced(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return time.Date(2026, 11, n, 12, 0, 0, 0, time.UTC) }
	end := func(n int) time.Time { return day(n).AddDate(0, 1, 0) }
	older := SeenCertificate{Subject: "CN=a", NotAfter: end(1), FirstSeen: day(1), LastSeen: day(3)}
	for _, tt := range []struct {
		name  string
		other SeenCertificate
		want  bool
	}{
		{"came after it", SeenCertificate{Subject: "CN=a", NotAfter: end(9), FirstSeen: day(4), LastSeen: day(4)}, true},
		{"took turns, and it did not come for two days", SeenCertificate{Subject: "CN=a", NotAfter: end(9), FirstSeen: day(2), LastSeen: day(5)}, true},
		{"takes turns", SeenCertificate{Subject: "CN=a", NotAfter: end(9), FirstSeen: day(2), LastSeen: day(4)}, false},
		{"another system", SeenCertificate{Subject: "CN=b", NotAfter: end(9), FirstSeen: day(4), LastSeen: day(4)}, false},
		{"ends earlier", SeenCertificate{Subject: "CN=a", NotAfter: day(2), FirstSeen: day(4), LastSeen: day(4)}, false},
	} {
		if got := replaced(older, []SeenCertificate{older, tt.other}); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestSeenIsBounded(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	m := newManager(t)
	set := build(t, m, Config{Organizations: map[string]Organization{"meu": {ID: unit.List{"NTRBG-1"}, CA: unit.List{write(t, ca.cert)}}}})
	m.Activate(set)
	now := time.Now()
	proven := func(name string) Identity {
		id := set.Identify(state(ca.leaf(t, subject(t, orgID("NTRBG-1"), cn(name)))), now)
		if id.Reason != "" {
			t.Fatal(id.Reason, id.Detail)
		}
		return id
	}
	first := proven("first")
	m.Saw(first, now)
	for i := range maxSeen - 1 {
		m.Saw(proven(fmt.Sprint(i)), now.Add(time.Second))
	}
	m.Saw(first, now.Add(2*time.Second)) // it came last again
	m.Saw(proven("one more"), now.Add(3*time.Second))
	l := m.Seen("meu", now)
	if len(l) != maxSeen || l[0].Subject != "CN=one more,organizationIdentifier=NTRBG-1" || l[1].Subject != "CN=first,organizationIdentifier=NTRBG-1" {
		t.Errorf("got %d certificates %v, want %d, the last ones first", len(l), l[:2], maxSeen)
	}
	if l := m.Seen("meu", now.Add(seenFor+time.Hour)); len(l) != 0 {
		t.Errorf("after %s: got %d certificates, want none", seenFor, len(l))
	}
	// What only claims to be of the organization leaves no trace.
	m.Saw(set.Identify(state(newAuthority(t, "other", nil).leaf(t, subject(t, orgID("NTRBG-1"), cn("stranger")))), now), now.Add(time.Hour))
	if l := m.Seen("meu", now); l[0].Subject != "CN=one more,organizationIdentifier=NTRBG-1" {
		t.Errorf("got %v", l[0])
	}
	m.Activate(build(t, m, Config{}))
	if l := m.Seen("meu", now); len(l) != 0 {
		t.Errorf("the organization is gone, its certificates are not: %v", l)
	}
}

// TestSeenFile: a file that can't be read is no reason not to start.
func TestSeenFile(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "{", "null", "[]", `{"meu": null}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "seen.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newSeen(zap.NewNop(), dir)
		s.note("meu", newAuthority(t, "root", nil).cert, time.Now())
		s.save()
		if l := newSeen(zap.NewNop(), dir).by["meu"]; len(l) != 1 {
			t.Errorf("%q: got %d certificates after a restart, want 1", text, len(l))
		}
	}
}
