package middleware

import (
	"context"
	"crypto/tls"
	"io"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Times of a syslog receiver.
const (
	syslogConnect = 10 * time.Second // for a connection with its handshake
	syslogWrite   = 10 * time.Second // until a receiver that takes nothing counts as dead
	syslogFirst   = 250 * time.Millisecond
	syslogEnd     = 4 * time.Second  // for what waits at the end; less than a sink is given (logCloseTime)
	syslogLast    = 30 * time.Second // longest time between two attempts to connect
)

// syslogSink sends the lines of a logSink to a receiver over TLS (RFC 5425). While
// there is no connection they wait, as many as find room.
type syslogSink struct {
	*logSink
	name    string
	address string
	conf    *tls.Config
	log     *zap.Logger
	up      prometheus.Gauge

	conn *syslogConn // owned by follow
	told bool        // that the receiver can't be reached
}

// syslogConn is a connection of which somebody notices that it ended.
type syslogConn struct {
	net.Conn
	ended atomic.Bool
}

// newSyslogSink makes a sink that connects when there is something to send.
func newSyslogSink(address string, conf *tls.Config, log *zap.Logger, m *Metrics, name string) *logSink {
	s := &syslogSink{logSink: makeLogSink(m.logDropped.WithLabelValues(name)), name: name, address: address, conf: conf, log: log, up: m.logUp.WithLabelValues(name)}
	go s.follow()
	return s.logSink
}

// follow owns the connection.
func (s *syslogSink) follow() {
	defer close(s.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // what is left at the end has little time
		select {
		case <-s.quit:
			t := time.NewTimer(syslogEnd)
			defer t.Stop()
			select {
			case <-t.C:
				cancel()
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	}()
	s.reach(ctx) // so that a receiver that can't be reached is known before it is needed
	tick := time.NewTicker(logInterval)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
			s.drain(ctx)
		case <-tick.C:
			s.drain(ctx)
		case <-s.quit:
			s.drain(ctx)
			s.mu.Lock()
			s.closed = true
			s.mu.Unlock()
			s.drain(ctx) // what came in between
			s.hangUp()
			s.up.Set(0)
			return
		}
	}
}

// drain sends what waits.
func (s *syslogSink) drain(ctx context.Context) {
	for {
		b := s.next()
		if b == nil {
			return
		}
		if !s.deliver(ctx, b) {
			s.dropped.Add(float64(messages(b)))
		}
		s.sent(b)
	}
}

// deliver sends a batch, over a new connection if need be: then from its
// beginning, for nobody knows how much of it the receiver has. It gives up when
// ctx ends.
func (s *syslogSink) deliver(ctx context.Context, b []byte) bool {
	for wait := syslogFirst; ; wait = min(2*wait, syslogLast) {
		if s.reach(ctx) {
			s.conn.SetWriteDeadline(time.Now().Add(syslogWrite))
			_, err := s.conn.Write(b)
			if err == nil {
				return true
			}
			s.lost(err)
		}
		if ctx.Err() != nil {
			return false
		}
		t := time.NewTimer(wait/2 + rand.N(wait)) // many nodes must not come at once
		select {
		case <-t.C:
		case <-s.quit: // the last attempts follow each other fast
			t.Stop()
			t = time.NewTimer(syslogFirst)
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
		t.Stop()
	}
}

// reach reports whether there is a connection, and makes one otherwise.
func (s *syslogSink) reach(ctx context.Context) bool {
	if s.conn != nil && !s.conn.ended.Load() {
		return true
	}
	s.hangUp()
	connect, cancel := context.WithTimeout(ctx, syslogConnect)
	defer cancel()
	d := tls.Dialer{Config: s.conf}
	c, err := d.DialContext(connect, "tcp", s.address)
	if err != nil {
		s.lost(err)
		return false
	}
	s.conn = &syslogConn{Conn: c}
	context.AfterFunc(ctx, func() { c.(*tls.Conn).NetConn().Close() }) // ends a write that stands still
	s.up.Set(1)
	if s.told {
		s.log.Info("the syslog receiver can be reached again", zap.String("log", s.name), zap.String("receiver", s.address))
	}
	s.told = false
	go func(c *syslogConn) { // a receiver says nothing but that it ends
		io.Copy(io.Discard, io.LimitReader(c, 1<<20))
		c.ended.Store(true)
		c.Close()
	}(s.conn)
	return true
}

// lost notes that there is no connection.
func (s *syslogSink) lost(err error) {
	s.hangUp()
	s.up.Set(0)
	if !s.told {
		s.told = true
		s.log.Warn("the syslog receiver can't be reached; lines wait, and are lost when there is no room", zap.String("log", s.name), zap.String("receiver", s.address), zap.Error(err))
	}
}

func (s *syslogSink) hangUp() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}
