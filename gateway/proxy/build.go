package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
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

// hasDescriptor leaves the last file descriptors to other things.
func (m *Manager) hasDescriptor(_, _ string, c syscall.RawConn) error {
	if !m.files.Upstream(c) {
		return syscall.EMFILE
	}
	return nil
}

// newPool makes a pool that does nothing yet.
func (m *Manager) newPool(c *PoolConfig, files tlsFiles) (*Pool, error) {
	s := &c.Settings
	p := &Pool{
		name: c.Name, all: m.metrics, resolver: m.resolver, files: m.files, log: m.log.With(zap.String("vazel.service", c.Name)),
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
	dialer := &net.Dialer{Timeout: p.connectTimeout, Control: m.hasDescriptor, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4}}
	p.dial = dialer.DialContext
	if len(c.URLs) == 0 {
		return nil, fmt.Errorf("there are no upstreams")
	}
	var err error
	if p.material, err = loadTLS(s.UpstreamTLS, files); err != nil {
		return nil, err
	}
	for _, u := range c.URLs {
		o, err := parseURL(u)
		if err != nil {
			return nil, err
		}
		if o.https {
			o.tls = clientTLS(p.material, o)
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

// authorities reads a PEM file whole: one that is damaged is not half believed.
func authorities(b []byte) (l []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(l)+1, err)
		}
		l = append(l, c)
	}
	if len(l) == 0 {
		return nil, errors.New("it holds no PEM certificate")
	}
	return l, nil
}

// tlsMaterial is an UpstreamTLS with its files.
type tlsMaterial struct {
	UpstreamTLS
	authorities []*x509.Certificate // none: the system's
	own         *tls.Certificate    // nil: none is shown
}

func loadTLS(c *UpstreamTLS, f tlsFiles) (m tlsMaterial, err error) {
	if c == nil {
		return m, nil
	}
	m.UpstreamTLS = *c
	if c.CA != "" {
		if m.authorities, err = authorities(f.ca); err != nil {
			return m, fmt.Errorf("upstream_tls: ca: %s: %w", c.CA, err)
		}
	}
	if c.Cert != "" {
		pair, err := tls.X509KeyPair(f.cert, f.key)
		if err != nil {
			return m, fmt.Errorf("upstream_tls: cert and key: %w", err)
		}
		m.own = &pair
	}
	return m, nil
}

// Certificates calls show for each certificate from files that p uses: those of
// upstreams' authorities (kind "ca"), and the one that is shown to upstreams
// ("upstream"). Their names are those of the files.
func (p *Pool) Certificates(show func(kind, name string, c *x509.Certificate)) {
	for i, ca := range p.material.authorities {
		name := p.material.CA
		if i > 0 {
			name += "/" + strconv.Itoa(i+1)
		}
		show("ca", name, ca)
	}
	if own := p.material.own; own != nil {
		show("upstream", p.material.Cert, own.Leaf)
	}
}

// clientTLS is how o is verified: its chain and its name, before anything is
// sent to it.
func clientTLS(m tlsMaterial, o *origin) *tls.Config {
	t := &tls.Config{
		MinVersion: tls.VersionTLS12,
		ServerName: o.serverName(),
		NextProtos: []string{"http/1.1"},
		// Resumption skips the check of the chain, but never over a change of
		// trust: that makes a new pool with a cache of its own.
		ClientSessionCache: tls.NewLRUClientSessionCache(64),
	}
	if m.ServerName != "" {
		t.ServerName = m.ServerName
	}
	if m.authorities != nil {
		t.RootCAs = x509.NewCertPool()
		for _, ca := range m.authorities {
			t.RootCAs.AddCert(ca)
		}
	}
	if m.own != nil {
		t.Certificates = []tls.Certificate{*m.own}
	}
	return t
}
