package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// handoverEnv tells a new process what it inherits from the one that runs, and
// under which file descriptors, the first of which is firstFD.
const (
	handoverEnv = "VAZEL_HANDOVER"
	firstFD     = 3
)

// legacy is the value of handoverEnv. Files has one entry for each descriptor.
type legacy struct {
	Generation byte         `json:"generation"` // of the process that hands over
	Files      []legacyFile `json:"files"`
}

type legacyFile struct {
	Kind       string `json:"kind"` // ready, begin, listener, packets, or former: a pipe to an older process, for the packets before it
	Generation byte   `json:"generation,omitempty"`
	Spare      bool   `json:"spare,omitempty"` // passed by systemd, and not named by the configuration so far
}

// Inheritance is what a process was given at its start: sockets by systemd, or
// everything by the process whose work it takes over.
type Inheritance struct {
	generation byte
	begun      chan struct{} // closed when this process may take clients
	once       sync.Once
	ready      *os.File // to the process before; nil if there is none
	begin      *os.File // from it

	mu      sync.Mutex
	sockets []inherited
}

type inherited struct {
	listener net.Listener
	packets  *net.UDPConn
	former   map[byte]*packetPipe
	spare    bool // stays open though nothing names it
}

// nothing is the inheritance of a process that has none.
func nothing() *Inheritance {
	in := &Inheritance{begun: make(chan struct{})}
	close(in.begun)
	return in
}

// Inherit takes over what was passed to the process. It is called once.
func Inherit() (*Inheritance, error) {
	if text, ok := os.LookupEnv(handoverEnv); ok {
		os.Unsetenv(handoverEnv)
		return inheritFromProcess(text)
	}
	in := nothing()
	for _, f := range activation.Files(true) {
		s, err := openInherited(f)
		if err != nil {
			return nil, fmt.Errorf("socket %q passed by systemd: %w", f.Name(), err)
		}
		s.spare = true
		in.sockets = append(in.sockets, s)
	}
	return in, nil
}

func openInherited(f *os.File) (s inherited, err error) {
	defer f.Close()
	if l, err := net.FileListener(f); err == nil {
		return inherited{listener: l}, nil
	}
	p, err := net.FilePacketConn(f)
	if err != nil {
		return s, err
	}
	u, ok := p.(*net.UDPConn)
	if !ok {
		p.Close()
		return s, errors.New("neither a listener nor a UDP socket")
	}
	return inherited{packets: u}, nil
}

func inheritFromProcess(text string) (*Inheritance, error) {
	var l legacy
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		return nil, fmt.Errorf("%s: %w", handoverEnv, err)
	}
	in := &Inheritance{generation: l.Generation + 1, begun: make(chan struct{})}
	for i, lf := range l.Files {
		syscall.CloseOnExec(firstFD + i)
		f := os.NewFile(uintptr(firstFD+i), lf.Kind)
		switch lf.Kind {
		case "ready":
			in.ready = f
		case "begin":
			in.begin = f
		case "former":
			p, err := newPacketPipe(f)
			f.Close()
			if err != nil || len(in.sockets) == 0 {
				return nil, fmt.Errorf("%s: descriptor %d: %w", handoverEnv, firstFD+i, err)
			}
			last := &in.sockets[len(in.sockets)-1]
			if last.former == nil {
				last.former = map[byte]*packetPipe{}
			}
			last.former[lf.Generation] = p
		default:
			s, err := openInherited(f)
			if err != nil {
				return nil, fmt.Errorf("%s: descriptor %d: %w", handoverEnv, firstFD+i, err)
			}
			s.spare = lf.Spare
			in.sockets = append(in.sockets, s)
		}
	}
	if in.ready == nil || in.begin == nil {
		return nil, fmt.Errorf("%s: incomplete", handoverEnv)
	}
	return in, nil
}

// FromProcess reports whether another process runs until this one is ready.
func (in *Inheritance) FromProcess() bool { return in.ready != nil }

// Failed tells the process that runs why this one can't take over.
func (in *Inheritance) Failed(err error) {
	if in.ready != nil {
		fmt.Fprint(in.ready, err)
		in.ready.Close()
	}
}

// Take tells the process that runs that this one is ready, waits until it has
// left the sockets, and begins to take clients. If that process is gone, its
// sockets are free as well.
func (in *Inheritance) Take() {
	in.once.Do(func() {
		if in.ready == nil {
			return
		}
		fmt.Fprint(in.ready, readyWord)
		in.ready.Close()
		var b [1]byte
		in.begin.Read(b[:])
		in.begin.Close()
		close(in.begun)
	})
}

const readyWord = "ready\n"

// Listener is the inherited listener on an address, or nil.
func (in *Inheritance) Listener(network, address string) net.Listener {
	return in.listener(network, address).listener
}

func (in *Inheritance) listener(network, address string) inherited {
	return in.take(func(s *inherited) bool {
		switch {
		case s.listener == nil:
			return false
		case network == "unix":
			return s.listener.Addr().Network() == "unix" && s.listener.Addr().String() == address
		}
		return s.listener.Addr().Network() == "tcp" && sameAddress(s.listener.Addr(), address)
	})
}

func (in *Inheritance) packets(address string) inherited {
	return in.take(func(s *inherited) bool { return s.packets != nil && sameAddress(s.packets.LocalAddr(), address) })
}

func (in *Inheritance) take(is func(*inherited) bool) inherited {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range in.sockets {
		if s := in.sockets[i]; is(&s) {
			in.sockets[i] = inherited{}
			return s
		}
	}
	return inherited{}
}

func (in *Inheritance) put(s inherited) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.sockets = append(in.sockets, s)
}

// sameAddress reports whether a socket is the one that address asks for.
func sameAddress(have net.Addr, address string) bool {
	h, err := netip.ParseAddrPort(have.String())
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || port != fmt.Sprint(h.Port()) {
		return false
	}
	if host == "" {
		return h.Addr().IsUnspecified()
	}
	w, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	return w.Unmap() == h.Addr().Unmap()
}
