package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway/h2"
	"github.com/vazel-gateway/vazel/middleware"
)

// conn is what the gateway knows of one client connection, over TCP or QUIC.
type conn struct {
	middleware.Conn
	sni     string // canonical server name of the handshake, or ""
	close   func() // at once
	proven  atomic.Pointer[proven]
	counted atomic.Bool // its handshake, for the organization
	h2      *h2.Conn    // nil unless HTTP/2

	requests atomic.Int64 // over TCP
}

// proven is what a connection's certificate proved at some state of trust.
type proven struct {
	trust    trustState
	until    time.Time // identity has to be asked for again
	identity certs.Identity
	peers    []*x509.Certificate // as presented
	header   string              // Client-Cert
	noted    atomic.Bool         // that the organization was seen
}

// trustState names a state of everything that decides identities.
type trustState struct {
	id    string
	epoch uint64
}

type connKey struct{}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// identify answers which organization the connection's certificate proves now.
// The answer is kept until trust changes or a certificate of its chain ends.
func (c *conn) identify(ctx context.Context, set *certs.Set, cs *tls.ConnectionState, now time.Time) *proven {
	trust := trustState{set.TrustID(), set.Epoch()}
	if p := c.proven.Load(); p != nil && p.trust == trust && now.Before(p.until) {
		return p
	}
	p := &proven{trust: trust, identity: set.Prove(ctx, cs, now), peers: cs.PeerCertificates}
	p.until = now.Add(time.Minute)
	if p.identity.Passing {
		p.until = now
	}
	if p.identity.Reason == "" {
		for _, cert := range p.identity.Chain {
			if cert.NotAfter.Before(p.until) {
				p.until = cert.NotAfter
			}
		}
		p.header = clientCert(p.identity)
	}
	c.proven.Store(p)
	return p
}

// connections is every open client connection of the process.
type connections struct {
	metrics *middleware.Metrics

	mu       sync.Mutex
	admitted int
	open     map[*conn]struct{} // handshake done
	perIP    map[netip.Prefix]int
	empty    chan struct{} // closed when the last connection is gone
}

func newConnections(m *middleware.Metrics) *connections {
	return &connections{metrics: m, open: map[*conn]struct{}{}, perIP: map[netip.Prefix]int{}}
}

// admit reports whether one more connection of peer fits the bounds, and counts
// it if so. Each admitted one must be released.
func (cs *connections) admit(peer netip.Addr, total, perIP int, trusted bool) (reason string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	key := clientNetwork(peer)
	switch {
	case cs.admitted >= total:
		return "global_limit"
	case !trusted && cs.perIP[key] >= perIP:
		return "per_ip_limit"
	}
	cs.admitted++
	cs.perIP[key]++
	return ""
}

func (cs *connections) release(peer netip.Addr) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.admitted--
	key := clientNetwork(peer)
	if cs.perIP[key]--; cs.perIP[key] <= 0 {
		delete(cs.perIP, key)
	}
}

func (cs *connections) add(c *conn) {
	cs.mu.Lock()
	cs.open[c] = struct{}{}
	cs.mu.Unlock()
}

func (cs *connections) remove(c *conn) {
	cs.mu.Lock()
	delete(cs.open, c)
	if len(cs.open) == 0 && cs.empty != nil {
		close(cs.empty)
		cs.empty = nil
	}
	cs.mu.Unlock()
}

func (cs *connections) len() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// waitEmpty waits until no connection is open or ctx ends.
func (cs *connections) waitEmpty(ctx context.Context) {
	cs.mu.Lock()
	if len(cs.open) == 0 {
		cs.mu.Unlock()
		return
	}
	empty := make(chan struct{})
	cs.empty = empty
	cs.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

// each calls f for every open connection, outside of the lock.
func (cs *connections) each(f func(*conn)) {
	cs.mu.Lock()
	all := make([]*conn, 0, len(cs.open))
	for c := range cs.open {
		all = append(all, c)
	}
	cs.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

// clientNetwork is what counts as one client: an IPv4 address, or the /64 of
// an IPv6 address.
func clientNetwork(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}

// clientConn is a TCP connection after its PROXY header; TLS stands on it.
type clientConn struct {
	net.Conn
	br   *bufio.Reader // what was read with the PROXY header; nil if nothing
	conn *conn
	done func() // once, on Close
	once sync.Once
}

func (c *clientConn) Read(p []byte) (int, error) {
	if c.br != nil {
		if c.br.Buffered() > 0 {
			return c.br.Read(p[:min(len(p), c.br.Buffered())])
		}
		c.br = nil
	}
	return c.Conn.Read(p)
}

// SetLinger is net.TCPConn's.
func (c *clientConn) SetLinger(sec int) error {
	if tc, ok := c.Conn.(*net.TCPConn); ok {
		return tc.SetLinger(sec)
	}
	return nil
}

func (c *clientConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(c.done)
	return err
}
