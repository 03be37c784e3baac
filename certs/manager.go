package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Options is what a Manager needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer // for the metrics of certificates and revocation
	StateDir   string                // for ACME storage and revocation lists; made if absent
}

// Manager holds what outlives a configuration: ACME, revocation lists,
// session ticket keys.
type Manager struct{}

// NewManager makes a Manager. It starts nothing.
func NewManager(o Options) *Manager { return &Manager{} }

// Run does the background work until ctx ends.
func (m *Manager) Run(ctx context.Context) error { <-ctx.Done(); return nil }

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

// Build makes a Set: it reads and checks every certificate and every list. It
// starts nothing and changes nothing; Activate does.
func (m *Manager) Build(c Config) (*Set, error) { return nil, errors.New("not built yet") }

// Activate makes s the set whose certificates are obtained and whose lists are
// fetched; what only the former set used is let go.
func (m *Manager) Activate(s *Set) {}

// HTTPChallenge answers ACME HTTP-01 challenges and passes other requests on.
func (m *Manager) HTTPChallenge(next http.Handler) http.Handler { return next }

// Set is the trust of one configuration. It is immutable.
type Set struct{}

// ConfigFor answers a handshake: the server's certificate for the name, whether
// a client certificate is asked for, versions and groups. protos is what is
// offered by ALPN. It has to be cheap.
func (s *Set) ConfigFor(hello *tls.ClientHelloInfo, protos []string) (*tls.Config, error) {
	return nil, errors.New("not built yet")
}

// Identify says which organization the peer certificates of a handshake prove.
// It knows nothing of what the organization may do.
func (s *Set) Identify(cs *tls.ConnectionState, now time.Time) Identity { return Identity{} }

// TrustID names the trust that decides identities: two sets with the same
// TrustID identify every client alike.
func (s *Set) TrustID() string { return "" }
