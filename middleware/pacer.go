package middleware

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// paceAhead is how much may pass at once after a pause.
	paceAhead = 50 * time.Millisecond
	// paceChunk is the most that moves in one turn, so that those who share a
	// bandwidth take turns.
	paceChunk = 16 << 10
	// paceLeast is the least that moves in one turn.
	paceLeast = 512
	// paceQueue is how long the first turn of a request may be away.
	paceQueue = 5 * time.Second
)

// errNoTurn says that a transfer had to wait for its turn for too long.
var errNoTurn = errors.New("the bandwidth is shared by too many")

// pacer hands out turns on a bandwidth. It holds nothing but the time of the next
// one.
type pacer struct {
	mu   sync.Mutex
	next time.Time // when all that was handed out has passed

	users atomic.Int64 // of pacers of addresses: guarded by pacers.mu
}

// turn is how long n bytes have to wait at a rate. Beyond most there is no turn.
func (p *pacer) turn(n int, rate int64, now time.Time, most time.Duration) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ahead := now.Add(-paceAhead); p.next.Before(ahead) {
		p.next = ahead
	}
	wait := p.next.Sub(now)
	if wait > most {
		return 0, errNoTurn
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return max(wait, 0), nil
}

// queue is how far away the next turn is.
func (p *pacer) queue(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next.Sub(now)
}

// pacers are those of a policy. They belong to the process, so that a reload with
// another rate forgets nothing.
type pacers struct {
	mu    sync.Mutex
	named map[string]*pacer
	// Of addresses only those are kept that use their bandwidth now or have used it
	// up, so there are never many more than requests.
	networks map[netip.Addr]*pacer
}

// configured is the pacer of a configured key.
func (p *pacers) configured(key string) *pacer {
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.named[key]
	if one == nil {
		one = &pacer{}
		p.named[key] = one
	}
	return one
}

// acquire is the pacer of an address, until it is released.
func (p *pacers) acquire(a netip.Addr) (*pacer, netip.Addr) {
	if a = a.Unmap(); a.Is6() {
		prefix, _ := a.WithZone("").Prefix(64)
		a = prefix.Addr()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one := p.networks[a]
	if one == nil {
		one = &pacer{}
		p.networks[a] = one
	}
	one.users.Add(1)
	return one, a
}

// release forgets the pacer of an address when what it handed out has passed:
// before that, its next request would begin with a full bandwidth.
func (p *pacers) release(one *pacer, a netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.users.Add(-1) > 0 || p.networks[a] != one {
		return
	}
	rest := one.queue(time.Now()) + paceAhead
	if rest <= 0 {
		delete(p.networks, a)
		return
	}
	one.users.Add(1)
	time.AfterFunc(rest, func() { p.release(one, a) })
}

// pace moves bytes of one request at a rate.
type pace struct {
	pacer  *pacer
	rate   int64
	most   time.Duration // that one turn may be away
	ctx    context.Context
	bytes  prometheus.Counter
	waited prometheus.Counter
	over   *atomic.Bool // not nil in detect: nothing waits, and this says that it would have
}

// chunk is how much moves in one turn.
func (p *pace) chunk() int {
	if p.over != nil {
		return 1 << 30
	}
	return int(min(max(p.rate/20, paceLeast), paceChunk))
}

// wait returns when n bytes may pass.
func (p *pace) wait(n int) error {
	if p.over != nil {
		p.note(n)
		return nil
	}
	d, err := p.pacer.turn(n, p.rate, time.Now(), p.most)
	if err != nil {
		return err
	}
	p.bytes.Add(float64(n))
	if d <= 0 {
		return nil
	}
	p.waited.Add(d.Seconds())
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// note counts n bytes that pass whatever the rate. Those above it take nothing of
// it, and count as the time that the rate has for them.
func (p *pace) note(n int) {
	p.bytes.Add(float64(n))
	if _, err := p.pacer.turn(n, p.rate, time.Now(), 0); err != nil {
		p.over.Store(true)
		p.waited.Add(float64(n) / float64(p.rate))
	}
}
