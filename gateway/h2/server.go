// Package h2 serves HTTP/2 (RFC 9113) on connections that are already open.
// The server is that of golang.org/x/net/http2, the same as net/http's, which
// has no function for a connection that is not a bare *tls.Conn. In front of it
// stands a guard that follows the frames in both directions: it enforces what
// that server leaves open, so that malformed requests are stream errors, and
// ends connections that cost the server more than they are worth to anybody.
package h2

//lint:file-ignore SA1019 net/http offers no HTTP/2 server for connections other than its own *tls.Conn; this one is the same code

import (
	"context"
	"crypto/tls"
	"log"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
)

// Limits bound what a connection may take. All must be set.
type Limits struct {
	HeaderTimeout time.Duration // for a header block or another frame that is looked into
	IdleTimeout   time.Duration // without a stream
	WriteTimeout  time.Duration // without progress of a write
	MaxHeader     int           // bytes of a head that the handler takes; of twice as much it is still told
	MaxStreams    int           // concurrent streams
}

// Options is what a Server needs. Handler and Limits must be set.
type Options struct {
	Handler  http.Handler
	Limits   Limits
	ErrorLog *log.Logger
	// Refused is told of each request that was refused before Handler saw it.
	Refused func(ctx context.Context, r Refusal)
	// Ended is told why the guard ended a connection: one of a few words.
	Ended func(ctx context.Context, reason string)
}

// Refusal is a request that is malformed (RFC 9113 8.1.1) or too large. The
// client gets a stream error, or 431.
type Refusal struct {
	Method string // "" if it can't be told
	Status int    // 400 or 431
	Reason string // stable
	Detail string // for the log
	TLS    *tls.ConnectionState
}

// Server serves one connection: the server below ends all of its connections
// gracefully or none, and each has to end for itself.
type Server struct {
	o    Options
	base *http.Server
	h2   *http2.Server
}

// decoderTable is the size of the HPACK table that clients may use; the guard
// and the server must agree on it.
const decoderTable = 4096

// listSize is the largest header list that is read (RFC 9113 6.5.2). A field that
// is larger by itself ends the connection, for the decoder's table is lost with it:
// so what is somewhat too large has to be refused by the handler. The server
// adds 32 bytes for each of ten fields.
func listSize(l Limits) int { return 2*l.MaxHeader + 320 }

// New makes a Server.
func New(o Options) *Server {
	s := &Server{
		o:    o,
		base: &http.Server{Handler: o.Handler, ErrorLog: o.ErrorLog, MaxHeaderBytes: listSize(o.Limits) - 320},
		h2: &http2.Server{
			MaxConcurrentStreams:      uint32(o.Limits.MaxStreams),
			MaxDecoderHeaderTableSize: decoderTable,
			MaxReadFrameSize:          maxFrame,
			IdleTimeout:               o.Limits.IdleTimeout,
			ReadIdleTimeout:           o.Limits.IdleTimeout / 2,
			PingTimeout:               o.Limits.WriteTimeout,
		},
	}
	if err := http2.ConfigureServer(s.base, s.h2); err != nil {
		panic(err) // it objects to nothing but cipher suites, which are not its business here
	}
	return s
}

// Serve serves c until it ends and closes it.
func (s *Server) Serve(ctx context.Context, c *Conn) {
	c.ctx = ctx
	c.startTimer() // until the client's first frame
	s.h2.ServeConn(&served{Conn: c}, &http2.ServeConnOpts{Context: ctx, BaseConfig: s.base, Handler: s.o.Handler})
	c.Close()
}

// served is a Conn as the server below has it.
type served struct {
	*Conn
	cut atomic.Bool // a read or write failed
}

func (c *served) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil {
		c.cut.Store(true)
	}
	return n, err
}

func (c *served) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.cut.Store(true)
	}
	return n, err
}

// Close notes a connection that the server gives up without a word: it does so
// when its answers to the client's errors pile up faster than it writes them.
func (c *served) Close() error {
	if !c.cut.Load() && c.silent() {
		c.goAway(codeEnhanceYourCalm, "frame_flood")
	}
	return c.Conn.Close()
}

// End tells the client to go, and lets requests finish. It returns at once.
func (s *Server) End() { s.base.Shutdown(over) }

// over is a context that has ended: nobody waits.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
