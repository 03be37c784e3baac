package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// acmeManager obtains and renews certificates. It is the door to certmagic, of
// which nothing global is used.
type acmeManager struct {
	m           *Manager
	renewals    *prometheus.CounterVec
	renewed     *prometheus.GaugeVec
	unavailable *prometheus.CounterVec

	current atomic.Pointer[acmeRun] // nil while ACME is not configured
	held    sync.Map                // host -> *stapled; outlives runs, so that a new directory has time to answer

	mu     sync.Mutex // held to start and stop
	closed bool       // by stop, for good

	tellMu sync.Mutex
	told   map[string]time.Time // host -> when its lack was logged last
}

// acmeRun is one use of certmagic, with one configuration.
type acmeRun struct {
	settings ACME
	roots    []byte // of the directory, as they were read
	hosts    map[string]*acmeHost
	cache    *certmagic.Cache
	listen   *certmagic.Config // proves hosts by HTTP-01 and TLS-ALPN-01
	dns      *certmagic.Config // proves hosts by DNS-01; nil without
	issuer   *certmagic.ACMEIssuer
	busy     chan struct{} // bounds what is obtained at the same time
	ports    net.Listener  // see holdPort
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

// manage makes the hosts of s the ones whose certificates are kept.
func (a *acmeManager) manage(s *Set) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.held.Range(func(host, _ any) bool {
		if !slices.Contains(s.acmeHosts, host.(string)) {
			a.held.Delete(host)
		}
		return true
	})
	r := a.current.Load()
	if s.acme == nil || len(s.acmeHosts) == 0 {
		a.stopLocked()
		a.forgetLocked(r, nil)
		return
	}
	roots, _ := os.ReadFile(s.acme.CA)
	if r == nil || !reflect.DeepEqual(r.settings, *s.acme) || !slices.Equal(r.roots, roots) {
		a.stopLocked()
		a.forgetLocked(r, s.acmeHosts)
		var err error
		if r, err = a.start(*s.acme); err != nil {
			a.m.log.Error("no certificates can be obtained", zap.Error(err))
			return
		}
		r.roots = roots
		a.current.Store(r)
	}
	a.forgetLocked(r, s.acmeHosts)
	for _, h := range s.acmeHosts {
		if r.hosts[h] == nil {
			a.renewals.WithLabelValues(h, "success")
			a.renewals.WithLabelValues(h, "failure")
			r.keep(a, h)
		}
	}
}

// forgetLocked ends the work for hosts that are no longer wanted.
func (a *acmeManager) forgetLocked(r *acmeRun, wanted []string) {
	if r == nil {
		return
	}
	for h, host := range r.hosts {
		if slices.Contains(wanted, h) {
			continue
		}
		host.cancel()
		<-host.done
		delete(r.hosts, h)
		a.held.Delete(h)
		r.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: h}})
		a.renewals.DeletePartialMatch(prometheus.Labels{"name": h})
		a.renewed.DeletePartialMatch(prometheus.Labels{"name": h})
		a.unavailable.DeleteLabelValues(h)
	}
}

func (a *acmeManager) start(c ACME) (*acmeRun, error) {
	roots, err := rootsOf(&c)
	if err != nil {
		return nil, err
	}
	storage, err := a.storage(&c)
	if err != nil {
		return nil, err
	}
	ports, err := holdPort()
	if err != nil {
		return nil, err
	}
	log := zap.New(demoted{a.m.log.Core()}).Named("acme")
	r := &acmeRun{settings: c, hosts: map[string]*acmeHost{}, busy: make(chan struct{}, 8), ports: ports}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	// certmagic's own upkeep, every ten minutes in goroutines that nobody can wait
	// for, is told that certificates are someone else's business: keep does it.
	var idle atomic.Pointer[certmagic.Config]
	r.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			if c := idle.Load(); c != nil {
				return c, nil
			}
			return nil, errors.New("ACME has not been started yet")
		},
		RenewCheckInterval: checkEvery,
		Logger:             log,
	})
	config := func() *certmagic.Config {
		return certmagic.New(r.cache, certmagic.Config{
			Storage: storage,
			OCSP:    certmagic.OCSPConfig{DisableStapling: true}, // done by staples, for all certificates alike
			Logger:  log,
			OnEvent: a.note,
		})
	}
	upkeep := config()
	upkeep.OnDemand = &certmagic.OnDemandConfig{}
	idle.Store(upkeep)
	issuer := certmagic.ACMEIssuer{
		CA: c.Directory, Email: c.Email, Agreed: true, TrustedRoots: roots, Profile: c.Profile, Logger: log,
		DisableHTTPChallenge: !c.uses(challengeHTTP), DisableTLSALPNChallenge: !c.uses(challengeALPN),
		ListenHost: "127.0.0.1", AltHTTPPort: ports.Addr().(*net.TCPAddr).Port, AltTLSALPNPort: ports.Addr().(*net.TCPAddr).Port,
	}
	if c.Email == "" {
		issuer.Email = " " // an empty one would be asked for on the terminal, or be taken from another account
	}
	if c.EAB.KeyID != "" {
		issuer.ExternalAccount = &acme.EAB{KeyID: c.EAB.KeyID, MACKey: eabKey(&c)}
	}
	r.listen = config()
	r.issuer = certmagic.NewACMEIssuer(r.listen, issuer)
	r.listen.Issuers = []certmagic.Issuer{r.issuer}
	if c.DNS != nil {
		issuer.DNS01Solver = newDNSSolver(c.DNS)
		r.dns = config()
		r.dns.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(r.dns, issuer)}
	}
	return r, nil
}

// storage is where accounts and certificates are kept.
func (a *acmeManager) storage(c *ACME) (certmagic.Storage, error) {
	if c.Storage == StorageRedis {
		return newSharedStorage(a.m.store, c.StorageKey.Reveal(), a.m.log)
	}
	folder := c.Storage
	if folder == "" {
		folder = filepath.Join(a.m.stateDir, "acme")
	}
	if err := privateFolder(folder); err != nil { // each attempt to obtain something will say more
		a.m.log.Warn("the folder of tls.acme.storage can't be made private", zap.Error(err))
	}
	return &certmagic.FileStorage{Path: folder}, nil
}

// privateFolder makes a folder that only this user can look into, or makes an
// existing one so, for the keys in it.
func privateFolder(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return err
	}
	return os.Chmod(path, 0o700)
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
		r.ports.Close()
	}
}

// certificate serves what is held for a host; it never waits for the authority.
func (a *acmeManager) certificate(host string) (*tls.Certificate, error) {
	if c := a.heldFor(host); c != nil {
		return c.current(), nil
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

func (a *acmeManager) heldFor(host string) *stapled {
	v, _ := a.held.Load(host)
	c, _ := v.(*stapled)
	return c
}

// demoted passes every line on as one for debugging: what matters is told by
// keep, in one line each, and strangers cause some of certmagic's.
type demoted struct{ zapcore.Core }

func (d demoted) Enabled(zapcore.Level) bool          { return d.Core.Enabled(zapcore.DebugLevel) }
func (d demoted) With(f []zapcore.Field) zapcore.Core { return demoted{d.Core.With(f)} }
func (d demoted) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if d.Enabled(e.Level) {
		return ce.AddCore(e, d)
	}
	return ce
}

func (d demoted) Write(e zapcore.Entry, f []zapcore.Field) error {
	e.Level = zapcore.DebugLevel
	return d.Core.Write(e, f)
}
