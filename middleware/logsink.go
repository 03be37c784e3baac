package middleware

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zapcore"
)

// Bounds of a sink.
const (
	logQueue     = 8192            // lines that wait
	logBatch     = 64 << 10        // bytes that are written at once
	logInterval  = time.Second     // until a line is in its file, if more keep coming
	logCloseTime = 5 * time.Second // for writing out at the end
	logLargest   = 16 << 10        // larger buffers are not kept for reuse
	logFileMode  = os.FileMode(0o640)
)

// logSink writes lines in the background. Requests never wait for it: what
// does not fit into its queue, or can't be written, is lost and counted.
type logSink struct {
	enc     zapcore.Encoder
	path    string // of a file; "" for a standard stream
	dropped prometheus.Counter

	queue   chan *[]byte
	pool    sync.Pool // *[]byte
	again   chan chan error
	quit    chan struct{}
	once    sync.Once
	done    chan struct{} // closed when nothing is written any more
	stopped atomic.Bool   // nobody reads the queue any more
}

// newLogSink opens stdout, stderr or a file.
func newLogSink(output string, c zapcore.EncoderConfig, dropped prometheus.Counter) (*logSink, error) {
	s := makeLogSink(c, dropped)
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

func makeLogSink(c zapcore.EncoderConfig, dropped prometheus.Counter) *logSink {
	s := &logSink{
		enc: zapcore.NewJSONEncoder(c), dropped: dropped,
		queue: make(chan *[]byte, logQueue), again: make(chan chan error), quit: make(chan struct{}), done: make(chan struct{}),
	}
	s.pool.New = func() any { b := make([]byte, 0, 1<<10); return &b }
	return s
}

func (s *logSink) open() (*os.File, error) {
	return os.OpenFile(s.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, logFileMode)
}

// keptOpen is a standard stream, which is not ours to close.
type keptOpen struct{ io.Writer }

func (keptOpen) Close() error { return nil }

// log writes one line. It never blocks.
func (s *logSink) log(t time.Time, fields []zapcore.Field) {
	line, err := s.enc.EncodeEntry(zapcore.Entry{Time: t}, fields)
	if err != nil {
		s.dropped.Inc()
		return
	}
	b := s.pool.Get().(*[]byte)
	*b = append((*b)[:0], line.Bytes()...)
	line.Free()
	select {
	case s.queue <- b:
		if s.stopped.Load() {
			s.discard() // too late for run to see it
		}
	default:
		s.dropped.Inc()
		s.free(b)
	}
}

func (s *logSink) free(b *[]byte) {
	if cap(*b) <= logLargest {
		s.pool.Put(b)
	}
}

// discard counts what is left in the queue of a closed sink.
func (s *logSink) discard() {
	for {
		select {
		case <-s.queue:
			s.dropped.Inc()
		default:
			return
		}
	}
}

// run owns the output.
func (s *logSink) run(w io.WriteCloser) {
	defer close(s.done)
	out := batch{w: w, dropped: s.dropped}
	tick := time.NewTicker(logInterval)
	defer tick.Stop()
	take := func(b *[]byte) {
		out.add(*b)
		s.free(b)
	}
	for {
		select {
		case b := <-s.queue:
			take(b)
			if len(s.queue) == 0 && s.path == "" {
				out.flush() // somebody may be looking
			}
		case <-tick.C:
			out.flush()
		case answer := <-s.again:
			for len(s.queue) > 0 { // lines of before the reopening belong into the old file
				take(<-s.queue)
			}
			out.flush()
			f, err := s.open()
			if err == nil {
				out.w.Close()
				out.w = f
			}
			answer <- err
		case <-s.quit:
			for len(s.queue) > 0 {
				take(<-s.queue)
			}
			out.flush()
			out.w.Close()
			s.stopped.Store(true)
			s.discard()
			return
		}
	}
}

// batch collects lines for one write.
type batch struct {
	w       io.WriteCloser
	dropped prometheus.Counter
	buf     []byte
	lines   int
	torn    bool // the last write ended within a line
}

func (b *batch) add(line []byte) {
	if len(b.buf)+len(line) > logBatch {
		b.flush()
	}
	b.buf = append(b.buf, line...)
	b.lines++
}

// flush writes what was collected. What can't be written is lost: a full disk
// must not become full memory.
func (b *batch) flush() {
	if len(b.buf) == 0 {
		return
	}
	if b.torn {
		if _, err := b.w.Write([]byte{'\n'}); err == nil {
			b.torn = false
		}
	}
	n, err := b.w.Write(b.buf)
	if err != nil {
		whole := 0
		for _, c := range b.buf[:n] {
			if c == '\n' {
				whole++
			}
		}
		b.dropped.Add(float64(b.lines - whole))
		b.torn = b.torn || n > 0 && b.buf[n-1] != '\n'
	}
	b.buf, b.lines = b.buf[:0], 0
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
