package proxy

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

// handler forwards the requests of one route.
type handler struct {
	pool      *Pool
	outbound  func(*http.Request, http.Header, []Field) []Field
	path      func(string) string
	timeout   time.Duration
	attempts  int
	share     float64
	websocket bool
}

// Handler forwards requests to p.
func (p *Pool) Handler(c RouteConfig) http.Handler {
	h := &handler{
		pool: p, outbound: c.Outbound, path: c.Path,
		timeout: c.Settings.Timeout.Or(defaultTimeout), attempts: 2, share: 0.2, websocket: c.Settings.Websocket,
	}
	if r := c.Settings.Retries; r != nil {
		if r.Attempts > 0 {
			h.attempts = r.Attempts
		}
		if r.Budget > 0 {
			h.share = float64(r.Budget)
		}
	}
	return h
}

// exchange is one request on its way through a handler.
type exchange struct {
	h     *handler
	w     http.ResponseWriter
	r     *http.Request
	rec   *middleware.Record
	start time.Time

	out       outbound
	small     []byte // the body, if it is at hand; of pooled
	pooled    *[smallBody]byte
	stream    io.Reader // the body, if it is not
	streaming bool      // something of stream was read
	websocket bool

	server *server
	conn   *conn
	upload *upload
	keep   bool // the connection may carry another exchange

	head    head
	body    body
	buf     []byte // the request's head, and a small body
	informs int
	begun   bool // the final head went to the client
	unsent  bool // something of the response may wait in a buffer
	flushes bool
	block   func() error // flushes before waiting, if the response is a stream
	tried   []*server
}

var exchanges = sync.Pool{New: func() any {
	ex := &exchange{buf: make([]byte, 0, 2<<10)}
	ex.block = ex.flush
	return ex
}}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := exchanges.Get().(*exchange)
	ex.h, ex.w, ex.r, ex.start = h, w, r, time.Now()
	if ex.rec = middleware.RecordOf(r.Context()); ex.rec == nil {
		ex.rec = &middleware.Record{}
	}
	defer ex.release()
	ex.serve()
}

// release ends whatever is still under way, also after a panic.
func (ex *exchange) release() {
	ex.endAttempt()
	if ex.pooled != nil {
		smallBodies.Put(ex.pooled)
	}
	ex.head.reset()
	clear(ex.tried)
	buf := ex.buf[:0]
	if cap(buf) > smallBuffer+smallBody {
		buf = make([]byte, 0, 2<<10)
	}
	clear(ex.out.own)
	*ex = exchange{head: ex.head, buf: buf, block: ex.block, tried: ex.tried[:0], out: outbound{own: ex.out.own[:0]}}
	exchanges.Put(ex)
}

// endAttempt gives back or closes the connection of an attempt.
func (ex *exchange) endAttempt() {
	if ex.conn == nil {
		return
	}
	keep := ex.keep
	if ex.upload != nil {
		keep = ex.upload.finish(ex.w) && keep
		ex.upload = nil
	}
	c := ex.conn
	ex.conn = nil
	keep = c.end() && keep
	ex.server.active.Add(-1)
	if keep {
		ex.server.release(c, time.Now())
	} else {
		ex.server.discard(c)
	}
}

// serve answers the request.
func (ex *exchange) serve() {
	if !ex.prepare() {
		return
	}
	p := ex.h.pool
	p.budget.request(p.clock(ex.start))
	if f := ex.readBody(); f != nil {
		f.deny(ex.w, ex.r)
		return
	}
	p.awaitReady(ex.r.Context())
	ex.rec.Upstream, ex.rec.UpstreamStart = p.name, ex.start
	now := ex.start
	for fresh := false; ; {
		s, f := p.pick(now, ex.tried)
		if f == nil {
			ex.rec.Attempts++
			ex.rec.UpstreamServer = s.addr
			ex.server = s
			if s.origin.h2 != nil && !ex.websocket {
				f = ex.attemptH2(s)
			} else {
				f = ex.attempt(s, fresh, now)
			}
			if f == nil {
				return
			}
			ex.note(s, f)
		} else {
			p.metrics().errors[f.reason].Inc()
			ex.rec.UpstreamError = f.reason
		}
		again := s != nil && ex.mayRetry(f)
		ex.endAttempt()
		if !again {
			f.deny(ex.w, ex.r)
			return
		}
		ex.tried = append(ex.tried, s)
		fresh = f.dead
		now = time.Now()
	}
}

// note records a failed attempt. What is the client's own doing is not held
// against the server.
func (ex *exchange) note(s *server, f *failure) {
	m := ex.h.pool.metrics()
	if ex.rec.Attempts > 1 {
		m.retryFailed.Inc()
	}
	if f.reason == "" {
		return
	}
	m.classes[0].Inc()
	m.errors[f.reason].Inc()
	ex.rec.UpstreamError = f.reason
	if !f.dead && f.reason != reasonOverloaded {
		ex.h.pool.failed(s)
	}
}

// mayRetry decides whether the request is sent again after f.
func (ex *exchange) mayRetry(f *failure) bool {
	if f.gone || f.reason == "" || ex.begun || ex.streaming || ex.rec.Attempts >= ex.h.attempts || ex.informs > 0 {
		return false
	}
	if f.wrote && !(f.dead && idempotent(ex.r.Method)) || f.reason == reasonOverloaded && len(ex.h.pool.list()) == 1 {
		return false
	}
	if ex.r.Context().Err() != nil {
		return false
	}
	p := ex.h.pool
	if !p.budget.retry(p.now(), ex.h.share) {
		p.metrics().retryRefused.Inc()
		return false
	}
	return true
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// prepare makes the outbound request, or refuses the inbound one.
func (ex *exchange) prepare() bool {
	r, o := ex.r, &ex.out
	if r.Header["Upgrade"] != nil {
		if ok := ex.prepareUpgrade(); !ok {
			return false
		}
	}
	trailers := stripRequest(r.Header)
	if ex.h.outbound != nil {
		o.own = ex.h.outbound(r, r.Header, o.own[:0])
	}
	o.header = r.Header
	o.method, o.host = r.Method, r.Host
	if o.method == "" {
		o.method = http.MethodGet
	}
	path := ex.rec.Path
	if path == "" {
		path = r.URL.EscapedPath()
	}
	if ex.h.path != nil {
		path = ex.h.path(path)
	}
	if path == "" {
		path = "/"
	}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		path += "?" + r.URL.RawQuery
	}
	o.target = path
	o.te = trailers && !ex.websocket
	o.upgrade = ex.websocket
	if err := o.check(); err != nil {
		ex.refuse(err)
		return false
	}
	return true
}

// refuse answers a request that can't be forwarded as it is.
func (ex *exchange) refuse(err error) {
	middleware.Deny(ex.w, ex.r, http.StatusBadRequest, middleware.Denial{By: "http", Reason: "bad_request", Detail: err.Error(), Close: true})
}

// readBody takes a small body out of the request, and sets up the sending of
// others.
func (ex *exchange) readBody() *failure {
	r, o := ex.r, &ex.out
	n := r.ContentLength
	if r.Body == nil || r.Body == http.NoBody || n == 0 || ex.websocket {
		o.length = 0
		return nil
	}
	// The body of an idempotent request whose length is not known is most
	// likely empty: HTTP/3 does not tell (quic-go).
	bodyless := !expectsBody(o.method)
	switch {
	case n > smallBody, n < 0 && !bodyless:
		o.length, ex.stream = n, r.Body
		if n < 0 {
			o.trailer = r.Trailer
		}
	default:
		ex.pooled = smallBodies.Get().(*[smallBody]byte)
		got, whole, err := readSmall(r.Body, ex.pooled[:], n)
		if err != nil {
			return bodyFailure(err)
		}
		ex.small, o.length = ex.pooled[:got], int64(got)
		if !whole {
			ex.stream, o.length = io.MultiReader(strings.NewReader(string(ex.small)), r.Body), -1
			ex.small = nil
		}
	}
	// An upstream that takes such a request to have no body would read the body
	// as the next request: there is none on this connection.
	o.close = bodyless && o.length != 0
	return nil
}

// attempt sends the request to s over HTTP/1.1 and relays the response. The
// failure is nil if the client has its answer.
func (ex *exchange) attempt(s *server, fresh bool, now time.Time) *failure {
	ctx := ex.r.Context()
	c, f := s.acquire(ctx, fresh, now)
	if f != nil {
		return f
	}
	s.active.Add(1)
	ex.conn, ex.keep = c, false
	if !c.used {
		now = time.Now()
	}
	c.begin(ctx, now, ex.h.timeout)
	if f := ex.send(); f != nil {
		return f
	}
	s.letOthersRun()
	if f := ex.receive(now); f != nil {
		return f
	}
	if ex.head.status == http.StatusSwitchingProtocols {
		return ex.tunnel()
	}
	ex.body.begin(c, &ex.head, ex.out.method)
	f = ex.relay()
	if f == nil {
		ex.keep = ex.body.done && ex.head.minor == 1 && !ex.head.close && !ex.out.close && ex.body.kind != bodyUntilClose
		s.health.succeeded()
		return nil
	}
	return ex.broken(f)
}

// send writes the head, and a body that is at hand.
func (ex *exchange) send() *failure {
	c := ex.conn
	b, err := ex.out.append(ex.buf[:0])
	if err != nil {
		return &failure{err: err, gone: true}
	}
	b = append(b, ex.small...)
	ex.buf = b[:0]
	if err := c.write(b, ex.h.timeout); err != nil {
		if isTimeout(err) {
			return &failure{reason: reasonHeaderTimeout, status: "connection_write_timeout", err: err, wrote: true}
		}
		return ex.cut(err)
	}
	if ex.stream != nil {
		ex.streaming = true
		// The response may begin before the body has been read.
		http.NewResponseController(ex.w).EnableFullDuplex()
		c.watch()
		ex.upload = &upload{src: ex.stream, c: c, limit: ex.h.timeout, left: ex.out.length, trailer: ex.out.trailer}
		c.upload = &ex.upload.pulse
		ex.upload.start()
	}
	return nil
}

// cut is the failure of an exchange whose connection ended before its response.
func (ex *exchange) cut(err error) *failure {
	c := ex.conn
	if up := ex.upload; up != nil && c.broken.Load() {
		if f := up.failure.Load(); f != nil {
			return f
		}
	}
	if cerr := ex.r.Context().Err(); cerr != nil {
		return &failure{err: cerr, gone: true, wrote: true}
	}
	f := readFailure(err, reasonHeaderTimeout)
	f.wrote = true
	f.dead = c.used && !c.received && f.reason == reasonReset
	return f
}

// receive reads heads up to the final one.
func (ex *exchange) receive(sent time.Time) *failure {
	c := ex.conn
	for {
		if err := c.readHead(&ex.head); err != nil {
			return ex.cut(err)
		}
		hd := &ex.head
		if hd.status >= 200 {
			break
		}
		if hd.status == http.StatusSwitchingProtocols {
			if err := ex.checkUpgrade(hd); err != nil {
				return ex.cut(err)
			}
			break
		}
		if ex.informs++; ex.informs > maxInform {
			return ex.cut(protocolError("too many interim responses"))
		}
		if hd.status != http.StatusContinue {
			ex.inform(hd)
		}
	}
	now := time.Now()
	took := now.Sub(sent)
	ex.rec.UpstreamDuration = now.Sub(ex.start)
	ex.server.took.Store(int64(took))
	m := ex.h.pool.metrics()
	m.firstByte.Observe(took.Seconds())
	m.classes[ex.head.status/100].Inc()
	if ex.rec.Attempts > 1 {
		m.retryAnswered.Inc()
	}
	ex.rec.UpstreamError = ""
	return nil
}

// inform passes an interim response on.
func (ex *exchange) inform(hd *head) {
	if ex.r.ProtoMajor == 1 && ex.r.ProtoMinor == 0 {
		return
	}
	h := ex.w.Header()
	ours := make(http.Header, len(h))
	for name, v := range h {
		ours[name] = v
	}
	clear(h)
	hd.relayed(h)
	ex.w.WriteHeader(hd.status)
	clear(h)
	for name, v := range ours {
		h[name] = v
	}
}

// relay sends the response on as it comes.
func (ex *exchange) relay() *failure {
	hd, b := &ex.head, &ex.body
	h := ex.w.Header()
	var first []byte
	var err error
	ex.flushes = b.kind == bodyChunked || b.kind == bodyUntilClose || eventStream(hd)
	if b.kind == bodyLength && !ex.flushes {
		// As long as nothing has come, a broken response can still become a 502.
		if first, err = b.next(nil); err != nil && err != io.EOF {
			f := ex.cut(err)
			switch f.reason {
			case reasonReset:
				f.status = "http_response_incomplete"
			case reasonHeaderTimeout:
				f.reason = reasonBodyTimeout
			}
			return f
		}
	}
	hd.relayed(h)
	if hd.length >= 0 && hd.status != http.StatusNoContent {
		v, _ := hd.value("Content-Length")
		h["Content-Length"] = []string{v}
	}
	if hd.trailer && b.kind == bodyChunked {
		var l []string
		for i := range hd.fields {
			if hd.fields[i].name == "Trailer" {
				l = append(l, hd.fields[i].value)
			}
		}
		if l = announced(l, false); len(l) > 0 {
			h["Trailer"] = l
		}
	}
	ex.begun = true
	ex.unsent = true
	ex.w.WriteHeader(hd.status)
	block := ex.block
	if !ex.flushes {
		block = nil
	}
	for p := first; ; {
		if len(p) > 0 {
			if _, werr := ex.w.Write(p); werr != nil {
				return &failure{err: werr, gone: true}
			}
			ex.unsent = true
		}
		if err == io.EOF {
			break
		}
		if p, err = b.next(block); err != nil && err != io.EOF {
			var gone clientError
			if errors.As(err, &gone) {
				return &failure{err: err, gone: true}
			}
			f := ex.cut(err)
			if f.reason == reasonHeaderTimeout {
				f.reason = reasonBodyTimeout
			}
			return f
		}
	}
	for i := range b.trailer {
		if f := &b.trailer[i]; !forbiddenTrailer(f.name) {
			name := http.TrailerPrefix + f.name
			h[name] = append(h[name], f.value)
		}
	}
	return nil
}

// broken ends an exchange that failed after its head went to the client: the
// client must see that the response is not whole.
func (ex *exchange) broken(f *failure) *failure {
	if !ex.begun {
		return f
	}
	if f.reason != "" {
		ex.h.pool.metrics().errors[f.reason].Inc()
		ex.rec.UpstreamError = f.reason
		ex.h.pool.failed(ex.server)
	}
	panic(http.ErrAbortHandler)
}

// clientError is an error of writing to the client.
type clientError struct{ error }

// flush sends the client what it has not got yet.
func (ex *exchange) flush() error {
	if !ex.unsent {
		return nil
	}
	ex.unsent = false
	var err error
	if f, ok := ex.w.(interface{ FlushError() error }); ok {
		err = f.FlushError()
	} else {
		err = http.NewResponseController(ex.w).Flush()
	}
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return clientError{err}
	}
	return nil
}

// eventStream reports whether a response is to be passed on piece by piece
// although its length may be known.
func eventStream(hd *head) bool {
	v, _ := hd.value("Content-Type")
	return len(v) >= 17 && strings.EqualFold(v[:17], "text/event-stream")
}

// begin makes b the body of hd.
func (b *body) begin(c *conn, hd *head, method string) {
	*b = body{c: c}
	switch {
	case method == http.MethodHead || hd.status == http.StatusNoContent || hd.status == http.StatusNotModified:
		b.kind = bodyNone
	case hd.chunked:
		b.kind = bodyChunked
	case hd.length >= 0:
		b.kind, b.left = bodyLength, hd.length
	default:
		b.kind = bodyUntilClose
	}
}
