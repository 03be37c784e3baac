package gateway

import (
	"crypto/tls"
	"maps"
	"slices"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
)

// Organizations is what operators are told of the organizations.
type Organizations struct {
	At            time.Time            `json:"at"`
	Since         time.Time            `json:"since,omitzero"` // counts begin here: the start of the process
	Organizations []OrganizationStatus `json:"organizations"`
	// Unknown counts refusals of certificates that name no configured
	// organization, by reason.
	Unknown map[string]uint64 `json:"unknown_refusals,omitempty"`
}

// OrganizationStatus is how one organization stands and what was seen of it.
type OrganizationStatus struct {
	Key          string                  `json:"key"`
	Name         string                  `json:"name"`
	Contact      string                  `json:"contact,omitempty"`
	IDs          []string                `json:"ids,omitempty"`
	ValidUntil   string                  `json:"valid_until,omitempty"`
	Trust        certs.TrustStatus       `json:"trust"`
	Certificates []certs.SeenCertificate `json:"certificates"`
	LastSeen     time.Time               `json:"last_seen,omitzero"` // proven, or last successful request
	Usage        *middleware.Usage       `json:"usage,omitempty"`    // nil if no process was asked
	PostQuantum  *float64                `json:"post_quantum_share,omitempty"`
	MayCall      []config.Access         `json:"may_call"`
}

// TrustOf is the part of a configuration that certs acts on.
func TrustOf(c *config.Config) certs.Config {
	trust := certs.Config{TLS: c.TLS, Organizations: c.Trust}
	for _, sc := range c.Services {
		for _, h := range sc.Hosts {
			trust.Hosts = append(trust.Hosts, certs.Host{Name: h, Service: sc.Name, MTLS: sc.Policy.MTLS})
		}
	}
	return trust
}

// OrganizationsOf puts together what is known without any traffic: the
// configuration, its trust, and what m remembers.
func OrganizationsOf(c *config.Config, m *certs.Manager, set *certs.Set, now time.Time) *Organizations {
	all := &Organizations{At: now.UTC().Round(0), Organizations: []OrganizationStatus{}}
	for _, key := range slices.Sorted(maps.Keys(c.Callers)) {
		o := OrganizationStatus{
			Key: key, Name: c.Callers[key].Name, Contact: c.Callers[key].Contact, IDs: c.Trust[key].ID, ValidUntil: c.Trust[key].ValidUntil.String(),
			Trust: set.Status(key, now), Certificates: m.Seen(key, now), MayCall: c.AccessOf(key),
		}
		if o.Certificates == nil {
			o.Certificates = []certs.SeenCertificate{}
		}
		if len(o.Certificates) > 0 {
			o.LastSeen = o.Certificates[0].LastSeen.UTC()
		}
		all.Organizations = append(all.Organizations, o)
	}
	return all
}

// Organizations says how the organizations stand and what was seen of them.
func (g *Gateway) Organizations() (*Organizations, error) {
	snap := g.snapshot.Load()
	if snap == nil {
		return nil, errStarting
	}
	usages, err := g.metrics.requests.Usages()
	if err != nil {
		return nil, err
	}
	all := OrganizationsOf(snap.config, g.certs, snap.certs, time.Now())
	all.Since = g.started
	for i := range all.Organizations {
		o := &all.Organizations[i]
		if o.Usage = usages[o.Key]; o.Usage == nil {
			o.Usage = middleware.NewUsage()
		}
		if share, ok := o.Usage.PostQuantum(); ok {
			o.PostQuantum = &share
		}
		if o.Usage.LastRequest.After(o.LastSeen) {
			o.LastSeen = o.Usage.LastRequest
		}
	}
	if u := usages[middleware.Unknown]; u != nil {
		all.Unknown = u.Refusals
	}
	return all, nil
}

// noteOrganization remembers what a connection proved, once for each answer of
// identify: the handshake is counted with the first one.
func (g *Gateway) noteOrganization(c *conn, p *proven, cs *tls.ConnectionState, now time.Time) {
	if p.noted.Load() || p.noted.Swap(true) || p.identity.Reason != "" {
		return
	}
	g.certs.Saw(p.identity, now)
	if !c.counted.Swap(true) {
		g.metrics.requests.OrganizationHandshake(p.identity.Organization, cs)
	}
}
