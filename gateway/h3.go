package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/h1"
	"github.com/vazel-gateway/vazel/gateway/h2"
)

// Error codes of RFC 9114 8.1 and RFC 9204 6.
const (
	h3NoError         = 0x100
	h3ExcessiveLoad   = 0x107
	h3RequestRejected = 0x10b
	h3Incomplete      = 0x10d
	h3MessageError    = 0x10e
	qpackFailed       = 0x200
)

// h3Conn is one connection. The gateway accepts streams itself and hands each to
// quic-go: its own loop has no time-out for request heads, tells nobody of
// malformed ones, and counts no resets.
type h3Conn struct {
	g      *Gateway
	limits *config.Limits
	qc     *quic.Conn
	ctx    context.Context // of requests

	mu       sync.Mutex
	heads    map[quic.StreamID]*quic.Stream // whose request has not begun
	running  int                            // streams
	leaving  bool                           // no more requests
	resets   h2.Budget
	requests int
}

// serveH3 serves HTTP/3 on qc until it has ended and so have its handlers.
func (g *Gateway) serveH3(c *conn, l *config.Limits, qc *quic.Conn) {
	hc := &h3Conn{g: g, limits: l, qc: qc, ctx: c.context(qc.Context()), heads: map[quic.StreamID]*quic.Stream{}, resets: h2.ResetBudget()}
	c.end = hc.leave
	g.conns.add(c)
	server := &http3.Server{
		Handler:        http.HandlerFunc(hc.handle),
		MaxHeaderBytes: int(l.MaxHeader),
		IdleTimeout:    l.IdleTimeout.Std(),
		ConnContext:    func(ctx context.Context, _ *quic.Conn) context.Context { return c.context(ctx) },
	}
	raw, err := server.NewRawServerConn(qc)
	if err != nil {
		return
	}
	var streams sync.WaitGroup
	defer streams.Wait()
	streams.Go(func() {
		for {
			str, err := qc.AcceptUniStream(context.Background())
			if err != nil {
				return
			}
			// A connection has three or four for its whole life.
			if str.StreamID() > 4*32 && !hc.pay() {
				return
			}
			streams.Go(func() { raw.HandleUnidirectionalStream(str) })
		}
	})
	for {
		str, err := qc.AcceptStream(context.Background())
		if err != nil {
			return
		}
		if !hc.begin(str) {
			str.ReleaseStreamCredit()
			str.CancelRead(h3RequestRejected)
			str.CancelWrite(h3RequestRejected)
			continue
		}
		streams.Go(func() {
			raw.HandleRequestStream(str)
			hc.end(str)
		})
	}
}

// begin reports whether a request may come on str.
func (hc *h3Conn) begin(str *quic.Stream) bool {
	l := hc.limits
	hc.mu.Lock()
	defer hc.mu.Unlock()
	if hc.leaving {
		return false
	}
	// A stream that the client has reset does not count as open for QUIC, but its
	// handler may still be at work.
	if hc.running++; hc.running > 4*l.MaxStreams {
		hc.abortLocked("stream_flood")
	}
	if hc.requests++; hc.requests >= l.MaxRequests {
		hc.leaving = true
	}
	hc.heads[str.StreamID()] = str
	str.SetReadDeadline(time.Now().Add(l.HeaderTimeout.Std()))
	return true
}

// handle is called for requests that are well-formed.
func (hc *h3Conn) handle(w http.ResponseWriter, r *http.Request) {
	if b, ok := r.Body.(interface{ StreamID() quic.StreamID }); ok {
		hc.mu.Lock()
		str := hc.heads[b.StreamID()]
		delete(hc.heads, b.StreamID())
		hc.mu.Unlock()
		if str != nil {
			str.SetReadDeadline(time.Time{})
		}
	}
	hc.g.roomy.ServeHTTP(w, r)
}

// end notes how a stream ended.
func (hc *h3Conn) end(str *quic.Stream) {
	hc.mu.Lock()
	hc.running--
	_, headless := hc.heads[str.StreamID()]
	delete(hc.heads, str.StreamID())
	last := hc.leaving && hc.running == 0
	hc.mu.Unlock()
	if last {
		hc.closeSoon()
	}
	if hc.qc.Context().Err() != nil {
		return
	}
	var reset *quic.StreamError
	failed := errors.As(context.Cause(str.Context()), &reset)
	if headless {
		switch {
		case !failed:
			hc.malformed(&h1.Malformed{Status: http.StatusRequestHeaderFieldsTooLarge, Reason: "header_too_large", Detail: "the field section is too large"})
		case reset.Remote:
		case reset.ErrorCode == h3MessageError, reset.ErrorCode == qpackFailed:
			hc.malformed(&h1.Malformed{Status: http.StatusBadRequest, Reason: "bad_request", Detail: "the request is malformed"})
		case reset.ErrorCode == h3Incomplete:
			hc.malformed(&h1.Malformed{Status: http.StatusRequestTimeout, Reason: "header_timeout", Detail: "the request head did not come to its end"})
		}
	}
	if failed && (reset.Remote || reset.ErrorCode == h3MessageError || headless) {
		hc.pay()
	} else if !failed {
		hc.mu.Lock()
		hc.resets.Earn(1)
		hc.mu.Unlock()
	}
}

func (hc *h3Conn) malformed(m *h1.Malformed) {
	cs := hc.qc.ConnectionState().TLS
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			hc.g.log.Error("panic in a handler", zap.String("panic", fmt.Sprintf("%T", v)))
		}
	}()
	hc.g.malformed(hc.ctx, "HTTP/3.0", http.MethodGet, &cs, m)
}

// pay counts a stream that ended by the client's fault, and ends the
// connection if there are too many.
func (hc *h3Conn) pay() bool {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	if hc.resets.Take(1) {
		return true
	}
	hc.abortLocked("reset_flood")
	return false
}

func (hc *h3Conn) abortLocked(reason string) {
	if hc.qc.Context().Err() == nil {
		hc.g.ended(hc.ctx, reason)
		hc.qc.CloseWithError(h3ExcessiveLoad, "")
	}
}

// leave refuses further requests in a way that tells the client to send them
// elsewhere (RFC 9114 4.1.1), and ends the connection with its last one.
func (hc *h3Conn) leave() {
	hc.mu.Lock()
	hc.leaving = true
	idle := hc.running == 0
	hc.mu.Unlock()
	if idle {
		hc.closeSoon()
	}
}

// closeSoon closes the connection once the client has what was sent to it:
// closing discards what is still on its way.
func (hc *h3Conn) closeSoon() {
	wait := max(300*time.Millisecond, 3*hc.qc.ConnectionStats().SmoothedRTT)
	time.AfterFunc(wait, func() { hc.qc.CloseWithError(h3NoError, "") })
}
