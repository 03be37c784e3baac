package gateway

import (
	"net/http"
	"net/netip"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/addresses"
)

// turnsAway says why a connection is refused before it costs a handshake; "" if
// it is not. Of trusted proxies it is the clients behind them who are judged.
func (s *snapshot) turnsAway(peer netip.Addr, trusted bool) (reason string) {
	if s.deny == nil || trusted {
		return ""
	}
	switch s.deny.Judge(peer).Verdict {
	case addresses.Denied:
		return middleware.ReasonNetwork
	case addresses.Unknown:
		return middleware.ReasonNetworkList
	}
	return ""
}

// turnAway says why a connection over QUIC is refused before its handshake.
func (g *Gateway) turnAway(peer netip.Addr) (reason string) {
	if g.engines.Load.MemoryFull() {
		return "memory"
	}
	snap := g.snapshot.Load()
	if snap == nil || snap.deny == nil {
		return ""
	}
	return snap.turnsAway(peer, snap.trusts(peer))
}

// refusedByNetwork refuses a request by where it comes from. Every one is judged,
// as the list may have changed since its connection was let in, and proxies carry
// those of many clients. svc is nil where no service is known.
func (g *Gateway) refusedByNetwork(svc *service, w http.ResponseWriter, r *http.Request, rules *addresses.Rules) bool {
	if rules == nil {
		return false
	}
	status, d := middleware.JudgeNetwork(rules, middleware.RecordOf(r.Context()).Client)
	if status == 0 {
		return false
	}
	c := connOf(r.Context())
	d.Close = c != nil && !c.Trusted
	if svc == nil {
		g.reject(w, r, status, d)
	} else {
		g.rejectFor(svc, w, r, status, d)
	}
	return true
}

// networksChanged ends the open connections of peers that are denied now. A
// connection that is not open yet is judged with its first request.
func (g *Gateway) networksChanged() {
	snap := g.snapshot.Load()
	if snap == nil || snap.deny == nil {
		return
	}
	ended := 0
	for _, c := range g.conns.all() {
		if snap.turnsAway(c.Peer.Addr(), snap.trusts(c.Peer.Addr())) != middleware.ReasonNetwork {
			continue
		}
		ended++
		g.metrics.aborted.WithLabelValues(c.Listener, c.Protocol, middleware.ReasonNetwork).Inc()
		if c.cut != nil {
			c.cut()
		} else {
			c.close()
		}
	}
	if ended > 0 {
		g.log.Info("connections of denied networks ended", zap.Int("connections", ended))
	}
}
