package certs

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

const (
	checkEvery = time.Second      // how exactly a planned renewal is met
	lookEvery  = 10 * time.Minute // for what another node on the same storage has obtained
	passLimit  = 15 * time.Minute // for one attempt, with the wait for another node's
)

// acmeHost is the work for one host.
type acmeHost struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // the certificate was revoked
	config *certmagic.Config
}

// attemptKey finds in the context of certmagic's events the attempt that they
// belong to.
type attemptKey struct{}

// note learns that the authority issued a certificate to this process.
func (a *acmeManager) note(ctx context.Context, event string, _ map[string]any) error {
	if done, ok := ctx.Value(attemptKey{}).(*bool); ok && event == "cert_obtained" {
		*done = true
	}
	return nil
}

// keep serves the stored certificate of a host and obtains and renews it for
// as long as the host is configured.
func (r *acmeRun) keep(a *acmeManager, name string) {
	h := &acmeHost{name: name, done: make(chan struct{}), wake: make(chan struct{}, 1), config: r.listen}
	if r.settings.byDNS(name) {
		h.config = r.dns
	}
	var ctx context.Context
	ctx, h.cancel = context.WithCancel(r.ctx)
	r.hosts[name] = h
	r.wg.Go(func() {
		defer close(h.done)
		failures := 0
		for ctx.Err() == nil {
			plan, err := a.pass(ctx, r, h)
			if ctx.Err() != nil {
				return
			}
			wait := plan.wait(time.Now())
			if err != nil {
				wait = pause(err, failures)
				failures++
				a.failed(h, err, wait)
			} else {
				failures = 0
			}
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-h.wake:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	})
}

// pass makes one attempt at what is due: load, ask for renewal information,
// obtain or renew.
func (a *acmeManager) pass(ctx context.Context, r *acmeRun, h *acmeHost) (renewalPlan, error) {
	ctx, cancel := context.WithTimeout(ctx, passLimit)
	defer cancel()
	obtained := false
	ctx = context.WithValue(ctx, attemptKey{}, &obtained)
	former := a.heldFor(h.name)
	lacking := a.load(ctx, r, h)
	if lacking == nil {
		a.tell(ctx, h, former, false)
	}
	select {
	case r.busy <- struct{}{}:
		defer func() { <-r.busy }()
	case <-ctx.Done():
		return renewalPlan{}, ctx.Err()
	}
	// certmagic leaves alone what is in its cache.
	r.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: h.name}})
	config := *h.config
	if plan := a.plan(ctx, h); plan.ari.HasWindow() {
		// certmagic would renew at two thirds of the lifetime even if the authority
		// suggests to do it later (RFC 9773, 4.2).
		config.RenewalWindowRatio = lateShare
	}
	var err error
	held := a.heldFor(h.name)
	switch {
	case lacking != nil && !errors.Is(lacking, fs.ErrNotExist):
		a.m.log.Error("the stored certificate can't be used and is replaced", zap.String("host", h.name), zap.Error(lacking))
		err = config.RenewCertSync(ctx, h.name, true)
	case lacking == nil && held.revoked.Load():
		a.m.log.Error("the certificate was revoked and is replaced", zap.String("host", h.name))
		err = config.RenewCertSync(ctx, h.name, true)
	default:
		err = config.ManageSync(ctx, []string{h.name})
	}
	if obtained {
		a.renewals.WithLabelValues(h.name, "success").Inc()
		a.renewed.WithLabelValues(h.name, "success").SetToCurrentTime()
	}
	if err != nil {
		return renewalPlan{}, err
	}
	former = a.heldFor(h.name)
	if err := a.load(ctx, r, h); err != nil {
		return renewalPlan{}, fmt.Errorf("what was obtained can't be used: %w", err)
	}
	a.tell(ctx, h, former, obtained)
	return a.plan(ctx, h), nil
}

// load takes what is stored for a host into use.
func (a *acmeManager) load(ctx context.Context, r *acmeRun, h *acmeHost) error {
	c, err := h.config.CacheManagedCertificate(ctx, h.name)
	r.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: h.name}})
	switch {
	case err != nil:
		return err
	case !covers(c.Leaf, h.name):
		return fmt.Errorf("it names %q", c.Names)
	}
	pair := tls.Certificate{Certificate: c.Certificate.Certificate, PrivateKey: c.PrivateKey, Leaf: c.Leaf}
	found := a.m.staples.find(h.name, pair)
	if ctx.Err() != nil { // no longer configured, perhaps
		return ctx.Err()
	}
	if a.heldFor(h.name) != found {
		a.held.Store(h.name, found)
		a.m.staples.keep()
	}
	return nil
}

// tell says what is served from now on and when it is to be renewed.
func (a *acmeManager) tell(ctx context.Context, h *acmeHost, former *stapled, obtained bool) {
	c := a.heldFor(h.name)
	if c == nil || c == former {
		return
	}
	text := "a stored certificate is in force"
	if obtained {
		text = "a certificate was obtained and is in force"
	}
	p := a.plan(ctx, h)
	fields := []zap.Field{
		zap.String("host", h.name), zap.String("issuer", c.pair.Leaf.Issuer.String()),
		zap.Time("not_after", c.pair.Leaf.NotAfter.UTC()), zap.Time("next_renewal", p.renew().UTC()),
	}
	if p.ari.HasWindow() {
		fields = append(fields, zap.Time("window_start", p.ari.SuggestedWindow.Start.UTC()), zap.Time("window_end", p.ari.SuggestedWindow.End.UTC()))
	}
	a.m.log.Info(text, fields...)
}

// failed counts and tells an attempt without success.
func (a *acmeManager) failed(h *acmeHost, err error, wait time.Duration) {
	a.renewals.WithLabelValues(h.name, "failure").Inc()
	a.renewed.WithLabelValues(h.name, "failure").SetToCurrentTime()
	text, until := "no certificate could be obtained; handshakes for the host fail until there is one", zap.Skip()
	if c := a.heldFor(h.name); c != nil {
		text, until = "the certificate could not be renewed; the present one is served", zap.Time("not_after", c.pair.Leaf.NotAfter.UTC())
	}
	a.m.log.Error(text, zap.String("host", h.name), zap.Duration("retry_in", wait), until, zap.Error(err))
}

// revokedNow has the hosts whose certificates were revoked be looked after.
func (a *acmeManager) revokedNow() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.current.Load(); r != nil {
		for _, h := range r.hosts {
			if c := a.heldFor(h.name); c != nil && c.revoked.Load() {
				select {
				case h.wake <- struct{}{}:
				default:
				}
			}
		}
	}
}

// pause is how long to wait after a failure: an authority that can't be reached
// is asked again soon; one that refused counts attempts, and is spared.
func pause(err error, failures int) time.Duration {
	first, most := time.Minute, time.Hour
	var refused acme.Problem
	var network net.Error
	if !errors.As(err, &refused) && errors.As(err, &network) || refused.Status >= 500 {
		first, most = 2*time.Second, time.Minute
	}
	wait := min(first<<min(failures, 10), most)
	return wait*9/10 + rand.N(wait/5+1)
}

const (
	earlyShare = 1.0 / 3  // of the lifetime is left when a certificate is renewed without other advice
	lateShare  = 1.0 / 20 // of it is left when advice to wait no longer counts
)

// renewalPlan is when a certificate is to be renewed.
type renewalPlan struct {
	notBefore, notAfter time.Time
	ari                 acme.RenewalInfo
}

// plan reads the renewal information (RFC 9773) that is stored with the
// certificate in force.
func (a *acmeManager) plan(ctx context.Context, h *acmeHost) (p renewalPlan) {
	c := a.heldFor(h.name)
	if c == nil {
		return p
	}
	p.notBefore, p.notAfter = c.pair.Leaf.NotBefore, c.pair.Leaf.NotAfter
	b, err := h.config.Storage.Load(ctx, certmagic.StorageKeys.SiteMeta(h.config.Issuers[0].IssuerKey(), h.name))
	if err != nil {
		return p
	}
	var stored struct {
		IssuerData struct {
			RenewalInfo *acme.RenewalInfo `json:"renewal_info"`
		} `json:"issuer_data"`
	}
	if json.Unmarshal(b, &stored) == nil && stored.IssuerData.RenewalInfo != nil {
		p.ari = *stored.IssuerData.RenewalInfo
	}
	return p
}

// renew is the moment of the next renewal.
func (p renewalPlan) renew() time.Time {
	left := func(share float64) time.Time {
		return p.notAfter.Add(-time.Duration(share * float64(p.notAfter.Sub(p.notBefore))))
	}
	if !p.ari.HasWindow() {
		return left(earlyShare)
	}
	at := p.ari.SelectedTime
	if late := left(lateShare); at.IsZero() || late.Before(at) {
		at = late
	}
	return at
}

// wait is how long nothing is to be done.
func (p renewalPlan) wait(now time.Time) time.Duration {
	wait := min(lookEvery, p.renew().Sub(now))
	if p.ari.HasWindow() && p.ari.RetryAfter != nil {
		wait = min(wait, p.ari.RetryAfter.Sub(now))
	}
	return max(wait, checkEvery) + rand.N(checkEvery)
}
