package proxy

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

// tunnelIdle is how long an upgraded connection may be silent both ways. Most
// WebSocket programs ping within a minute.
const tunnelIdle = 5 * time.Minute

// prepareUpgrade decides on a request that asks for another protocol. Only a
// WebSocket handshake (RFC 6455 4.1) on a route that allows it goes on as one;
// wishes for other protocols are not passed on.
func (ex *exchange) prepareUpgrade() bool {
	r := ex.r
	values := r.Header["Upgrade"]
	if r.ProtoMajor != 1 || len(values) != 1 || !strings.EqualFold(values[0], "websocket") {
		for _, v := range values {
			if strings.Contains(strings.ToLower(v), "websocket") {
				ex.refuseUpgrade(http.StatusBadRequest, "Upgrade names several protocols")
				return false
			}
		}
		return true // stripped with the other hop-by-hop fields
	}
	if !ex.h.websocket {
		ex.refuseUpgrade(http.StatusForbidden, "the route does not allow WebSocket")
		return false
	}
	key, version := r.Header["Sec-Websocket-Key"], r.Header["Sec-Websocket-Version"]
	raw := []byte(nil)
	if len(key) == 1 {
		raw, _ = base64.StdEncoding.DecodeString(key[0])
	}
	switch {
	case r.Method != http.MethodGet || r.ProtoMinor != 1 || r.ContentLength != 0:
		ex.refuseUpgrade(http.StatusBadRequest, "a WebSocket handshake is a GET of HTTP/1.1 without a body")
	case !nominatesUpgrade(r.Header["Connection"]):
		ex.refuseUpgrade(http.StatusBadRequest, "Connection does not name Upgrade")
	case len(raw) != 16:
		ex.refuseUpgrade(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64")
	case len(version) != 1 || version[0] != "13":
		ex.refuseUpgrade(http.StatusBadRequest, "Sec-WebSocket-Version is not 13")
	default:
		ex.websocket = true
	}
	return ex.websocket
}

func nominatesUpgrade(connection []string) bool {
	for _, v := range connection {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(trimOWS(t), "upgrade") {
				return true
			}
		}
	}
	return false
}

func (ex *exchange) refuseUpgrade(status int, detail string) {
	middleware.Deny(ex.w, ex.r, status, middleware.Denial{By: "http", Reason: "upgrade_not_allowed", Detail: detail, Close: true})
}

// checkUpgrade accepts only the 101 that was asked for (RFC 6455 4.1).
func (ex *exchange) checkUpgrade(hd *head) error {
	if !ex.websocket {
		return errUnasked
	}
	key := ex.r.Header["Sec-Websocket-Key"]
	sum := sha1.Sum([]byte(key[0] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	accept, n := hd.value("Sec-Websocket-Accept")
	switch {
	case hd.minor != 1 || !strings.EqualFold(hd.upgrade, "websocket") || !slices.Contains(hd.options, "Upgrade"):
		return errOtherUpgrade
	case n != 1 || accept != base64.StdEncoding.EncodeToString(sum[:]):
		return errAccept
	}
	protocol, n := hd.value("Sec-Websocket-Protocol")
	if n > 1 || n == 1 && !offered(ex.r.Header["Sec-Websocket-Protocol"], protocol) {
		return errSubprotocol
	}
	return nil
}

func offered(values []string, protocol string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if trimOWS(t) == protocol {
				return true
			}
		}
	}
	return false
}

// tunnel is an upgraded connection.
type tunnel struct {
	client, upstream net.Conn
	moved            atomic.Int64 // when something last moved, by Pool.clock
	pool             *Pool
	limit            time.Duration // for one write
}

// tunnel relays the 101 and then bytes both ways until one side ends.
func (ex *exchange) tunnel() *failure {
	c := ex.conn
	h := ex.w.Header()
	ex.head.relayed(h)
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = []string{"websocket"}
	ex.begun = true
	ex.w.WriteHeader(http.StatusSwitchingProtocols)
	nc, rw, err := http.NewResponseController(ex.w).Hijack()
	if err != nil {
		return ex.broken(&failure{err: err, gone: true})
	}
	defer nc.Close()
	if err := rw.Flush(); err != nil {
		return nil
	}
	nc.SetDeadline(time.Time{})
	c.net.SetDeadline(time.Time{})
	ex.server.health.succeeded()

	t := &tunnel{client: nc, upstream: c.net, pool: ex.h.pool, limit: ex.h.timeout}
	if !t.pool.addTunnel(t) {
		return nil
	}
	defer t.pool.removeTunnel(t)
	// The request's context may end with the hijack or with the client; either
	// way the client's connection tells.
	stop := context.AfterFunc(ex.r.Context(), t.close)
	defer stop()
	t.moved.Store(t.pool.now())
	var in int64
	var up sync.WaitGroup
	up.Go(func() {
		pending, _ := rw.Reader.Peek(rw.Reader.Buffered())
		in = t.copy(c.net, nc, pending)
	})
	out := t.copy(nc, c.net, c.buf[c.r:c.w])
	up.Wait()
	c.r, c.w = 0, 0
	ex.rec.BytesIn += in
	ex.rec.BytesOut += out
	return nil
}

// close ends both sides.
func (t *tunnel) close() {
	t.client.Close()
	t.upstream.Close()
}

// copy moves bytes one way, beginning with pending. When it ends, the tunnel
// ends: WebSocket has no half-closed state.
func (t *tunnel) copy(dst, src net.Conn, pending []byte) (n int64) {
	defer t.close()
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(buf)
	p := pending
	for {
		if len(p) > 0 {
			t.moved.Store(t.pool.now())
			dst.SetWriteDeadline(time.Now().Add(t.limit))
			m, err := dst.Write(p)
			n += int64(m)
			if err != nil {
				return n
			}
		}
		m, err := t.read(src, buf[:])
		if err != nil && m == 0 {
			return n
		}
		p = buf[:m]
	}
}

// read reads, as long as something moves either way.
func (t *tunnel) read(src net.Conn, p []byte) (int, error) {
	for {
		idle := time.Duration(t.pool.now() - t.moved.Load())
		if idle >= tunnelIdle {
			return 0, errIdle
		}
		src.SetReadDeadline(time.Now().Add(tunnelIdle - idle))
		n, err := src.Read(p)
		if n > 0 || !isTimeout(err) {
			if n == 0 && err == nil {
				err = io.ErrNoProgress
			}
			return n, err
		}
	}
}

// addTunnel keeps t until it ends, so that Close can end it.
func (p *Pool) addTunnel(t *tunnel) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.tunnels[t] = struct{}{}
	return true
}

func (p *Pool) removeTunnel(t *tunnel) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tunnels, t)
	if len(p.tunnels) == 0 && p.empty != nil {
		close(p.empty)
		p.empty = nil
	}
}

// closeTunnels ends the tunnels of p.
func (p *Pool) closeTunnels() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for t := range p.tunnels {
		t.close()
	}
}

// awaitTunnels waits until the last tunnel has ended.
func (p *Pool) awaitTunnels() {
	p.mu.Lock()
	if len(p.tunnels) == 0 {
		p.mu.Unlock()
		return
	}
	if p.empty == nil {
		p.empty = make(chan struct{})
	}
	empty := p.empty
	p.mu.Unlock()
	<-empty
}

// quiet reports whether a retired pool can be forgotten.
func (p *Pool) quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.tunnels) == 0
}
