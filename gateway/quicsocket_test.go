package gateway

import (
	"bytes"
	"net"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

func TestGenerationOf(t *testing.T) {
	s := &packetSocket{generation: 7}
	id, err := s.GenerateConnectionID()
	if err != nil || id.Len() != connIDLen || id.Bytes()[0] != 7 {
		t.Fatalf("got %v, %v", id, err)
	}
	long := func(id ...byte) []byte {
		return append(append([]byte{0xc0, 0, 0, 0, 1, byte(len(id))}, id...), 0, 0)
	}
	for _, tt := range []struct {
		name string
		p    []byte
		g    byte
		ok   bool
	}{
		{"short header", append([]byte{0x40}, id.Bytes()...), 7, true},
		{"short header, cut", append([]byte{0x40}, id.Bytes()[:6]...), 0, false},
		{"long header", long(id.Bytes()...), 7, true},
		{"long header, id chosen by a client", long(7, 7, 7, 7, 7, 7, 7, 7), 0, false},
		{"long header, no id", long(), 0, false},
		{"long header, cut", []byte{0xc0, 0, 0, 0, 1, 7, 7}, 0, false},
		{"empty", nil, 0, false},
	} {
		if g, ok := generationOf(tt.p); g != tt.g || ok != tt.ok {
			t.Errorf("%s: got %d, %v, want %d, %v", tt.name, g, ok, tt.g, tt.ok)
		}
	}
}

// pipes are the two ends of a packetPipe.
func pipes(t *testing.T) (a, b *packetPipe) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var p [2]*packetPipe
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pipe")
		p[i], err = newPacketPipe(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p[i].conn.Close() })
	}
	return p[0], p[1]
}

func message(from string, control string, packet []byte) ipv4.Message {
	m := ipv4.Message{Buffers: [][]byte{make([]byte, 1452)}, OOB: make([]byte, 128), Addr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(from))}
	m.N, m.NN = copy(m.Buffers[0], packet), copy(m.OOB, control)
	return m
}

// TestPacketsOfFormerProcess: packets go to the process that chose their
// connection id, with their addresses and control data; others keep their order.
func TestPacketsOfFormerProcess(t *testing.T) {
	to, from := pipes(t)
	s := &packetSocket{generation: 2}
	s.former.Store(&map[byte]*packetPipe{1: to})
	short := func(g byte, text string) []byte { return append([]byte{0x40, g, 0, 0, 0, 0, 0, 0}, text...) }
	ms := []ipv4.Message{
		message("192.0.2.1:1", "a", short(1, "first")),
		message("192.0.2.2:2", "b", short(2, "own")),
		message("[2001:db8::1%eth0]:3", "", short(1, "second")),
		message("192.0.2.4:4", "dd", short(9, "nobody's")),
	}
	own, buffer := bytes.Clone(short(2, "own")), &ms[0].Buffers[0][0]
	if n := s.sort(ms); n != 2 {
		t.Fatalf("got %d packets, want 2", n)
	}
	if got := ms[0]; !bytes.Equal(got.Buffers[0][:got.N], own) || string(got.OOB[:got.NN]) != "b" || got.Addr.String() != "192.0.2.2:2" || &got.Buffers[0][0] != buffer {
		t.Errorf("the first is %q from %s, in its buffer: %v", got.Buffers[0][:got.N], got.Addr, &got.Buffers[0][0] == buffer)
	}
	if got := ms[1]; !bytes.Equal(got.Buffers[0][:got.N], short(9, "nobody's")) || string(got.OOB[:got.NN]) != "dd" {
		t.Errorf("the second is %q", got.Buffers[0][:got.N])
	}
	for _, want := range []ipv4.Message{message("192.0.2.1:1", "a", short(1, "first")), message("[2001:db8::1%eth0]:3", "", short(1, "second"))} {
		got := []ipv4.Message{message("192.0.2.9:9", "longer", make([]byte, 1400))}
		if n, err := from.receive(got); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		g := got[0]
		if !bytes.Equal(g.Buffers[0][:g.N], want.Buffers[0][:want.N]) || g.Addr.String() != want.Addr.String() || !bytes.Equal(g.OOB[:g.NN], want.OOB[:want.NN]) {
			t.Errorf("got %q from %s with %q, want %q from %s", g.Buffers[0][:g.N], g.Addr, g.OOB[:g.NN], want.Buffers[0][:want.N], want.Addr)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	m := message("192.0.2.1:1", "", nil)
	for _, b := range [][]byte{nil, {9}, {1, 2}, {0, 0}, append([]byte{6, 1, 2, 3, 4, 5, 0, 0}, make([]byte, 2000)...)} {
		if unpack(b, &m) {
			t.Errorf("%x is taken for a packet", b[:min(len(b), 8)])
		}
	}
}

// TestHandOver: from the moment that it returns, the socket is not read.
func TestHandOver(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	close(begun)
	s := newPacketSocket(c.(*net.UDPConn), 0, begun)
	defer s.Close()
	type batch struct {
		text string
		err  error
	}
	got := make(chan batch)
	go func() {
		defer close(got)
		for {
			ms := []ipv4.Message{message("192.0.2.1:1", "", nil)}
			n, err := s.ReadBatch(ms, 0)
			if err != nil {
				got <- batch{err: err}
				return
			}
			got <- batch{text: string(ms[0].Buffers[0][:ms[0].N*n])}
		}
	}()
	sender, err := net.Dial("udp", c.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	sender.Write([]byte("before"))
	if b := <-got; b.text != "before" {
		t.Fatal(b)
	}
	mine, other := pipes(t)
	s.handOver(mine)
	sender.Write([]byte("after"))
	m := message("192.0.2.1:1", "", []byte("by the other process"))
	other.send(&m)
	if b := <-got; b.text != "by the other process" {
		t.Fatal(b)
	}
	buf := make([]byte, 100)
	rc, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	rc.Control(func(fd uintptr) { n, _, _ = unix.Recvfrom(int(fd), buf, 0) })
	if string(buf[:max(n, 0)]) != "after" {
		t.Errorf("the socket holds %q", buf[:max(n, 0)])
	}
	s.Close()
	if b := <-got; b.err == nil {
		t.Errorf("got %q", b.text)
	}
}
