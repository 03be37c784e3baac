package gateway

import (
	"crypto/rand"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"golang.org/x/net/ipv4"
)

// connIDLen is the length of the connection ids that the gateway chooses. It is
// below 8, the least that clients choose for their first packets (RFC 9000 7.2),
// so that nobody's first packet looks like one of an open connection.
const connIDLen = 7

// packetSocket is the UDP socket of a QUIC listener. Processes share it while one
// takes over from another: the newer one reads it, and hands packets of
// connections that an older one has to that one. The first byte of a connection
// id is the generation of the process that chose it.
//
// It keeps what the library does for *net.UDPConn: batches, segmentation, ECN.
type packetSocket struct {
	*net.UDPConn
	batch      *ipv4.PacketConn
	generation byte
	begin      <-chan struct{} // closed when the socket may be read

	former atomic.Pointer[map[byte]*packetPipe] // to older processes, by generation
	heir   atomic.Pointer[packetPipe]           // from the process that reads the socket now

	switchOnce sync.Once
	switched   chan struct{} // closed when the socket is no longer read
	closeOnce  sync.Once
	closing    chan struct{}
}

func newPacketSocket(c *net.UDPConn, generation byte, begin <-chan struct{}) *packetSocket {
	return &packetSocket{UDPConn: c, batch: ipv4.NewPacketConn(c), generation: generation, begin: begin,
		switched: make(chan struct{}), closing: make(chan struct{})}
}

// GenerateConnectionID and ConnectionIDLen are quic.ConnectionIDGenerator's.
func (s *packetSocket) GenerateConnectionID() (quic.ConnectionID, error) {
	var id [connIDLen]byte
	rand.Read(id[:])
	id[0] = s.generation
	return quic.ConnectionIDFromBytes(id[:]), nil
}

func (s *packetSocket) ConnectionIDLen() int { return connIDLen }

// ReadBatch reads packets that are for this process.
func (s *packetSocket) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	select {
	case <-s.begin:
	case <-s.closing:
		return 0, net.ErrClosed
	}
	for {
		if p := s.heir.Load(); p != nil {
			s.switchOnce.Do(func() { close(s.switched) })
			return p.receive(ms)
		}
		n, err := s.batch.ReadBatch(ms, flags)
		if err != nil {
			if s.heir.Load() != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
			return n, err
		}
		if n = s.sort(ms[:n]); n > 0 {
			return n, nil
		}
	}
}

// sort hands packets for older processes on, moves the others to the front and
// returns how many they are.
func (s *packetSocket) sort(ms []ipv4.Message) int {
	former := s.former.Load()
	if former == nil {
		return len(ms)
	}
	kept := 0
	for i := range ms {
		if g, ok := generationOf(ms[i].Buffers[0][:ms[i].N]); ok && g != s.generation {
			if p := (*former)[g]; p != nil {
				p.send(&ms[i])
				continue
			}
		}
		if kept != i {
			// The library knows buffers by their place: contents move, buffers don't.
			to, from := &ms[kept], &ms[i]
			to.N, to.NN, to.Flags, to.Addr = copy(to.Buffers[0], from.Buffers[0][:from.N]), copy(to.OOB, from.OOB[:from.NN]), from.Flags, from.Addr
		}
		kept++
	}
	return kept
}

// generationOf is the generation of the process that chose a packet's
// destination connection id; ok is false if none of ours did.
func generationOf(p []byte) (g byte, ok bool) {
	switch {
	case len(p) < 1+connIDLen:
		return 0, false
	case p[0]&0x80 == 0: // short header (RFC 9000 17.3)
		return p[1], true
	case len(p) >= 6+connIDLen && p[5] == connIDLen: // long header (17.2)
		return p[6], true
	}
	return 0, false
}

// handOver leaves the socket to the process at the other end of p, from which the
// packets of this process's connections come from now on. It returns when
// the socket is no longer read.
func (s *packetSocket) handOver(p *packetPipe) {
	s.heir.Store(p)
	s.UDPConn.SetReadDeadline(time.Unix(1, 0))
	select {
	case <-s.switched:
	case <-s.closing:
	case <-time.After(time.Second): // nobody reads it, then
	}
}

// SetReadDeadline is what the library ends its reading by.
func (s *packetSocket) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && !t.After(time.Now()) {
		s.closeOnce.Do(func() { close(s.closing) })
	}
	if p := s.heir.Load(); p != nil {
		return p.conn.SetReadDeadline(t)
	}
	return s.UDPConn.SetReadDeadline(t)
}

func (s *packetSocket) Close() error {
	s.closeOnce.Do(func() { close(s.closing) })
	if p := s.heir.Load(); p != nil {
		p.conn.Close()
	}
	if former := s.former.Load(); former != nil {
		for _, p := range *former {
			p.conn.Close()
		}
	}
	return s.UDPConn.Close()
}

// packetPipe takes packets from one process to another. Each message is the
// length of the address, the address, the length of the control data, the
// control data and the packet.
type packetPipe struct {
	conn *net.UnixConn

	mu  sync.Mutex // of send
	buf []byte
	in  []byte // of receive, which one goroutine calls
}

// pipeBuffer holds the packets of a moment in which nobody reads.
const pipeBuffer = 4 << 20

func newPacketPipe(f *os.File) (*packetPipe, error) {
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("not a unix socket")
	}
	u.SetReadBuffer(pipeBuffer)
	u.SetWriteBuffer(pipeBuffer)
	return &packetPipe{conn: u}, nil
}

// send never waits: what does not fit is lost, as packets are on a network.
func (p *packetPipe) send(m *ipv4.Message) {
	from, ok := m.Addr.(*net.UDPAddr)
	if !ok {
		return
	}
	addr, err := from.AddrPort().MarshalBinary()
	if err != nil || len(addr) > 255 || m.NN > 255 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b := append(p.buf[:0], byte(len(addr)))
	b = append(b, addr...)
	b = append(b, byte(m.NN))
	b = append(b, m.OOB[:m.NN]...)
	b = append(b, m.Buffers[0][:m.N]...)
	p.buf = b
	rc, err := p.conn.SyscallConn()
	if err != nil {
		return
	}
	rc.Write(func(fd uintptr) bool {
		syscall.Write(int(fd), b)
		return true
	})
}

// receive waits for one packet.
func (p *packetPipe) receive(ms []ipv4.Message) (int, error) {
	if p.in == nil {
		p.in = make([]byte, 64<<10)
	}
	for {
		n, err := p.conn.Read(p.in)
		if err != nil {
			return 0, err
		}
		if unpack(p.in[:n], &ms[0]) {
			return 1, nil
		}
	}
}

func unpack(b []byte, m *ipv4.Message) bool {
	addr, b, ok := cut(b)
	if !ok {
		return false
	}
	oob, b, ok := cut(b)
	var from netip.AddrPort
	if !ok || from.UnmarshalBinary(addr) != nil || len(b) == 0 || len(b) > len(m.Buffers[0]) || len(oob) > len(m.OOB) {
		return false
	}
	m.N, m.NN, m.Flags, m.Addr = copy(m.Buffers[0], b), copy(m.OOB, oob), 0, net.UDPAddrFromAddrPort(from)
	return true
}

// cut takes what its first byte gives the length of from the front of b.
func cut(b []byte) (part, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	return b[1 : 1+b[0]], b[1+int(b[0]):], true
}
