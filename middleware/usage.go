package middleware

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Usage is what the metrics of this process know of one organization.
type Usage struct {
	Requests    map[string]uint64 `json:"requests"`     // by outcome
	Refusals    map[string]uint64 `json:"refusals"`     // by reason: identity, limited, blocked
	KeyExchange map[string]uint64 `json:"key_exchange"` // handshakes by group
	LastRequest time.Time         `json:"last_request,omitzero"`
}

// NewUsage is the Usage of an organization that did nothing yet.
func NewUsage() *Usage {
	return &Usage{Requests: map[string]uint64{}, Refusals: map[string]uint64{}, KeyExchange: map[string]uint64{}}
}

// PostQuantum is the share of handshakes with a post-quantum key exchange; ok is
// false if there was none at all.
func (u *Usage) PostQuantum() (share float64, ok bool) {
	var all, pq uint64
	for group, n := range u.KeyExchange {
		all += n
		if strings.Contains(group, "MLKEM") {
			pq += n
		}
	}
	if all == 0 {
		return 0, false
	}
	return float64(pq) / float64(all), true
}

// Usages reads the metrics of all organizations, by organization; _anonymous
// and _unknown are among them. It is for operators, not for requests.
func (m *Metrics) Usages() (map[string]*Usage, error) {
	reg := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{m.orgRequests, m.mtlsRejections, m.orgShakes, m.orgLast} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	families, err := reg.Gather()
	if err != nil {
		return nil, err
	}
	all := map[string]*Usage{}
	for _, f := range families {
		for _, series := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range series.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			u := all[labels["organization"]]
			if u == nil {
				u = NewUsage()
				all[labels["organization"]] = u
			}
			n := uint64(series.GetCounter().GetValue())
			switch f.GetName() {
			case "vazel_organization_requests_total":
				u.Requests[labels["outcome"]] += n
				if o := labels["outcome"]; o == "limited" || o == "blocked" {
					u.Refusals[o] += n
				}
			case "vazel_mtls_rejections_total":
				u.Refusals[labels["reason"]] += n
			case "vazel_organization_handshakes_total":
				u.KeyExchange[labels["group"]] += n
			case "vazel_organization_last_request_timestamp_seconds":
				u.LastRequest = time.Unix(int64(series.GetGauge().GetValue()), 0).UTC()
			}
		}
	}
	return all, nil
}
