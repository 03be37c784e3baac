package proxy

import (
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
