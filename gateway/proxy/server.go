package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// idleTimeout is how long a connection to a server is kept unused.
const idleTimeout = 60 * time.Second

// server is one address of an upstream: its connections, and what is known of
// its health.
type server struct {
	addr   string // IP address and port
	origin *origin
	pool   *Pool

	active atomic.Int64 // exchanges under way
	took   atomic.Int64 // nanoseconds that the last response head took

	mu      sync.Mutex
	open    int     // connections, those being made included
	kept    []*conn // idle, the one used last at the end
	waiting []chan *conn
	retired bool

	health health
}

// letOthersRun is called between a request and its answer. While a server answers
// thousands of requests a second, others have work to do; when they have done it,
// the answer is likely to be there, which saves a read in vain and waiting for
// the poller: a twentieth of a request. With less to do it would only wake
// processors. Requests under way by the time that one takes are requests a
// second.
func (s *server) letOthersRun() {
	const busy = 5000 // requests a second
	if n := s.active.Load(); n > 1 && s.took.Load() < n*int64(time.Second)/busy {
		runtime.Gosched()
	}
}

// errOverloaded is returned when no connection became free in time.
var errOverloaded = errors.New("every connection to the server is in use")

// acquire finds an idle connection or makes a new one. With fresh no kept
// connection is used. The caller must release or discard it.
func (s *server) acquire(ctx context.Context, fresh bool, now time.Time) (*conn, *failure) {
	for {
		s.mu.Lock()
		if n := len(s.kept); n > 0 && !fresh {
			c := s.kept[n-1]
			s.kept[n-1] = nil
			s.kept = s.kept[:n-1]
			s.mu.Unlock()
			if now.Sub(c.idle) < idleTimeout && c.alive() {
				return c, nil
			}
			s.discard(c)
			continue
		}
		if s.open < s.pool.maxConnections {
			s.open++
			s.mu.Unlock()
			return s.connect(ctx)
		}
		if n := len(s.kept); n > 0 { // fresh is wanted: one of the kept makes room
			c := s.kept[0]
			s.kept = append(s.kept[:0], s.kept[1:]...)
			s.mu.Unlock()
			s.discard(c)
			continue
		}
		turn := make(chan *conn, 1)
		s.waiting = append(s.waiting, turn)
		s.mu.Unlock()
		c, f := s.await(ctx, turn)
		switch {
		case f != nil:
			return nil, f
		case c == nil: // a place is ours
			return s.connect(ctx)
		case fresh || !c.alive():
			// The place of the connection stays ours.
			c.net.Close()
			return s.connect(ctx)
		}
		return c, nil
	}
}

// await waits until another exchange hands over its connection, or the place of
// one that it closed (nil).
func (s *server) await(ctx context.Context, turn chan *conn) (*conn, *failure) {
	t := time.NewTimer(s.pool.connectTimeout)
	defer t.Stop()
	var f *failure
	select {
	case c := <-turn:
		return c, nil
	case <-t.C:
		f = failed(reasonOverloaded, errOverloaded)
	case <-ctx.Done():
		f = &failure{err: ctx.Err(), gone: true}
	}
	s.mu.Lock()
	for i, w := range s.waiting {
		if w == turn {
			s.waiting = append(s.waiting[:i], s.waiting[i+1:]...)
			s.mu.Unlock()
			return nil, f
		}
	}
	s.mu.Unlock()
	return <-turn, nil // it was handed over just now
}

// connect makes a connection for a place that is already counted.
func (s *server) connect(ctx context.Context) (*conn, *failure) {
	start := time.Now()
	c, err := s.dial(ctx)
	if err != nil {
		s.gone(nil)
		if ctx.Err() != nil {
			return nil, &failure{err: ctx.Err(), gone: true}
		}
		return nil, dialFailure(err)
	}
	s.pool.metrics().connect.Observe(time.Since(start).Seconds())
	return c, nil
}

// dial opens a connection for HTTP/1.1.
func (s *server) dial(ctx context.Context) (*conn, error) {
	nc, raw, err := s.pool.open(ctx, s.addr, s.origin.tls)
	if err != nil {
		return nil, err
	}
	return newConn(nc, raw, s), nil
}

// open connects to addr and, with c, verifies the server before anything else
// is sent to it. raw is of the TCP connection.
func (p *Pool) open(ctx context.Context, addr string, c *tls.Config) (nc net.Conn, raw syscall.RawConn, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.connectTimeout)
	defer cancel()
	if nc, err = p.dial(ctx, "tcp", addr); isShortage(err) {
		p.files.Short() // closes what is idle
		nc, err = p.dial(ctx, "tcp", addr)
	}
	if err != nil {
		return nil, nil, err
	}
	if sc, ok := nc.(syscall.Conn); ok {
		raw, _ = sc.SyscallConn()
	}
	if c == nil {
		return nc, raw, nil
	}
	tc := tls.Client(&below{Conn: nc}, c)
	if err := tc.HandshakeContext(ctx); err != nil {
		nc.Close()
		if isTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
			return nil, nil, err
		}
		return nil, nil, &handshakeError{err}
	}
	return tc, raw, nil
}

// below is a connection that TLS stands on. It knows what crypto/tls does not
// tell: whether the end of the connection came without close_notify.
type below struct {
	net.Conn
	cut bool // ended before TLS did; of the goroutine that reads
}

func (b *below) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	if err == io.EOF {
		b.cut = true
	}
	return n, err
}

// release gives back a connection that can carry another exchange.
func (s *server) release(c *conn, now time.Time) {
	c.idle = now
	s.mu.Lock()
	if s.retired {
		s.mu.Unlock()
		s.discard(c)
		return
	}
	if n := len(s.waiting); n > 0 {
		turn := s.waiting[0]
		s.waiting = append(s.waiting[:0], s.waiting[1:]...)
		s.mu.Unlock()
		turn <- c
		return
	}
	s.kept = append(s.kept, c)
	s.mu.Unlock()
}

// discard closes a connection.
func (s *server) discard(c *conn) { s.gone(c) }

// gone closes c, which may be nil, and frees its place.
func (s *server) gone(c *conn) {
	if c != nil {
		c.net.Close()
	}
	s.mu.Lock()
	if n := len(s.waiting); n > 0 {
		turn := s.waiting[0]
		s.waiting = append(s.waiting[:0], s.waiting[1:]...)
		s.mu.Unlock()
		turn <- nil
		return
	}
	s.open--
	s.mu.Unlock()
}

// sweep closes connections that have been idle for at least age. From retire on
// none is kept.
func (s *server) sweep(age time.Duration, retire bool) {
	now := time.Now()
	s.mu.Lock()
	s.retired = s.retired || retire
	n := 0
	for n < len(s.kept) && (age == 0 || now.Sub(s.kept[n].idle) >= age) {
		n++
	}
	old := slices.Clone(s.kept[:n])
	s.kept = slices.Delete(s.kept, 0, n)
	s.mu.Unlock()
	for _, c := range old {
		s.gone(c)
	}
}

// connections counts the connections in use and those kept.
func (s *server) connections() (active, idle int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open - len(s.kept), len(s.kept)
}

// origin is one configured upstream URL.
type origin struct {
	url    string // as configured
	https  bool
	srv    bool // host is the name of an SRV record
	host   string
	port   string
	static bool        // host is an address
	tls    *tls.Config // for HTTP/1.1; nil for http
	h2     *h2client   // for h2 and h2c

	known atomic.Int64 // when the name was last found, by Pool.now; 0 if it never was

	// Of the goroutine that looks names up.
	last    lookup
	failing bool
}

// hostPort is the address of a server of o.
func hostPort(ip, port string) string { return net.JoinHostPort(ip, port) }
