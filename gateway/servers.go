package gateway

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway/h1"
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
	h2     *queue
	h3     *http3.Server
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
	p := new(http.Protocols)
	p.SetHTTP2(true)
	two := &http.Server{
		Handler:                      g.handler,
		Protocols:                    p,
		ReadHeaderTimeout:            l.HeaderTimeout.Std(),
		IdleTimeout:                  l.IdleTimeout.Std(),
		MaxHeaderBytes:               int(l.MaxHeader),
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(&serverLog{g.log}, "", 0),
		BaseContext:                  func(net.Listener) context.Context { return g.base },
		ConnContext:                  connContext,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: l.MaxStreams,
			MaxReadFrameSize:     16 << 10,
			PingTimeout:          l.WriteTimeout.Std(),
			SendPingTimeout:      l.IdleTimeout.Std() / 2,
			WriteByteTimeout:     l.WriteTimeout.Std(),
		},
	}
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
			ErrorLog:                     two.ErrorLog,
			BaseContext:                  two.BaseContext,
			ConnContext:                  connContext,
		})
	}
	return &servers{
		limits: l,
		h1:     one(g.handler),
		plain:  one(g.redirector),
		std:    std,
		h2:     newQueue(two),
		h3: &http3.Server{
			Handler:        counted(g.handler),
			MaxHeaderBytes: int(l.MaxHeader),
			IdleTimeout:    l.IdleTimeout.Std(),
			ConnContext: func(ctx context.Context, qc *quic.Conn) context.Context {
				v, _ := g.quicConns.Load(qc)
				c, _ := v.(*conn)
				if c == nil {
					return ctx
				}
				return c.context(ctx)
			},
		},
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

// shutdown lets requests finish until ctx ends and then closes what is left.
func (s *servers) shutdown(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { s.h1.Shutdown(ctx) })
	wg.Go(func() { s.plain.Shutdown(ctx) })
	wg.Go(func() { s.h2.shutdown(ctx) })
	if s.std != nil {
		wg.Go(func() { s.std.shutdown(ctx) })
	}
	wg.Go(func() {
		s.h3.Shutdown(ctx)
		s.h3.Close()
	})
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
