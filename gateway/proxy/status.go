package proxy

import (
	"cmp"
	"slices"
	"time"
)

// PoolStatus is how the servers of a service stand.
type PoolStatus struct {
	Name       string         `json:"name"`
	Configured []string       `json:"configured"`
	Checked    bool           `json:"checked"` // by active health checks
	Servers    []ServerStatus `json:"servers"`
}

// ServerStatus is one server of a service.
type ServerStatus struct {
	URL     string        `json:"url"` // as configured
	Address string        `json:"address"`
	State   string        `json:"state"` // up, warming, ejected or failing
	Active  int           `json:"active"`
	Idle    int           `json:"idle"`
	Took    time.Duration `json:"took"` // until the last response head; 0: none yet
}

// Status describes the pools in force, in the order of their names.
func (m *Manager) Status() []PoolStatus {
	m.mu.Lock()
	pools := make([]*Pool, 0, len(m.active))
	for _, p := range m.active {
		pools = append(pools, p)
	}
	m.mu.Unlock()
	slices.SortFunc(pools, func(a, b *Pool) int { return cmp.Compare(a.name, b.name) })
	all := make([]PoolStatus, 0, len(pools))
	for _, p := range pools {
		st := PoolStatus{Name: p.name, Checked: p.check != nil}
		for _, o := range p.origins {
			st.Configured = append(st.Configured, o.url)
		}
		now := p.now()
		for _, s := range p.list() {
			one := ServerStatus{URL: s.origin.url, Address: s.addr, State: s.health.state(now).String(), Took: time.Duration(s.took.Load())}
			one.Active, one.Idle = s.connections()
			st.Servers = append(st.Servers, one)
		}
		all = append(all, st)
	}
	return all
}

func (s state) String() string {
	return [...]string{stateUp: "up", stateWarming: "warming", stateEjected: "ejected", stateFailing: "failing"}[s]
}
