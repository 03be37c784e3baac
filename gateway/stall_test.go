package gateway

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// deadlines ends what waits on a pipe when a deadline in the past is set, as a
// connection does.
type deadlines struct {
	http.ResponseWriter
	read, write func()
}

func (d deadlines) SetReadDeadline(time.Time) error  { d.read(); return nil }
func (d deadlines) SetWriteDeadline(time.Time) error { d.write(); return nil }

// after waits for a time of the fake clock, or until the test is over.
func after(t *testing.T, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-t.Context().Done():
		return false
	}
}

func TestStallBody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		piece  int // bytes that come every period
		period time.Duration
		total  int
		ends   time.Duration // when the body is refused; 0 if it is read to its end
	}{
		{"steady", 1000, time.Second, 100_000, 0},
		{"in large pieces with long rests", 20_000, 25 * time.Second, 200_000, 0},
		{"still", 1000, time.Hour, 2000, 30 * time.Second},
		{"a byte now and then", 1, 20 * time.Second, 1000, 30 * time.Second},
		{"too slow", 400, time.Second, 1_000_000, 150 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pr, pw := io.Pipe()
				go func() {
					for sent := 0; sent < c.total; sent += c.piece {
						if _, err := pw.Write(make([]byte, c.piece)); err != nil || !after(t, c.period) {
							return
						}
					}
					pw.Close()
				}()
				rc := http.NewResponseController(deadlines{httptest.NewRecorder(), func() { pr.CloseWithError(os.ErrDeadlineExceeded) }, nil})
				b := newStallBody(pr, rc, pace{still: 30 * time.Second, rate: 500})
				start := time.Now()
				n, err := io.Copy(io.Discard, b)
				took := time.Since(start)
				if c.ends == 0 {
					if err != nil || n != int64(c.total) {
						t.Errorf("got %d bytes, %v after %v; want all %d", n, err, took, c.total)
					}
					return
				}
				if !errors.Is(err, errBodyStalled) {
					t.Errorf("got %v after %v, want %v", err, took, errBodyStalled)
				}
				if took < c.ends*9/10 || took > c.ends*11/10 {
					t.Errorf("ended after %v, want about %v", took, c.ends)
				}
			})
		})
	}
}

// pipeWriter is a client that takes what is written when it likes.
type pipeWriter struct {
	http.ResponseWriter
	w *io.PipeWriter
}

func (w pipeWriter) Write(p []byte) (int, error) { return w.w.Write(p) }

func TestStallWriter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		piece        int // bytes that the client takes every period
		period, rest time.Duration
		total        int
		ends         time.Duration
	}{
		{"steady", 1000, time.Second, 0, 100_000, 0},
		{"an event stream that rests", 100, 0, time.Hour, 1000, 0},
		{"too slow", 100, time.Second, 0, 1_000_000, 40 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				pr, pw := io.Pipe()
				defer pr.Close()
				go func() {
					buf := make([]byte, c.piece)
					for {
						if _, err := io.ReadFull(pr, buf); err != nil || !after(t, c.period) {
							return
						}
					}
				}()
				cut := deadlines{pipeWriter{httptest.NewRecorder(), pw}, nil, func() { pr.CloseWithError(os.ErrDeadlineExceeded) }}
				w := newStallWriter(cut, http.NewResponseController(cut), pace{still: 30 * time.Second, rate: 500}, &conn{})
				defer w.done()
				start := time.Now()
				var err error
				for sent := 0; sent < c.total && err == nil; sent += c.piece {
					after(t, c.rest) // the upstream has nothing to say
					_, err = w.Write(make([]byte, c.piece))
				}
				took := time.Since(start)
				if c.ends == 0 {
					if err != nil {
						t.Errorf("got %v after %v, want no error", err, took)
					}
					return
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) || took < c.ends*8/10 || took > c.ends*12/10 {
					t.Errorf("got %v after %v, want the end after about %v", err, took, c.ends)
				}
			})
		})
	}
}
