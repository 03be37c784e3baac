package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"go.uber.org/zap"
)

// Defaults of Settings.
const (
	defaultTimeout        = 30 * time.Second
	defaultConnectTimeout = 5 * time.Second
	defaultMaxConnections = 1024
)

// tlsFiles are the contents of the files of an UpstreamTLS.
type tlsFiles struct{ ca, cert, key []byte }

// readTLS reads the files of c, which may be nil.
func readTLS(c *UpstreamTLS) (f tlsFiles, err error) {
	if c == nil {
		return f, nil
	}
	if c.CA != "" {
		if f.ca, err = os.ReadFile(c.CA); err != nil {
			return f, fmt.Errorf("upstream_tls: ca: %w", err)
		}
	}
	if c.Cert != "" {
		if f.cert, err = os.ReadFile(c.Cert); err != nil {
			return f, fmt.Errorf("upstream_tls: cert: %w", err)
		}
		f.key = []byte(c.Key.Reveal())
	}
	return f, nil
}

// fingerprint is the same for pools that need not be made anew. What only
// routes use is not in it.
func fingerprint(c *PoolConfig, f tlsFiles) string {
	s := c.Settings
	s.Timeout, s.Retries, s.Websocket = 0, nil, false
	h := sha256.New()
	sum := func(b []byte) string { d := sha256.Sum256(b); return hex.EncodeToString(d[:]) }
	json.NewEncoder(h).Encode([]any{c.Name, checkHost(c), c.URLs, s, sum(f.ca), sum(f.cert), sum(f.key)})
	return string(h.Sum(nil))
}

// checkHost is the Host of health checks.
func checkHost(c *PoolConfig) string {
	switch {
	case c.Settings.Health == nil:
		return ""
	case c.Settings.Health.Host != "":
		return c.Settings.Health.Host
	case len(c.Hosts) > 0:
		return c.Hosts[0]
	}
	return "localhost"
}

// newPool makes a pool that does nothing yet.
func (m *Manager) newPool(c *PoolConfig, files tlsFiles) (*Pool, error) {
	s := &c.Settings
	p := &Pool{
		name: c.Name, all: m.metrics, resolver: m.resolver, log: m.log.With(zap.String("vazel.service", c.Name)),
		maxConnections: s.MaxConnections, connectTimeout: s.ConnectTimeout.Or(defaultConnectTimeout),
		ejectAfter: 5, ejectFor: 10 * time.Second, maxEjected: 0.5,
		check: s.Health, checkHost: checkHost(c),
		born: time.Now(), ready: make(chan struct{}), tunnels: map[*tunnel]struct{}{},
	}
	if p.maxConnections <= 0 {
		p.maxConnections = defaultMaxConnections
	}
	if e := s.Ejection; e != nil {
		if e.Failures > 0 {
			p.ejectAfter = e.Failures
		}
		p.ejectFor = e.Duration.Or(p.ejectFor)
		if e.MaxEjected > 0 {
			p.maxEjected = float64(e.MaxEjected)
		}
	}
	switch s.Balance {
	case "", "round_robin":
	case "least_connections":
		p.leastConns = true
	default:
		return nil, fmt.Errorf("balance: %q is neither round_robin nor least_connections", s.Balance)
	}
	dialer := &net.Dialer{Timeout: p.connectTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4}}
	p.dial = dialer.DialContext
	if len(c.URLs) == 0 {
		return nil, fmt.Errorf("there are no upstreams")
	}
	for _, u := range c.URLs {
		o, err := parseURL(u)
		if err != nil {
			return nil, err
		}
		if o.https {
			if o.tls, err = clientTLS(s.UpstreamTLS, files, o); err != nil {
				return nil, err
			}
		}
		if err := p.protocol(o, s.UpstreamProtocol); err != nil {
			return nil, err
		}
		p.origins = append(p.origins, o)
	}
	var l []*server
	for _, o := range p.origins {
		if o.static {
			l = append(l, &server{addr: hostPort(o.host, o.port), origin: o, pool: p})
		}
	}
	p.servers.Store(&l)
	return p, nil
}

// protocol gives o the client that it needs beside the one for HTTP/1.1.
func (p *Pool) protocol(o *origin, name string) error {
	switch name {
	case "", "h1":
		return nil
	case "h2":
		if !o.https {
			return fmt.Errorf("upstream %q: upstream_protocol h2 needs https; without TLS it is h2c", o.url)
		}
	case "h2c":
		if o.https {
			return fmt.Errorf("upstream %q: upstream_protocol h2c is without TLS; for https it is h2", o.url)
		}
	default:
		return fmt.Errorf("upstream_protocol: %q is none of h1, h2 and h2c", name)
	}
	o.h2 = newH2Client(p, o)
	return nil
}

// clientTLS is how o is verified: its chain and its name, before anything is
// sent to it.
func clientTLS(c *UpstreamTLS, f tlsFiles, o *origin) (*tls.Config, error) {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: o.serverName(),
		NextProtos: []string{"http/1.1"},
		// Resumption skips the check of the chain, but never over a change of
		// trust: that makes a new pool with a cache of its own.
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
	if c == nil {
		return t, nil
	}
	if c.ServerName != "" {
		t.ServerName = c.ServerName
	}
	if c.CA != "" {
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(f.ca) {
			return nil, fmt.Errorf("upstream_tls: ca: %s holds no PEM certificate", c.CA)
		}
	}
	if c.Cert != "" {
		pair, err := tls.X509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("upstream_tls: cert and key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
