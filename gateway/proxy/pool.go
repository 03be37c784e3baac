package proxy

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware"
)

// Pool is the servers of one service.
type Pool struct {
	name        string
	fingerprint string
	log         *zap.Logger
	all         *metrics
	metricsOnce sync.Once
	handles     *poolMetrics
	resolver    *net.Resolver
	files       *middleware.Descriptors
	dial        func(ctx context.Context, network, address string) (net.Conn, error)

	origins        []*origin
	material       tlsMaterial
	leastConns     bool
	maxConnections int
	connectTimeout time.Duration
	ejectAfter     int
	ejectFor       time.Duration
	maxEjected     float64
	check          *Health // nil: no active checks
	checkHost      string

	born    time.Time
	servers atomic.Pointer[[]*server]
	turn    atomic.Uint32
	budget  budget

	// ready is closed when every origin has been looked up once.
	ready     chan struct{}
	readyOnce sync.Once

	ejecting sync.Mutex // so that the cap on ejections holds

	mu      sync.Mutex
	running bool
	stopped bool
	cancel  context.CancelFunc
	ctx     context.Context
	work    sync.WaitGroup // discovery and health checks
	checks  map[*server]context.CancelFunc
	tunnels map[*tunnel]struct{}
	closed  bool          // no tunnel may begin
	empty   chan struct{} // closed with the last tunnel, if somebody waits
}

// metrics are the handles of p, whose series begin to exist with their first use.
func (p *Pool) metrics() *poolMetrics {
	p.metricsOnce.Do(func() { p.handles = p.all.pool(p.name) })
	return p.handles
}

func (p *Pool) now() int64 { return p.clock(time.Now()) }

// clock is a reading of the monotonic clock, never 0.
func (p *Pool) clock(now time.Time) int64 { return int64(now.Sub(p.born)) + 1 }

// list is the servers known now.
func (p *Pool) list() []*server {
	if l := p.servers.Load(); l != nil {
		return *l
	}
	return nil
}

// pick chooses a server that is not in tried, if there is one.
func (p *Pool) pick(now time.Time, tried []*server) (*server, *failure) {
	l := p.list()
	if len(l) == 0 {
		return nil, failedf(reasonDNS, "no address of the upstream is known")
	}
	if len(l) == 1 { // an ejection must not take the only server
		if l[0].health.failing.Load() {
			return nil, failedf(reasonNoServer, "the health check of the only server fails")
		}
		return l[0], nil
	}
	start := int(p.turn.Add(1)) % len(l)
	at := p.clock(now)
	var best, warming, again, ejected *server
	for range l {
		s := l[start]
		if start++; start == len(l) {
			start = 0
		}
		st := s.health.state(at)
		if st == stateFailing {
			continue
		}
		if st == stateEjected {
			if ejected == nil {
				ejected = s
			}
			continue
		}
		if contains(tried, s) {
			if again == nil {
				again = s
			}
			continue
		}
		if st == stateWarming {
			if warming == nil {
				warming = s
			}
			continue
		}
		if !p.leastConns {
			return s, nil
		}
		if best == nil || s.active.Load() < best.active.Load() {
			best = s
		}
	}
	for _, s := range []*server{best, warming, again, ejected} {
		if s != nil {
			return s, nil
		}
	}
	return nil, failedf(reasonNoServer, "the health checks of all %d servers fail", len(l))
}

func contains(l []*server, s *server) bool {
	for _, t := range l {
		if t == s {
			return true
		}
	}
	return false
}

// failed notes that s failed an exchange, and ejects it if that was one too
// many and enough others are left.
func (p *Pool) failed(s *server) {
	if !s.health.failed(p.ejectAfter) {
		return
	}
	p.ejecting.Lock()
	defer p.ejecting.Unlock()
	l := p.list()
	at := p.clock(time.Now())
	out := 0
	for _, o := range l {
		if o.health.state(at) == stateEjected {
			if o == s {
				return
			}
			out++
		}
	}
	// One may always be out, though never the only one.
	if len(l) < 2 || out > 0 && float64(out+1) > p.maxEjected*float64(len(l)) {
		return
	}
	s.health.eject(at, p.ejectFor)
	p.log.Warn("server ejected after failed exchanges", zap.String("server", s.addr), zap.Int("failures", p.ejectAfter))
}

// start begins discovery and health checks.
func (p *Pool) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running || p.stopped {
		return
	}
	p.running = true
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.checks = map[*server]context.CancelFunc{}
	p.watchLocked(p.list())
	p.work.Go(p.run)
}

// stop ends background work and closes idle connections. Exchanges under way
// finish.
func (p *Pool) stop() {
	p.mu.Lock()
	if p.stopped {
		p.mu.Unlock()
		return
	}
	p.stopped = true
	if p.running {
		p.cancel()
	}
	p.mu.Unlock()
	for _, s := range p.list() {
		s.sweep(0, true)
	}
	p.closeIdle()
}

// closeIdle closes the connections that no exchange uses.
func (p *Pool) closeIdle() {
	for _, s := range p.list() {
		s.sweep(0, false)
	}
	for _, o := range p.origins {
		if o.h2 != nil {
			o.h2.transport.CloseIdleConnections()
		}
	}
}

// run looks names up again and closes what was idle for long.
func (p *Pool) run() {
	named := false
	for _, o := range p.origins {
		named = named || !o.static
	}
	if named {
		p.resolve(p.ctx)
	}
	p.readyOnce.Do(func() { close(p.ready) })
	sweep := time.NewTicker(idleTimeout / 4)
	defer sweep.Stop()
	again := time.NewTimer(jitter(resolveEvery))
	defer again.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-sweep.C:
			for _, s := range p.list() {
				s.sweep(idleTimeout, false)
			}
		case <-again.C:
			if named {
				p.resolve(p.ctx)
			}
			again.Reset(jitter(resolveEvery))
		}
	}
}

// use makes l the servers in force. Those that are not in it any more finish
// what they have.
func (p *Pool) use(l []*server) {
	former := p.list()
	p.servers.Store(&l)
	p.mu.Lock()
	if p.running && !p.stopped {
		p.watchLocked(l)
	}
	stopped := p.stopped
	p.mu.Unlock()
	for _, s := range former {
		if !contains(l, s) {
			s.sweep(0, true)
			p.metrics().dropServer(s.addr)
		}
	}
	if stopped {
		for _, s := range l {
			s.sweep(0, true)
		}
	}
}

// watchLocked starts the checks of new servers and ends those of former ones.
func (p *Pool) watchLocked(l []*server) {
	if p.check == nil {
		return
	}
	for s, cancel := range p.checks {
		if !contains(l, s) {
			cancel()
			delete(p.checks, s)
		}
	}
	for _, s := range l {
		if p.checks[s] == nil {
			ctx, cancel := context.WithCancel(p.ctx)
			p.checks[s] = cancel
			p.work.Go(func() { p.watchHealth(ctx, s) })
		}
	}
}

// awaitReady waits for the first look-up, if there are no servers yet.
func (p *Pool) awaitReady(ctx context.Context) {
	if len(p.list()) > 0 {
		return
	}
	t := time.NewTimer(p.connectTimeout)
	defer t.Stop()
	select {
	case <-p.ready:
	case <-t.C:
	case <-ctx.Done():
	}
}

// jitter is d, give or take a tenth, so that many gateways don't ask at once.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
