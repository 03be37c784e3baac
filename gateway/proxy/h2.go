package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// h2client speaks HTTP/2 to the servers of one origin. Unlike HTTP/1.1 its
// framing leaves nothing to interpretation, so the standard library's client
// does it.
type h2client struct {
	transport *http.Transport
	scheme    string
}

// dialError is an error from before anything could have been sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

func newH2Client(p *Pool, o *origin) *h2client {
	h := &h2client{scheme: "http"}
	var verified *tls.Config
	if o.https {
		h.scheme = "https"
		verified = o.tls.Clone()
		verified.NextProtos = []string{"h2"}
		verified.VerifyConnection = func(cs tls.ConnectionState) error {
			if cs.NegotiatedProtocol != "h2" {
				return errors.New("the upstream does not speak HTTP/2")
			}
			return nil
		}
	}
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		start := time.Now()
		c, _, err := p.open(ctx, addr, verified)
		if err != nil {
			return nil, &dialError{err}
		}
		p.metrics().connect.Observe(time.Since(start).Seconds())
		return c, nil
	}
	h.transport = &http.Transport{
		DialContext:            dial,
		DialTLSContext:         dial,
		IdleConnTimeout:        idleTimeout,
		MaxConnsPerHost:        p.maxConnections,
		MaxResponseHeaderBytes: maxHead,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	if o.https {
		h.transport.Protocols.SetHTTP2(true)
	} else {
		h.transport.Protocols.SetUnencryptedHTTP2(true)
	}
	return h
}

// request makes the request for the Transport.
func (h *h2client) request(ctx context.Context, o *outbound, addr string) (*http.Request, error) {
	u, err := url.ParseRequestURI(o.target)
	if err != nil || u.RequestURI() != o.target || u.Host != "" || u.Scheme != "" {
		return nil, errHead("the request target can't be sent over HTTP/2 as it is")
	}
	u.Scheme, u.Host = h.scheme, addr
	header := make(http.Header, len(o.header)+len(o.own)+1)
	for name, values := range o.header {
		if name == "Content-Length" {
			continue
		}
		if !plainName(name) {
			return nil, errHead("a field name holds a character other than letters, digits and hyphens")
		}
		for _, v := range values {
			if !validValue(v) {
				return nil, errHead("a field value holds a control character")
			}
		}
		header[name] = values
	}
	for _, f := range o.own {
		if !validValue(f.Value) {
			return nil, errHead("a field value holds a control character")
		}
		header[f.Name] = []string{f.Value}
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = nil // the Transport adds none
	}
	if o.te {
		header["Te"] = []string{"trailers"}
	}
	req := &http.Request{
		Method: o.method, URL: u, Host: o.host, Header: header, Proto: "HTTP/2.0", ProtoMajor: 2, ContentLength: o.length,
	}
	return req.WithContext(ctx), nil
}

// attemptH2 sends the request to s over HTTP/2 and relays the response.
func (ex *exchange) attemptH2(s *server) *failure {
	s.active.Add(1)
	defer s.active.Add(-1)
	ctx, cancel := context.WithCancelCause(ex.r.Context())
	defer cancel(nil)
	var guard *guardedBody
	if ex.stream != nil {
		guard = &guardedBody{src: ex.stream, pulse: pulse{began: time.Now()}}
	}
	timer := newIdleTimer(ex.h.timeout, guard, func() { cancel(errIdle) })
	defer timer.stop()

	interim := make(chan struct{}, 1) // the trace's hooks may run until RoundTrip returns
	interim <- struct{}{}
	open := true
	trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
		<-interim
		defer func() { interim <- struct{}{} }()
		if ex.informs++; ex.informs > maxInform {
			return protocolError("too many interim responses")
		}
		if open && code != http.StatusContinue && code != http.StatusSwitchingProtocols {
			hd := headOf(code, http.Header(header))
			ex.inform(hd)
		}
		return nil
	}}
	req, err := s.origin.h2.request(httptrace.WithClientTrace(ctx, trace), &ex.out, s.addr)
	if err != nil {
		return &failure{err: err, gone: true}
	}
	switch {
	case guard != nil:
		ex.streaming = true
		http.NewResponseController(ex.w).EnableFullDuplex()
		if ex.out.length < 0 && len(ex.out.trailer) > 0 {
			guard.from, guard.to = ex.out.trailer, make(http.Header)
			for name := range ex.out.trailer {
				if goodTrailer(name) {
					guard.to[name] = nil
				}
			}
			req.Trailer = guard.to
		}
		req.Body = guard
		defer guard.finish(ex.w)
	case len(ex.small) > 0:
		// A copy: the Transport may read it after the handler has returned.
		req.Body = io.NopCloser(bytes.NewReader(bytes.Clone(ex.small)))
	}
	sent := time.Now()
	resp, err := s.origin.h2.transport.RoundTrip(req)
	<-interim
	open = false
	interim <- struct{}{}
	if err != nil {
		return ex.failedH2(ctx, guard, err, reasonHeaderTimeout)
	}
	defer resp.Body.Close()
	now := time.Now()
	ex.rec.UpstreamDuration = now.Sub(ex.start)
	m := ex.h.pool.metrics()
	m.firstByte.Observe(now.Sub(sent).Seconds())
	if resp.StatusCode < 200 || resp.StatusCode > 599 {
		return failedf(reasonProtocol, "status %d", resp.StatusCode)
	}
	m.classes[resp.StatusCode/100].Inc()
	if ex.rec.Attempts > 1 {
		m.retryAnswered.Inc()
	}
	ex.rec.UpstreamError = ""
	if f := ex.relayH2(resp, timer); f != nil {
		if f.reason != "" {
			f = ex.failedH2(ctx, guard, f.err, reasonBodyTimeout)
		}
		return ex.broken(f)
	}
	s.health.succeeded()
	return nil
}

// failedH2 sorts an error of an exchange over HTTP/2.
func (ex *exchange) failedH2(ctx context.Context, guard *guardedBody, err error, late string) *failure {
	if guard != nil {
		if f := guard.failure.Load(); f != nil {
			return f
		}
	}
	if cerr := ex.r.Context().Err(); cerr != nil {
		return &failure{err: cerr, gone: true, wrote: true}
	}
	if context.Cause(ctx) == errIdle {
		return &failure{reason: late, err: errIdle, wrote: true}
	}
	var dial *dialError
	if errors.As(err, &dial) {
		return dialFailure(dial.err)
	}
	if isTLS(err) {
		return failed(reasonTLS, err)
	}
	f := failed(reasonProtocol, err)
	var op *net.OpError
	if isEOF(err) || errors.As(err, &op) {
		f.reason = reasonReset
	}
	f.wrote = true
	return f
}

// headOf makes a head of a header, for relayed.
func headOf(status int, h http.Header) *head {
	hd := &head{status: status, minor: 1, length: -1}
	for name, values := range h {
		for _, v := range values {
			hd.fields = append(hd.fields, field{name, v})
		}
	}
	return hd
}

// relayH2 sends the response on as it comes.
func (ex *exchange) relayH2(resp *http.Response, timer *idleTimer) *failure {
	h := ex.w.Header()
	hd := headOf(resp.StatusCode, resp.Header)
	for i := range hd.fields {
		if !validName(hd.fields[i].name) || !validValue(hd.fields[i].value) {
			return failedf(reasonProtocol, "a field of the response is malformed")
		}
	}
	hd.relayed(h)
	if len(resp.Trailer) > 0 {
		if l := announced([]string{joinNames(resp.Trailer)}, false); len(l) > 0 {
			h["Trailer"] = l
		}
	}
	if v := resp.Header["Content-Length"]; len(v) == 1 && resp.StatusCode != http.StatusNoContent {
		// HTTP/1.1 has trailers only in chunks.
		if _, ok := parseLength(v[0]); ok && (h["Trailer"] == nil || ex.r.ProtoMajor > 1) {
			h["Content-Length"] = v
		}
	}
	ex.begun, ex.unsent = true, true
	ex.w.WriteHeader(resp.StatusCode)
	flush := resp.ContentLength < 0 || eventStream(hd)
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(buf)
	if flush { // the head of a stream can come long before its body
		if err := ex.flush(); err != nil {
			return &failure{err: err, gone: true}
		}
	}
	for {
		timer.reset()
		n, err := resp.Body.Read(buf[:])
		timer.stop()
		if n > 0 {
			if _, werr := ex.w.Write(buf[:n]); werr != nil {
				return &failure{err: werr, gone: true}
			}
			ex.unsent = true
			if flush && err == nil {
				if ferr := ex.flush(); ferr != nil {
					return &failure{err: ferr, gone: true}
				}
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return failed(reasonReset, err)
		}
	}
	for name, values := range resp.Trailer {
		if !validName(name) || forbiddenTrailer(name) {
			continue
		}
		for _, v := range values {
			if validValue(v) {
				key := http.TrailerPrefix + name
				h[key] = append(h[key], v)
			}
		}
	}
	return nil
}

func joinNames(h http.Header) string {
	var b bytes.Buffer
	for name := range maps.Keys(h) {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name)
	}
	return b.String()
}

// idleTimer calls late once an upstream has owed something for longer than limit.
type idleTimer struct {
	limit time.Duration
	guard *guardedBody // of the request body, or nil
	late  func()

	mu    sync.Mutex
	since time.Time // zero while nothing is waited for
	timer *time.Timer
}

func newIdleTimer(limit time.Duration, guard *guardedBody, late func()) *idleTimer {
	t := &idleTimer{limit: limit, guard: guard, late: late, since: time.Now()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer = time.AfterFunc(limit, t.check)
	return t
}

// check runs when the time may be up.
func (t *idleTimer) check() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return
	}
	now := time.Now()
	left := t.limit - now.Sub(t.since)
	if t.guard != nil {
		left = max(left, t.limit-now.Sub(t.guard.pulse.since(now)))
	}
	if left > 0 {
		t.timer.Reset(left)
		return
	}
	t.late()
}

func (t *idleTimer) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Now()
	t.timer.Reset(t.limit)
}

func (t *idleTimer) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Time{}
	t.timer.Stop()
}

// guardedBody lets a Transport read a request body only as long as the handler
// has not returned.
type guardedBody struct {
	src      io.Reader
	from, to http.Header // trailers

	mu      sync.Mutex // held while src is read
	pulse   pulse
	stopped atomic.Bool
	failure atomic.Pointer[failure] // of the client's side
}

func (g *guardedBody) Read(p []byte) (n int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pulse.reading.Store(true)
	defer g.pulse.reading.Store(false)
	if g.stopped.Load() {
		return 0, errStopped
	}
	defer func() {
		if v := recover(); v != nil { // a policy's body reader
			n, err = 0, fmt.Errorf("panic while the request body was read")
			g.failure.Store(&failure{err: err, gone: true})
		}
	}()
	n, err = g.pulse.read(g.src, p)
	switch {
	case err == io.EOF:
		for name := range g.to {
			for _, v := range g.from[name] {
				if validValue(v) {
					g.to[name] = append(g.to[name], v)
				}
			}
		}
	case err != nil && !g.stopped.Load():
		g.failure.Store(bodyFailure(err))
	}
	return n, err
}

// Close implements io.Closer. The server closes the client's body.
func (g *guardedBody) Close() error { return nil }

// finish waits for a read under way, and lets no other begin.
func (g *guardedBody) finish(w http.ResponseWriter) {
	g.stopped.Store(true)
	if g.pulse.reading.Load() {
		http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
}
