package middleware

import (
	"context"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func newPace(p *pacer, rate int64, most time.Duration) *pace {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "x"})
	return &pace{pacer: p, rate: rate, most: most, ctx: context.Background(), bytes: c, waited: c}
}

// TestPacer: those who share a bandwidth have no more than it together, each of
// them moves, and a pause saves nothing up.
func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 1 << 20
		p := &pacer{}
		run := func(transfers int, each int) time.Duration {
			var wg sync.WaitGroup
			start := time.Now()
			for range transfers {
				wg.Go(func() {
					by := newPace(p, rate, time.Minute)
					for n := 0; n < each; n += by.chunk() {
						if err := by.wait(by.chunk()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			wg.Wait()
			return time.Since(start)
		}
		if took := run(4, 1<<20); took < 3900*time.Millisecond || took > 4*time.Second {
			t.Errorf("4 MiB at 1 MiB/s took %v", took)
		}
		time.Sleep(time.Hour)
		if took := run(1, 1<<20); took < 900*time.Millisecond || took > time.Second {
			t.Errorf("1 MiB at 1 MiB/s after a pause took %v", took)
		}
	})
}

// TestPacerWaits: whose turn is too far away, or whose client left, does not wait.
func TestPacerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{}
		if err := newPace(p, 1000, time.Minute).wait(10_000); err != nil {
			t.Fatal(err)
		}
		if q := p.queue(time.Now()); q < 9*time.Second || q > 10*time.Second {
			t.Errorf("the next turn is in %v, want ten seconds", q)
		}
		if err := newPace(p, 1000, 5*time.Second).wait(1); err != errNoTurn {
			t.Errorf("got %v, want %v", err, errNoTurn)
		}
		ctx, cancel := context.WithCancel(context.Background())
		gone := newPace(p, 1000, time.Minute)
		gone.ctx = ctx
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		if err := gone.wait(1); err != context.Canceled || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, want that the client left after a second", err, time.Since(start))
		}
	})
}

// TestPacersForget: the pacer of an address is kept for as long as it is ahead, so
// that another connection gains nothing, and no longer.
func TestPacersForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacers{named: map[string]*pacer{}, networks: map[netip.Addr]*pacer{}}
		one, key := p.acquire(netip.MustParseAddr("2001:db8::1"))
		newPace(one, 1000, time.Minute).wait(5000)
		p.release(one, key)
		again, key := p.acquire(netip.MustParseAddr("2001:db8::ffff:1"))
		if again != one {
			t.Error("another address of the same /64 has a bandwidth of its own")
		}
		p.release(again, key)
		if other, k := p.acquire(netip.MustParseAddr("::ffff:192.0.2.1")); other == one || k != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("an IPv4 address is kept as %v", k)
		} else {
			p.release(other, k)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(p.networks) != 0 {
			t.Errorf("%d addresses are kept after all was passed on", len(p.networks))
		}
	})
}
