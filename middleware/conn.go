package middleware

import (
	"context"
	"net/netip"
)

// Conn is what is known of the connection that a request came on.
type Conn struct {
	Listener string         // configured address
	Protocol string         // "h1", "h2", "h3"
	Peer     netip.AddrPort // the other end, or what PROXY protocol said
	Trusted  bool           // Peer is one of trusted_proxies
}

type connKey struct{}

// WithConn returns a context that carries c.
func WithConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ConnOf is the connection of the request that ctx belongs to, or nil.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}
