package certs

import (
	"context"
	"time"
)

// TrustStatus is how an organization's trust stands.
type TrustStatus struct {
	Authorities []AuthorityStatus `json:"authorities"`
	Revocation  []ListStatus      `json:"revocation,omitempty"` // one for each source of crl
	Responder   string            `json:"responder,omitempty"`  // of OCSP
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
		st.Revocation, st.Responder = o.listStatus(now), o.responderName()
	}
	return st
}

// listStatus is how each of the organization's lists stands.
func (o *organization) listStatus(now time.Time) []ListStatus {
	var all []ListStatus
	for _, l := range o.lists {
		all = append(all, l.status(o.revocation.mode, now))
	}
	return all
}

// responderName says where OCSP answers come from; "" without one.
func (o *organization) responderName() string {
	switch {
	case o.responder == nil:
		return ""
	case o.responder.config.URL != "":
		return o.responder.config.URL
	}
	return "as each certificate says"
}

func (l *list) status(mode string, now time.Time) ListStatus {
	st := ListStatus{Source: l.config.URL + l.config.File, Mode: mode, State: "missing"}
	s := l.state.Load()
	if s == nil {
		return st
	}
	st.State = "fresh"
	if l.stale(s, now) != "" {
		st.State = "stale"
	}
	st.Entries, st.ThisUpdate, st.NextUpdate, st.Fetched = s.revoked.len(), s.this.UTC(), s.next.UTC(), s.fetched.UTC()
	return st
}

// Probed is a list that was got just now.
type Probed struct {
	ListStatus
	Err error // it could not be got, or is no list of the organization
}

// Probe gets an organization's revocation lists from their sources now, and
// checks them like the gateway does, without putting them in force.
func (s *Set) Probe(ctx context.Context, organization string, now time.Time) []Probed {
	var all []Probed
	for _, o := range s.organizations {
		if o.key != organization {
			continue
		}
		for _, l := range o.lists {
			mine := &list{name: l.name, config: l.config, issuers: l.issuers}
			state, _, err := s.manager.lists.get(ctx, mine)
			if err == nil {
				mine.state.Store(state)
			}
			all = append(all, Probed{mine.status(o.revocation.mode, now), err})
		}
	}
	return all
}
