package gateway

import (
	"crypto/tls"
	"errors"
	"net"
	"net/netip"

	"github.com/quic-go/quic-go"
	"github.com/vazel-gateway/vazel/middleware"
	"golang.org/x/time/rate"
)

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
