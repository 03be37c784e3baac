package middleware

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/config/unit"
)

// Bandwidth slows bodies down to a rate that all who share it have together,
// over every protocol and connection, WebSockets as well. Nothing is stored up:
// who sends or waits is held back. A request whose first turn would be more
// than five seconds away gets 503; a transfer whose next turn would be further
// away than limits.write_timeout is broken off.
type Bandwidth struct {
	// Down is the rate of responses, such as 10MiB/s; default: no bound.
	Down unit.Bandwidth `yaml:"down"`
	// Up is the rate of request bodies, such as 5MiB/s; default: no bound.
	Up unit.Bandwidth `yaml:"up"`
	// Per says who shares it: client_ip (IPv6 by /64), organization (anonymous callers by address), service or route.
	Per string `yaml:"per"`
	// Mode is enforce, or detect: nothing is held back, and each request that would have been counts as shadow_limited in the metrics and the access log; default: enforce.
	Mode string `yaml:"mode"`
}

// BandwidthPers lists the values of per of a bandwidth.
func BandwidthPers() []string { return Pers() }

// direction is one way of a bandwidth.
type direction struct {
	name          string
	rate          int64
	pacers        *pacers
	fixed         *pacer // where all share one
	organizations map[string]*pacer
	bytes, waited prometheus.Counter
}

// Build makes the handler; nil settings add none.
func (b *Bandwidth) Build(env Env) (Func, error) {
	if b == nil || b.Down == 0 && b.Up == 0 {
		return nil, nil
	}
	switch b.Per {
	case perRoute, perClientIP, perOrganization, perService:
	default:
		return nil, fmt.Errorf("per: %q is not client_ip, organization, service or route", b.Per)
	}
	name := bandwidthName(b, env)
	newDirection := func(way string, rate unit.Bandwidth) *direction {
		if rate == 0 {
			return nil
		}
		d := &direction{
			name: name, rate: int64(rate), pacers: env.Engines.pacers(name + "\x00" + way), organizations: map[string]*pacer{},
			bytes: env.Metrics.paced.WithLabelValues(name, way), waited: env.Metrics.paceWaited.WithLabelValues(name, way),
		}
		switch b.Per {
		case perOrganization:
			for key := range env.Callers {
				d.organizations[key] = d.pacers.configured(key)
			}
		case perService, perRoute:
			d.fixed = d.pacers.configured(everybody)
		}
		return d
	}
	shadow := b.Mode == modeDetect
	down, up := newDirection("down", b.Down), newDirection("up", b.Up)
	most := env.WriteTimeout
	if most <= 0 {
		most = 30 * time.Second
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			pw := &pacedWriter{ResponseWriter: w}
			var over atomic.Bool // in detect: something would have been held back
			for _, d := range []*direction{down, up} {
				if d == nil || d == up && (r.Body == nil || r.Body == http.NoBody) && r.Header["Upgrade"] == nil {
					continue
				}
				one, release := d.pacerOf(rec)
				defer release()
				if queue := one.queue(time.Now()); queue > min(most, paceQueue) && !shadow {
					env.Metrics.limitDecisions.WithLabelValues(d.name, "limited").Inc()
					tellLimit(w.Header(), sfString(d.name), fmt.Sprintf(`%s;q=%d;qu="content-bytes";w=1`, sfString(d.name), d.rate), 0, ceilSeconds(queue), "")
					Deny(w, r, http.StatusServiceUnavailable, Denial{
						By: "bandwidth", Reason: "overload", Policy: d.name, Type: quotaExceeded, RetryAfter: queue,
						Detail:  "the bandwidth " + d.name + " is shared by too many",
						Members: map[string]any{"policy": d.name, "partition": b.Per, "limit": unit.Bandwidth(d.rate).String(), "remaining": 0, "reset": ceilSeconds(queue)},
					})
					return
				}
				p := &pace{pacer: one, rate: d.rate, most: most, ctx: r.Context(), bytes: d.bytes, waited: d.waited}
				if shadow {
					p.over = &over
				}
				if d == down {
					pw.down = p
					continue
				}
				pw.up = p
				if r.Body != nil && r.Body != http.NoBody {
					r.Body = &pacedBody{ReadCloser: r.Body, pace: p} // r is Observe's copy
				}
			}
			if shadow {
				defer func() {
					if over.Load() {
						env.Metrics.limitDecisions.WithLabelValues(name, "shadow_limited").Inc()
						rec.RateLimitPolicy, rec.RateLimitDecision = name, "shadow_limited"
					}
				}()
			}
			next.ServeHTTP(pw, r)
		})
	}, nil
}

// bandwidthName is the name of a bandwidth: that of the service or route that it
// was written for, and who shares it.
func bandwidthName(b *Bandwidth, env Env) string {
	scope := env.BandwidthScope
	if b.Per == perRoute {
		scope = env.Route
	}
	return scope + ":bandwidth:" + b.Per
}

// pacerOf is the pacer of a request and what to call when the request is done.
func (d *direction) pacerOf(rec *Record) (*pacer, func()) {
	if d.fixed != nil {
		return d.fixed, func() {}
	}
	if p := d.organizations[rec.Organization]; p != nil {
		return p, func() {}
	}
	client := rec.Client
	if !client.IsValid() {
		client = netip.IPv4Unspecified()
	}
	p, key := d.pacers.acquire(client)
	return p, func() { d.pacers.release(p, key) }
}

// pacedBody reads a request body at a rate.
type pacedBody struct {
	io.ReadCloser
	pace *pace
}

// Read implements io.Reader. What was read is waited for before the next read, so
// that no byte waits in the gateway.
func (b *pacedBody) Read(p []byte) (int, error) {
	if n := b.pace.chunk(); len(p) > n {
		p = p[:n]
	}
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		if werr := b.pace.wait(n); werr == errNoTurn {
			return 0, errUploadTurn
		} else if werr != nil {
			return 0, werr
		}
	}
	return n, err
}

var errUploadTurn = &BodyRefusal{
	Status: http.StatusServiceUnavailable,
	Denial: Denial{By: "bandwidth", Reason: "overload", Detail: errNoTurn.Error(), RetryAfter: paceQueue, Close: true},
}

// pacedWriter writes a response at a rate. It has no buffer, so that a stream
// stays one.
type pacedWriter struct {
	http.ResponseWriter
	down, up *pace
}

// Write implements http.ResponseWriter.
func (w *pacedWriter) Write(p []byte) (n int, err error) {
	if w.down == nil {
		return w.ResponseWriter.Write(p)
	}
	return pacedWrite(w.ResponseWriter, w.down, p)
}

func pacedWrite(to io.Writer, by *pace, p []byte) (n int, err error) {
	for {
		part := p[n:min(len(p), n+by.chunk())]
		if len(part) > 0 {
			if err := by.wait(len(part)); err != nil {
				return n, err
			}
		}
		m, err := to.Write(part)
		if n += m; err != nil || n >= len(p) {
			return n, err
		}
	}
}

// FlushError is what http.ResponseController calls.
func (w *pacedWriter) FlushError() error { return http.NewResponseController(w.ResponseWriter).Flush() }

// Flush implements http.Flusher.
func (w *pacedWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker: what becomes of the connection keeps its
// bandwidth.
func (w *pacedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return c, rw, err
	}
	if err := rw.Writer.Flush(); err != nil {
		c.Close()
		return nil, nil, err
	}
	pc := &pacedConn{Conn: c, down: w.down, up: w.up, buffered: rw.Reader}
	return pc, bufio.NewReadWriter(bufio.NewReader(pc), bufio.NewWriter(pc)), nil
}

// pacedConn is a connection that left HTTP.
type pacedConn struct {
	net.Conn
	down, up *pace
	buffered *bufio.Reader // what the server had read
	patience time.Duration // for one write to the client, without what it waits for its turn; 0: no bound
}

// SetDeadline implements net.Conn.
func (c *pacedConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline implements net.Conn.
func (c *pacedConn) SetWriteDeadline(t time.Time) error {
	c.patience = 0
	if !t.IsZero() {
		c.patience = max(time.Until(t), 1)
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *pacedConn) Read(p []byte) (int, error) {
	if c.up != nil && len(p) > c.up.chunk() {
		p = p[:c.up.chunk()]
	}
	read := c.Conn.Read
	if c.buffered != nil && c.buffered.Buffered() > 0 {
		read = c.buffered.Read
		p = p[:min(len(p), c.buffered.Buffered())]
	}
	n, err := read(p)
	if n > 0 && c.up != nil {
		if werr := c.up.wait(n); werr != nil {
			return 0, werr
		}
	}
	return n, err
}

func (c *pacedConn) Write(p []byte) (int, error) {
	if c.down == nil {
		return c.Conn.Write(p)
	}
	return pacedWrite(patientConn{c}, c.down, p)
}

// patientConn gives each write of a pacedConn its whole time.
type patientConn struct{ c *pacedConn }

func (w patientConn) Write(p []byte) (int, error) {
	if d := w.c.patience; d > 0 {
		w.c.Conn.SetWriteDeadline(time.Now().Add(d))
	}
	return w.c.Conn.Write(p)
}
