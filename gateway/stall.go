package gateway

import (
	"io"
	"net/http"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

// Time-outs of bodies. net/http's ReadTimeout and WriteTimeout count from the
// start of a request and so end long but healthy transfers. These count from
// the last progress, and beside that hold a least average rate over the time
// that the gateway had to wait, so that a client which moves a byte now and
// then can't hold a request for days. Time in which nothing was to be read or
// written does not count: an event stream may rest. A timer that is set before each read or
// write and stopped after it costs a fraction of a deadline on the connection.

// pace is how long a transfer may wait for the client.
type pace struct {
	still  time.Duration // without progress
	rate   int64         // bytes a second on average beyond the first still; 0: no bound
	moved  int64
	waited time.Duration
}

// patience is how long the next read or write may take.
func (p *pace) patience() time.Duration {
	if p.rate == 0 {
		return p.still
	}
	earned := time.Duration(float64(p.moved) / float64(p.rate) * float64(time.Second))
	return min(p.still, max(p.still+earned-p.waited, 0))
}

// progress notes how a read or write went.
func (p *pace) progress(n int, took time.Duration) {
	p.moved += int64(n)
	p.waited += took
}

// past is a deadline that has been missed.
var past = time.Unix(1, 0)

// stallBody refuses a request body that comes too slowly.
type stallBody struct {
	io.ReadCloser
	pace  pace
	timer *time.Timer
	fired chan struct{}
}

// newStallBody wraps body. rc must control the request's response.
func newStallBody(body io.ReadCloser, rc *http.ResponseController, p pace) *stallBody {
	b := &stallBody{ReadCloser: body, pace: p, fired: make(chan struct{})}
	b.timer = time.AfterFunc(p.still, func() {
		close(b.fired)
		rc.SetReadDeadline(past)
	})
	b.timer.Stop()
	return b
}

func (b *stallBody) Read(p []byte) (int, error) {
	select {
	case <-b.fired:
		return 0, errBodyStalled
	default:
	}
	start := time.Now()
	b.timer.Reset(b.pace.patience())
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.pace.progress(n, time.Since(start))
	if err != nil && err != io.EOF {
		select { // it is closed before the deadline is set that ends the read
		case <-b.fired:
			return n, errBodyStalled
		default:
		}
	}
	return n, err
}

var errBodyStalled = &middleware.BodyRefusal{
	Status: http.StatusRequestTimeout,
	Denial: middleware.Denial{By: "http", Reason: "body_timeout", Detail: "the request body stood still or came too slowly", Close: true},
}

// stallWriter gives up a response whose client does not read, or too slowly.
type stallWriter struct {
	http.ResponseWriter
	rc      *http.ResponseController
	pace    pace
	timer   *time.Timer
	started time.Time
	conn    *conn
}

func newStallWriter(w http.ResponseWriter, rc *http.ResponseController, p pace, c *conn) *stallWriter {
	return &stallWriter{ResponseWriter: w, rc: rc, pace: p, conn: c}
}

func (w *stallWriter) start() {
	w.started = time.Now()
	if w.timer == nil {
		w.timer = time.AfterFunc(w.pace.still, func() { w.rc.SetWriteDeadline(past) })
		return
	}
	w.timer.Reset(w.pace.patience())
}

func (w *stallWriter) stop(n int) {
	w.timer.Stop()
	w.pace.progress(n, time.Since(w.started))
}

func (w *stallWriter) Write(p []byte) (int, error) {
	w.start()
	n, err := w.ResponseWriter.Write(p)
	w.stop(n)
	return n, err
}

// FlushError is what http.ResponseController calls.
func (w *stallWriter) FlushError() error {
	w.start()
	err := w.rc.Flush()
	w.stop(0)
	return err
}

// Flush implements http.Flusher.
func (w *stallWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *stallWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// done stops the watch; the writer must not be used afterwards. The server has
// the end of the response still to write: where the client's window may have no
// room for it, that gets a deadline too, or the stream would stay for as long
// as the client likes.
func (w *stallWriter) done() {
	if w.timer != nil {
		w.timer.Stop()
	}
	if w.pace.moved == 0 {
		return
	}
	if w.conn.Protocol == "h3" || w.conn.h2 != nil && (w.pace.moved >= ampleWindow || w.conn.h2.Starved()) {
		w.rc.SetWriteDeadline(time.Now().Add(w.pace.still))
	}
}

// ampleWindow is what every client's window takes, unless it is starved.
const ampleWindow = 16 << 10
