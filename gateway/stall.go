package gateway

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/vazel-gateway/vazel/middleware"
)

// Rolling time-outs of bodies. net/http's ReadTimeout and WriteTimeout count
// from the start of a request and so end long but healthy transfers; these
// count from the last progress. A timer that is set before each read or write
// and stopped after it costs a fraction of a deadline on the connection.

// past is a deadline that has been missed.
var past = time.Unix(1, 0)

// stallBody refuses a request body that stands still.
type stallBody struct {
	io.ReadCloser
	limit time.Duration
	timer *time.Timer
	fired chan struct{}
}

// newStallBody wraps body. rc must control the request's response.
func newStallBody(body io.ReadCloser, rc *http.ResponseController, limit time.Duration) *stallBody {
	b := &stallBody{ReadCloser: body, limit: limit, fired: make(chan struct{})}
	b.timer = time.AfterFunc(limit, func() {
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
	b.timer.Reset(b.limit)
	n, err := b.ReadCloser.Read(p)
	if !b.timer.Stop() && err != nil && (errors.Is(err, os.ErrDeadlineExceeded) || err != io.EOF) {
		select {
		case <-b.fired:
			return n, errBodyStalled
		default:
		}
	}
	return n, err
}

var errBodyStalled = &middleware.BodyRefusal{
	Status: http.StatusRequestTimeout,
	Denial: middleware.Denial{By: "http", Reason: "body_timeout", Detail: "the request body stood still", Close: true},
}

// stallWriter gives up a response whose client does not read.
type stallWriter struct {
	http.ResponseWriter
	rc    *http.ResponseController
	limit time.Duration
	timer *time.Timer
}

func newStallWriter(w http.ResponseWriter, rc *http.ResponseController, limit time.Duration) *stallWriter {
	return &stallWriter{ResponseWriter: w, rc: rc, limit: limit}
}

func (w *stallWriter) start() {
	if w.timer == nil {
		w.timer = time.AfterFunc(w.limit, func() { w.rc.SetWriteDeadline(past) })
		return
	}
	w.timer.Reset(w.limit)
}

func (w *stallWriter) Write(p []byte) (int, error) {
	w.start()
	n, err := w.ResponseWriter.Write(p)
	w.timer.Stop()
	return n, err
}

// FlushError is what http.ResponseController calls.
func (w *stallWriter) FlushError() error {
	w.start()
	err := w.rc.Flush()
	w.timer.Stop()
	return err
}

// Flush implements http.Flusher.
func (w *stallWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *stallWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// done stops the watch; the writer must not be used afterwards.
func (w *stallWriter) done() {
	if w.timer != nil {
		w.timer.Stop()
	}
}
