package certs

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer // for the metrics of certificates and revocation
	StateDir   string                // for ACME storage and revocation lists; made if absent
}

// Manager holds what outlives a configuration: ACME, revocation lists, session
// ticket keys.
type Manager struct {
	log      *zap.Logger
	stateDir string
	secret   [32]byte // session ticket keys derive from it; never leaves the process
	acme     *acmeManager
	lists    *lists
	active   atomic.Pointer[Set]
	epoch    atomic.Uint64 // grows when answers of Identify may have changed

	mu       sync.Mutex
	onChange func()
}

// NewManager makes a Manager. It starts nothing.
func NewManager(o Options) *Manager {
	m := &Manager{log: o.Log, stateDir: o.StateDir}
	rand.Read(m.secret[:])
	m.acme = newACME(m)
	m.lists = newLists(m)
	o.Registerer.MustRegister(newCollector(m))
	return m
}

// OnTrustChange has f called when certificates that were good may be so no
// longer: a revocation list changed, or an agreement ended.
func (m *Manager) OnTrustChange(f func()) {
	m.mu.Lock()
	m.onChange = f
	m.mu.Unlock()
}

// trustChanged makes every kept identity be proven anew.
func (m *Manager) trustChanged() {
	m.epoch.Add(1)
	m.mu.Lock()
	f := m.onChange
	m.mu.Unlock()
	if f != nil {
		f()
	}
}

// Run does the background work until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { m.lists.run(ctx) })
	wg.Go(func() { m.agreements(ctx) })
	wg.Wait()
	m.acme.stop()
	return ctx.Err()
}

// agreements notices the moment at which an organization's agreement ends.
func (m *Manager) agreements(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if s := m.active.Load(); s != nil {
				for _, o := range s.organizations {
					if end := o.until; !end.IsZero() && last.Before(end) && !now.Before(end) {
						m.log.Warn("agreement ended", zap.String("organization", o.key))
						m.trustChanged()
					}
				}
			}
			last = now
		}
	}
}

// Config is what a Set is made from. Paths are absolute.
type Config struct {
	TLS           TLS
	Organizations map[string]Organization
	Hosts         []Host
}

// Host is one host of a service; Name is exact or *.example.
type Host struct {
	Name    string
	Service string
	MTLS    MTLS
}

// Set is the trust of one configuration. It is immutable.
type Set struct {
	manager       *Manager
	profile       profile
	organizations []*organization
	byCA          *x509.CertPool // all authorities, for hints in handshakes
	trustID       string

	certificates []*served
	hosts        map[string]*hostTLS // exact and *.example
	fallback     *hostTLS            // for unknown names and clients without SNI
	acmeHosts    []string
	acme         *ACME
}

// served is a certificate from files.
type served struct {
	name string // file
	pair tls.Certificate
}

// hostTLS holds the prepared configurations of one host, by offered protocols.
type hostTLS struct {
	base    *tls.Config
	byProto sync.Map // string -> *tls.Config
}

// Build makes a Set: it reads and checks every certificate and every list. It
// starts nothing and changes nothing; Activate does.
func (m *Manager) Build(c Config) (*Set, error) {
	s := &Set{manager: m, hosts: map[string]*hostTLS{}, acme: c.TLS.ACME, byCA: x509.NewCertPool()}
	var err error
	if s.profile, err = profileOf(c.TLS.Profile); err != nil {
		return nil, err
	}
	var errs []error
	for i, k := range c.TLS.Certificates {
		pair, _, err := LoadKeyPair(k)
		if err != nil {
			errs = append(errs, fmt.Errorf("tls.certificates[%d]: %w", i, err))
			continue
		}
		s.certificates = append(s.certificates, &served{k.Cert, pair})
	}
	if err := s.loadOrganizations(c.Organizations); err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s.fallback = &hostTLS{base: s.config("", MTLSOff)}
	for _, h := range c.Hosts {
		name := strings.ToLower(strings.TrimSuffix(h.Name, "."))
		base := s.config(name, h.MTLS)
		if cert := s.fileFor(name); cert != nil {
			base.Certificates = []tls.Certificate{cert.pair}
		} else if s.acme != nil && !strings.HasPrefix(name, "*.") {
			s.acmeHosts = append(s.acmeHosts, name)
			base.GetCertificate = m.acme.getCertificate
		} else {
			return nil, fmt.Errorf("host %q of service %q: no certificate in tls.certificates covers it%s", name, h.Service, acmeHint(s.acme))
		}
		s.hosts[name] = &hostTLS{base: base}
	}
	if len(s.certificates) > 0 {
		s.fallback.base.Certificates = []tls.Certificate{s.certificates[0].pair}
	} else {
		s.fallback.base.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, errNoCertificate }
	}
	if s.acme != nil {
		if err := m.acme.check(s.acme); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func acmeHint(a *ACME) string {
	if a == nil {
		return ", and tls.acme is not set"
	}
	return ", and ACME can't prove a wildcard by HTTP-01 or TLS-ALPN-01"
}

// fileFor is the certificate from files that covers a host.
func (s *Set) fileFor(name string) *served {
	for _, c := range s.certificates {
		if c.pair.Leaf.VerifyHostname(strings.Replace(name, "*", "any-label", 1)) == nil {
			return c
		}
	}
	return nil
}

// config prepares the TLS configuration of a host. Session tickets are of use
// only under the same host and the same trust: their key derives from both.
func (s *Set) config(host string, mtls MTLS) *tls.Config {
	c := &tls.Config{
		MinVersion:       s.profile.min,
		CipherSuites:     s.profile.suites,
		CurvePreferences: s.profile.groups,
	}
	if mtls == MTLSOptional || mtls == MTLSRequired {
		// Whether the certificate is good is decided with the request, which can be
		// answered with the reason; a failed handshake tells the caller nothing.
		c.ClientAuth = tls.RequestClientCert
		c.ClientCAs = s.byCA
	}
	mac := hmac.New(sha256.New, s.manager.secret[:])
	fmt.Fprintf(mac, "%s\x00%s\x00%s", host, mtls, s.trustID)
	c.SetSessionTicketKeys([][32]byte{[32]byte(mac.Sum(nil))})
	return c
}

// ConfigFor answers a handshake: the server's certificate for the name, whether
// a client certificate is asked for, versions and groups. protos is what is
// offered by ALPN.
func (s *Set) ConfigFor(hello *tls.ClientHelloInfo, protos []string) (*tls.Config, error) {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmeTLS {
		return s.manager.acme.challengeConfig(hello)
	}
	h := s.hosts[name]
	if h == nil {
		if _, rest, ok := strings.Cut(name, "."); ok {
			h = s.hosts["*."+rest]
		}
	}
	if h == nil {
		h = s.fallback
	}
	return h.config(protos), nil
}

func (h *hostTLS) config(protos []string) *tls.Config {
	key := strings.Join(protos, ",")
	if c, ok := h.byProto.Load(key); ok {
		return c.(*tls.Config)
	}
	c := h.base.Clone()
	c.NextProtos = slices.Clone(protos)
	v, _ := h.byProto.LoadOrStore(key, c)
	return v.(*tls.Config)
}

// TrustID names the trust that decides identities: two sets with the same
// TrustID identify every client alike.
func (s *Set) TrustID() string { return s.trustID }

// Epoch changes whenever answers of Identify may have changed.
func (s *Set) Epoch() uint64 { return s.manager.epoch.Load() }

// Activate makes s the set whose certificates are obtained and whose lists are
// fetched; what only the former set used is let go.
func (m *Manager) Activate(s *Set) {
	m.active.Store(s)
	m.lists.use(s)
	m.acme.manage(s)
}

// HTTPChallenge answers ACME HTTP-01 challenges and passes other requests on.
func (m *Manager) HTTPChallenge(next http.Handler) http.Handler { return m.acme.httpChallenge(next) }

// digest is a hash over parts that can't run into each other.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// makeDir makes a folder that only the gateway can read.
func makeDir(path string) error { return os.MkdirAll(path, 0o700) }
