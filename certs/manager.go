package certs

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway/store"
)

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer // for the metrics of certificates and revocation
	Store      *store.Store          // shared with other nodes; used if tls.acme.storage says so
	StateDir   string                // for ACME storage, staples and revocation lists; made if absent
}

// Manager holds what outlives a configuration: ACME, OCSP staples, revocation
// lists, session ticket keys. Its methods may be called at the same time, Activate not twice.
type Manager struct {
	log        *zap.Logger
	stateDir   string
	store      *store.Store
	tickets    *tickets
	acme       *acmeManager
	staples    *staples
	lists      *lists
	seen       *seen
	responders *responders
	clock      *clock
	active     atomic.Pointer[Set]
	epoch      atomic.Uint64 // grows when answers of Identify may have changed
	generation atomic.Uint64 // of session tickets; grows when a change of trust is known

	mu       sync.Mutex
	onChange func(organizations []string)
}

// NewManager makes a Manager. It starts nothing.
func NewManager(o Options) *Manager {
	m := &Manager{log: o.Log, stateDir: o.StateDir, store: o.Store, tickets: newTickets(), clock: newClock()}
	m.acme = newACME(m)
	m.staples = newStaples(m)
	m.lists = newLists(m)
	m.seen = newSeen(o.Log, o.StateDir)
	m.responders = newResponders(m)
	o.Registerer.MustRegister(newCollector(m), m.clock)
	return m
}

// OnTrustChange has f called after Epoch changed: a revocation list changed or
// became stale, or an agreement ended. f is told which organizations it may
// concern, nil for all. It replaces what was set before, and is called from a
// goroutine of Run.
func (m *Manager) OnTrustChange(f func(organizations []string)) {
	m.mu.Lock()
	m.onChange = f
	m.mu.Unlock()
}

// trustChanged makes every kept identity be proven anew, and session tickets
// useless; without organizations it concerns all of them.
func (m *Manager) trustChanged(organizations ...string) {
	m.generation.Add(1)
	if s := m.active.Load(); s != nil {
		s.rekey()
	}
	m.proveAnew(organizations...)
}

// proveAnew makes every kept identity be proven anew; without organizations it
// concerns all of them.
func (m *Manager) proveAnew(organizations ...string) {
	m.epoch.Add(1)
	m.mu.Lock()
	f := m.onChange
	m.mu.Unlock()
	if f != nil {
		f(organizations)
	}
}

// judgedBy lists the organizations whose certificates a list or responder is
// asked about.
func (m *Manager) judgedBy(l *list, r *responder) (keys []string) {
	if s := m.active.Load(); s != nil {
		for _, o := range s.organizations {
			if l != nil && slices.Contains(o.lists, l) || r != nil && o.responder == r {
				keys = append(keys, o.key)
			}
		}
	}
	return keys
}

// Run does the background work until ctx ends: it fetches lists, notices what
// time alone changes, and turns session ticket keys over.
func (m *Manager) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { m.lists.crew.Run(ctx, m.lists.follow) })
	wg.Go(func() { m.responders.crew.Run(ctx, m.responders.follow) })
	wg.Go(func() { m.watchTime(ctx) })
	wg.Go(func() { m.turnTickets(ctx) })
	wg.Go(func() { m.seen.run(ctx) })
	wg.Go(func() { m.staples.run(ctx) })
	wg.Wait()
	m.acme.stop()
	return ctx.Err()
}

// watchTime notices the moments at which answers of Identify change by
// themselves: an agreement ends, a list becomes stale, its grace is over, the clock
// is set.
func (m *Manager) watchTime(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	last := time.Now().Round(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		m.clockSet(m.clock.look(now))
		now = now.Round(0) // validity is a matter of the wall clock
		var changed []string
		if s := m.active.Load(); s != nil {
			for _, o := range s.organizations {
				for _, t := range o.changes() {
					if last.Before(t) && !now.Before(t) {
						m.log.Warn("an organization's trust ends or is in doubt: its agreement ended, or its revocation list is stale", zap.String("organization", o.key))
						changed = append(changed, o.key)
					}
				}
			}
		}
		last = now
		if len(changed) > 0 {
			m.trustChanged(changed...)
		}
	}
}

// clockSet makes every identity be proven anew by the clock as it is now, and keeps
// what is proven by a clock that went back for no longer than a request.
func (m *Manager) clockSet(by time.Duration) {
	switch {
	case by == 0:
		return
	case by < 0:
		m.log.Error("the wall clock was set back: certificates and revocation lists may count as valid that are not; look at what sets the clock", zap.Duration("by", by))
	default:
		m.log.Warn("the wall clock was set forward", zap.Duration("by", by))
	}
	m.trustChanged()
}

// Config is what a Set is made from. Paths are absolute.
type Config struct {
	TLS           TLS
	Organizations map[string]Organization
	Hosts         []Host
}

// Host is one host of a service; Name is exact or *.example.
type Host struct {
	Name    string
	Service string
	MTLS    MTLS
}

// Activate makes s the set whose certificates are obtained and whose lists are
// fetched; what only the former set used is let go.
func (m *Manager) Activate(s *Set) {
	m.active.Store(s)
	s.rekey() // the keys may have been turned over since Build
	m.lists.use(s)
	m.seen.keep(s.organizations)
	m.responders.use(s)
	s.warnOfRevocation(time.Now())
	m.acme.manage(s)
	m.staples.keep()
}

// HTTPChallenge answers ACME HTTP-01 challenges and passes other requests on.
func (m *Manager) HTTPChallenge(next http.Handler) http.Handler { return m.acme.httpChallenge(next) }
