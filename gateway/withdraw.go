package gateway

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
)

// Rights that end while a connection is open. Each request is decided anew, so
// what has to be ended is idle connections and exchanges under way.
//
// None slips through: a request is entered with its connection before it looks
// whether trust is still what it was decided by, and whoever changes trust
// makes the change visible before looking for what it concerns. One of the two
// sees the other.

// goAwayTime is how long a client may take to read that its connection ends.
const goAwayTime = 100 * time.Millisecond

var errWithdrawn = errors.New("the right to the exchange was withdrawn")

// exchange is a request under way on a service with mtls. It is the context of
// the request.
type exchange struct {
	context.Context
	cancel       context.CancelCauseFunc
	conn         *conn
	rc           *http.ResponseController
	organization string
	clientCert   string // what the upstream is shown
	method       string
	header       http.Header // only if routes are chosen by it
	target       target
	upgrade      bool // will not end by itself
	cut          bool // guarded by conn.mu
}

type exchangeKey struct{}

// Value implements context.Context.
func (ex *exchange) Value(key any) any {
	if key == (exchangeKey{}) {
		return ex
	}
	return ex.Context.Value(key)
}

func exchangeOf(ctx context.Context) *exchange {
	ex, _ := ctx.Value(exchangeKey{}).(*exchange)
	return ex
}

// enter makes a request an exchange of its connection, until it leaves.
func (c *conn) enter(r *http.Request, p *proven, svc *service, t target, rc *http.ResponseController) *exchange {
	ex := &exchange{conn: c, rc: rc, organization: p.identity.Organization, clientCert: p.header, method: r.Method, target: t, upgrade: r.ProtoMajor == 1 && r.Header["Upgrade"] != nil}
	if svc.byHeader {
		ex.header = r.Header.Clone() // what is sent on changes
	}
	ex.Context, ex.cancel = context.WithCancelCause(r.Context())
	c.mu.Lock()
	if c.exchanges == nil {
		c.exchanges = map[*exchange]struct{}{}
	}
	c.exchanges[ex] = struct{}{}
	c.mu.Unlock()
	return ex
}

// leave ends an exchange, and reports whether it was cut.
func (ex *exchange) leave() (cut bool) {
	ex.conn.mu.Lock()
	delete(ex.conn.exchanges, ex)
	cut = ex.cut
	ex.conn.mu.Unlock()
	ex.cancel(nil)
	return cut
}

// cutLocked breaks an exchange off: its upstream's connection by the context,
// the client's side by deadlines, which reset the stream.
func (ex *exchange) cutLocked() {
	if ex.cut {
		return
	}
	ex.cut = true
	ex.cancel(errWithdrawn)
	if ex.conn.Protocol != "h1" {
		ex.rc.SetReadDeadline(past)
		ex.rc.SetWriteDeadline(past)
	}
}

// cutAfter breaks an exchange off if it is still under way then.
func (ex *exchange) cutAfter(d time.Duration) {
	time.AfterFunc(d, func() {
		ex.conn.mu.Lock()
		defer ex.conn.mu.Unlock()
		if _, ok := ex.conn.exchanges[ex]; ok {
			ex.cutLocked()
		}
	})
}

// lost reports whether the exchange would not be let in by svc.
func (ex *exchange) lost(svc *service) bool {
	r, _ := svc.find(&http.Request{Method: ex.method, Header: ex.header}, ex.target)
	return r == nil || r.deny || r.callers != nil && !r.callers[ex.organization]
}

// trustChanged acts on a change of revocation lists or agreements; organizations
// is nil if it may concern all.
func (g *Gateway) trustChanged(organizations []string) {
	snap := g.snapshot.Load()
	switch {
	case snap == nil:
	case organizations == nil:
		g.withdraw(snap, g.conns.provenByAny())
	default:
		g.withdraw(snap, g.conns.provenBy(organizations))
	}
}

// replaced acts on what a configuration took away.
func (g *Gateway) replaced(former, next *snapshot) {
	g.withdraw(next, g.conns.provenBy(next.changedFrom(former)))
	if !next.protectsMore(former) {
		return
	}
	// Whoever was not asked for a certificate can't show one on this connection.
	for _, c := range g.conns.all() {
		was, is := former.hosts.find(c.sni), next.hosts.find(c.sni)
		if was != nil && is != nil && was.mtls == certs.MTLSOff && is.mtls != certs.MTLSOff {
			g.end(next, c, "", certs.NoClientCert)
		}
	}
}

// watchEnds acts on certificates that end while their connections are open.
func (g *Gateway) watchEnds(ctx context.Context) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if l := g.conns.ended(now.Round(0)); l != nil {
				g.withdraw(g.snapshot.Load(), l)
			}
		}
	}
}

// withdraw ends those of l, and those of their exchanges, that are no longer
// allowed. The work is mostly that of verifying certificates.
func (g *Gateway) withdraw(snap *snapshot, l []*conn) {
	var next, gone atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (len(l)+31)/32) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(l) {
					return
				}
				if g.recheck(snap, l[i]) {
					gone.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := gone.Load(); n > 0 {
		g.log.Info("connections ended, for their organizations lost their right", zap.Int64("connections", n))
	}
}

// recheck decides about one connection, and reports whether it ended it.
func (g *Gateway) recheck(snap *snapshot, c *conn) (ended bool) {
	former := c.proven.Load()
	if former == nil || c.ending.Load() {
		return false
	}
	svc := snap.hosts.find(c.sni)
	if svc == nil {
		return former.entitled && g.end(snap, c, former.identity.Organization, certs.NotAllowed)
	}
	if svc.mtls == certs.MTLSOff {
		return false // everybody may
	}
	now := g.conns.identify(over, c, snap.certs, svc, former.peers)
	if former.entitled && now.identity.Reason != "" && now.identity.Passing {
		// A responder has to be asked first; the others need not wait for it.
		g.served.Go(func() { g.settle(snap, c, svc, former, g.conns.identify(g.base, c, snap.certs, svc, former.peers)) })
		return false
	}
	return g.settle(snap, c, svc, former, now)
}

// settle compares what a connection had proven with what it proves now.
func (g *Gateway) settle(snap *snapshot, c *conn, svc *service, former, now *proven) (ended bool) {
	organization := former.identity.Organization
	if former.entitled && (!now.entitled || now.identity.Organization != organization) {
		reason := now.identity.Reason
		if reason == "" {
			reason = certs.NotAllowed
		}
		return g.end(snap, c, organization, reason)
	}
	return g.endExchanges(snap, c, svc)
}

// end ends a connection whose organization lost its right: what is under way
// may finish for a moment, unless it is to be cut. It reports whether the
// connection was not ending already.
func (g *Gateway) end(snap *snapshot, c *conn, organization string, reason certs.Reason) bool {
	if c.ending.Swap(true) {
		return false
	}
	g.log.Debug("connection ended, for its organization lost its right", zap.String("organization", organization),
		zap.String("reason", string(reason)), zap.String("host", c.sni), zap.String("protocol", c.Protocol))
	g.metrics.withdrawn.WithLabelValues(organization, string(reason)).Inc()
	limits := &snap.config.Limits
	cut := cuts(limits, reason)
	busy := false
	c.mu.Lock()
	for ex := range c.exchanges {
		if cut || ex.upgrade {
			ex.cutLocked()
		} else {
			busy = true
		}
	}
	broken := len(c.exchanges) > 0 && !busy
	c.mu.Unlock()
	if c.Protocol == "h1" {
		if broken {
			c.cut()
			return true
		}
		c.end() // at once if it waits for a request
		time.AfterFunc(limits.WithdrawalTimeout.Std(), c.cut)
		return true
	}
	c.end()
	if busy {
		time.AfterFunc(max(limits.WithdrawalTimeout.Std(), goAwayTime), c.close)
	} else {
		time.AfterFunc(goAwayTime, c.close)
	}
	return true
}

// endExchanges ends what a connection that stays may no longer do. It reports
// whether that was all that the connection did, so that it ended as well.
func (g *Gateway) endExchanges(snap *snapshot, c *conn, svc *service) bool {
	limits := &snap.config.Limits
	cut := cuts(limits, certs.NotAllowed)
	var whole *exchange
	c.mu.Lock()
	for ex := range c.exchanges {
		switch {
		case ex.cut || !ex.lost(svc):
		case c.Protocol == "h1":
			whole = ex
		default:
			g.metrics.withdrawnRequests.WithLabelValues(ex.organization, string(certs.NotAllowed)).Inc()
			if cut {
				ex.cutLocked()
			} else {
				ex.cutAfter(limits.WithdrawalTimeout.Std())
			}
		}
	}
	c.mu.Unlock()
	// Over HTTP/1.1 an exchange is all that its connection does.
	return whole != nil && g.end(snap, c, whole.organization, certs.NotAllowed)
}

// cuts reports whether requests under way are broken off at once. A revoked
// certificate may be in the hands of somebody else.
func cuts(l *config.Limits, reason certs.Reason) bool {
	return l.Withdrawal == config.WithdrawalCut || reason == certs.Revoked
}
