package certs

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

// pause is how long to wait after a failure: an authority that can't be reached
// is asked again soon; one that refused counts attempts, and is spared.
func pause(err error, failures int) time.Duration {
	first, most := 2*time.Second, 10*time.Minute // such as a record of dns-01 that did not show
	var refused acme.Problem
	var network net.Error
	switch {
	case errors.As(err, &refused) && refused.Status < 500:
		first, most = time.Minute, time.Hour
	case errors.As(err, &refused), errors.As(err, &network):
		most = time.Minute
	}
	wait := min(first<<min(failures, 10), most)
	return wait*9/10 + rand.N(wait/5+1)
}

const (
	earlyShare = 1.0 / 3   // of the lifetime is left when a certificate is renewed without other advice
	lateShare  = 1.0 / 20  // of it is left when advice to wait no longer counts
	lateLeft   = time.Hour // and at least this much, unless earlyShare comes first
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

// lateShare is how much of the lifetime has to be left at a renewal, whatever
// the authority suggests: enough to try again when it can't be reached.
func (p renewalPlan) lateShare() float64 {
	return min(max(lateShare, float64(lateLeft)/float64(max(p.notAfter.Sub(p.notBefore), 1))), earlyShare)
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
	if late := left(p.lateShare()); at.IsZero() || late.Before(at) {
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
