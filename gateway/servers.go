package gateway

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/h1"
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
			HeaderTimeout: l.HeaderTimeout.Std(), IdleTimeout: l.IdleTimeout.Std(), DrainBytes: 256 << 10,
			MaxHeader: int(l.MaxHeader), MaxHeaders: l.MaxHeaders, MaxURI: int(l.MaxURI),
		},
		Panicked: func(v any) { g.log.Error("panic in a handler", zap.String("panic", fmt.Sprintf("%T", v))) },
	}
	c.end = s.End
	g.conns.add(c)
	s.Serve(c.context(g.base), nc, cs)
}

// serveH2 serves HTTP/2 on tc. It returns at once.
func (g *Gateway) serveH2(c *conn, l *config.Limits, tc *tls.Conn) {
	s := g.standard(c, l)
	s.Protocols.SetHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: l.MaxStreams,
		MaxReadFrameSize:     16 << 10,
		PingTimeout:          l.WriteTimeout.Std(),
		SendPingTimeout:      l.IdleTimeout.Std() / 2,
		WriteByteTimeout:     l.WriteTimeout.Std(),
	}
	g.serveOne(c, s, tc)
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

// serveH3 serves HTTP/3 on qc until it has ended and so have its handlers.
func (g *Gateway) serveH3(c *conn, l *config.Limits, qc *quic.Conn) {
	s := &http3.Server{
		Handler:        counted(g.handler),
		MaxHeaderBytes: int(l.MaxHeader),
		IdleTimeout:    l.IdleTimeout.Std(),
		ConnContext:    func(ctx context.Context, _ *quic.Conn) context.Context { return c.context(ctx) },
	}
	c.end = func() { go s.Shutdown(qc.Context()) } // GOAWAY; the goroutine ends with the connection
	g.conns.add(c)
	s.ServeQUICConn(qc)
	qc.CloseWithError(h3NoError, "")
}

// h3NoError is H3_NO_ERROR (RFC 9114 8.1).
const h3NoError = 0x100

// context is the context of every request on a connection.
func (c *conn) context(ctx context.Context) context.Context {
	return middleware.WithConn(context.WithValue(ctx, connKey{}, c), &c.Conn)
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
