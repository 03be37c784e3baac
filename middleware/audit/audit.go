// Package audit keeps a record of requests that can be shown to be whole: each
// record carries the hash of the one before it, so that a record that was
// changed, removed or put in is noticed. It does not decide what is recorded.
package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Entry is one request.
type Entry struct {
	Time         time.Time `json:"time"`
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
	Path         string    `json:"path"` // without the query
	Status       int       `json:"status"`
	Decision     string    `json:"decision"` // allow or deny
	Reason       string    `json:"reason,omitempty"`
	BytesIn      int64     `json:"request_bytes"`
	BytesOut     int64     `json:"response_bytes"`
	Duration     int64     `json:"duration_ns"`
}

// record is an Entry in its chain.
type record struct {
	Sequence uint64 `json:"sequence"`
	Entry
	Previous string `json:"previous"` // hash of the line before, in hexadecimal
}

// Options is what a Log needs from the process.
type Options struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
}

// Log is the audit log of the process. Until Open it is not ready.
type Log struct {
	log *zap.Logger

	mu       sync.Mutex
	path     string
	out      io.WriteCloser
	failed   bool
	sequence uint64
	previous string

	records    *prometheus.CounterVec
	sinkErrors *prometheus.CounterVec
	last       prometheus.Gauge
}

// New makes a Log that writes nowhere yet.
func New(o Options) *Log {
	l := &Log{
		log:        o.Log,
		records:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_audit_records_total", Help: "Audit records: written, dropped, failed."}, []string{"result"}),
		sinkErrors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_audit_sink_errors_total", Help: "Errors of audit sinks."}, []string{"sink"}),
		last:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "vazel_audit_last_written_timestamp_seconds", Help: "When the last audit record was written."}),
	}
	o.Registerer.MustRegister(l.records, l.sinkErrors, l.last)
	return l
}

// Open makes path the file that is written to; "stdout" and "off" are allowed.
// An existing file is continued from its last record.
func (l *Log) Open(path string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if path == l.path && l.out != nil {
		return nil
	}
	return l.openLocked(path)
}

func (l *Log) openLocked(path string) error {
	var out io.WriteCloser
	sequence, previous := l.sequence, l.previous
	switch path {
	case "off", "":
	case "stdout":
		out = nopCloser{os.Stdout}
	default:
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
		if err != nil {
			return fmt.Errorf("audit_log: %w", err)
		}
		last, err := lastLine(f)
		if err != nil {
			f.Close()
			return fmt.Errorf("audit_log: %s: %w", path, err)
		}
		if last != nil {
			var r record
			if err := json.Unmarshal(last, &r); err != nil {
				f.Close()
				return fmt.Errorf("audit_log: %s: the last line is not an audit record; move the file away", path)
			}
			sequence, previous = r.Sequence, hash(last)
		}
		out = f
	}
	if l.out != nil {
		l.out.Close()
	}
	l.path, l.out, l.failed, l.sequence, l.previous = path, out, false, sequence, previous
	return nil
}

// Reopen opens the file anew, after it was moved away. The chain goes on.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		return nil
	}
	return l.openLocked(l.path)
}

// Close closes the file.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out != nil {
		l.out.Close()
		l.out = nil
	}
}

// Ready reports whether records can be written.
func (l *Log) Ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed && l.out != nil { // perhaps there is room again
		l.failed = l.openLocked(l.path) != nil
	}
	return l.out != nil && !l.failed
}

// Append writes a record.
func (l *Log) Append(e Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.out == nil {
		l.records.WithLabelValues("dropped").Inc()
		return errors.New("audit: no log is open")
	}
	e.Time = e.Time.UTC()
	line, err := json.Marshal(record{Sequence: l.sequence + 1, Entry: e, Previous: l.previous})
	if err == nil {
		_, err = l.out.Write(append(line, '\n'))
	}
	if err != nil {
		l.records.WithLabelValues("failed").Inc()
		l.sinkErrors.WithLabelValues("file").Inc()
		if !l.failed {
			l.log.Error("audit records can't be written; services that require them refuse requests", zap.Error(err))
		}
		l.failed = true
		return err
	}
	l.sequence++
	l.previous = hash(line)
	l.records.WithLabelValues("written").Inc()
	l.last.Set(float64(time.Now().UnixNano()) / 1e9)
	return nil
}

func hash(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// lastLine is the last line of f without its line feed; nil if f is empty.
func lastLine(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return nil, err
	}
	const most = 64 << 10
	from := max(0, info.Size()-most)
	b := make([]byte, info.Size()-from)
	if _, err := f.ReadAt(b, from); err != nil && err != io.EOF {
		return nil, err
	}
	if b[len(b)-1] != '\n' {
		return nil, errors.New("the last line is cut short; move the file away")
	}
	b = b[:len(b)-1]
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] == '\n' {
			return b[i+1:], nil
		}
	}
	return b, nil
}

// Verify reads a log and says at which line its chain breaks. first is the
// hash that the first record must carry: "" for the start of a chain.
func Verify(in io.Reader, first string) (records int, err error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 1<<20)
	previous, sequence := first, uint64(0)
	for s.Scan() {
		records++
		var r record
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			return records, fmt.Errorf("line %d is not an audit record", records)
		}
		if r.Previous != previous && (records > 1 || first != "") || records > 1 && r.Sequence != sequence+1 {
			return records, fmt.Errorf("line %d does not follow the one before it: a record was changed, removed or put in", records)
		}
		previous, sequence = hash(s.Bytes()), r.Sequence
	}
	return records, s.Err()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
