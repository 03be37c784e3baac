package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"github.com/quic-go/quic-go"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
	"go.uber.org/zap"
)

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
