package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// acmeTLS is the protocol of the TLS-ALPN-01 challenge (RFC 8737).
const acmeTLS = acmez.ACMETLS1Protocol

// acmeManager obtains and renews certificates. It is the door to certmagic, of
// which nothing global is used.
type acmeManager struct {
	m           *Manager
	renewals    *prometheus.CounterVec
	renewed     *prometheus.GaugeVec
	unavailable *prometheus.CounterVec

	current atomic.Pointer[acmeRun] // nil while ACME is not configured

	mu     sync.Mutex // held to start and stop
	closed bool       // by stop, for good

	tellMu sync.Mutex
	told   map[string]time.Time // host -> when its lack was logged last
}

// acmeRun is one use of certmagic, with one configuration.
type acmeRun struct {
	settings ACME
	hosts    map[string]context.CancelFunc // ends what is being done for a host
	cache    *certmagic.Cache
	config   *certmagic.Config
	issuer   *certmagic.ACMEIssuer
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup
}

func newACME(m *Manager) *acmeManager {
	return &acmeManager{
		m: m, told: map[string]time.Time{},
		renewals:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_certificate_renewals_total", Help: "Attempts to obtain or renew a certificate, by result (success, failure)."}, []string{"name", "result"}),
		renewed:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vazel_certificate_last_renewal_timestamp_seconds", Help: "When a certificate was last obtained or failed to be, by result."}, []string{"name", "result"}),
		unavailable: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_certificate_unavailable_total", Help: "Handshakes that failed because no certificate has been obtained yet."}, []string{"name"}),
	}
}

// check reads what can be read before anything is started.
func (a *acmeManager) check(c *ACME) error {
	if c.Directory == "" {
		return errors.New("tls.acme: directory is missing")
	}
	if u, err := url.Parse(c.Directory); err != nil || u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("tls.acme: directory %q is not an https address (RFC 8555, 6.1)", c.Directory)
	}
	if (c.EAB.KeyID == "") != (c.EAB.HMACKey.Reveal() == "") {
		return errors.New("tls.acme.eab: needs both key_id and hmac_key")
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
	if a.closed {
		return
	}
	r := a.current.Load()
	if s.acme == nil || len(s.acmeHosts) == 0 {
		a.stopLocked()
		return
	}
	if r == nil || r.settings != *s.acme {
		a.stopLocked()
		r = a.start(*s.acme)
		a.current.Store(r)
	}
	for h, cancel := range r.hosts {
		if !slices.Contains(s.acmeHosts, h) {
			cancel()
			delete(r.hosts, h)
			r.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: h}})
			a.renewals.DeletePartialMatch(prometheus.Labels{"name": h})
			a.renewed.DeletePartialMatch(prometheus.Labels{"name": h})
			a.unavailable.DeleteLabelValues(h)
		}
	}
	for _, h := range s.acmeHosts {
		if r.hosts[h] == nil {
			var ctx context.Context
			ctx, r.hosts[h] = context.WithCancel(r.ctx)
			r.wg.Go(func() { a.keep(ctx, r, h) })
		}
	}
}

// keep serves the stored certificate of a host, or obtains one with retries for
// as long as it takes. certmagic renews what it keeps. Its own ManageAsync does
// the same in goroutines that nobody could wait for.
func (a *acmeManager) keep(ctx context.Context, r *acmeRun, host string) {
	_, err := r.config.CacheManagedCertificate(ctx, host)
	if errors.Is(err, fs.ErrNotExist) {
		if err = r.config.ObtainCertAsync(ctx, host); err == nil {
			_, err = r.config.CacheManagedCertificate(ctx, host)
		}
	}
	if err != nil && ctx.Err() == nil {
		a.m.log.Error("a certificate can't be kept", zap.String("host", host), zap.Error(err))
	}
	if ctx.Err() != nil { // no longer configured, perhaps since after the check above
		r.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: host}})
	}
}

func (a *acmeManager) start(c ACME) *acmeRun {
	roots, _ := rootsOf(&c) // checked by Build
	storage := c.Storage
	if storage == "" {
		storage = filepath.Join(a.m.stateDir, "acme")
	}
	log := a.m.log.Named("acme")
	r := &acmeRun{settings: c, hosts: map[string]context.CancelFunc{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	// Asked for from the cache's own goroutine, which Stop waits for: no lock.
	var config atomic.Pointer[certmagic.Config]
	r.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			if c := config.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("ACME has not been started yet")
		},
		Logger: log,
	})
	r.config = certmagic.New(r.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: storage},
		Logger:  log,
		OnEvent: a.note,
	})
	var eab *acme.EAB
	if c.EAB.KeyID != "" {
		eab = &acme.EAB{KeyID: c.EAB.KeyID, MACKey: c.EAB.HMACKey.Reveal()}
	}
	r.issuer = certmagic.NewACMEIssuer(r.config, certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: roots, ExternalAccount: eab, Profile: c.Profile, Logger: log,
	})
	r.config.Issuers = []certmagic.Issuer{r.issuer}
	config.Store(r.config)
	return r
}

// note counts what becomes of certificates. Names come from the configuration.
func (a *acmeManager) note(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	result := map[string]string{"cert_obtained": "success", "cert_failed": "failure"}[event]
	if name != "" && result != "" {
		a.renewals.WithLabelValues(name, result).Inc()
		a.renewed.WithLabelValues(name, result).SetToCurrentTime()
	}
	return nil
}

// stop ends the work for good.
func (a *acmeManager) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.stopLocked()
}

func (a *acmeManager) stopLocked() {
	if r := a.current.Swap(nil); r != nil {
		r.cancel()
		r.wg.Wait()
		r.cache.Stop()
	}
}

// certificate serves what is held for a host; it never waits for the authority.
func (a *acmeManager) certificate(host string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if r := a.current.Load(); r != nil {
		// Looked up by the configured host: a fallback is asked for other names.
		nameless := *hello
		nameless.ServerName = ""
		for _, c := range r.cache.AllMatchingCertificates(host) {
			if nameless.SupportsCertificate(&c.Certificate) == nil {
				return &c.Certificate, nil
			}
		}
	}
	a.unavailable.WithLabelValues(host).Inc()
	a.tellMu.Lock()
	now := time.Now()
	quiet := now.Sub(a.told[host]) < time.Minute // clients decide how often this happens
	if !quiet {
		a.told[host] = now
	}
	a.tellMu.Unlock()
	if !quiet {
		a.m.log.Error("a handshake failed, for no certificate has been obtained yet", zap.String("host", host))
	}
	return nil, fmt.Errorf("%w: ACME has not obtained one for %s yet", ErrNoCertificate, host)
}

// challengeConfig answers a TLS-ALPN-01 challenge (RFC 8737).
func (a *acmeManager) challengeConfig() (*tls.Config, error) {
	r := a.current.Load()
	if r == nil {
		return nil, ErrNoCertificate
	}
	return &tls.Config{GetCertificate: r.config.GetCertificate, NextProtos: []string{acmeTLS}, MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}, nil
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
	s := a.m.active.Load()
	return s != nil && slices.Contains(s.acmeHosts, strings.ToLower(host))
}

// held is the certificate that is served for a host; nil if none.
func (a *acmeManager) held(host string) *x509.Certificate {
	if r := a.current.Load(); r != nil {
		for _, c := range r.cache.AllMatchingCertificates(host) {
			return c.Leaf
		}
	}
	return nil
}
