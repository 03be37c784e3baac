package limit

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a clock that tests turn.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Duration      { return time.Duration(c.now.Load()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }
func network(i int) netip.Prefix {
	return Network(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
}
func newStore(networks int) (*Store, *clock) {
	c := &clock{}
	return New(Options{Networks: networks, Now: c.Now}), c
}

func TestBurstThenRate(t *testing.T) {
	s, c := newStore(0)
	l, k, r := s.Limiter("a"), Key{Name: "nra"}, Rate{PerSecond: 10, Burst: 5}
	admitted := 0
	for range 20 {
		if l.Take(k, r).Allowed {
			admitted++
		}
	}
	if admitted != 5 {
		t.Errorf("admitted %d at once, want 5", admitted)
	}
	d := l.Take(k, r)
	if d.Allowed || d.RetryAfter != 100*time.Millisecond || d.Remaining != 0 || d.Reset != 500*time.Millisecond {
		t.Errorf("got %+v", d)
	}
	c.advance(d.RetryAfter)
	if d := l.Take(k, r); !d.Allowed {
		t.Errorf("after RetryAfter: %+v, want it allowed", d)
	}
	if d := l.Take(k, r); d.Allowed {
		t.Errorf("a second one: %+v, want it refused", d)
	}
}

// TestBound checks the contract over every interval of a random run: at most
// burst + rate x t.
func TestBound(t *testing.T) {
	s, c := newStore(0)
	l, k, r := s.Limiter("a"), Key{Net: network(1)}, Rate{PerSecond: 7, Burst: 3}
	var at []time.Duration
	for range 20000 {
		c.advance(time.Duration(rand.Int64N(int64(60 * time.Millisecond))))
		if l.Take(k, r).Allowed {
			at = append(at, c.Now())
		}
	}
	for i := range at {
		for j := i; j < len(at) && j < i+200; j++ {
			if got, most := float64(j-i+1), r.Burst+r.PerSecond*(at[j]-at[i]).Seconds()+1e-6; got > most {
				t.Fatalf("%v requests in %v, want at most %v", got, at[j]-at[i], most)
			}
		}
	}
}

func TestConcurrent(t *testing.T) {
	s, _ := newStore(0)
	l, r := s.Limiter("a"), Rate{PerSecond: 1, Burst: 100}
	for _, k := range []Key{{Name: "nra"}, {Net: network(1)}} {
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 500 {
					if l.Take(k, r).Allowed {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := admitted.Load(); got != 100 {
			t.Errorf("%v: admitted %d, want 100", k, got)
		}
	}
}

func TestReturn(t *testing.T) {
	s, _ := newStore(0)
	l, k, r := s.Limiter("a"), Key{Name: "nra"}, Rate{PerSecond: 1, Burst: 1}
	l.Take(k, r)
	l.Return(k, r)
	if d := l.Take(k, r); !d.Allowed {
		t.Errorf("after Return: %+v, want it allowed", d)
	}
}

// TestNewRate checks that a reload neither forgives nor invents a request.
func TestNewRate(t *testing.T) {
	s, _ := newStore(0)
	k := Key{Name: "nra"}
	for range 8 {
		s.Limiter("a").Take(k, Rate{PerSecond: 1, Burst: 10})
	}
	if d := s.Limiter("a").Take(k, Rate{PerSecond: 5, Burst: 20}); d.Remaining != 11 {
		t.Errorf("remaining %d under the new rate, want 11", d.Remaining)
	}
	if d := s.Limiter("a").Take(k, Rate{PerSecond: 1, Burst: 5}); d.Allowed {
		t.Error("admitted beyond a lowered burst")
	}
}

// TestManyNetworks floods the table: memory stays bounded, and nobody who used
// up his burst gets another one.
func TestManyNetworks(t *testing.T) {
	const capacity = 1024
	s, c := newStore(capacity)
	l, r := s.Limiter("a"), Rate{PerSecond: 1, Burst: 2}
	victim := Key{Net: network(0)}
	l.Take(victim, r)
	l.Take(victim, r)
	for i := range 100_000 {
		l.Take(Key{Net: network(i + 1)}, r)
		if i%1000 == 0 {
			if d := l.Take(victim, r); d.Allowed {
				t.Fatalf("after %d networks the victim's bucket was refilled", i)
			}
		}
	}
	if n := s.Networks(); n > capacity {
		t.Errorf("%d networks are held, want at most %d", n, capacity)
	}
	c.advance(3 * time.Second)
	for i := range 100 {
		if d := l.Take(Key{Net: network(200_000 + i)}, r); !d.Allowed {
			t.Fatalf("a newcomer is refused after the flood: %+v", d)
		}
	}
}

func TestNetwork(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1/32", "::ffff:192.0.2.1": "192.0.2.1/32", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
	} {
		if got := Network(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("Network(%s) = %s, want %s", in, got, want)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	s := New(Options{})
	l, r := s.Limiter("a"), Rate{PerSecond: 1e6, Burst: 1e6}
	for i := range 100_000 {
		l.Take(Key{Net: network(i)}, r)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i = (i + 7919) % 100_000
		l.Take(Key{Net: network(i)}, r)
	}
}
