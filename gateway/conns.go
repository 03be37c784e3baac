package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway/h2"
	"github.com/vazel-gateway/vazel/middleware"
)

// conn is what the gateway knows of one client connection, over TCP or QUIC.
type conn struct {
	middleware.Conn
	sni     string // canonical server name of the handshake, or ""
	end     func() // when what is under way is done; returns at once
	retire  func() // after the next response, also if that is yet to be asked for; nil if end does as well
	close   func() // at once
	cut     func() // at once, and so that a part of an answer does not look like the whole; over TCP only
	proven  atomic.Pointer[proven]
	ending  atomic.Bool // its organization lost its right
	counted atomic.Bool // its handshake, for the organization
	h2      *h2.Conn    // nil unless HTTP/2

	requests atomic.Int64 // over TCP

	mu        sync.Mutex
	exchanges map[*exchange]struct{} // under way on services with mtls
}

// proven is what a connection's certificate proved at some state of trust.
type proven struct {
	trust    trustState
	until    time.Time // identity has to be asked for again
	identity certs.Identity
	entitled bool                // the organization may use something of the service
	peers    []*x509.Certificate // as presented
	header   string              // Client-Cert
	noted    atomic.Bool         // that the organization was seen
}

// trustState names a state of everything that decides identities.
type trustState struct {
	id    string
	epoch uint64
}

func trustOf(set *certs.Set) trustState { return trustState{set.TrustID(), set.Epoch()} }

type connKey struct{}

func connOf(ctx context.Context) *conn {
	c, _ := ctx.Value(connKey{}).(*conn)
	return c
}

// identify answers which organization the connection's certificate proves now.
// The answer is kept until trust changes or a certificate of its chain ends.
// From then on changes for that organization find the connection. Until ctx ends
// it waits, if not for long, for what is not known yet of a certificate.
func (cs *connections) identify(ctx context.Context, c *conn, set *certs.Set, svc *service, peers []*x509.Certificate) *proven {
	trust := trustOf(set)
	p := c.proven.Load()
	now := time.Now() // after trust was read: what has ended by then is seen
	if p == nil || p.trust != trust || !now.Before(p.until) {
		p = &proven{trust: trust, identity: set.Prove(ctx, &tls.ConnectionState{PeerCertificates: peers}, now), peers: peers, until: now.Add(time.Minute)}
		if p.identity.Passing {
			p.until = now
		}
		if p.identity.Reason == "" {
			if end := p.ends(); end.Before(p.until) {
				p.until = end
			}
			p.header = clientCert(p.identity)
		}
	} else if p.entitled == svc.callers[p.identity.Organization] {
		return p
	} else {
		again := &proven{trust: p.trust, until: p.until, identity: p.identity, peers: p.peers, header: p.header}
		again.noted.Store(p.noted.Load())
		p = again
	}
	p.entitled = svc.callers[p.identity.Organization]
	cs.keep(c, p)
	return p
}

// ends is the first moment at which a certificate of the chain is no longer valid.
func (p *proven) ends() time.Time {
	end := p.identity.Chain[0].NotAfter
	for _, cert := range p.identity.Chain[1:] {
		if cert.NotAfter.Before(end) {
			end = cert.NotAfter
		}
	}
	return end.Add(1) // valid up to and including notAfter
}

// connections is every open client connection of the process.
type connections struct {
	metrics *middleware.Metrics

	mu       sync.Mutex
	admitted int
	open     map[*conn]struct{}            // handshake done
	of       map[string]map[*conn]struct{} // by what was proven; "" for nobody
	nextEnd  time.Time                     // no kept chain ends before; zero for never
	perIP    map[netip.Prefix]int
	draining bool
	retiring bool          // draining, but for connections that can be told with their next response
	empty    chan struct{} // closed when the last connection is gone
}

func newConnections(m *middleware.Metrics) *connections {
	return &connections{metrics: m, open: map[*conn]struct{}{}, of: map[string]map[*conn]struct{}{}, perIP: map[netip.Prefix]int{}}
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
	cs.noteEmptyLocked()
}

// add makes c one of the open connections. Its end and close must be set.
func (cs *connections) add(c *conn) {
	cs.mu.Lock()
	cs.open[c] = struct{}{}
	draining, retiring := cs.draining, cs.retiring
	cs.mu.Unlock()
	if draining {
		c.endSoon(retiring)
	}
}

func (cs *connections) remove(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	delete(cs.open, c)
	if p := c.proven.Load(); p != nil {
		cs.forgetLocked(c, p.identity.Organization)
	}
	cs.noteEmptyLocked()
}

// emptyLocked reports whether no connection is open; while retiring, those in
// their handshakes count.
func (cs *connections) emptyLocked() bool {
	return len(cs.open) == 0 && (!cs.retiring || cs.admitted == 0)
}

func (cs *connections) noteEmptyLocked() {
	if cs.empty != nil && cs.emptyLocked() {
		close(cs.empty)
		cs.empty = nil
	}
}

// keep makes p what c has proven.
func (cs *connections) keep(c *conn, p *proven) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	former := c.proven.Swap(p)
	if _, open := cs.open[c]; !open {
		return
	}
	org := p.identity.Organization
	if former != nil && former.identity.Organization != org {
		cs.forgetLocked(c, former.identity.Organization)
	}
	l := cs.of[org]
	if l == nil {
		l = map[*conn]struct{}{}
		cs.of[org] = l
	}
	l[c] = struct{}{}
	if org != "" {
		if end := p.ends(); cs.nextEnd.IsZero() || end.Before(cs.nextEnd) {
			cs.nextEnd = end
		}
	}
}

func (cs *connections) forgetLocked(c *conn, org string) {
	l := cs.of[org]
	delete(l, c)
	if len(l) == 0 {
		delete(cs.of, org)
	}
}

// provenBy lists the connections of organizations.
func (cs *connections) provenBy(organizations []string) (l []*conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, org := range organizations {
		for c := range cs.of[org] {
			l = append(l, c)
		}
	}
	return l
}

// provenByAny lists the connections on which identity counts.
func (cs *connections) provenByAny() (l []*conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, of := range cs.of {
		for c := range of {
			l = append(l, c)
		}
	}
	return l
}

// ended lists the connections of which a certificate has ended by now.
func (cs *connections) ended(now time.Time) (l []*conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.nextEnd.IsZero() || now.Before(cs.nextEnd) {
		return nil
	}
	cs.nextEnd = time.Time{}
	for org, of := range cs.of {
		if org == "" {
			continue
		}
		for c := range of {
			switch end := c.proven.Load().ends(); {
			case !now.Before(end):
				l = append(l, c)
			case cs.nextEnd.IsZero() || end.Before(cs.nextEnd):
				cs.nextEnd = end
			}
		}
	}
	return l
}

func (cs *connections) len() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// waitEmpty waits until no connection is open or ctx ends.
func (cs *connections) waitEmpty(ctx context.Context) {
	cs.mu.Lock()
	if cs.emptyLocked() {
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

// all lists the open connections.
func (cs *connections) all() []*conn {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	all := make([]*conn, 0, len(cs.open))
	for c := range cs.open {
		all = append(all, c)
	}
	return all
}

func (c *conn) endSoon(retire bool) {
	if retire && c.retire != nil {
		c.retire()
		return
	}
	c.end()
}

// retire ends every connection, and those to come, but clients of HTTP/1.1 that
// send one more request on a connection get their answer.
func (cs *connections) retire() {
	cs.mu.Lock()
	cs.draining, cs.retiring = true, true
	cs.mu.Unlock()
	for _, c := range cs.all() {
		c.endSoon(true)
	}
}

// drain ends every connection, and those to come, and closes what is left when
// ctx ends.
func (cs *connections) drain(ctx context.Context) {
	cs.mu.Lock()
	cs.draining, cs.retiring = true, false
	cs.mu.Unlock()
	for _, c := range cs.all() {
		c.end()
	}
	cs.waitEmpty(ctx)
	for _, c := range cs.all() {
		c.close()
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

// SyscallConn is net.TCPConn's.
func (c *clientConn) SyscallConn() (syscall.RawConn, error) {
	if sc, ok := c.Conn.(syscall.Conn); ok {
		return sc.SyscallConn()
	}
	return nil, errors.ErrUnsupported
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
