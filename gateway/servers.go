package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strings"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/h1"
	"github.com/vazel-gateway/vazel/gateway/h2"
	"github.com/vazel-gateway/vazel/middleware"
)

// Each connection has a server of its own. net/http and quic-go end all
// connections of a server gracefully or none, and a withdrawn right has to end
// one; besides, each connection keeps the bounds that it was accepted under.

// serveH1 serves HTTP/1.1 on nc until it ends. cs is nil without TLS.
func (g *Gateway) serveH1(c *conn, h http.Handler, l *config.Limits, nc net.Conn, cs *tls.ConnectionState) {
	s := &h1.Server{
		Handler: h,
		Limits: h1.Limits{
			HeaderTimeout: l.HeaderTimeout.Std(), IdleTimeout: l.IdleTimeout.Std(), WriteTimeout: l.WriteTimeout.Std(), DrainBytes: 256 << 10,
			MaxHeader: int(l.MaxHeader), MaxHeaders: l.MaxHeaders, MaxURI: int(l.MaxURI),
		},
		Panicked: func(v any) { g.log.Error("panic in a handler", zap.String("panic", fmt.Sprintf("%T", v))) },
	}
	c.end, c.retire = s.End, s.Retire
	g.conns.add(c)
	s.Serve(c.context(g.base), nc, cs)
}

// serveH2 serves HTTP/2 on tc until it ends.
func (g *Gateway) serveH2(c *conn, l *config.Limits, tc *tls.Conn) {
	s := h2.New(h2.Options{
		Handler: g.roomy,
		Limits: h2.Limits{
			HeaderTimeout: l.HeaderTimeout.Std(), IdleTimeout: l.IdleTimeout.Std(), WriteTimeout: l.WriteTimeout.Std(),
			MaxHeader: int(l.MaxHeader), MaxStreams: l.MaxStreams,
		},
		ErrorLog: g.serverLog,
		Refused: func(ctx context.Context, r h2.Refusal) {
			g.malformed(ctx, "HTTP/2.0", r.Method, r.TLS, &h1.Malformed{Status: r.Status, Reason: r.Reason, Detail: r.Detail})
		},
		Ended: g.ended,
	})
	c.h2 = s.Conn(tc)
	c.end = s.End
	g.conns.add(c)
	s.Serve(c.context(g.base), c.h2)
}

// serveStandard serves HTTP/1.1 by net/http on tc. It returns at once.
func (g *Gateway) serveStandard(c *conn, l *config.Limits, tc *tls.Conn) {
	s := g.standard(c, l)
	s.Protocols.SetHTTP1(true)
	g.serveOne(c, s, tc)
}

// standard is a server of net/http for c, which speaks nothing yet.
func (g *Gateway) standard(c *conn, l *config.Limits) *http.Server {
	return &http.Server{
		Handler:                      g.handler,
		Protocols:                    new(http.Protocols),
		ReadHeaderTimeout:            l.HeaderTimeout.Std(),
		IdleTimeout:                  l.IdleTimeout.Std(),
		MaxHeaderBytes:               int(l.MaxHeader),
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     g.serverLog,
		BaseContext:                  func(net.Listener) context.Context { return g.base },
		ConnContext:                  func(ctx context.Context, _ net.Conn) context.Context { return c.context(ctx) },
	}
}

func (g *Gateway) serveOne(c *conn, s *http.Server, tc *tls.Conn) {
	c.end = func() { s.Shutdown(over) } // nobody waits here for the rest
	g.conns.add(c)
	one := &single{conn: tc}
	s.Serve(one)
	if one.conn != nil { // shut down before it began
		tc.Close()
	}
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// single is a listener that accepts one connection.
type single struct{ conn net.Conn }

func (l *single) Accept() (net.Conn, error) {
	if l.conn == nil {
		return nil, net.ErrClosed
	}
	c := l.conn
	l.conn = nil
	return c, nil
}

func (l *single) Close() error   { return nil }
func (l *single) Addr() net.Addr { return &net.TCPAddr{} }

// context is the context of every request on a connection.
func (c *conn) context(ctx context.Context) context.Context {
	return middleware.WithConn(context.WithValue(ctx, connKey{}, c), &c.Conn)
}

// malformed records a request that a server has refused on its own, because
// what it says is not HTTP. Its answer is discarded: the client has it already.
func (g *Gateway) malformed(ctx context.Context, proto, method string, cs *tls.ConnectionState, m *h1.Malformed) {
	if !validToken(method) || len(method) > 32 {
		method = http.MethodGet
	}
	r := &http.Request{
		Method: method, URL: &url.URL{Path: "/"}, Proto: proto, ProtoMajor: int(proto[len("HTTP/")] - '0'),
		Header: http.Header{}, Body: http.NoBody, TLS: cs, RequestURI: "/",
	}
	g.handler.ServeHTTP(discarded{}, r.WithContext(h1.WithMalformed(ctx, m)))
}

// discarded is a response that nobody gets.
type discarded http.Header

func (d discarded) Header() http.Header       { return http.Header(d) }
func (discarded) Write(p []byte) (int, error) { return len(p), nil }
func (discarded) WriteHeader(int)             {}

// ended notes a connection that was ended for what the client did with it.
func (g *Gateway) ended(ctx context.Context, reason string) {
	if c := connOf(ctx); c != nil {
		g.metrics.aborted.WithLabelValues(c.Listener, c.Protocol, reason).Inc()
		g.log.Debug("connection ended for what the client sent", zap.String("listener", c.Listener),
			zap.String("peer", c.Peer.Addr().String()), zap.String("reason", reason))
	}
}

// serverLog takes the lines that net/http would write to standard error. What
// clients cause is not the operator's concern unless looked for.
type serverLog struct{ log *zap.Logger }

var _ io.Writer = (*serverLog)(nil)

func (l *serverLog) Write(p []byte) (int, error) {
	l.log.Debug("http server", zap.String("message", strings.TrimSpace(string(p))))
	return len(p), nil
}

func newServerLog(l *zap.Logger) *log.Logger { return log.New(&serverLog{l}, "", 0) }
