package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

// maxStaple bounds the answer of a responder, and an issuer's certificate.
const maxStaple = 64 << 10

// staples are the OCSP answers that the gateway shows with its own certificates.
// Handshakes take what is there; only run asks responders.
type staples struct {
	manager *Manager
	client  *http.Client
	dir     string

	mu     sync.Mutex
	all    map[string]*stapled // by chain
	active map[*stapled]bool
	wake   chan struct{}
}

// stapled is a server certificate with its OCSP answer. It outlives
// configurations.
type stapled struct {
	name      string // for logs: the file or host that asked for it first
	id        string // of the chain
	pair      tls.Certificate
	responder string                          // empty: the issuer names none
	served    atomic.Pointer[tls.Certificate] // pair, with the answer while it holds
	next      atomic.Int64                    // nextUpdate of the last good answer, in Unix seconds; 0: none yet
	revoked   atomic.Bool

	issuer *x509.Certificate // nil until it is known
	due    time.Time         // when the responder is asked again
	tries  int
}

func newStaples(m *Manager) *staples {
	return &staples{
		manager: m, dir: filepath.Join(m.stateDir, "staples"), all: map[string]*stapled{}, active: map[*stapled]bool{}, wake: make(chan struct{}, 1),
		client: &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, Proxy: http.ProxyFromEnvironment},
		},
	}
}

// find is the certificate of a chain, with the answer that is known already.
func (ss *staples) find(name string, pair tls.Certificate) *stapled {
	id := digest(pair.Certificate...)
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if c := ss.all[id]; c != nil {
		return c
	}
	c := &stapled{name: name, id: id, pair: pair}
	c.served.Store(&pair)
	if len(pair.Certificate) > 1 {
		if issuer, err := x509.ParseCertificate(pair.Certificate[1]); err == nil {
			c.issuer = issuer
		}
	}
	i := slices.IndexFunc(pair.Leaf.OCSPServer, func(s string) bool {
		u, err := url.Parse(s)
		return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	})
	if i >= 0 {
		c.responder = pair.Leaf.OCSPServer[i]
		if b, err := os.ReadFile(ss.file(c)); err == nil && c.issuer != nil {
			if a, err := c.answer(b, time.Now()); err == nil && a.Status == ocsp.Good {
				c.use(b, a)
			}
		}
	}
	ss.all[id] = c
	return c
}

// file keeps the answer across restarts. Who signed what decides whether it
// counts, so nobody gains by writing there.
func (ss *staples) file(c *stapled) string {
	sum := sha256.Sum256(c.pair.Leaf.Raw)
	return filepath.Join(ss.dir, hex.EncodeToString(sum[:])+".ocsp")
}

// keep makes the certificates that are served now the ones that are asked about.
func (ss *staples) keep() {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	active := map[*stapled]bool{}
	if s := ss.manager.active.Load(); s != nil {
		for _, c := range s.certificates {
			active[c.stapled] = true
		}
	}
	ss.manager.acme.held.Range(func(_, v any) bool {
		active[v.(*stapled)] = true
		return true
	})
	for c := range ss.active {
		if !active[c] && c.responder != "" {
			os.Remove(ss.file(c))
		}
	}
	for id, c := range ss.all {
		if !active[c] {
			delete(ss.all, id)
		}
	}
	for c := range active {
		ss.all[c.id] = c
	}
	ss.active = active
	select {
	case ss.wake <- struct{}{}:
	default:
	}
}

// run asks for answers halfway through the present ones' time, and takes those
// away whose time is over, until ctx ends.
func (ss *staples) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := sync.Map{}
	asking := make(chan struct{}, 4)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-ss.wake:
		}
		now := time.Now()
		var due []*stapled
		ss.mu.Lock()
		for c := range ss.active {
			if c.responder == "" {
				continue
			}
			shown := c.served.Load() // before next, which use sets first
			if now.Unix() >= c.next.Load() && len(shown.OCSPStaple) > 0 && c.served.CompareAndSwap(shown, &c.pair) {
				ss.manager.log.Error("the OCSP answer is no longer shown, for its time is over", zap.String("certificate", c.name))
			}
			if _, b := busy.Load(c); !b && !now.Before(c.due) && now.Before(c.pair.Leaf.NotAfter) {
				due = append(due, c)
			}
		}
		ss.mu.Unlock()
		for _, c := range due {
			busy.Store(c, true)
			wg.Go(func() {
				defer busy.Delete(c)
				select {
				case asking <- struct{}{}:
					defer func() { <-asking }()
					ss.refresh(ctx, c)
				case <-ctx.Done():
				}
			})
		}
	}
}

// refresh asks the responder and plans the next time.
func (ss *staples) refresh(ctx context.Context, c *stapled) {
	raw, a, err := ss.ask(ctx, c)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	var wait time.Duration
	switch {
	case err == nil && a.Status == ocsp.Revoked:
		if !c.revoked.Swap(true) {
			ss.manager.log.Error("the issuer has revoked a server certificate", zap.String("certificate", c.name), zap.Time("revoked_at", a.RevokedAt.UTC()))
		}
		c.served.Store(&c.pair)
		ss.manager.acme.revokedNow()
		wait = 10 * time.Minute
	case err == nil && a.Status == ocsp.Good:
		c.tries = 0
		c.revoked.Store(false)
		if err := fetch.WriteWhole(ss.file(c), raw); err != nil {
			ss.manager.log.Warn("an OCSP answer could not be kept on disk", zap.String("certificate", c.name), zap.Error(err))
		}
		c.use(raw, a)
		ss.manager.log.Info("an OCSP answer is shown", zap.String("certificate", c.name), zap.Time("next_update", a.NextUpdate.UTC()))
		wait = max(min(a.ThisUpdate.Add(a.NextUpdate.Sub(a.ThisUpdate)/2).Sub(now), 12*time.Hour), 10*time.Second)
	default:
		if err == nil {
			err = errors.New("the responder does not know the certificate")
		}
		wait = min(time.Duration(5<<min(c.tries, 10))*time.Second, time.Hour)
		c.tries++
		ss.manager.log.Warn("no new OCSP answer", zap.String("certificate", c.name), zap.Duration("retry_in", wait), zap.Error(err))
	}
	c.due = now.Add(wait*9/10 + rand.N(wait/5+1))
}

// use shows an answer from now on.
func (c *stapled) use(raw []byte, a *ocsp.Response) {
	with := c.pair
	with.OCSPStaple = raw
	c.next.Store(a.NextUpdate.Unix())
	c.served.Store(&with)
	c.due = a.ThisUpdate.Add(a.NextUpdate.Sub(a.ThisUpdate) / 2)
}

// current is what a handshake shows.
func (c *stapled) current() *tls.Certificate { return c.served.Load() }
