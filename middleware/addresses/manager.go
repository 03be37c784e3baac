package addresses

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	// StateDir is where lists from URLs are kept. Without it nothing is fetched,
	// and those lists are taken for ones that hold nobody, as a rehearsal needs.
	StateDir string
	// Changed is called after a list changed, from a goroutine of Run.
	Changed func()
}

// Manager holds the sets of the process and follows their sources.
type Manager struct {
	Options
	crew     *fetch.Crew[*Set]
	fetching chan struct{} // each may hold a list of maxList
	fetches  *prometheus.CounterVec
	hits     *prometheus.CounterVec

	mu   sync.Mutex
	sets map[string]*Set // in force, by name
}

// NewManager makes a Manager. It starts nothing.
func NewManager(o Options) *Manager {
	m := &Manager{
		Options: o, crew: fetch.NewCrew[*Set](), fetching: make(chan struct{}, 2), sets: map[string]*Set{},
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_address_set_fetches_total", Help: "Attempts to get a list of addresses. Result: success, unchanged, failure, invalid (a line that can't be read, no entries) or shrunk (it lost more than max_shrink).",
		}, []string{"set", "result"}),
		hits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vazel_address_set_hits_total", Help: "Decisions on connections and requests that a set made: the address was in it. Verdict: denied or allowed.",
		}, []string{"set", "verdict"}),
	}
	o.Registerer.MustRegister(m.fetches, m.hits, &collector{m})
	return m
}

// Book is the sets of one configuration. It is immutable.
type Book struct {
	sets map[string]*Set
}

// Build finds the sets of a configuration: those in force with the same source, and new ones read
// from their files or kept copies. A file that can't be used is an error, unless
// a list of it is in force.
func (m *Manager) Build(sources map[string]Source) (*Book, error) {
	b := &Book{sets: map[string]*Set{}}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		s, err := m.find(name, sources[name])
		if err != nil {
			return nil, fmt.Errorf("address set %q: %w", name, err)
		}
		b.sets[name] = s
	}
	return b, nil
}

func (m *Manager) find(name string, source Source) (*Set, error) {
	if err := source.Check(); err != nil {
		return nil, err
	}
	if err := source.CheckCA(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	former := m.sets[name]
	m.mu.Unlock()
	if former != nil && former.source == source {
		return former, nil
	}
	s := &Set{
		name: name, source: source, hits: hits{m.hits.WithLabelValues(name, "denied"), m.hits.WithLabelValues(name, "allowed")},
		inside: fmt.Sprintf("address set %q", name), unusable: fmt.Sprintf("the list of address set %q is missing or too old", name),
	}
	if m.StateDir != "" {
		s.keep = keptName(m.StateDir, source)
	}
	if former != nil && former.source.sameList(source) {
		s.state.Store(former.state.Load())
	} else if s.keep != "" {
		st, err := s.readKept()
		if err != nil {
			m.Log.Warn("the kept copy of an address list can't be used", zap.String("set", name), zap.Error(err))
		}
		s.state.Store(st)
	}
	switch {
	case source.File != "":
		if err := s.begin(); err != nil {
			return nil, fmt.Errorf("%s: %w", source.File, err)
		}
	case m.StateDir == "":
		s.state.Store(&state{table: &table{}, got: time.Now()})
	}
	s.ageNow()
	return s, nil
}

// Prepare gets the lists of new sets that have none, so that a configuration that
// names a new URL does not refuse everybody until its first answer. It waits only
// so long; what can't be got is told of by the sets themselves.
func (m *Manager) Prepare(b *Book) {
	if m.StateDir == "" {
		return
	}
	former := m.inForce()
	var wg sync.WaitGroup
	for _, s := range b.sets {
		if s.state.Load() == nil && !slices.Contains(former, s) {
			wg.Go(func() { m.refresh(context.Background(), s, prepareAtMost) })
		}
	}
	wg.Wait()
}

// Activate makes the sets of b those whose sources are followed.
func (m *Manager) Activate(b *Book) {
	active := map[*Set]bool{}
	m.mu.Lock()
	for name := range m.sets {
		if b.sets[name] == nil {
			m.fetches.DeletePartialMatch(prometheus.Labels{"set": name})
			m.hits.DeletePartialMatch(prometheus.Labels{"set": name})
		}
	}
	m.sets = b.sets
	m.mu.Unlock()
	if m.StateDir == "" {
		return
	}
	for _, s := range b.sets {
		active[s] = true
	}
	m.crew.Use(active)
	m.prune(b)
}

// forgotten is how long the copy of a list is kept that no set names: a set that
// was taken out by mistake, and comes back, needs it.
const forgotten = 7 * 24 * time.Hour

// prune removes the kept copies of lists that no set of b has, and what a write
// that was cut short left.
func (m *Manager) prune(b *Book) {
	dir := filepath.Join(m.StateDir, keptFolder)
	files, err := os.ReadDir(dir)
	if err != nil {
		return // there are none yet
	}
	kept := map[string]bool{}
	for _, s := range b.sets {
		kept[filepath.Base(s.keep)] = true
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || kept[f.Name()] || !info.Mode().IsRegular() || time.Since(info.ModTime()) < forgotten {
			continue
		}
		if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
			m.Log.Warn("the kept copy of an address list that is not used could not be removed", zap.Error(err))
		}
	}
}

// Run follows the sources of the sets in force until ctx ends.
func (m *Manager) Run(ctx context.Context) { m.crew.Run(ctx, m.follow) }

// inForce lists the sets by name.
func (m *Manager) inForce() []*Set {
	m.mu.Lock()
	defer m.mu.Unlock()
	var l []*Set
	for _, name := range slices.Sorted(maps.Keys(m.sets)) {
		l = append(l, m.sets[name])
	}
	return l
}
