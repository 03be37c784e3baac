package proxy

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Manager holds the pools of the process. A Pool outlives a reload that does
// not change it, with its connections and what it learned of its servers.
type Manager struct{}

// NewManager makes a Manager. It starts nothing.
func NewManager(o Options) *Manager { return &Manager{} }

// PoolConfig is what makes a pool; two services with equal PoolConfigs have
// pools of their own nevertheless, for Name differs.
type PoolConfig struct {
	Name     string // of the service
	Hosts    []string
	URLs     []string // upstreams as configured
	Settings Settings // of the service; file paths absolute
}

// Pool is the servers of one service.
type Pool struct{}

// Build finds or makes the pool for c: a new one is complete (certificates read)
// but inactive.
func (m *Manager) Build(c PoolConfig) (*Pool, error) { return &Pool{}, nil }

// Activate starts discovery and health checks of pools, and retires every other
// pool: its checks stop and its idle connections close, while exchanges under way
// finish.
func (m *Manager) Activate(pools []*Pool) {}

// Close retires all pools and waits, until ctx ends, for their background work.
func (m *Manager) Close(ctx context.Context) error { return nil }

// RouteConfig is what may differ between the routes of a pool.
type RouteConfig struct {
	Settings Settings // Timeout, Retries, Websocket of the route
	// Outbound writes the gateway's own header fields (identity, forwarding) into
	// the header that goes to the upstream, after every client spelling of them is gone.
	// r is the inbound request; h the outbound header, which it may change.
	Outbound func(r *http.Request, h http.Header)
	// Path maps the canonical escaped path of the request to the one that the upstream gets; nil keeps it.
	Path func(string) string
}

// Handler forwards requests to p.
func (p *Pool) Handler(c RouteConfig) http.Handler { return http.NotFoundHandler() }
