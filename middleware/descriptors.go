package middleware

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// shortEvery bounds how often a shortage is acted on, and quietAfter how long
	// none has to be met for it to be over.
	shortEvery = 500 * time.Millisecond
	quietAfter = 5 * time.Second
)

// Descriptors divides what the process may have open, so that serving those who
// are there does not fail for want of what newcomers took: the last eighth, or the
// last 64, are for the admin listener, files and name look-ups, and a quarter is for
// connections to upstreams. A nil *Descriptors has enough of them.
type Descriptors struct {
	log *zap.Logger
	// relieve gives up what is open but not needed. It is called while somebody
	// does without, and not often.
	relieve func()
	limit   func() uint64

	born     time.Time
	refused  atomic.Int64
	shortage atomic.Int64 // when somebody last did without, as time since born
	relieved atomic.Int64 // when relieve was called last, likewise
	short    atomic.Bool  // and the log says so

	mu    sync.Mutex
	spare *os.File // gives its number to a connection that is refused
}

// NewDescriptors divides the descriptors of the process.
func NewDescriptors(log *zap.Logger, relieve func()) *Descriptors {
	d := &Descriptors{log: log, relieve: relieve, limit: descriptorLimit, born: time.Now()}
	d.relieved.Store(-int64(shortEvery))
	return d
}

// Run keeps a descriptor in reserve and notices the end of a shortage, until ctx
// ends.
func (d *Descriptors) Run(ctx context.Context) {
	d.mu.Lock()
	d.keepSpareLocked()
	d.mu.Unlock()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			d.mu.Lock()
			defer d.mu.Unlock()
			d.spare.Close()
			d.spare = nil
			return
		case <-tick.C:
		}
		if d.short.Load() && time.Since(d.born)-time.Duration(d.shortage.Load()) > quietAfter {
			d.short.Store(false)
			d.log.Info("there are enough file descriptors again", zap.Int64("refused", d.refused.Swap(0)))
		}
	}
}

// descriptorLimit is read anew each time, for it can be changed from outside.
func descriptorLimit() uint64 {
	var r syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) != nil {
		return 1 << 20
	}
	return uint64(r.Cur)
}

// forFiles of limit are kept from clients and upstreams.
func forFiles(limit uint64) uint64 { return min(limit/8, 64) }

// Client says whether the connection of a client may stay. The system gives out
// the lowest number that is free, so that its number tells how many are in use.
func (d *Descriptors) Client(c syscall.Conn) bool {
	if d == nil {
		return true
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	limit := d.limit()
	return d.judge(raw, limit-forFiles(limit)-limit/4)
}

// Upstream says whether a connection to an upstream may be made.
func (d *Descriptors) Upstream(raw syscall.RawConn) bool {
	if d == nil {
		return true
	}
	limit := d.limit()
	return d.judge(raw, limit-forFiles(limit))
}

func (d *Descriptors) judge(raw syscall.RawConn, end uint64) (ok bool) {
	ok = true
	raw.Control(func(fd uintptr) { ok = uint64(fd) < end })
	if !ok {
		d.Short()
	}
	return ok
}

// Short notes that somebody does without a descriptor.
func (d *Descriptors) Short() {
	if d == nil {
		return
	}
	d.refused.Add(1)
	now := int64(time.Since(d.born))
	d.shortage.Store(now)
	if last := d.relieved.Load(); now-last < int64(shortEvery) || !d.relieved.CompareAndSwap(last, now) {
		return
	}
	d.relieve()
	if !d.short.Swap(true) {
		d.log.Error("file descriptors run out: new connections are refused, those that are open are served", zap.Uint64("limit", d.limit()))
	}
}

// Refuse takes a connection that waits, though there is no descriptor for it, by
// giving up the reserve for a moment: its client should not wait for nothing.
func (d *Descriptors) Refuse(accept func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.spare.Close()
	d.spare = nil
	accept()
	d.keepSpareLocked()
}

// keepSpareLocked may find none; then Refuse can't help, and tries the next time.
func (d *Descriptors) keepSpareLocked() { d.spare, _ = os.Open(os.DevNull) }
