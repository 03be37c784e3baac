package audit

import (
	"fmt"
	"time"

	"go.uber.org/zap"
)

const (
	maxBatch    = 256
	syncEvery   = time.Second // the most that a power failure may take
	retryFirst  = 100 * time.Millisecond
	retryAtMost = 5 * time.Second
)

// run writes what is in the queue until the log is closed.
func (l *Log) run() {
	defer close(l.stopped)
	var batch []*Entry
	var sync, retry <-chan time.Time
	pause := retryFirst
	for {
		if len(batch) == 0 {
			select {
			case e := <-l.queue:
				batch = l.fill(append(batch, e))
			case <-sync:
				sync = nil
				l.settle(l.syncNow())
				continue
			case <-l.wake:
				l.settle(l.writeBatch(nil))
				continue
			case <-l.stop:
				if batch = l.fill(nil); len(batch) == 0 {
					return
				}
			}
		} else if retry != nil {
			select {
			case <-retry:
			case <-l.wake:
			case <-l.stop:
			}
			retry = nil
		}
		if l.settle(l.writeBatch(batch)) {
			l.taken.Add(-int64(len(batch)))
			l.written.Add(float64(len(batch)))
			l.last.SetToCurrentTime()
			clear(batch)
			batch, pause = batch[:0], retryFirst
			if sync == nil {
				sync = time.After(syncEvery)
			}
			continue
		}
		if l.stopping() {
			l.giveUp(len(batch))
			return
		}
		retry = time.After(pause)
		pause = min(2*pause, retryAtMost)
	}
}

func (l *Log) stopping() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// giveUp counts what is lost when the process ends.
func (l *Log) giveUp(n int) {
	for {
		select {
		case <-l.queue:
			n++
			continue
		default:
		}
		break
	}
	l.failed.Add(float64(n))
	l.log.Error("audit records are lost: they could not be written before the end", zap.Int("records", n))
}

// fill takes what else waits.
func (l *Log) fill(batch []*Entry) []*Entry {
	for len(batch) < maxBatch {
		select {
		case e := <-l.queue:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// settle notes how an attempt ended, and says so once when that changes.
func (l *Log) settle(err error) bool {
	if err != nil {
		if l.state.CompareAndSwap(healthy, failing) {
			l.log.Error("audit records can't be written; services that require them refuse requests", zap.Error(err))
		}
		return false
	}
	if l.state.CompareAndSwap(failing, healthy) {
		l.log.Info("audit records are written again")
	}
	return true
}

func (l *Log) syncNow() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink == nil {
		return nil
	}
	err := l.sink.sync()
	if err != nil {
		l.sinkErrors.WithLabelValues(l.sink.kind()).Inc()
		return fmt.Errorf("audit_log: %s: %w", l.sink.path, err)
	}
	return nil
}

// writeBatch writes records in one piece, or none of them.
func (l *Log) writeBatch(batch []*Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.sink == nil {
		if len(batch) == 0 {
			return nil
		}
		return fmt.Errorf("audit_log is off")
	}
	var n *note
	lost := l.lost.Load()
	if lost > 0 {
		n = &note{Event: "dropped", Count: lost}
	}
	if len(batch) == 0 && n == nil {
		return l.sink.probe()
	}
	err := l.writeLocked(l.sink, batch, n)
	if err == nil {
		l.lost.Add(-lost)
	}
	return err
}

// writeLocked writes a note, if there is one, and records. The chain goes on only
// if all of it is written.
func (l *Log) writeLocked(s *sink, batch []*Entry, n *note) error {
	t, release := s.enter(l.tip, l.key)
	defer release()
	b, err := l.buf[:0], error(nil)
	if n != nil {
		n.Time = time.Now().UTC()
		if b, t, err = t.append(b, n, l.key); err != nil {
			return err
		}
	}
	for _, e := range batch {
		if b, t, err = t.append(b, e, l.key); err != nil {
			return err
		}
	}
	if cap(b) <= 1<<20 {
		l.buf = b
	}
	if err := s.write(b); err != nil {
		l.sinkErrors.WithLabelValues(s.kind()).Inc()
		return fmt.Errorf("audit_log: %s: %w", s.path, err)
	}
	l.tip = t
	return nil
}
