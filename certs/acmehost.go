package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
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
	asked  bool // for renewal information, since the process began
	plain  bool // order without a word on what is replaced
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
	config := *h.config
	if plan := a.plan(ctx, h); plan.ari.HasWindow() {
		// certmagic would renew at two thirds of the lifetime even if the authority
		// suggests to do it later (RFC 9773, 4.2).
		config.RenewalWindowRatio = plan.lateShare()
	}
	held := a.heldFor(h.name)
	if lacking != nil {
		h.asked = true // with the new one
	}
	force := true
	switch {
	case lacking != nil && !errors.Is(lacking, fs.ErrNotExist):
		a.m.log.Error("the stored certificate can't be used and is replaced", zap.String("host", h.name), zap.Error(lacking))
	case lacking == nil && held.revoked.Load():
		a.m.log.Error("the certificate was revoked and is replaced", zap.String("host", h.name))
	case lacking == nil && a.advisedNow(ctx, h, held):
	default:
		force = false
	}
	order := func() error {
		// certmagic leaves alone what is in its cache.
		r.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: h.name}})
		ctx := ctx
		if h.plain {
			// Which certmagic does in the third attempt of a row.
			attempts := 2
			ctx = context.WithValue(ctx, certmagic.AttemptsCtxKey, &attempts)
		}
		if force {
			return config.RenewCertSync(ctx, h.name, true)
		}
		return config.ManageSync(ctx, []string{h.name})
	}
	err := order()
	if !h.plain && misread(err) {
		h.plain = true
		err = order()
	}
	h.plain = err != nil && !h.plain
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
	plan := a.plan(ctx, h)
	if late := time.Since(plan.renew()); late > time.Minute && !obtained {
		return plan, fmt.Errorf("the certificate should have been renewed %s ago, and was not", late.Round(time.Second))
	}
	return plan, nil
}

// misread reports whether an authority may have refused an order because of the
// certificate that it was to replace (RFC 9773, 5): some know it no longer.
func misread(err error) bool {
	var p acme.Problem
	return errors.As(err, &p) && (p.Type == acme.ProblemTypeMalformed || p.Type == acme.ProblemTypeServerInternal || p.Type == acme.ProblemTypeAlreadyReplaced)
}

// advisedNow asks the authority once after the process began, though it said
// when it was asked before to come back later: whoever hears of a mass
// revocation can restart the gateway.
func (a *acmeManager) advisedNow(ctx context.Context, h *acmeHost, held *stapled) bool {
	if h.asked {
		return false
	}
	plan := a.plan(ctx, h)
	if !plan.ari.HasWindow() {
		h.asked = true
	}
	if h.asked || !time.Now().Before(plan.renew()) {
		return false
	}
	issuer, ok := h.config.Issuers[0].(*certmagic.ACMEIssuer)
	if !ok {
		return false
	}
	info, err := issuer.GetRenewalInfo(ctx, certmagic.Certificate{Certificate: held.pair})
	if err != nil {
		a.m.log.Warn("no renewal information", zap.String("host", h.name), zap.Error(err))
		return false
	}
	h.asked = true
	if time.Now().Before(info.SelectedTime) {
		return false
	}
	a.m.log.Warn("the authority asks for the certificate to be renewed now", zap.String("host", h.name), zap.String("explanation", info.ExplanationURL))
	return true
}

// load takes what is stored for a host into use.
func (a *acmeManager) load(ctx context.Context, r *acmeRun, h *acmeHost) error {
	c, err := h.config.CacheManagedCertificate(ctx, h.name)
	r.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: h.name}})
	switch {
	case err != nil:
		return err
	case !Covers(c.Leaf, h.name):
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
