package certs

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestProbe: a list is fetched and checked, but not put in force.
func TestProbe(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	by := ca
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(by.crl(t, nil, ca.cert)) }))
	defer srv.Close()
	m := newManager(t)
	s := build(t, m, oneOrganization(t, ca, &CRL{URL: srv.URL}, nil))
	key := s.organizations[0].key
	now := time.Now()
	if l := s.Probe(context.Background(), key, now); len(l) != 1 || l[0].Err != nil || l[0].State != "fresh" || l[0].Entries != 1 {
		t.Errorf("got %+v, want a fresh list with one entry", l)
	}
	if got := s.Status(key, now).Revocation[0]; got.State != "missing" || got.Source != srv.URL || got.Mode != modeRequire {
		t.Errorf("in force: got %+v, want none", got)
	}
	by = newAuthority(t, "other", nil)
	if l := s.Probe(context.Background(), key, now); l[0].Err == nil {
		t.Errorf("a list of another authority: got %+v", l)
	}
	if l := s.Probe(context.Background(), "nobody", now); l != nil {
		t.Errorf("got %+v, want nothing", l)
	}
	srv.Close()
	if l := s.Probe(context.Background(), key, now); l[0].Err == nil {
		t.Error("the server is gone: got no error")
	}
}

// TestKeyOfALaterCertificate: a chain that begins with the authority is told as such.
func TestKeyOfALaterCertificate(t *testing.T) {
	t.Parallel()
	ca, err := NewDevCA("root")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Server("a.example")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = LoadKeyPair(keyPair(t, append(ca.CertPEM(), cert...), key))
	if err == nil || !strings.Contains(err.Error(), "certificate 2 is the one that the key ${env:KEY} belongs to; write it first") {
		t.Errorf("got %v", err)
	}
	_, _, err = LoadKeyPair(keyPair(t, ca.CertPEM(), key))
	if err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("a key of another certificate: got %v", err)
	}
}
