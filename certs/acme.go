package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"go.uber.org/zap"
)

// acmeTLS is the protocol of the TLS-ALPN-01 challenge (RFC 8737).
const acmeTLS = acmez.ACMETLS1Protocol

// acmeManager obtains and renews certificates. It is the door to certmagic, of
// which nothing global is used.
type acmeManager struct {
	m *Manager

	mu     sync.Mutex
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
	now    ACME
	ctx    context.Context
	cancel context.CancelFunc
}

func newACME(m *Manager) *acmeManager { return &acmeManager{m: m} }

// check reads what can be read before anything is started.
func (a *acmeManager) check(c *ACME) error {
	if c.Directory == "" {
		return errors.New("tls.acme: directory is missing")
	}
	_, err := rootsOf(c)
	return err
}

func rootsOf(c *ACME) (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("tls.acme.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("tls.acme.ca: %s holds no certificate", c.CA)
	}
	return pool, nil
}

// manage makes the hosts of s the ones whose certificates are kept.
func (a *acmeManager) manage(s *Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.acme == nil {
		a.stopLocked()
		return
	}
	if a.config == nil || a.now != *s.acme {
		a.stopLocked()
		a.start(*s.acme)
	}
	ctx, config, hosts, log := a.ctx, a.config, s.acmeHosts, a.m.log
	go func() {
		// Certificates that are stored serve at once; the rest is obtained with
		// retries for as long as it takes.
		if err := config.ManageAsync(ctx, hosts); err != nil && ctx.Err() == nil {
			log.Error("certificates can't be managed", zap.Strings("hosts", hosts), zap.Error(err))
		}
	}()
}

func (a *acmeManager) start(c ACME) {
	roots, _ := rootsOf(&c) // checked by Build
	storage := c.Storage
	if storage == "" {
		storage = filepath.Join(a.m.stateDir, "acme")
	}
	log := a.m.log.Named("acme")
	a.now = c
	a.ctx, a.cancel = context.WithCancel(context.Background())
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.config == nil {
				return nil, errors.New("ACME is no longer configured")
			}
			return a.config, nil
		},
		Logger: log,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: storage},
		Logger:  log,
	})
	a.issuer = certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: roots, Logger: log,
		// Challenges are answered on the gateway's own listeners.
		DisableDistributedSolvers: false,
	})
	a.config.Issuers = []certmagic.Issuer{a.issuer}
}

func (a *acmeManager) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopLocked()
}

func (a *acmeManager) stopLocked() {
	if a.cancel != nil {
		a.cancel()
		a.cache.Stop()
		a.cancel, a.cache, a.config, a.issuer, a.now = nil, nil, nil, nil, ACME{}
	}
}

func (a *acmeManager) running() (*certmagic.Config, *certmagic.ACMEIssuer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config, a.issuer
}

// getCertificate serves what is held; it never waits for the authority.
func (a *acmeManager) getCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	config, _ := a.running()
	if config == nil {
		return nil, errNoCertificate
	}
	cert, err := config.GetCertificate(hello)
	if err != nil {
		return nil, fmt.Errorf("%w %q: none has been obtained yet: %w", errNoCertificate, hello.ServerName, err)
	}
	return cert, nil
}

// challengeConfig answers a TLS-ALPN-01 challenge.
func (a *acmeManager) challengeConfig(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	config, _ := a.running()
	if config == nil {
		return nil, errNoCertificate
	}
	return &tls.Config{GetCertificate: config.GetCertificate, NextProtos: []string{acmeTLS}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}, nil
}

// httpChallenge answers HTTP-01 challenges.
func (a *acmeManager) httpChallenge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if certmagic.LooksLikeHTTPChallenge(r) {
			if _, issuer := a.running(); issuer != nil && issuer.HandleHTTPChallenge(w, r) {
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// current is the certificate that is held for a host.
func (a *acmeManager) current(host string) *x509.Certificate {
	a.mu.Lock()
	cache := a.cache
	a.mu.Unlock()
	if cache == nil {
		return nil
	}
	for _, c := range cache.AllMatchingCertificates(host) {
		return c.Leaf
	}
	return nil
}
