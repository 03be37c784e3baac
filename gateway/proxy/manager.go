package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware"
)

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	// Resolver looks up upstreams with names; default: the system's.
	Resolver *net.Resolver
	// Descriptors says whether there are any for connections; nil: always.
	Descriptors *middleware.Descriptors
}

// Manager holds the pools of the process. A Pool outlives a reload that does
// not change it, with its connections and what it learned of its servers.
type Manager struct {
	log      *zap.Logger
	metrics  *metrics
	resolver *net.Resolver
	files    *middleware.Descriptors

	mu      sync.Mutex
	active  map[string]*Pool
	retired []*Pool
	closed  bool
}

// NewManager makes a Manager. It starts nothing.
func NewManager(o Options) *Manager {
	m := &Manager{log: o.Log, metrics: newMetrics(o.Registerer), resolver: o.Resolver, files: o.Descriptors, active: map[string]*Pool{}}
	if m.log == nil {
		m.log = zap.NewNop()
	}
	if m.resolver == nil {
		m.resolver = &net.Resolver{}
	}
	return m
}

// PoolConfig is what makes a pool; two services with equal PoolConfigs have
// pools of their own nevertheless, for Name differs.
type PoolConfig struct {
	Name     string // of the service
	Hosts    []string
	URLs     []string // upstreams as configured
	Settings Settings // of the service; file paths absolute
}

// Build finds or makes the pool for c: a new one is complete (certificates read)
// but inactive. The pool in force is found again only if the files that it was
// made from hold the same bytes as then.
func (m *Manager) Build(c PoolConfig) (*Pool, error) {
	files, err := readTLS(c.Settings.UpstreamTLS)
	if err != nil {
		return nil, err
	}
	print := fingerprint(&c, files)
	m.mu.Lock()
	p := m.active[c.Name]
	m.mu.Unlock()
	if p != nil && p.fingerprint == print {
		return p, nil
	}
	p, err = m.newPool(&c, files)
	if err != nil {
		return nil, err
	}
	p.fingerprint = print
	return p, nil
}

// Activate starts discovery and health checks of pools, and retires every other
// pool: its checks stop and its idle connections close, while exchanges under way
// finish.
func (m *Manager) Activate(pools []*Pool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	former := m.active
	m.active = make(map[string]*Pool, len(pools))
	for _, p := range pools {
		m.active[p.name] = p
		p.start()
	}
	m.metrics.use(slices.Clone(pools))
	m.retired = slices.DeleteFunc(m.retired, (*Pool).quiet)
	for name, p := range former {
		if m.active[name] != p {
			p.stop()
			m.retired = append(m.retired, p)
		}
	}
}

// CloseIdle closes the connections that no exchange uses.
func (m *Manager) CloseIdle() {
	m.mu.Lock()
	pools := slices.Clone(m.retired)
	for _, p := range m.active {
		pools = append(pools, p)
	}
	m.mu.Unlock()
	for _, p := range pools {
		p.closeIdle()
	}
}

// Close retires all pools and waits, until ctx ends, for their background work
// and for upgraded connections, which it closes then.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	pools := m.retired
	for _, p := range m.active {
		p.stop()
		pools = append(pools, p)
	}
	m.active, m.retired = map[string]*Pool{}, nil
	m.metrics.use(nil)
	m.mu.Unlock()

	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, p := range pools {
			p.work.Wait()
			p.awaitTunnels()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, p := range pools {
		p.closeTunnels()
	}
	<-done
	return fmt.Errorf("upgraded connections were closed: %w", ctx.Err())
}

// RouteConfig is what may differ between the routes of a pool.
type RouteConfig struct {
	Settings Settings // Timeout, Retries, Websocket of the route
	// Outbound appends the gateway's own header fields (identity, forwarding) to
	// own, and removes every client spelling of them from h, the header that goes to
	// the upstream. r is the inbound request; h is r.Header itself. It is called once
	// for each request.
	Outbound func(r *http.Request, h http.Header, own []Field) []Field
	// Path maps the canonical escaped path of the request to the one that the upstream gets; nil keeps it.
	Path func(string) string
}
