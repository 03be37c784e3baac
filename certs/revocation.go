package certs

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"
)

// The modes of Revocation.
const (
	modeRequire = "require"
	modeGrace   = "grace"
	modeObserve = "observe"
)

// revocationPolicy is a Revocation with its defaults.
type revocationPolicy struct {
	mode  string
	grace time.Duration
}

func policyOf(r *Revocation) (revocationPolicy, error) {
	p := revocationPolicy{mode: modeRequire}
	if r == nil {
		return p, nil
	}
	switch r.Mode {
	case "":
	case modeRequire, modeGrace, modeObserve:
		p.mode = r.Mode
	default:
		return p, fmt.Errorf("unknown mode %q; write require, grace or observe", r.Mode)
	}
	if p.mode == modeGrace {
		p.grace = r.Grace.Or(24 * time.Hour)
	} else if r.Grace != 0 {
		return p, errors.New("grace counts only with mode: grace")
	}
	return p, nil
}

// Check finds mistakes of the setting.
func (r *Revocation) Check() error {
	_, err := policyOf(r)
	return err
}

// verdict is what revocation says of a chain.
type verdict struct {
	reason  Reason          // of the refusal; "" lets it in
	detail  string          // for the log, also of what was let in without certainty
	passing bool            // the status may become known at any moment
	pending <-chan struct{} // closed when the first answer about a certificate is settled
}

// judge holds a verified chain against the organization's lists and responder.
// The status of every certificate has to be known, but for the anchor's, which
// is trusted because it is configured; where a list says that it is
// revoked, it is.
func (o *organization) judge(chain []*x509.Certificate, now time.Time) verdict {
	var v verdict
	for i, c := range chain {
		anchor := i == len(chain)-1
		var issuer *x509.Certificate
		if !anchor {
			issuer = chain[i+1]
		} else if len(o.above) > 0 {
			issuer = o.above[string(c.Raw)]
		}
		if issuer == nil {
			continue
		}
		s := o.status(c, issuer, anchor, now)
		of := func(text string) string {
			if i == 0 {
				return text
			}
			return "authority " + plain(c.Subject.String()) + ": " + text
		}
		if s.revoked {
			return verdict{reason: Revoked, detail: of("it is revoked")}
		}
		if anchor || s.unknown == "" {
			continue
		}
		if s.graced || o.revocation.mode == modeObserve {
			if v.detail == "" {
				v.detail = of(s.unknown) + "; let in by revocation mode " + o.revocation.mode
			}
		} else if v.reason == "" {
			v.reason, v.detail = RevocationUnknown, of(s.unknown)
		}
		v.passing = v.passing || s.passing
		if v.pending == nil {
			v.pending = s.pending
		}
	}
	return v
}

// count notes a chain that was judged without certainty.
func (o *organization) count(v verdict) {
	switch {
	case v.reason == RevocationUnknown:
		o.refused.Inc()
	case v.reason == "" && v.detail != "":
		o.admitted.Inc()
	}
}

// status is what is known of one certificate.
type status struct {
	revoked bool
	unknown string // why it is not known to be good; "" if it is
	graced  bool   // it was known to be good not long ago
	passing bool
	pending <-chan struct{}
}

// status asks every source. One that says revoked is believed, whatever the
// others say; else one that says good is enough.
func (o *organization) status(c, issuer *x509.Certificate, anchor bool, now time.Time) status {
	st := status{unknown: "no revocation list is of the certificate's issuer"}
	good := false
	inGrace := func(from time.Time) bool {
		return o.revocation.mode == modeGrace && now.Before(from.Add(o.revocation.grace))
	}
	for _, l := range o.lists {
		s := l.state.Load()
		if s == nil {
			st.unknown = "no revocation list has been got yet"
			continue
		}
		if !sameAuthority(issuer, s.issuer) {
			continue
		}
		if s.revoked.has(c.SerialNumber) {
			return status{revoked: true}
		}
		why := s.silent(c)
		if why == "" {
			if why = l.stale(s, now); why == "" {
				good = true
			} else {
				st.graced = st.graced || inGrace(l.staleFrom(s))
			}
		}
		st.unknown = why
	}
	if r := o.responder; r != nil && !anchor {
		a, why, pending := r.status(c, issuer, now)
		switch {
		case a != nil && a.status == ocsp.Revoked:
			return status{revoked: true}
		case a != nil && a.status == ocsp.Good && now.Before(r.staleFrom(a)):
			good = true
		case a != nil && a.status == ocsp.Unknown:
			st.unknown, st.passing, st.pending = "the OCSP responder does not know the certificate", true, pending
		default:
			st.unknown, st.passing, st.pending = "no fresh OCSP answer: "+why, true, pending
			st.graced = st.graced || a != nil && inGrace(r.staleFrom(a))
		}
	}
	if good {
		return status{}
	}
	return st
}

// warnOfRevocation says of which lists nothing fresh is at hand, and what that means.
func (s *Set) warnOfRevocation(now time.Time) {
	for _, o := range s.organizations {
		for _, l := range o.lists {
			why := "no revocation list has been got yet"
			if state := l.state.Load(); state != nil {
				why = l.stale(state, now)
			}
			if why == "" {
				continue
			}
			means := "certificates whose status it would show are refused"
			switch o.revocation.mode {
			case modeObserve:
				means = "certificates are let in all the same, also revoked ones that no former list shows"
			case modeGrace:
				means = "certificates are refused once the grace of a stale list is over, and at once without any"
			}
			s.manager.log.Warn("an organization is without a fresh revocation list", zap.String("organization", o.key), zap.String("source", l.config.URL+l.config.File),
				zap.String("reason", why), zap.String("mode", o.revocation.mode), zap.String("meaning", means))
		}
	}
}

// staleFrom is the first moment at which a list is no longer fresh.
func (l *list) staleFrom(s *listState) time.Time {
	from := s.next
	if m := l.config.MaxAge.Std(); m > 0 && s.fetched.Add(m).Before(from) {
		from = s.fetched.Add(m)
	}
	return from
}

// stale says why a list is no longer fresh; "" if it is.
func (l *list) stale(s *listState, now time.Time) string {
	switch {
	case now.Before(l.staleFrom(s)):
		return ""
	case !now.Before(s.next):
		return "the revocation list is past its nextUpdate of " + s.next.UTC().Format(time.RFC3339)
	}
	return "the revocation list is older than max_age"
}

// changes are the moments at which answers about o change by themselves. What
// the responder's answers have of them, it tells itself.
func (o *organization) changes() []time.Time {
	var l []time.Time
	if !o.until.IsZero() {
		l = append(l, o.until)
	}
	for _, list := range o.lists {
		if s := list.state.Load(); s != nil {
			from := list.staleFrom(s)
			l = append(l, from, from.Add(o.revocation.grace))
		}
	}
	return l
}
