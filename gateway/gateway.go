// Package gateway owns the request path: sockets, TLS connections, the choice
// of the route and what an upstream is told. It owns the snapshot that a
// configuration becomes and how one replaces another.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/gateway/store"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/addresses"
	"github.com/vazel-gateway/vazel/middleware/tracing"
)

// Options is what a Gateway needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	StateDir   string // for what must survive a restart; made if absent
	Version    string
	Inherited  *Inheritance // what was passed to the process; nil for nothing
}

// Gateway is the process: it lives until it is drained, while configurations
// come and go.
type Gateway struct {
	log      *zap.Logger
	metrics  *metrics
	started  time.Time
	certs    *certs.Manager
	proxies  *proxy.Manager
	engines  *middleware.Engines
	store    *store.Store
	networks *addresses.Manager
	observer *middleware.Observer
	traces   *tracing.Manager
	refused  *middleware.Incidents
	conns    *connections
	files    *middleware.Descriptors

	handler    http.Handler // of requests over TLS and QUIC
	roomy      http.Handler // handler, in a goroutine of the request's own
	redirector http.Handler // of plain requests
	snapshot   atomic.Pointer[snapshot]
	serverLog  *log.Logger    // of net/http
	served     sync.WaitGroup // connections from their acceptance on; those of HTTP/2 until their handshake is done
	rehearsal  bool           // routes end before their upstreams
	inherited  *Inheritance

	base     context.Context // of every connection; ends after the drain
	cancel   context.CancelFunc
	stopping chan struct{} // closed when draining begins
	stopOnce sync.Once

	mu         sync.Mutex // serializes Apply and the drain
	sockets    sockets
	closed     bool
	handedOver bool // another process has the sockets
}

// New makes a Gateway. It opens nothing.
func New(o Options) (*Gateway, error) {
	g, err := newGateway(o)
	if err != nil {
		return nil, err
	}
	g.sockets = sockets{inherited: g.inherited, open: map[string]*socket{}}
	return g, nil
}

// newGateway makes a Gateway without sockets.
func newGateway(o Options) (*Gateway, error) {
	g := &Gateway{log: o.Log, serverLog: newServerLog(o.Log), started: time.Now().UTC().Round(0), stopping: make(chan struct{})}
	if g.inherited = o.Inherited; g.inherited == nil {
		g.inherited = nothing()
	}
	g.base, g.cancel = context.WithCancel(context.Background())
	g.metrics = newMetrics(o.Registerer, o.Version)
	g.store = store.New()
	g.certs = certs.NewManager(certs.Options{Store: g.store, Log: o.Log.Named("certs"), Registerer: o.Registerer, StateDir: o.StateDir})
	g.files = middleware.NewDescriptors(o.Log, func() { g.proxies.CloseIdle() })
	g.proxies = proxy.NewManager(proxy.Options{Log: o.Log.Named("upstream"), Registerer: o.Registerer, Descriptors: g.files})
	var err error
	if g.engines, err = middleware.NewEngines(middleware.EnginesOptions{
		Log: o.Log, Registerer: o.Registerer, Metrics: g.metrics.requests, Share: g.inherited.FromProcess(), StateDir: o.StateDir,
	}); err != nil {
		return nil, err
	}
	g.refused = middleware.NewIncidents(g.decided)
	g.observer = middleware.NewObserver(middleware.ObserverOptions{Metrics: g.metrics.requests, Log: o.Log, Version: o.Version, Incidents: g.refused})
	g.traces = tracing.New(tracing.Options{Log: o.Log.Named("tracing"), Registerer: o.Registerer, Version: o.Version})
	g.networks = addresses.NewManager(addresses.Options{Log: o.Log.Named("addresses"), Registerer: o.Registerer, StateDir: o.StateDir, Changed: g.networksChanged})
	g.conns = newConnections(g.metrics.requests)
	g.certs.OnTrustChange(g.trustChanged)
	g.handler = g.observer.Handler(http.HandlerFunc(g.handleNoted))
	g.roomy = roomy(g.handler)
	g.redirector = g.observer.Handler(g.certs.HTTPChallenge(http.HandlerFunc(g.redirect)))
	return g, nil
}

// Apply makes c the configuration in force, or changes nothing and says why.
// Requests under way finish under the former one.
func (g *Gateway) Apply(c *config.Config) (err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return errors.New("the gateway is stopping")
	}
	defer func() { g.metrics.reloaded(c, err) }()

	// Everything that can fail comes first.
	next, err := g.build(c)
	if err != nil {
		return err
	}
	shared, err := g.store.Build(c.Store)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	g.networks.Prepare(next.addresses)
	logs, err := g.observer.Open(middleware.LogOutputs{Access: c.AccessLog, Security: c.SecurityLog})
	if err != nil {
		return err
	}
	tracer, err := g.traces.Build(c.Tracing, g.observer.Tracer())
	if err != nil {
		g.observer.Discard(logs)
		return err
	}
	discard := func() {
		g.observer.Discard(logs)
		g.traces.Replaced(tracer, g.observer.Tracer())
	}
	fresh, err := g.sockets.openNew(c, g.metrics.requests, g.quicTLS(), g.quicConf(), g.turnAway)
	if err != nil {
		discard()
		return err
	}

	if err := g.engines.Audit.Open(c.AuditLog.Output); err != nil {
		g.sockets.giveUp(fresh)
		discard()
		return err
	}

	// From here on nothing can fail.
	former := g.snapshot.Load()
	g.engines.Load.SetMost(c.Limits.MaxInFlight)
	g.engines.Buffers.SetMost(int64(c.Limits.BufferMemory))
	g.engines.Spool.SetMost(int64(c.Limits.SpoolDisk))
	g.engines.Inspection(time.Duration(c.Limits.InspectionTime), c.Limits.InspectionAtOnce)
	g.engines.Cache.Resize(int64(c.Limits.CacheSize))
	g.metrics.fit(c)
	g.observer.Use(logs, next.trusted)
	g.traces.Replaced(g.observer.Trace(tracer), tracer)
	g.engines.WAF.Posture(postures(c, g.engines))
	g.engines.Limits.Share(shared) // before the former connections are closed
	g.store.Use(shared)
	g.snapshot.Store(next)
	g.engines.Limits.InForce(next.mark)
	g.networks.Activate(next.addresses)
	g.certs.Activate(next.certs)
	g.proxies.Activate(next.pools)
	for _, s := range fresh {
		g.sockets.open[s.key()] = s
		g.serve(s)
	}
	g.closeUnwanted(c)
	if names := uninspected(c); len(names) > 0 {
		g.log.Warn("services are not inspected, and not because the configuration says so; write waf: {mode: block}, or waf: {mode: off}", zap.Strings("services", names))
	}
	if former != nil {
		g.replaced(former, next)
		g.networksChanged()
	} else {
		g.sockets.settleUnused(g.log)
	}
	return nil
}

// closeUnwanted stops accepting on sockets that c does not name.
func (g *Gateway) closeUnwanted(c *config.Config) {
	want := map[string]bool{}
	for _, k := range wanted(c) {
		want[k[0]+" "+k[1]] = true
	}
	for key, s := range g.sockets.open {
		if !want[key] {
			delete(g.sockets.open, key)
			s.stopAccepting()
			g.log.Info("address closed", zap.String("listener", s.address), zap.String("network", s.network))
		}
	}
}

// Run does the background work until ctx ends, then drains: nothing new is
// accepted, requests under way finish, and what is left after the configured
// time is closed.
func (g *Gateway) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	wg.Go(func() {
		if err := g.certs.Run(background); err != nil && !errors.Is(err, context.Canceled) {
			g.log.Error("certificates are no longer renewed", zap.Error(err))
		}
	})
	wg.Go(func() { g.engines.Run(background) })
	wg.Go(func() { g.files.Run(background) })
	wg.Go(func() { g.networks.Run(background) })
	wg.Go(func() { g.watchEnds(background) })
	wg.Go(func() { g.sample(background) })
	<-ctx.Done()
	g.drain()
	stop()
	wg.Wait()
	g.store.Close()
	return nil
}

// Ready reports whether the gateway serves and is not draining.
func (g *Gateway) Ready() bool {
	select {
	case <-g.stopping:
		return false
	default:
		return g.snapshot.Load() != nil
	}
}

// drain ends in bounded time, whatever clients do.
func (g *Gateway) drain() {
	g.stopOnce.Do(func() { close(g.stopping) })
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	limit := 30 * time.Second
	if s := g.snapshot.Load(); s != nil {
		limit = s.config.Limits.DrainTimeout.Std()
	}
	g.log.Info("draining", zap.Int("connections", g.conns.len()), zap.Duration("at_most", limit))
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if g.handedOver {
		g.retire(ctx, min(limit/2, patience))
	}
	for _, s := range g.sockets.open {
		s.stopAccepting()
	}
	g.conns.drain(ctx)
	g.cancel()
	g.awaitServed(time.Second)
	for _, s := range g.sockets.open {
		s.closeNow()
	}
	g.proxies.Close(ctx)
	g.observer.Close()
	g.traces.Close(g.observer.Tracer())
	g.engines.Close()
	g.log.Info("drained")
}

// patience is how long connections stay open after another process took over:
// their next requests, and handshakes that had begun, are answered here.
const patience = 5 * time.Second

// retire ends what can be ended without anybody noticing.
func (g *Gateway) retire(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	g.conns.retire()
	g.conns.waitEmpty(ctx)
	for _, s := range g.sockets.open {
		if s.quic == nil {
			continue
		}
		select { // what came last is on its way to a connection
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		break
	}
	for _, s := range g.sockets.open {
		s.stopAccepting() // waits for handshakes
	}
	g.conns.waitEmpty(ctx)
}

// awaitServed waits, but not for long, until handlers have noticed that their
// connections are gone.
func (g *Gateway) awaitServed(limit time.Duration) {
	done := make(chan struct{})
	go func() { g.served.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

// ReloadFailed notes a configuration that could not even be loaded.
func (g *Gateway) ReloadFailed(err error) { g.metrics.reloaded(nil, err) }

// ReopenLogs opens log files anew, after they were moved away.
func (g *Gateway) ReopenLogs() error {
	return errors.Join(g.observer.Reopen(), g.engines.Reopen())
}

// buildRevision is what the Go toolchain noted of the source.
func buildRevision() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}
