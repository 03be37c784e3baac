package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
)

// socket is one open address. What is spoken on it is asked of the current
// snapshot for each connection, so that a reload can change it without closing
// anything.
type socket struct {
	network, address string // "tcp" or "udp", and as configured
	tcp              net.Listener
	udp              *quic.Transport
	quic             *quic.Listener
	packets          *packetSocket
	given            bool // passed to the process
	spare            bool // by systemd
	served           sync.WaitGroup
}

func (s *socket) key() string { return s.network + " " + s.address }

func (s *socket) closeNow() {
	if s.tcp != nil {
		s.tcp.Close()
	}
	if s.quic != nil {
		s.quic.Close()
	}
	if s.udp != nil {
		s.udp.Close()
	}
	if s.packets != nil {
		s.packets.Close()
	}
}

// serve starts accepting. It returns at once; stop ends it.
func (g *Gateway) serve(s *socket) {
	accept := g.acceptTCP
	if s.network == "udp" {
		accept = g.acceptQUIC
	}
	s.served.Go(func() {
		select {
		case <-g.inherited.begun:
			accept(s)
		case <-g.stopping:
		}
	})
}

// stopAccepting closes a socket to new connections; those it accepted live on.
func (s *socket) stopAccepting() {
	if s.tcp != nil {
		s.tcp.Close()
		s.served.Wait()
	}
	if s.quic != nil {
		s.quic.Close() // connections and the packet socket stay
		s.served.Wait()
	}
}

func (g *Gateway) acceptTCP(s *socket) {
	pause := time.Duration(0)
	for {
		raw, err := s.tcp.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// What is open is served on.
			if g.refuseOne(s, err) {
				continue
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-g.stopping:
			}
			continue
		}
		pause = 0
		peer := addrOf(raw.RemoteAddr())
		snap := g.snapshot.Load()
		trusted := snap.trusts(peer.Addr())
		reason := snap.turnsAway(peer.Addr(), trusted)
		switch {
		case reason != "":
		case !g.files.Client(raw.(syscall.Conn)):
			g.metrics.acceptErrors.WithLabelValues(s.address).Inc()
			reason = "descriptors"
		case g.engines.Load.MemoryFull():
			reason = "memory"
		default:
			reason = g.conns.admit(peer.Addr(), snap.config.Limits.MaxConnections, snap.config.Limits.MaxConnectionsPerIP, trusted)
		}
		if reason != "" {
			g.metrics.requests.ConnectionRejected(s.address, reason)
			raw.Close()
			continue
		}
		g.served.Go(func() { g.startTCP(s, raw, peer, trusted) })
	}
}

// refuseOne is told why a connection could not be accepted. If it is for want of
// file descriptors, it is refused, so that its client does not wait for nothing.
func (g *Gateway) refuseOne(s *socket, err error) (refused bool) {
	g.metrics.acceptErrors.WithLabelValues(s.address).Inc()
	if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		g.log.Error("can't accept connections", zap.String("listener", s.address), zap.Error(err))
		return false
	}
	g.files.Short()
	g.files.Refuse(func() {
		if raw, err := s.tcp.Accept(); err == nil {
			g.metrics.requests.ConnectionRejected(s.address, "descriptors")
			raw.Close()
			refused = true
		}
	})
	return refused
}

// startTCP takes a connection through PROXY header and TLS handshake and hands
// it to the server of its protocol.
func (g *Gateway) startTCP(s *socket, raw net.Conn, peer netip.AddrPort, trusted bool) {
	snap := g.snapshot.Load()
	l, limits := snap.listens[s.address], &snap.config.Limits
	c := &conn{}
	c.Listener, c.Peer, c.Trusted = s.address, peer, trusted
	cc := &clientConn{Conn: raw, conn: c}
	opened := g.metrics.requests.ConnectionOpened(s.address, "tcp")
	cc.done = func() {
		g.conns.remove(c)
		g.conns.release(peer.Addr())
		opened()
	}
	c.close = func() { cc.Close() }
	c.cut = func() {
		cc.SetLinger(0)
		cc.Close()
	}
	deadline := time.Now().Add(limits.HeaderTimeout.Std())
	raw.SetDeadline(deadline)
	if trusted {
		cc.br = bufio.NewReaderSize(raw, 512)
		src, err := readProxyHeader(cc.br)
		if err != nil {
			g.metrics.requests.HandshakeError(s.address, "proxy_header")
			g.log.Debug("connection closed in its PROXY header", zap.String("listener", s.address), zap.String("peer", peer.Addr().String()), zap.Error(err))
			cc.Close()
			return
		}
		if src.IsValid() {
			c.Peer = src
			c.Trusted = snap.trusts(src.Addr())
			if reason := snap.turnsAway(src.Addr(), c.Trusted); reason != "" {
				g.metrics.requests.ConnectionRejected(s.address, reason)
				cc.Close()
				return
			}
		}
	}
	if l == nil { // closed by a reload in this moment
		cc.Close()
		return
	}
	if l.redirect {
		raw.SetDeadline(time.Time{})
		c.Protocol = "h1"
		g.serveH1(c, g.redirector, limits, cc, nil)
		return
	}
	tc := tls.Server(cc, l.tls)
	growStack(false)
	start := time.Now()
	ctx, cancel := context.WithDeadline(g.base, deadline)
	err := tc.HandshakeContext(ctx)
	cancel()
	if err != nil {
		g.metrics.requests.HandshakeError(s.address, handshakeReason(err))
		g.log.Debug("TLS handshake failed", zap.String("listener", s.address), zap.String("peer", c.Peer.Addr().String()), zap.Error(err))
		cc.Close()
		return
	}
	raw.SetDeadline(time.Time{})
	cs := tc.ConnectionState()
	if cs.NegotiatedProtocol == certs.ProtocolACME { // a challenge, which ends here (RFC 8737, 3)
		tc.Close()
		return
	}
	g.metrics.requests.Handshake(s.address, "tcp", &cs, time.Since(start))
	c.sni = serverName(cs.ServerName)
	c.close = func() { tc.Close() }
	if cs.NegotiatedProtocol == "h2" {
		c.Protocol = "h2"
		g.serveH2(c, limits, tc)
		return
	}
	c.Protocol = "h1"
	if limits.HTTP1 == "standard" {
		g.serveStandard(c, limits, tc)
		return
	}
	g.serveH1(c, g.handler, limits, tc, &cs)
}

// addrOf is the address of a TCP or UDP peer.
func addrOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.TCPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	case *net.UDPAddr:
		p := a.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// handshakeReason is the label of a failed handshake.
func handshakeReason(err error) string {
	var alert tls.AlertError
	var ne net.Error
	text := err.Error()
	switch {
	case errors.As(err, &alert), strings.Contains(text, "remote error"):
		return "client_alert"
	case strings.Contains(text, "bad record MAC"):
		return "client_alert" // OpenSSL sends its alert about the certificate with other keys than are in force
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "client_closed"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "protocol version"):
		return "unsupported_version"
	case strings.Contains(text, "cipher suite"), strings.Contains(text, "no key exchanges supported"), strings.Contains(text, "signature algorithms"), strings.Contains(text, "application protocol"):
		return "no_shared_cipher"
	case strings.Contains(text, "failed to parse client certificate"), strings.Contains(text, "client sent certificate containing"):
		return "bad_certificate"
	case strings.Contains(text, "invalid signature"):
		return "bad_signature"
	case strings.Contains(text, "no certificate"):
		return "no_certificate"
	case strings.Contains(text, "first record does not look like"):
		return "not_tls"
	}
	return "other"
}
