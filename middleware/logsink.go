package middleware

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of a sink.
const (
	logWaiting   = 4 << 20         // bytes of lines that wait
	logBatch     = 64 << 10        // bytes that are written at once
	logInterval  = time.Second     // until a line is in its file, if there are fewer
	logCloseTime = 5 * time.Second // for writing out at the end
	logSpare     = 8               // buffers of that size that are kept
	logLargest   = 16 << 10        // a larger buffer of one line is not kept
	logFileMode  = os.FileMode(0o640)
)

// logSink writes lines in the background. Requests never wait for it: what
// finds no room, or can't be written, is lost and counted. A line is put behind
// the others by the request that it is about, so that the goroutine which writes
// wakes for each batch and not for each line.
type logSink struct {
	path    string // of a file; "" for a standard stream
	dropped prometheus.Counter

	wake  chan struct{} // there is enough to write
	again chan chan error
	quit  chan struct{}
	once  sync.Once
	done  chan struct{} // closed when nothing is written any more

	mu      sync.Mutex
	buf     []byte   // lines, up to logBatch
	full    [][]byte // what was buf before
	waiting int      // bytes in both
	spare   [][]byte
	closed  bool
}

// newLogSink opens stdout, stderr or a file.
func newLogSink(output string, dropped prometheus.Counter) (*logSink, error) {
	s := makeLogSink(dropped)
	var w io.WriteCloser
	switch output {
	case "stdout":
		w = keptOpen{os.Stdout}
	case "stderr":
		w = keptOpen{os.Stderr}
	default:
		s.path = output
		f, err := s.open()
		if err != nil {
			return nil, err
		}
		w = f
	}
	go s.run(w)
	return s, nil
}

func makeLogSink(dropped prometheus.Counter) *logSink {
	return &logSink{
		dropped: dropped, wake: make(chan struct{}, 1), again: make(chan chan error), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

func (s *logSink) open() (*os.File, error) {
	return os.OpenFile(s.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, logFileMode)
}

// keptOpen is a standard stream, which is not ours to close.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// log takes one line, with its end. It never waits for the output.
func (s *logSink) log(line []byte) {
	s.mu.Lock()
	if s.closed || s.waiting+len(line) > logWaiting {
		s.mu.Unlock()
		s.dropped.Inc()
		return
	}
	wake := s.path == "" && s.waiting == 0 // somebody may be looking
	s.waiting += len(line)
	if len(s.buf)+len(line) > cap(s.buf) {
		if len(s.buf) > 0 {
			s.full = append(s.full, s.buf)
			wake = true
		}
		s.buf = s.bufferLocked(len(line))
	}
	s.buf = append(s.buf, line...)
	s.mu.Unlock()
	if wake {
		select {
		case s.wake <- struct{}{}:
		default: // it will look after it was woken
		}
	}
}

func (s *logSink) bufferLocked(least int) []byte {
	if n := len(s.spare); n > 0 && least <= logBatch {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b
	}
	return make([]byte, 0, max(least, logBatch))
}

// linesOfBatch counts the lines of a batch.
func linesOfBatch(b []byte) int { return bytes.Count(b, []byte{'\n'}) }

// next takes a batch out, of which the room is taken until it is sent; nil if
// there is none.
func (s *logSink) next() (b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.full) > 0 {
		b, s.full = s.full[0], s.full[1:]
		return b
	}
	if len(s.buf) == 0 {
		return nil
	}
	b, s.buf = s.buf, nil
	return b
}

// sent gives the room of a batch back.
func (s *logSink) sent(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting -= len(b)
	if len(s.spare) < logSpare && cap(b) == logBatch {
		s.spare = append(s.spare, b[:0])
	}
}

// run owns the output.
func (s *logSink) run(w io.WriteCloser) {
	defer close(s.done)
	out := batch{w: w, dropped: s.dropped}
	tick := time.NewTicker(logInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
			s.write(&out, false)
		case <-tick.C:
			s.write(&out, false)
		case answer := <-s.again:
			s.write(&out, false) // lines of before the reopening belong into the old file
			f, err := s.open()
			if err == nil {
				out.w.Close()
				out.w = f
			}
			answer <- err
		case <-s.quit:
			s.write(&out, true)
			out.w.Close()
			return
		}
	}
}

// write writes what waits. After the last time nothing is taken any more.
func (s *logSink) write(out *batch, last bool) {
	s.mu.Lock()
	full, buf := s.full, s.buf
	s.full, s.buf, s.waiting, s.closed = nil, nil, 0, last
	s.mu.Unlock()
	if len(buf) > 0 {
		full = append(full, buf)
	}
	for _, b := range full {
		out.write(b)
	}
	s.mu.Lock()
	for _, b := range full {
		if len(s.spare) < logSpare && cap(b) == logBatch {
			s.spare = append(s.spare, b[:0])
		}
	}
	s.mu.Unlock()
}

// batch writes many lines at once.
type batch struct {
	w       io.WriteCloser
	dropped prometheus.Counter
	torn    bool // the last write ended within a line
}

// write writes whole lines. What can't be written is lost: a full disk must not
// become full memory.
func (b *batch) write(buf []byte) {
	if b.torn {
		if _, err := b.w.Write([]byte{'\n'}); err == nil {
			b.torn = false
		}
	}
	n, err := b.w.Write(buf)
	if err != nil {
		b.dropped.Add(float64(linesOfBatch(buf[n:])))
		b.torn = b.torn || n > 0 && buf[n-1] != '\n'
	}
}

// reopen opens the file anew, after it was moved away. Lines that came before
// are in the old one.
func (s *logSink) reopen() error {
	if s.path == "" {
		return nil
	}
	answer := make(chan error, 1)
	select {
	case s.again <- answer:
		return <-answer
	case <-s.done:
		return errors.New("the log is closed")
	}
}

// close writes out what waits. It gives up on an output that stands still, such
// as a pipe that nobody reads.
func (s *logSink) close() {
	s.once.Do(func() { close(s.quit) })
	t := time.NewTimer(logCloseTime)
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
	}
}
