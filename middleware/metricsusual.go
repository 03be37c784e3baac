package middleware

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// usual remembers the handles of the first few kinds of requests of a route and class:
// comparing them costs less than hashing all of their labels. It never forgets, so
// that nothing is written once a route has seen its usual traffic.
type usual struct {
	off   bool // the route stands for several: overflow
	kinds atomic.Pointer[[]usualKind]
}

// mostUsual is how many kinds are compared.
const mostUsual = 6

type usualKind struct {
	listener, method, protocol, organization, outcome string
	code                                              int
	requests                                          prometheus.Counter
	byOrg                                             *orgHandles
}

// of finds the handles of a finished request.
func (u *usual) of(m *Metrics, rec *Record, route string) (prometheus.Counter, *orgHandles) {
	organization, method, outcome := rec.Organization, MethodLabel(rec.Method), rec.Outcome()
	if organization == "" {
		organization = anonymous
	}
	known := u.kinds.Load()
	if known != nil {
		for i := range *known {
			if k := &(*known)[i]; k.code == rec.Status && k.organization == organization && k.outcome == outcome && k.method == method && k.listener == rec.Listener && k.protocol == rec.Protocol {
				return k.requests, k.byOrg
			}
		}
	}
	request, org := requestKey{rec.Listener, route, method, rec.Protocol, rec.Status}, orgKey{organization, route, outcome}
	requests, byOrg := m.byRequest.get(request), m.byOrg.get(org)
	if u.off || known != nil && len(*known) == mostUsual || !m.byRequest.has(request) || !m.byOrg.has(org) {
		return requests, byOrg // what overflows is to be counted as that each time
	}
	var kinds []usualKind
	if known != nil {
		kinds = append(kinds, *known...)
	}
	kinds = append(kinds, usualKind{rec.Listener, method, rec.Protocol, organization, outcome, rec.Status, requests, byOrg})
	u.kinds.CompareAndSwap(known, &kinds) // whoever loses the race is seen again
	return requests, byOrg
}
