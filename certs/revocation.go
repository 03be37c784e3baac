package certs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
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
		return p, fmt.Errorf("revocation: unknown mode %q; write require, grace or observe", r.Mode)
	}
	if p.mode == modeGrace {
		p.grace = r.Grace.Or(24 * time.Hour)
	} else if r.Grace != 0 {
		return p, errors.New("revocation: grace counts only with mode: grace")
	}
	return p, nil
}

// judge says whether the leaf of a chain is refused, and why. A detail without a
// reason is what should be known of a certificate that was let in.
func (p revocationPolicy) judge(l *list, chain []*x509.Certificate, now time.Time) (Reason, string) {
	s := l.state.Load()
	unknown, graced := "", false
	switch {
	case s == nil:
		unknown = "no revocation list has been got yet"
	case !bytes.Equal(chain[1].RawSubject, s.issuer.RawSubject) || !bytes.Equal(chain[1].RawSubjectPublicKeyInfo, s.issuer.RawSubjectPublicKeyInfo):
		unknown = "the revocation list is not of the certificate's issuer"
	default:
		if _, ok := s.revoked[string(chain[0].SerialNumber.Bytes())]; ok {
			return Revoked, ""
		}
		if unknown = l.stale(s, now); unknown == "" {
			return "", ""
		}
		graced = p.mode == modeGrace && now.Before(l.staleFrom(s).Add(p.grace))
	}
	if graced || p.mode == modeObserve {
		l.admitted.Inc()
		return "", unknown + "; let in by revocation mode " + p.mode
	}
	l.refused.Inc()
	return RevocationUnknown, unknown
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

// changes are the moments at which answers about o change by themselves.
func (o *organization) changes() []time.Time {
	var l []time.Time
	if !o.until.IsZero() {
		l = append(l, o.until)
	}
	if o.list != nil {
		if s := o.list.state.Load(); s != nil {
			from := o.list.staleFrom(s)
			l = append(l, from, from.Add(o.revocation.grace))
		}
	}
	return l
}
