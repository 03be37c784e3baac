package certs

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
)

// ProtocolACME is the ALPN protocol of the TLS-ALPN-01 challenge (RFC 8737). A
// connection that agreed on it is of no use after its handshake.
const ProtocolACME = acmez.ACMETLS1Protocol

// challengeConfig answers a TLS-ALPN-01 challenge.
func (a *acmeManager) challengeConfig() (*tls.Config, error) {
	r := a.current.Load()
	if r == nil {
		return nil, ErrNoCertificate
	}
	return &tls.Config{GetCertificate: r.listen.GetCertificate, NextProtos: []string{ProtocolACME}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}, nil
}

// challenged reports whether a handshake is a TLS-ALPN-01 challenge for one of
// the hosts that are asked for.
func (s *Set) challenged(hello *tls.ClientHelloInfo, name string) bool {
	return len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == ProtocolACME && s.acme != nil && s.acme.uses(challengeALPN) &&
		slices.Contains(s.acmeHosts, name) && !s.acme.byDNS(name)
}

// httpChallenge answers HTTP-01 challenges.
func (a *acmeManager) httpChallenge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if certmagic.LooksLikeHTTPChallenge(r) {
			if run := a.current.Load(); run != nil && a.asks(r) && run.issuer.HandleHTTPChallenge(w, r) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// asks reports whether a challenge is about a host that is managed; others
// would make certmagic look for files under names that strangers choose.
func (a *acmeManager) asks(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	s := a.m.active.Load()
	return s != nil && slices.Contains(s.acmeHosts, host) && !s.acme.byDNS(host)
}

// holdPort takes a port for certmagic to find taken. It opens sockets of its own
// to answer challenges, on ports 80 and 443 of every address, unless something
// listens there already; here only the configured listeners answer.
func holdPort() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("a loopback port for ACME: %w", err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	return l, nil
}
