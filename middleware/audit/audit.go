// Package audit keeps a record of requests that can be shown to be whole: each
// record carries the hash of the one before it and its own, so that a record
// that was changed, removed or put in is noticed. It owns the file and the queue
// before it. It does not decide what is recorded, or what happens to requests
// that can't be.
package audit

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Entry is one request: who, what, when, and what was decided.
type Entry struct {
	Time         time.Time `json:"time"` // when the request came, in UTC
	Incident     string    `json:"incident_id"`
	Organization string    `json:"organization,omitempty"`
	Identifier   string    `json:"organization_id,omitempty"`
	Certificate  string    `json:"certificate_sha256,omitempty"`
	Serial       string    `json:"certificate_serial,omitempty"`
	Issuer       string    `json:"certificate_issuer,omitempty"`
	Client       string    `json:"client_address"`
	Service      string    `json:"service"`
	Route        string    `json:"route"`
	Method       string    `json:"method"`
	Path         string    `json:"path"` // canonical, without the query
	Status       int       `json:"status"`
	Decision     string    `json:"decision"` // allow, deny or error
	Policy       string    `json:"policy,omitempty"`
	Reason       string    `json:"reason,omitempty"`
	Aborted      string    `json:"aborted,omitempty"`
	BytesIn      int64     `json:"request_bytes"`
	BytesOut     int64     `json:"response_bytes"`
	Duration     int64     `json:"duration_ns"`
}

// Options is what a Log needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	// Key, if set, makes the hashes HMACs: then whoever can write to the file, but
	// does not know the key, can't make a chain that holds.
	Key []byte
	// Share lets the process that is taken over from write to the file as well.
	Share bool
	// Queue is how many records may wait for the file, together with those of
	// requests under way that must leave one; default: 16384.
	Queue int
}

// ErrDropped is what Append returns for a record that is lost.
var ErrDropped = errors.New("audit: the queue is full or no log is open")

// Log is the audit log of the process. Until Open it is not ready. It is safe
// for concurrent use, and no method that requests call ever waits for a disk.
type Log struct {
	log   *zap.Logger
	key   []byte
	share bool

	queue   chan *Entry
	taken   atomic.Int64 // places in the queue: reserved, waiting or being written
	state   atomic.Int32
	lost    atomic.Uint64 // records dropped that no record tells of yet
	wake    chan struct{} // the sink has changed: try again at once
	stop    chan struct{}
	stopped chan struct{}

	mu      sync.Mutex // guards what follows; held while writing
	sink    *sink      // nil if records go nowhere
	tip     tip
	buf     []byte
	running bool
	ended   bool

	records    *prometheus.CounterVec
	written    prometheus.Counter
	dropped    prometheus.Counter
	failed     prometheus.Counter
	sinkErrors *prometheus.CounterVec
	last       prometheus.Gauge
}

// States of a Log.
const (
	closed  = iota // records go nowhere
	healthy        // they are written
	failing        // they wait
)

// New makes a Log that writes nowhere yet.
func New(o Options) *Log {
	if o.Queue <= 0 {
		o.Queue = 1 << 14
	}
	l := &Log{
		log: o.Log, key: o.Key, share: o.Share,
		queue: make(chan *Entry, o.Queue), wake: make(chan struct{}, 1), stop: make(chan struct{}), stopped: make(chan struct{}),
		records:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_audit_records_total", Help: "Audit records. Result: written, dropped (the queue was full or no log open), failed (still waiting when the process ended)."}, []string{"result"}),
		sinkErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_audit_sink_errors_total", Help: "Errors of audit sinks."}, []string{"sink"}),
		last:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "vazel_audit_last_written_timestamp_seconds", Help: "When the last audit record was written."}),
	}
	l.written, l.dropped, l.failed = l.records.WithLabelValues("written"), l.records.WithLabelValues("dropped"), l.records.WithLabelValues("failed")
	o.Registerer.MustRegister(l.records, l.sinkErrors, l.last,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vazel_audit_queue_records", Help: "Audit records that wait to be written."},
			func() float64 { return float64(len(l.queue)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vazel_audit_queue_capacity_records", Help: "Audit records that can wait to be written."},
			func() float64 { return float64(cap(l.queue)) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vazel_audit_ready", Help: "1 if audit records can be written; otherwise services that require them refuse."},
			func() float64 {
				if l.Ready() {
					return 1
				}
				return 0
			}),
	)
	return l
}

// Ready reports whether a record would be written now.
func (l *Log) Ready() bool {
	return l.state.Load() == healthy && l.taken.Load() < int64(cap(l.queue))
}

// Reserve keeps a place for the record of a request that must not be served
// without one. If it reports true, Record has to be called exactly once.
func (l *Log) Reserve() bool {
	return l.state.Load() == healthy && l.take()
}

// Record leaves the record that a place was reserved for. It can't be refused;
// if the file fails meanwhile, it waits.
func (l *Log) Record(e Entry) {
	e.Time = e.Time.UTC()
	if l.state.Load() == closed { // since the place was reserved
		l.taken.Add(-1)
		l.failed.Inc()
		return
	}
	l.queue <- &e // there is a place
}

// Append leaves a record if there is room for it.
func (l *Log) Append(e Entry) error {
	if l.state.Load() == closed || !l.take() {
		l.dropped.Inc()
		l.lost.Add(1)
		return ErrDropped
	}
	l.Record(e)
	return nil
}

// take takes a place in the queue, if there is one.
func (l *Log) take() bool {
	for {
		n := l.taken.Load()
		if n >= int64(cap(l.queue)) {
			return false
		}
		if l.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Open makes path the file that records go to; "stdout" and "off" are allowed.
// An existing file is continued from its last record. On error nothing has
// changed.
func (l *Log) Open(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return errors.New("audit_log: the log is closed")
	}
	if l.sink != nil && l.sink.path == path && l.sink.current() {
		l.awaken()
		return nil
	}
	return l.openLocked(path)
}

// Reopen opens the file anew if it was moved away. The chain goes on.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink == nil || l.sink.current() {
		l.awaken()
		return nil
	}
	return l.openLocked(l.sink.path)
}

// awaken has the writer try again, if it waits for better times.
func (l *Log) awaken() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// openLocked changes the sink. The former one ends with a record that says so,
// the new one begins with one, so that a log shows when it was kept, and a moved
// file's successor can be continued after a restart.
func (l *Log) openLocked(path string) error {
	s, from, notes, err := openSink(path, l.tip, l.key, l.share)
	if err != nil {
		return err
	}
	former := l.sink
	continues := from == l.tip
	if former != nil {
		if err := l.writeLocked(former, nil, &note{Event: "closed"}); err != nil {
			l.log.Error("the end of the former audit log can't be written", zap.Error(err))
		}
	}
	formerTip := l.tip
	if !continues {
		l.tip = from
	}
	state := int32(closed)
	if s != nil {
		if err := l.writeLocked(s, nil, notes); err != nil {
			s.close()
			l.tip = formerTip
			return err
		}
		state = healthy
	}
	l.state.Store(state)
	l.sink = s
	if former != nil {
		former.close()
	}
	if !l.running && s != nil {
		l.running = true
		go l.run()
	}
	l.awaken()
	return nil
}

// Close writes what waits and closes the file. Records after it are lost.
func (l *Log) Close() {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended = true
	running := l.running
	l.mu.Unlock()
	close(l.stop)
	if running {
		<-l.stopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Store(closed)
	if l.sink == nil {
		return
	}
	err := l.writeLocked(l.sink, nil, &note{Event: "closed"})
	if err == nil {
		err = l.sink.sync()
	}
	if err != nil {
		l.log.Error("the end of the audit log can't be written", zap.Error(err))
	}
	l.sink.close()
	l.sink = nil
}
