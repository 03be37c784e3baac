package certs

import (
	"context"
	"time"
)

// TrustStatus is how an organization's trust stands.
type TrustStatus struct {
	Authorities []AuthorityStatus `json:"authorities"`
	Revocation  *ListStatus       `json:"revocation,omitempty"` // nil without crl
}

// AuthorityStatus is one of the organization's certification authorities.
type AuthorityStatus struct {
	Subject  string    `json:"subject"`
	NotAfter time.Time `json:"not_after"`
}

// ListStatus is the state of a revocation list.
type ListStatus struct {
	Source     string    `json:"source"` // URL or file
	Mode       string    `json:"mode"`   // what happens without a fresh one
	State      string    `json:"state"`  // fresh, stale or missing
	Entries    int       `json:"entries"`
	ThisUpdate time.Time `json:"this_update,omitzero"`
	NextUpdate time.Time `json:"next_update,omitzero"`
	Fetched    time.Time `json:"fetched,omitzero"`
}

// Status says how the trust of a configured organization stands.
func (s *Set) Status(organization string, now time.Time) TrustStatus {
	var st TrustStatus
	for _, o := range s.organizations {
		if o.key != organization {
			continue
		}
		for _, ca := range o.cas {
			st.Authorities = append(st.Authorities, AuthorityStatus{readableText(ca.Subject.String()), ca.NotAfter.UTC()})
		}
		if o.list != nil {
			st.Revocation = o.list.status(o.revocation.mode, now)
		}
	}
	return st
}

func (l *list) status(mode string, now time.Time) *ListStatus {
	st := &ListStatus{Source: l.config.URL + l.config.File, Mode: mode, State: "missing"}
	s := l.state.Load()
	if s == nil {
		return st
	}
	st.State = "fresh"
	if l.stale(s, now) != "" {
		st.State = "stale"
	}
	st.Entries, st.ThisUpdate, st.NextUpdate, st.Fetched = len(s.revoked), s.this.UTC(), s.next.UTC(), s.fetched.UTC()
	return st
}

// Probe gets an organization's revocation list from its source now, and checks
// it like the gateway does, without putting it in force. It is nil if the
// organization has none.
func (s *Set) Probe(ctx context.Context, organization string, now time.Time) (*ListStatus, error) {
	for _, o := range s.organizations {
		if o.key != organization || o.list == nil {
			continue
		}
		state, _, err := s.manager.lists.get(ctx, o.list, nil)
		if err != nil {
			return nil, err
		}
		l := &list{name: o.list.name, config: o.list.config, cas: o.list.cas}
		l.state.Store(state)
		return l.status(o.revocation.mode, now), nil
	}
	return nil, nil
}
