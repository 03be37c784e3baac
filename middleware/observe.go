package middleware

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/tracing"
)

// ObserverOptions is what an Observer needs from the process.
type ObserverOptions struct {
	Metrics   *Metrics
	Log       *zap.Logger
	Incidents *Incidents // remembers refused requests; nil for none
	Version   string     // of the program, for logs
}

// Observer makes the Record of each request and reads it when the request is
// done: metrics, logs and hooks see the same facts.
type Observer struct {
	metrics *Metrics
	log     *zap.Logger
	version string
	refused *Incidents
	in      atomic.Pointer[observed]
	records sync.Pool // *Record
	lines   sync.Pool // *jsonLine

	mu sync.Mutex // serializes Use, Reopen, Close
}

// observed is what a configuration decides.
type observed struct {
	logs    *Logs
	trusted []netip.Prefix
	tracer  *tracing.Tracer // nil if nothing is traced
}

// NewObserver makes an Observer that logs nothing and trusts nobody until Use.
func NewObserver(o ObserverOptions) *Observer {
	ob := &Observer{metrics: o.Metrics, log: o.Log, refused: o.Incidents, version: o.Version}
	ob.records.New = func() any { return new(Record) }
	ob.lines.New = func() any { return new(jsonLine) }
	ob.in.Store(&observed{logs: &Logs{}})
	return ob
}

// Use makes logs and trusted the ones in force, and closes the logs before them.
func (o *Observer) Use(logs *Logs, trusted []netip.Prefix) {
	o.mu.Lock()
	defer o.mu.Unlock()
	former := o.in.Load()
	o.in.Store(&observed{logs: logs, trusted: trusted, tracer: former.tracer})
	former.logs.closeExcept(logs)
}

// Trace makes t the tracer in force and returns the one before it. Both may be
// nil.
func (o *Observer) Trace(t *tracing.Tracer) (former *tracing.Tracer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	in := *o.in.Load()
	former, in.tracer = in.tracer, t
	o.in.Store(&in)
	return former
}

// Tracer is the tracer in force, or nil.
func (o *Observer) Tracer() *tracing.Tracer { return o.in.Load().tracer }

// Reopen opens log files anew, after they were moved away.
func (o *Observer) Reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.in.Load().logs.Reopen()
}

// Close writes out what the logs hold.
func (o *Observer) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.in.Load().logs.Close()
}

// Handler observes next. It is the outermost handler of every request.
func (o *Observer) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.serve(w, r, next) })
}

func (o *Observer) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := o.begin(r)
	// The writer is not pooled, the Record is: timers and an upstream
	// connection's goroutine may hold the writer or the body a little longer than
	// the handler runs, and would then act on another client's request.
	rw := &response{ResponseWriter: w, rec: rec}
	// A copy of the request: net/http closes a connection after bad framing
	// only if the body that it made is still in its own request.
	copied := r.WithContext(WithRecord(r.Context(), rec))
	if copied.Body != nil && copied.Body != http.NoBody {
		rw.in.ReadCloser = copied.Body
		copied.Body = &rw.in
	}
	inFlight := o.metrics.begin(rec.Listener)
	defer func() {
		v := recover()
		inFlight.Dec()
		abort := v != nil
		if abort && v != http.ErrAbortHandler {
			abort = o.panicked(rw, copied, v)
		}
		o.end(rw, r, abort)
		if abort {
			panic(http.ErrAbortHandler) // the server breaks the response off
		}
	}()
	next.ServeHTTP(rw, copied)
}

// begin makes the Record of a request.
func (o *Observer) begin(r *http.Request) *Record {
	c := ConnOf(r.Context())
	if c == nil {
		c = &Conn{Listener: unknown, Protocol: unknown} // nobody described it: trusted by nobody
	}
	rec := o.records.Get().(*Record)
	rec.Start = time.Now()
	rec.Listener, rec.Protocol, rec.Peer = c.Listener, c.Protocol, c.Peer
	in := o.in.Load()
	rec.Client = clientAddr(c, r.Header["X-Forwarded-For"], in.trusted)
	rec.Method = r.Method
	newIDs(rec, r.Header, c.Trusted)
	sample(rec, in.tracer)
	return rec
}

// panicked answers for a handler that panicked, and reports whether the
// response has to be broken off.
func (o *Observer) panicked(w *response, r *http.Request, v any) (abort bool) {
	rec := w.rec
	rec.Panic = true
	o.metrics.Panicked("request")
	o.log.Error("panic while serving a request", zap.String("event.id", rec.ID), zap.String("vazel.service", rec.Service),
		zap.String("vazel.route", rec.Route), zap.String("panic", panicText(v)), zap.ByteString("stack", debug.Stack()))
	if rec.Status != 0 {
		return true
	}
	defer func() {
		if recover() != nil {
			abort = true
		}
	}()
	Deny(w, r, http.StatusInternalServerError, Denial{By: "gateway", Reason: "internal_error", Close: true})
	return false
}

// panicText says what a handler panicked with. Only the runtime's own errors
// are sure to hold nothing that a client sent; others are cut short.
func panicText(v any) string {
	const most = 200
	s := fmt.Sprintf("%T", v)
	switch v := v.(type) {
	case runtime.Error:
		return v.Error()
	case error:
		s += ": " + v.Error()
	case string:
		s = v
	}
	return s[:min(len(s), most)]
}

// end completes the Record and has everything read it that reads it.
func (o *Observer) end(w *response, r *http.Request, abort bool) {
	rec := w.rec
	rec.Duration = time.Since(rec.Start)
	rec.BytesIn += w.in.n.Load()
	rec.BytesOut += w.out
	gone := r.Context().Err() != nil
	switch {
	case rec.Status == 0 && (abort || gone):
		rec.Status = statusClientGone
	case rec.Status == 0:
		rec.Status = http.StatusOK // what the server sends for a handler that wrote nothing
	case abort && gone:
		rec.Aborted = "client"
	case abort:
		rec.Aborted = "gateway"
	}
	o.metrics.done(rec)
	// The logs of now, not those of the request's beginning: a reload in between
	// may have closed those.
	in := o.in.Load()
	in.logs.request(o, rec, r)
	if in.tracer != nil && rec.UpstreamSpanID != "" {
		span := traced(rec, r)
		in.tracer.Trace(&span)
	}
	o.refused.note(rec)
	for _, f := range rec.done {
		f(rec)
	}
	if rec.Status == http.StatusSwitchingProtocols || rec.Panic || abort {
		return // something unusual happened; the collector knows best when rec is free
	}
	clear(rec.done)
	*rec = Record{done: rec.done[:0]}
	o.records.Put(rec)
}

// statusClientGone is what is recorded when the client left before its answer:
// nginx's 499.
const statusClientGone = 499

// response counts what goes to the client and notes the final status.
type response struct {
	http.ResponseWriter
	rec *Record
	out int64
	in  countingBody
}

// WriteHeader implements http.ResponseWriter. Informational responses are not
// final, except 101 after which HTTP has ended.
func (w *response) WriteHeader(status int) {
	if w.rec.Status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.rec.Status = status
		w.first()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	w.began()
	n, err := w.ResponseWriter.Write(p)
	w.out += int64(n)
	return n, err
}

// ReadFrom implements io.ReaderFrom, for servers that can copy without a buffer.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	w.began()
	var n int64
	var err error
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err = rf.ReadFrom(src)
	} else {
		n, err = io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
	}
	w.out += n
	return n, err
}

// FlushError is what http.ResponseController calls.
func (w *response) FlushError() error {
	w.began()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *response) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// began notes the status that a server sends where none was written.
func (w *response) began() {
	if w.rec.Status == 0 {
		w.rec.Status = http.StatusOK
		w.first()
	}
}

// first notes when the response begins.
func (w *response) first() {
	if w.rec.Timed {
		w.rec.FirstByte = time.Since(w.rec.Start)
	}
}

// countingBody counts the bytes of a request body. An upstream connection may
// still be reading while the handler returns.
type countingBody struct {
	io.ReadCloser
	n atomic.Int64
}

// Read implements io.Reader.
func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}
