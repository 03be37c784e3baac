package gateway

import "testing"

func TestCanonicalHost(t *testing.T) {
	for raw, want := range map[string]string{
		"data.egov.example":      "data.egov.example",
		"Data.EGOV.example.":     "data.egov.example",
		"data.egov.example:8443": "data.egov.example",
		"DATA.egov.example.:443": "data.egov.example",
		"127.0.0.1:80":           "127.0.0.1",
		"[::1]:443":              "::1",
		"[2001:DB8::1]":          "2001:db8::1",
		"a_b.example":            "a_b.example",
	} {
		if got, ok := canonicalHost(raw); !ok || got != want {
			t.Errorf("canonicalHost(%q) = %q, %v, want %q", raw, got, ok, want)
		}
	}
	for _, raw := range []string{
		"", ".", "a..b", ".a", "a:", "a:0", "a:65536", "a:1x", "a:b:1", "user@a", "a/b", "a b", "a\x00", "а.example", "[::1", "[::1]x", "[fe80::1%25eth0]", "[127.0.0.1]", "a,b", "a%2e", "a#", "a?b", "a\\b",
		"a:80:", "::1",
	} {
		if got, ok := canonicalHost(raw); ok {
			t.Errorf("canonicalHost(%q) = %q, want a refusal", raw, got)
		}
	}
}

func TestSpellHost(t *testing.T) {
	for _, tt := range [][3]string{
		{"a.example", "a.example", "a.example"},
		{"A.example:8443", "a.example", "a.example:8443"},
		{"a.example.", "a.example", "a.example"},
		{"a.example.:1", "a.example", "a.example:1"},
		{"[::1]:1", "::1", "[::1]:1"},
	} {
		if got := spellHost(tt[0], tt[1]); got != tt[2] {
			t.Errorf("spellHost(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

func TestServerName(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", "Open.Example.": "open.example", "127.0.0.1": "", "::1": "", "a..b": "",
	} {
		if got := serverName(raw); got != want {
			t.Errorf("serverName(%q) = %q, want %q", raw, got, want)
		}
	}
}
