package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
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
	"golang.org/x/time/rate"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
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

// sockets are the open addresses of the process.
type sockets struct {
	inherited *Inheritance
	open      map[string]*socket
}

// wanted lists the sockets that a configuration needs.
func wanted(c *config.Config) (keys [][2]string) {
	for _, l := range c.Listen {
		tcp := l.Redirect != ""
		for _, p := range l.Protocols {
			tcp = tcp || p != "h3"
			if p == "h3" && l.Redirect == "" {
				keys = append(keys, [2]string{"udp", l.Address})
			}
		}
		if tcp {
			keys = append(keys, [2]string{"tcp", l.Address})
		}
	}
	return keys
}

// openNew opens the sockets that c needs and that are not open yet. They accept
// nothing before they are served. On an error nothing stays open that was not.
func (ss *sockets) openNew(c *config.Config, m *middleware.Metrics, quicTLS *tls.Config, quicConf *quic.Config, turnAway func(netip.Addr) string) (fresh []*socket, err error) {
	for _, k := range wanted(c) {
		if ss.open[k[0]+" "+k[1]] != nil {
			continue
		}
		s := &socket{network: k[0], address: k[1]}
		if k[0] == "tcp" {
			err = ss.listenTCP(s)
		} else if err = ss.listenUDP(s); err == nil {
			err = s.listenQUIC(m, quicTLS, quicConf, turnAway)
		}
		if err != nil {
			ss.giveUp(append(fresh, s))
			return nil, fmt.Errorf("listen on %s/%s: %w", k[0], k[1], listenHint(err))
		}
		fresh = append(fresh, s)
	}
	return fresh, nil
}

func (ss *sockets) listenTCP(s *socket) (err error) {
	in := ss.inherited.listener("tcp", s.address)
	if s.tcp, s.given, s.spare = in.listener, in.listener != nil, in.spare; s.given {
		return nil
	}
	l, err := net.Listen("tcp", s.address)
	if err == nil {
		s.tcp = l
	}
	return err
}

func (ss *sockets) listenUDP(s *socket) error {
	in := ss.inherited.packets(s.address)
	if s.given, s.spare = in.packets != nil, in.spare; !s.given {
		p, err := net.ListenPacket("udp", s.address)
		if err != nil {
			return err
		}
		in.packets = p.(*net.UDPConn)
	}
	s.packets = newPacketSocket(in.packets, ss.inherited.generation, ss.inherited.begun)
	if in.former != nil {
		s.packets.former.Store(&in.former)
	}
	return nil
}

// giveUp closes sockets that were not served, but those that were passed to the
// process wait for another attempt.
func (ss *sockets) giveUp(fresh []*socket) {
	for _, s := range fresh {
		switch {
		case !s.given:
			s.closeNow()
			continue
		case s.tcp != nil:
			ss.inherited.put(inherited{listener: s.tcp, spare: s.spare})
		default:
			if s.quic != nil {
				s.quic.Close()
				s.udp.Close() // the socket itself stays open
			}
			in := inherited{packets: s.packets.UDPConn, spare: s.spare}
			if former := s.packets.former.Load(); former != nil {
				in.former = *former
			}
			ss.inherited.put(in)
		}
	}
}

// settleUnused tells of sockets that systemd passed and the configuration does
// not name: whoever connects to them waits for nothing. Those of the process
// before are closed.
func (ss *sockets) settleUnused(log *zap.Logger) {
	ss.inherited.mu.Lock()
	defer ss.inherited.mu.Unlock()
	for i, in := range ss.inherited.sockets {
		var a net.Addr
		var c io.Closer
		switch {
		case in.listener != nil:
			a, c = in.listener.Addr(), in.listener
		case in.packets != nil:
			a, c = in.packets.LocalAddr(), in.packets
		default:
			continue // in use
		}
		if in.spare {
			log.Warn("a socket passed by systemd is not served, for listen does not name its address", zap.String("network", a.Network()), zap.String("address", a.String()))
			continue
		}
		c.Close()
		ss.inherited.sockets[i] = inherited{}
		log.Info("address closed", zap.String("listener", a.String()), zap.String("network", a.Network()))
	}
}

// listenHint adds what a sysadmin has to do.
func listenHint(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w; another program listens there (ss -ltnup shows which)", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w; ports below 1024 need CAP_NET_BIND_SERVICE or a systemd socket", err)
	}
	return err
}

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

// listenQUIC makes the QUIC listener of a packet socket.
func (s *socket) listenQUIC(m *middleware.Metrics, tlsConf *tls.Config, conf *quic.Config, turnAway func(netip.Addr) string) (err error) {
	newcomers := rate.NewLimiter(100, 200)
	s.udp = &quic.Transport{
		Conn:                  s.packets,
		ConnectionIDGenerator: s.packets,
		// Above an ordinary rate of new connections, addresses must prove
		// themselves by a round trip before they cost a handshake.
		VerifySourceAddress: func(net.Addr) bool { return !newcomers.Allow() },
		ConnContext:         watchHandshakes(m, s.address, turnAway),
		Tracer:              &quicEvents{m, s.address},
	}
	s.quic, err = s.udp.Listen(tlsConf, conf)
	return err
}

// quicTLS answers QUIC handshakes from the current snapshot.
func (g *Gateway) quicTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: []string{"h3"},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			snap := g.snapshot.Load()
			if snap == nil {
				return nil, errStarting
			}
			return snap.certs.ConfigFor(hello, []string{"h3"})
		},
	}
}

// quicConf bounds QUIC connections by the current snapshot.
func (g *Gateway) quicConf() *quic.Config {
	return &quic.Config{
		Allow0RTT: false, // replayed requests would be executed twice
		GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) {
			snap := g.snapshot.Load()
			if snap == nil {
				return nil, errStarting
			}
			l := snap.config.Limits
			return &quic.Config{
				Allow0RTT:             false,
				HandshakeIdleTimeout:  l.HeaderTimeout.Std(),
				MaxIdleTimeout:        l.IdleTimeout.Std(),
				MaxIncomingStreams:    int64(l.MaxStreams),
				MaxIncomingUniStreams: 8, // control, QPACK and spare
				// What a client may send ahead of what is read. The library would go up
				// to 15 MiB for each connection.
				MaxStreamReceiveWindow:     2 << 20,
				MaxConnectionReceiveWindow: 3 << 20,
			}, nil
		},
	}
}

var errStarting = errors.New("the gateway is starting")

// acceptQUIC serves HTTP/3.
func (g *Gateway) acceptQUIC(s *socket) {
	for {
		qc, err := s.quic.Accept(g.base)
		if err != nil {
			return
		}
		g.served.Go(func() { g.startQUIC(s, qc) })
	}
}

func (g *Gateway) startQUIC(s *socket, qc *quic.Conn) {
	snap := g.snapshot.Load()
	peer := addrOf(qc.RemoteAddr())
	if reason := g.conns.admit(peer.Addr(), snap.config.Limits.MaxConnections, snap.config.Limits.MaxConnectionsPerIP, false); reason != "" {
		g.metrics.requests.ConnectionRejected(s.address, reason)
		qc.CloseWithError(0x107, "") // H3_EXCESSIVE_LOAD
		return
	}
	opened := g.metrics.requests.ConnectionOpened(s.address, "quic")
	c := &conn{}
	c.Listener, c.Peer, c.Protocol = s.address, peer, "h3"
	c.Trusted = snap.trusts(peer.Addr())
	cs := qc.ConnectionState().TLS
	g.metrics.requests.Handshake(s.address, "quic", &cs, handshakeTook(qc))
	c.sni = serverName(cs.ServerName)
	c.close = func() { qc.CloseWithError(h3NoError, "") }
	defer func() {
		g.conns.remove(c)
		g.conns.release(peer.Addr())
		opened()
	}()
	g.serveH3(c, &snap.config.Limits, qc)
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
