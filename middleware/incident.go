package middleware

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// Incident is a request that was refused, or would have been if a policy were not in
// mode detect, as operators are told of it: who, what, by which policy and why. What a client wrote stands in it only where it is
// bounded and masked; the query, the fields of the header and the body never do,
// but for the part that a rule matched.
type Incident struct {
	ID       string    `json:"id"`
	Time     time.Time `json:"time"`
	Status   int       `json:"status"`
	Detected bool      `json:"detected,omitempty"` // it was let through, for the policy only detects: Status is what it would have got
	Answered int       `json:"answered,omitempty"` // instead
	By       string    `json:"by"`                 // the YAML key of the policy, or routing, http, upstream, gateway
	Reason   string    `json:"reason"`
	Policy   string    `json:"policy,omitempty"` // the limit that refused
	Detail   string    `json:"detail,omitempty"`
	Listener string    `json:"listener"`
	Protocol string    `json:"protocol"`

	Organization string `json:"organization,omitempty"`
	OrgName      string `json:"organization_name,omitempty"`
	Claimed      string `json:"claimed_organization,omitempty"` // what a certificate that was not accepted names
	Network      string `json:"network,omitempty"`              // the client's address, cut to /24 or /48

	Method  string `json:"method"`
	Host    string `json:"host,omitempty"`
	Path    string `json:"path,omitempty"`
	Service string `json:"service,omitempty"`
	Route   string `json:"route,omitempty"`

	Upstream   string      `json:"upstream,omitempty"` // the server that answered last, or did not
	Error      string      `json:"upstream_error,omitempty"`
	Inspection *Inspection `json:"inspection,omitempty"`

	// Decided is what of the configuration refused the request: the first line
	// decided, the others bear on it.
	Decided []Deciding `json:"decided,omitempty"`
	Hash    string     `json:"config_hash,omitempty"` // of the configuration then in force
}

// Inspection is what the rules found.
type Inspection struct {
	Mode     string      `json:"mode"`
	Score    int         `json:"score"`
	Category string      `json:"category,omitempty"`
	Guard    string      `json:"guard,omitempty"`
	Matches  []waf.Match `json:"matches,omitempty"`
	Further  []Further   `json:"further_matches,omitempty"` // of which only the place is kept
	More     int         `json:"more_matches,omitempty"`    // that are not kept at all
}

// Further is a rule and a place where it matched.
type Further struct {
	Rule  int    `json:"rule"`
	Where string `json:"where"`
}

// Deciding is a line of the configuration.
type Deciding struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
	From  string `json:"from,omitempty"` // the level: defaults, profile x, service x, route x
	File  string `json:"file,omitempty"` // "" for what is built in
	Line  int    `json:"line,omitempty"`
}

// What is kept of an incident that a client can make large.
const (
	maxIncidentPath    = 256
	maxIncidentDetail  = 256
	maxIncidentMatches = 8   // with what matched
	maxIncidentFurther = 100 // rules in further places
	maxIncidentPlaces  = 32  // of these
	maxIncidentMessage = 160 // of a rule, which may quote what it matched
)

// incident copies what is told of a request that was refused or would have been.
func (rec *Record) incident() *Incident {
	d, status, answered := rec.Denial, rec.Status, 0
	if d == nil {
		d, status, answered = &rec.Would.Denial, rec.Would.Status, rec.Status
	}
	i := &Incident{
		Detected: rec.Denial == nil, Answered: answered,
		ID: rec.ID, Time: rec.Start.UTC().Round(0), Status: status, By: d.By, Reason: d.Reason, Policy: d.Policy,
		Detail: maskedClip(d.Detail, maxIncidentDetail), Listener: rec.Listener, Protocol: rec.Protocol,
		Organization: rec.Organization, OrgName: rec.OrgName, Network: network(rec.Client),
		Method: maskedClip(logMethod(rec.Method), 16), Host: maskedClip(rec.Host, maxIncidentPath), Path: maskedClip(rec.Path, maxIncidentPath), Service: rec.Service, Route: rec.Route,
		Upstream: rec.UpstreamServer, Error: rec.UpstreamError,
	}
	if rec.Organization == "" {
		i.Claimed = rec.Identity.Claimed
	}
	if d.By == "waf" || rec.InspectionOutcome == "detect" { // and refused by another policy then
		i.Inspection = rec.inspection()
	}
	return i
}

// inspection copies what the rules found: the first ones whole, of the others what
// an exclusion needs.
func (rec *Record) inspection() *Inspection {
	out := &Inspection{Mode: rec.InspectionMode, Score: rec.InspectionScore, Category: rec.InspectionCategory, Guard: rec.InspectionGuard}
	places := map[string]string{}
	further := func(rule int, where string) {
		where, known := Mask(where), false
		if _, known = places[where]; !known && len(places) < maxIncidentPlaces {
			where = own(where)
			places[where], known = where, true
		}
		if !known || len(out.Further) == maxIncidentFurther {
			out.More++
			return
		}
		out.Further = append(out.Further, Further{rule, places[where]})
	}
	for k, m := range rec.InspectionMatches {
		out.More += m.More
		if k >= maxIncidentMatches {
			further(m.Rule, m.Where)
			for _, where := range m.Also {
				further(m.Rule, where)
			}
			continue
		}
		m.Where, m.Part, m.Message = own(Mask(m.Where)), own(Mask(m.Part)), maskedClip(m.Message, maxIncidentMessage)
		m.Also = slices.Clone(m.Also)
		for n, where := range m.Also {
			m.Also[n] = own(Mask(where))
		}
		if strings.HasPrefix(m.Where, "RESPONSE") {
			m.Part = "" // what the upstream should not have said
		}
		out.Matches = append(out.Matches, m)
	}
	return out
}

// network is an address without what tells one household from another.
func network(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	if a.Is4() || a.Is4In6() {
		return truncated(a.Unmap()) + "/24"
	}
	return truncated(a) + "/48"
}

// Incidents remembers the refusals of late. Callers whose organization was proven
// have room of their own, which strangers can't use up.
type Incidents struct {
	place func(*Incident) // fills Decided and Hash; may be nil

	mu       sync.Mutex
	known    ring
	stranger ring
	detected ring // what mode detect let through, which must not push out what was refused
}

// maxIncidents is how many of each of the three are remembered: together some 6 MiB,
// and 60 MiB if clients make each as large as they can.
const maxIncidents = 2048

// ring holds the newest of what was put into it.
type ring struct {
	list []*Incident
	next int
}

func (r *ring) put(i *Incident) {
	if len(r.list) < maxIncidents {
		r.list = append(r.list, i)
		return
	}
	r.list[r.next] = i
	r.next = (r.next + 1) % maxIncidents
}

// NewIncidents makes an empty one. place adds to each incident what the
// configuration knows of it.
func NewIncidents(place func(*Incident)) *Incidents { return &Incidents{place: place} }

// note remembers a finished request if it was refused, or would have been.
func (l *Incidents) note(rec *Record) {
	if l == nil || rec.Denial == nil && rec.Would == nil {
		return
	}
	i := rec.incident()
	if l.place != nil {
		l.place(i)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case i.Detected:
		l.detected.put(i)
	case i.Organization != "":
		l.known.put(i)
	default:
		l.stranger.put(i)
	}
}

// Find is the incident with an id, or nil. What it returns must not be changed.
func (l *Incidents) Find(id string) *Incident {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range []*ring{&l.known, &l.stranger, &l.detected} {
		for _, i := range r.list {
			if i.ID == id {
				return i
			}
		}
	}
	return nil
}

// List is the newest incidents that want accepts, the newest one first, most of
// them at most.
func (l *Incidents) List(want func(*Incident) bool, most int) []*Incident {
	l.mu.Lock()
	all := slices.Concat(l.known.list, l.stranger.list, l.detected.list)
	l.mu.Unlock()
	if want != nil {
		all = slices.DeleteFunc(all, func(i *Incident) bool { return !want(i) })
	}
	slices.SortStableFunc(all, func(a, b *Incident) int { return b.Time.Compare(a.Time) })
	return all[:min(len(all), most)]
}

// own is a copy of a text, which may be a part of a body: the body is not to be
// kept with it.
func own(s string) string { return strings.Clone(s) }

// maskedClip is a masked copy of a text, bounded. What a cut makes of a longer number
// is masked too.
func maskedClip(s string, most int) string { return own(Mask(clippedText(Mask(s), most))) }

// clippedText is a copy of a text, bounded without breaking a character.
func clippedText(s string, most int) string {
	if len(s) <= most {
		return own(s)
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
