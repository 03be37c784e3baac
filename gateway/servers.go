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
	"sync"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/h1"
	"github.com/vazel-gateway/vazel/gateway/h2"
	"github.com/vazel-gateway/vazel/middleware"
)

// servers are the HTTP servers behind the sockets. They are made anew only when
// the bounds that net/http fixes at construction change; the former ones keep
// their connections until those end.
type servers struct {
	limits config.Limits
	h1     *h1.Server // over TLS
	plain  *h1.Server // for redirects
	std    *queue     // HTTP/1.1 over TLS by net/http, if that is configured; else nil
	h2     *h2.Server
	h3     *h3Server
}

// queue is a net.Listener over connections that were accepted elsewhere.
type queue struct {
	server *http.Server
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	done   chan struct{} // Serve has returned
}

func (q *queue) put(c net.Conn) {
	select {
	case q.conns <- c:
	case <-q.closed:
		c.Close()
	}
}

func (q *queue) Accept() (net.Conn, error) {
	select {
	case c := <-q.conns:
		return c, nil
	case <-q.closed:
		return nil, net.ErrClosed
	}
}

func (q *queue) Close() error   { q.once.Do(func() { close(q.closed) }); return nil }
func (q *queue) Addr() net.Addr { return &net.TCPAddr{} }

func newQueue(s *http.Server) *queue {
	q := &queue{server: s, conns: make(chan net.Conn), closed: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(q.done)
		s.Serve(q)
	}()
	return q
}

func (q *queue) shutdown(ctx context.Context) {
	q.server.Shutdown(ctx)
	q.server.Close()
	<-q.done
}

// newServers starts servers for the bounds of l.
func (g *Gateway) newServers(l config.Limits) *servers {
	one := func(h http.Handler) *h1.Server {
		return &h1.Server{
			Handler: h,
			Limits: h1.Limits{
				HeaderTimeout: l.HeaderTimeout.Std(), IdleTimeout: l.IdleTimeout.Std(), DrainBytes: 256 << 10,
				MaxHeader: int(l.MaxHeader), MaxHeaders: l.MaxHeaders, MaxURI: int(l.MaxURI),
			},
			Panicked: func(v any) { g.log.Error("panic in a handler", zap.String("panic", fmt.Sprintf("%T", v))) },
		}
	}
	errorLog := log.New(&serverLog{g.log}, "", 0)
	two := h2.New(h2.Options{
		Handler: g.handler,
		Limits: h2.Limits{
			HeaderTimeout: l.HeaderTimeout.Std(), IdleTimeout: l.IdleTimeout.Std(), WriteTimeout: l.WriteTimeout.Std(),
			MaxHeader: int(l.MaxHeader), MaxStreams: l.MaxStreams,
		},
		ErrorLog: errorLog,
		Refused: func(ctx context.Context, r h2.Refusal) {
			g.malformed(ctx, "HTTP/2.0", r.Method, r.TLS, &h1.Malformed{Status: r.Status, Reason: r.Reason, Detail: r.Detail})
		},
		Ended: g.ended,
	})
	var std *queue
	if l.HTTP1 == "standard" {
		p := new(http.Protocols)
		p.SetHTTP1(true)
		std = newQueue(&http.Server{
			Handler:                      g.handler,
			Protocols:                    p,
			ReadHeaderTimeout:            l.HeaderTimeout.Std(),
			IdleTimeout:                  l.IdleTimeout.Std(),
			MaxHeaderBytes:               int(l.MaxHeader),
			DisableGeneralOptionsHandler: true,
			ErrorLog:                     errorLog,
			BaseContext:                  func(net.Listener) context.Context { return g.base },
			ConnContext:                  connContext,
		})
	}
	return &servers{
		limits: l,
		h1:     one(g.handler),
		plain:  one(g.redirector),
		std:    std,
		h2:     two,
		h3:     &h3Server{g: g, limits: l, conns: map[*h3Conn]struct{}{}},
	}
}

// context is the context of every request on a connection.
func (c *conn) context(ctx context.Context) context.Context {
	return middleware.WithConn(context.WithValue(ctx, connKey{}, c), &c.Conn)
}

// connContext finds the clientConn below whatever net/http was handed.
func connContext(ctx context.Context, nc net.Conn) context.Context {
	for {
		switch c := nc.(type) {
		case *clientConn:
			return c.conn.context(ctx)
		case interface{ NetConn() net.Conn }:
			nc = c.NetConn()
		default:
			return ctx
		}
	}
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

// shutdown lets requests finish until ctx ends and then closes what is left.
func (s *servers) shutdown(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.h1.Shutdown(ctx) })
	wg.Go(func() { s.plain.Shutdown(ctx) })
	wg.Go(func() { s.h2.Shutdown(ctx) })
	if s.std != nil {
		wg.Go(func() { s.std.shutdown(ctx) })
	}
	wg.Go(func() { s.h3.shutdown(ctx) })
	wg.Wait()
}

// serverLog takes the lines that net/http would write to standard error. What
// clients cause is not the operator's concern unless looked for.
type serverLog struct{ log *zap.Logger }

var _ io.Writer = (*serverLog)(nil)

func (l *serverLog) Write(p []byte) (int, error) {
	l.log.Debug("http server", zap.String("message", strings.TrimSpace(string(p))))
	return len(p), nil
}
