package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handover passes the sockets of a process to another one: it makes what the
// other process inherits, learns whether that is ready, and leaves the sockets
// to it. Until Commit nothing changes for clients; if the other process fails, it
// never happened. An own mechanism, not a library: those that are about know
// nothing of QUIC, for which packets have to go on to the older process, and
// refuse a second upgrade before the first one's connections have ended.
type Handover struct {
	g         *Gateway
	legacy    legacy
	fds       []int // of this process, in the order of legacy.Files
	pipes     map[*packetSocket]*packetPipe
	listeners []net.Listener
	ready     *os.File // what the other process says
	begin     *os.File // what it waits for
}

// Handover prepares one. The caller has to keep reloads away until it is closed.
func (g *Gateway) Handover() (h *Handover, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.New("the gateway is stopping")
	}
	g.certs.Keep()
	h = &Handover{g: g, legacy: legacy{Generation: g.inherited.generation}, pipes: map[*packetSocket]*packetPipe{}}
	defer func() {
		if err != nil {
			h.Close()
			h = nil
		}
	}()
	r, w, err := os.Pipe()
	if err != nil {
		return h, err
	}
	h.ready = r
	err = h.add(legacyFile{Kind: "ready"}, w)
	w.Close()
	if err != nil {
		return h, err
	}
	if r, w, err = os.Pipe(); err != nil {
		return h, err
	}
	h.begin = w
	err = h.add(legacyFile{Kind: "begin"}, r)
	r.Close()
	if err != nil {
		return h, err
	}
	for _, key := range slices.Sorted(maps.Keys(g.sockets.open)) {
		s := g.sockets.open[key]
		if s.packets == nil {
			err = h.add(legacyFile{Kind: "listener", Spare: s.spare}, s.tcp.(syscall.Conn))
		} else {
			err = h.addPackets(s)
		}
		if err != nil {
			return h, err
		}
	}
	g.inherited.mu.Lock()
	defer g.inherited.mu.Unlock()
	for _, s := range g.inherited.sockets {
		if s.listener != nil && s.spare {
			err = h.add(legacyFile{Kind: "listener", Spare: true}, s.listener.(syscall.Conn))
		} else if s.packets != nil && s.spare {
			err = h.add(legacyFile{Kind: "packets", Spare: true}, s.packets)
		}
		if err != nil {
			return h, err
		}
	}
	return h, nil
}

// AddListener passes a listener that is not the gateway's own as well. Commit
// closes it.
func (h *Handover) AddListener(l net.Listener) error {
	c, ok := l.(syscall.Conn)
	if !ok {
		return fmt.Errorf("the listener on %s can't be passed on", l.Addr())
	}
	h.listeners = append(h.listeners, l)
	return h.add(legacyFile{Kind: "listener"}, c)
}

// addPackets passes a UDP socket, with the ways to the processes that have
// connections on it.
func (h *Handover) addPackets(of *socket) error {
	s := of.packets
	if err := h.add(legacyFile{Kind: "packets", Spare: of.spare}, s.UDPConn); err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	h.fds = append(h.fds, ends[1])
	h.legacy.Files = append(h.legacy.Files, legacyFile{Kind: "former", Generation: s.generation})
	f := os.NewFile(uintptr(ends[0]), "heir")
	defer f.Close()
	p, err := newPacketPipe(f)
	if err != nil {
		return err
	}
	h.pipes[s] = p
	if former := s.former.Load(); former != nil {
		for generation, p := range *former {
			if err := h.add(legacyFile{Kind: "former", Generation: generation}, p.conn); err != nil {
				return err
			}
		}
	}
	return nil
}

// add passes a copy of a descriptor. os.File.Fd would make what it is a copy of
// block, in this process too.
func (h *Handover) add(f legacyFile, c syscall.Conn) error {
	rc, err := c.SyscallConn()
	if err != nil {
		return err
	}
	fd := -1
	if cerr := rc.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, firstFD) }); cerr != nil {
		return cerr
	}
	if err != nil {
		return err
	}
	h.fds = append(h.fds, fd)
	h.legacy.Files = append(h.legacy.Files, f)
	return nil
}

// Start starts the program that is to take over.
func (h *Handover) Start(path string, args, env []string) (*os.Process, error) {
	text, err := json.Marshal(h.legacy)
	if err != nil {
		return nil, err
	}
	attr := &syscall.ProcAttr{Env: append(slices.Clone(env), handoverEnv+"="+string(text)), Files: []uintptr{0, 1, 2}}
	for _, fd := range h.fds {
		attr.Files = append(attr.Files, uintptr(fd))
	}
	pid, err := syscall.ForkExec(path, args, attr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	h.closeCopies()
	return os.FindProcess(pid)
}

// Await waits until the other process is ready; otherwise it says why not.
func (h *Handover) Await(limit time.Duration) error {
	h.ready.SetReadDeadline(time.Now().Add(limit))
	b, err := io.ReadAll(io.LimitReader(h.ready, 1<<20))
	switch {
	case string(b) == readyWord:
		return nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it was not ready within %s", limit)
	case err != nil:
		return err
	case len(b) == 0:
		return errors.New("it ended before it was ready; its log says why")
	}
	return errors.New(strings.TrimSpace(string(b)))
}

// Commit leaves the sockets to the other process. Connections that are open
// stay; the gateway has to be drained then.
func (h *Handover) Commit() {
	g := h.g
	g.mu.Lock()
	g.handedOver = true
	g.certs.Bequeath()
	g.engines.Bequeath()
	for _, s := range g.sockets.open {
		if s.packets == nil {
			s.stopAccepting()
		} else if p := h.pipes[s.packets]; p != nil {
			s.packets.handOver(p)
			delete(h.pipes, s.packets)
		}
	}
	g.mu.Unlock()
	for _, l := range h.listeners {
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false)
		}
		l.Close()
	}
	h.begin.Write([]byte{1})
}

// Close gives back what is not in use.
func (h *Handover) Close() {
	h.closeCopies()
	for _, p := range h.pipes {
		p.conn.Close()
	}
	for _, f := range []*os.File{h.ready, h.begin} {
		if f != nil {
			f.Close()
		}
	}
}

func (h *Handover) closeCopies() {
	for _, fd := range h.fds {
		syscall.Close(fd)
	}
	h.fds = nil
}
