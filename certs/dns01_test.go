package certs

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mholt/acmez/v3/acme"
	mdns "github.com/miekg/dns"

	"github.com/vazel-gateway/vazel/config/unit"
)

// primary is a name server that takes signed updates of one zone.
type primary struct {
	addr string
	mu   sync.Mutex
	txt  []string // name + " " + value
	late int      // questions that are not answered yet
	rc   int      // of updates
}

const tsigKey = "MDEyMzQ1Njc4OWFiY2RlZg=="

func newPrimary(t *testing.T) *primary {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &primary{addr: l.Addr().String()}
	s := &mdns.Server{
		Listener: l, Handler: mdns.HandlerFunc(p.answer), TsigSecret: map[string]string{"vazel.": tsigKey},
		MsgAcceptFunc: func(mdns.Header) mdns.MsgAcceptAction { return mdns.MsgAccept },
	}
	done := make(chan struct{})
	go func() { defer close(done); s.ActivateAndServe() }()
	t.Cleanup(func() { l.Close(); <-done })
	return p
}

func (p *primary) answer(w mdns.ResponseWriter, r *mdns.Msg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := new(mdns.Msg).SetReply(r)
	switch {
	case r.Opcode == mdns.OpcodeUpdate:
		sig := r.IsTsig()
		if sig == nil || w.TsigStatus() != nil || r.Question[0].Name != "zone.example." || p.rc != 0 {
			m.Rcode = max(p.rc, mdns.RcodeRefused)
			break
		}
		for _, rr := range r.Ns {
			at := rr.Header().Name + " " + rr.(*mdns.TXT).Txt[0]
			if rr.Header().Class == mdns.ClassNONE {
				p.txt = slices.DeleteFunc(p.txt, func(s string) bool { return s == at })
			} else {
				p.txt = append(p.txt, at)
			}
		}
		m.SetTsig(sig.Hdr.Name, sig.Algorithm, 300, time.Now().Unix())
	case r.Question[0].Qtype == mdns.TypeTXT:
		if p.late > 0 {
			p.late--
			break
		}
		for _, s := range p.txt {
			if name, value, _ := strings.Cut(s, " "); name == r.Question[0].Name {
				m.Answer = append(m.Answer, &mdns.TXT{Hdr: mdns.RR_Header{Name: name, Rrtype: mdns.TypeTXT, Class: mdns.ClassINET}, Txt: []string{value}})
			}
		}
	default:
		m.Ns = append(m.Ns, &mdns.SOA{Hdr: mdns.RR_Header{Name: "zone.example.", Rrtype: mdns.TypeSOA, Class: mdns.ClassINET}, Ns: "ns.", Mbox: "m."})
	}
	w.WriteMsg(m)
}

func (p *primary) records() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.txt)
}

func (p *primary) settings(key string) *ACMEDNS {
	var s unit.Secret
	s.Ref = "${env:X}"
	s.Resolve(key + "\n")
	return &ACMEDNS{RFC2136: &RFC2136{Server: p.addr, KeyName: "Vazel", Secret: s}}
}

func challenge(host, auth string) acme.Challenge {
	return acme.Challenge{Type: acme.ChallengeTypeDNS01, KeyAuthorization: auth, Identifier: acme.Identifier{Type: "dns", Value: host}}
}

// TestDNS01: records of a host and its wildcard stand beside each other, are
// waited for, and are gone afterwards, one by one.
func TestDNS01(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"", "Zone.Example"} {
		p := newPrimary(t)
		c := p.settings(tsigKey)
		c.RFC2136.Zone = zone
		if err := c.check(); err != nil {
			t.Fatal(err)
		}
		s := newDNSSolver(c)
		one, two := challenge("a.zone.example", "x.1"), challenge("a.zone.example", "y.2")
		for _, ch := range []acme.Challenge{one, two} {
			if err := s.Present(t.Context(), ch); err != nil {
				t.Fatal(err)
			}
		}
		p.mu.Lock()
		p.late = 1
		p.mu.Unlock()
		for _, ch := range []acme.Challenge{one, two} {
			if err := s.Wait(t.Context(), ch); err != nil {
				t.Error(err)
			}
		}
		if err := s.CleanUp(t.Context(), one); err != nil {
			t.Error(err)
		}
		want := []string{"_acme-challenge.a.zone.example. " + two.DNS01KeyAuthorization()}
		if got := p.records(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if err := s.CleanUp(t.Context(), two); err != nil || len(p.records()) > 0 {
			t.Errorf("%v, left %q", err, p.records())
		}
	}
}

func TestDNS01Failures(t *testing.T) {
	t.Parallel()
	p := newPrimary(t)
	ch := challenge("a.zone.example", "x.1")
	wrong := p.settings("d3Jvbmcga2V5IQ==")
	if err := newDNSSolver(wrong).Present(t.Context(), ch); err == nil || strings.Contains(err.Error(), "d3Jvbmcg") {
		t.Errorf("a wrong key: %v", err)
	}
	foreign := p.settings(tsigKey)
	foreign.RFC2136.Zone = "other.example"
	if err := newDNSSolver(foreign).Present(t.Context(), ch); err == nil || !strings.Contains(err.Error(), "is not in the zone other.example.") {
		t.Errorf("a name outside of the zone: %v", err)
	}
	if err := newDNSSolver(p.settings(tsigKey)).Present(t.Context(), challenge("a.elsewhere.example", "x.1")); err == nil || !strings.Contains(err.Error(), "names no zone") {
		t.Errorf("a zone that the server does not hold: %v", err)
	}
	p.mu.Lock()
	p.rc = mdns.RcodeNotAuth
	p.mu.Unlock()
	if err := newDNSSolver(p.settings(tsigKey)).Present(t.Context(), ch); err == nil {
		t.Error("a refused update is no error")
	}
	hidden := p.settings(tsigKey)
	hidden.Timeout = unit.Duration(50 * time.Millisecond)
	if err := newDNSSolver(hidden).Wait(t.Context(), ch); err == nil || !strings.Contains(err.Error(), "could not be seen") {
		t.Errorf("a record that never shows: %v", err)
	}
}
