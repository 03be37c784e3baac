package limit

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// clock is a clock that tests turn.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Duration      { return time.Duration(c.now.Load()) }
func (c *clock) advance(d time.Duration) { c.now.Add(int64(d)) }

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func newStore(networks int) (*Store, *clock) {
	c := &clock{}
	return New(Options{Networks: networks, Now: c.Now}), c
}

func perSecond(count, burst int64) Rate { return Rate{Count: count, Per: time.Second, Burst: burst} }

func take(t testing.TB, s *Store, k Key, r Rate) Decision {
	t.Helper()
	d, err := s.Take(context.Background(), k, r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestBurstThenRate(t *testing.T) {
	t.Parallel()
	s, c := newStore(0)
	k, r := s.Policy("a").Configured("nra"), perSecond(10, 5)
	for i := range 5 {
		if d := take(t, s, k, r); !d.Allowed || d.Remaining != int64(4-i) || d.Limit != 5 || d.Reset != 100*time.Millisecond {
			t.Errorf("request %d: got %+v", i, d)
		}
	}
	d := take(t, s, k, r)
	if want := (Decision{Limit: 5, Reset: 100 * time.Millisecond, Full: 500 * time.Millisecond, RetryAfter: 100 * time.Millisecond}); d != want {
		t.Errorf("got %+v, want %+v", d, want)
	}
	c.advance(d.RetryAfter - 1)
	if d := take(t, s, k, r); d.Allowed || d.RetryAfter < 1 || d.RetryAfter > 2 { // what is left of level is rounded up
		t.Errorf("a nanosecond before RetryAfter: got %+v, want it refused for one more", d)
	}
	c.advance(1)
	if d := take(t, s, k, r); !d.Allowed {
		t.Errorf("after RetryAfter: got %+v, want it allowed", d)
	}
	if d := take(t, s, k, r); d.Allowed {
		t.Errorf("a second one: got %+v, want it refused", d)
	}
	c.advance(time.Hour)
	d, err := s.Peek(context.Background(), k, r)
	if want := (Decision{Allowed: true, Limit: 5, Remaining: 5}); err != nil || d != want {
		t.Errorf("after an hour: got %+v, %v, want %+v", d, err, want)
	}
}

// TestRates holds every unit of the configuration against its own arithmetic.
func TestRates(t *testing.T) {
	t.Parallel()
	for _, r := range []Rate{
		{Count: 1, Per: 24 * time.Hour, Burst: 1}, {Count: 3, Per: time.Second, Burst: 7}, {Count: 1_000_000_000, Per: time.Second, Burst: 1},
		{Count: 999_999_937, Per: 24 * time.Hour, Burst: 1_000_000_000}, {Count: 7, Per: time.Minute, Burst: 1_000_000_000}, {Count: 1000, Per: time.Hour, Burst: 50},
	} {
		s, c := newStore(0)
		k := s.Policy("a").Configured("nra")
		for range min(r.Burst, 1000) {
			if d := take(t, s, k, r); !d.Allowed {
				t.Fatalf("%+v: refused within the burst: %+v", r, d)
			}
		}
		if r.Burst > 1000 {
			continue
		}
		for range 100 {
			d := take(t, s, k, r)
			if d.Allowed {
				t.Fatalf("%+v: admitted beyond the burst: %+v", r, d)
			}
			interval := time.Duration((int64(r.Per) + r.Count - 1) / r.Count)
			if d.RetryAfter <= 0 || d.RetryAfter > interval {
				t.Fatalf("%+v: RetryAfter %v, want at most %v", r, d.RetryAfter, interval)
			}
			c.advance(d.RetryAfter)
			if d := take(t, s, k, r); !d.Allowed {
				t.Fatalf("%+v: refused after RetryAfter: %+v", r, d)
			}
		}
	}
}

// ideal is a bucket in exact arithmetic that is never evicted.
type ideal struct {
	level *big.Rat
	last  time.Duration
}

func (b *ideal) add(now time.Duration, r Rate) {
	if b.level == nil {
		b.level = new(big.Rat)
	}
	drained := big.NewRat(int64(now-b.last)*r.Count, int64(r.Per))
	if b.level.Sub(b.level, drained); b.level.Sign() < 0 {
		b.level.SetInt64(0)
	}
	b.level.Add(b.level, big.NewRat(1, 1))
	b.last = now
}

// TestContract checks over every interval of a random run that at most
// burst + rate x t requests are admitted, in exact arithmetic, in a table that is
// far too small for its networks: a bucket that admits only what fits it bounds
// each interval.
func TestContract(t *testing.T) {
	t.Parallel()
	for _, networks := range []int{16, 64, 1024} {
		s, c := newStore(networks)
		limits := []struct {
			p *Policy
			r Rate
		}{{s.Policy("a"), perSecond(7, 3)}, {s.Policy("b"), Rate{Count: 100, Per: time.Minute, Burst: 10}}, {s.Policy("c"), perSecond(50, 1)}}
		buckets := map[Key]*ideal{}
		admitted, refused := 0, 0
		random := rand.New(rand.NewPCG(1, uint64(networks)))
		steps := 40_000
		if underRace {
			steps /= 4
		}
		for range steps {
			c.advance(time.Duration(random.Int64N(int64(4 * time.Millisecond))))
			l := limits[random.IntN(len(limits))]
			k := l.p.Network(address(random.IntN(4) * random.IntN(200)))
			if !take(t, s, k, l.r).Allowed {
				refused++
				continue
			}
			admitted++
			b := buckets[k]
			if b == nil {
				b = &ideal{}
				buckets[k] = b
			}
			if b.add(c.Now(), l.r); b.level.Cmp(big.NewRat(l.r.Burst, 1)) > 0 {
				t.Fatalf("table of %d: network %v of %s has %v in use, want at most %d", networks, k.net, l.p.name, b.level, l.r.Burst)
			}
		}
		evictions := uint64(0)
		for _, p := range s.Policies() {
			evictions += p.Evictions
		}
		t.Logf("table of %d: %d admitted, %d refused, %d evictions", networks, admitted, refused, evictions)
		if n := s.Networks(); n > networks {
			t.Errorf("%d networks are kept, want at most %d", n, networks)
		}
		if admitted == 0 || refused == 0 || networks < 1024 && evictions == 0 {
			t.Error("the run did not try what it should")
		}
	}
}

// TestConcurrent has many goroutines hammer one key by the real clock.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	s := New(Options{})
	p, r := s.Policy("a"), perSecond(1000, 50)
	for _, k := range []Key{p.Configured("nra"), p.Network(address(1))} {
		var admitted atomic.Int64
		var wg sync.WaitGroup
		start := time.Now()
		for range 8 {
			wg.Go(func() {
				for range 20_000 {
					if d, err := s.Take(context.Background(), k, r); err == nil && d.Allowed {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		elapsed := time.Since(start)
		if got, most := admitted.Load(), r.Burst+int64(elapsed)*r.Count/int64(r.Per); got > most {
			t.Errorf("admitted %d in %v, want at most %d", got, elapsed, most)
		} else if got < r.Burst {
			t.Errorf("admitted %d, want at least the burst of %d", got, r.Burst)
		}
	}
}

// TestConcurrentExact does the same while time stands still.
func TestConcurrentExact(t *testing.T) {
	t.Parallel()
	s, _ := newStore(64)
	a, b := s.Policy("a"), s.Policy("b")
	ra, rb := perSecond(1, 100), perSecond(1, 70)
	for _, keys := range [][2]Key{{a.Configured("nra"), b.Configured("nra")}, {a.Network(address(1)), b.Configured("meu")}, {a.Network(address(2)), b.Network(address(2))}} {
		var admitted atomic.Int64
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for range 500 {
					uses := [2]Use{{Key: keys[0], Rate: ra}, {Key: keys[1], Rate: rb}}
					if i%2 == 1 { // the other way round must not lock up
						uses[0], uses[1] = uses[1], uses[0]
					}
					if ok, err := s.TakeAll(context.Background(), uses[:]); err != nil {
						t.Error(err)
					} else if ok {
						admitted.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if got := admitted.Load(); got != 70 {
			t.Errorf("%v: admitted %d, want 70", keys, got)
		}
		d, _ := s.Peek(context.Background(), keys[0], ra)
		if d.Remaining != 30 {
			t.Errorf("%v: the wider limit has %d left, want 30: refused requests must not use it up", keys, d.Remaining)
		}
	}
}

func TestTakeAllDecisions(t *testing.T) {
	t.Parallel()
	s, _ := newStore(0)
	wide, narrow := s.Policy("wide").Configured("x"), s.Policy("narrow").Configured("x")
	uses := [2]Use{{Key: wide, Rate: perSecond(1, 10)}, {Key: narrow, Rate: perSecond(1, 1)}}
	if ok, err := s.TakeAll(context.Background(), uses[:]); !ok || err != nil || uses[0].Decision.Remaining != 9 || uses[1].Decision.Remaining != 0 {
		t.Errorf("got %v, %v, %+v", ok, err, uses)
	}
	if ok, err := s.TakeAll(context.Background(), uses[:]); ok || err != nil || !uses[0].Decision.Allowed || uses[0].Decision.Remaining != 9 || uses[1].Decision.Allowed {
		t.Errorf("got %v, %v, %+v", ok, err, uses)
	}
	same := [2]Use{uses[0], uses[0]}
	if ok, err := s.TakeAll(context.Background(), same[:]); ok || err == nil {
		t.Error("one key twice: got no error")
	}
	if _, err := s.Take(context.Background(), Key{}, perSecond(1, 1)); err == nil {
		t.Error("the zero key: got no error")
	}
	if d, err := s.Take(context.Background(), wide, Rate{}); err == nil || d.Allowed {
		t.Error("the zero rate: got no error")
	}
}

// TestNewRate checks that a reload takes the new rate at once, and neither
// forgives a request nor invents one.
func TestNewRate(t *testing.T) {
	t.Parallel()
	s, c := newStore(0)
	p := s.Policy("a")
	rate := func(count int64, per time.Duration, burst int64) Rate {
		r, err := p.Rate(count, per, burst)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	k, first := p.Configured("nra"), rate(1, time.Second, 10)
	for range 8 {
		take(t, s, k, first)
	}
	second := rate(5, time.Second, 20)
	if d := take(t, s, s.Policy("a").Configured("nra"), second); d.Remaining != 11 {
		t.Errorf("a higher burst: %d remain, want 11", d.Remaining)
	}
	if d := take(t, s, k, first); d.Remaining != 10 || d.Limit != 20 {
		t.Errorf("a request of the old configuration: got %+v, want the new rate", d)
	}
	third := rate(1, time.Second, 5)
	if d := take(t, s, k, third); d.Allowed || d.RetryAfter != 6*time.Second {
		t.Errorf("a lower burst: got %+v, want it refused for 6s", d)
	}
	// The time before the change counts at the rate of that time.
	c.advance(2 * time.Second)
	fourth := rate(1000, time.Second, 20)
	if d := take(t, s, k, fourth); d.Remaining != 20-8-1 {
		t.Errorf("after 2s at 1/s: %d remain, want 11", d.Remaining)
	}
	c.advance(time.Second)
	if d, _ := s.Peek(context.Background(), k, rate(1, time.Hour, 20)); d.Remaining != 20 {
		t.Errorf("after 1s at 1000/s: %d remain, want 20", d.Remaining)
	}
	if _, err := p.Rate(0, time.Second, 1); err == nil {
		t.Error("a rate of 0: got no error")
	}
}

// TestManyRates changes rates all the time; the contract of the fastest holds.
func TestManyRates(t *testing.T) {
	t.Parallel()
	s, c := newStore(16)
	p := s.Policy("a")
	keys := []Key{p.Configured("nra"), p.Network(address(1))}
	admitted := [2]int64{}
	for i := range 500 {
		r, _ := p.Rate(int64(i%5+1), time.Second, 3)
		for range 10 {
			c.advance(10 * time.Millisecond)
			for j, k := range keys {
				if take(t, s, k, r).Allowed {
					admitted[j]++
				}
			}
		}
	}
	for j, n := range admitted {
		if most, least := int64(3+50*3+1), int64(50*3-5); n > most || n < least {
			t.Errorf("key %d: admitted %d in 50s at 3/s on average, want %d to %d", j, n, least, most)
		}
	}
	if n := len(p.terms.Load().older); n > maxSpans {
		t.Errorf("%d rates are remembered, want at most %d", n, maxSpans)
	}
}

// TestFlood has a million addresses pass a table for a hundredth of them: memory
// is bounded, and nobody who used up his burst gets another one.
func TestFlood(t *testing.T) {
	const capacity = 10_240
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s, c := newStore(capacity)
	p, other := s.Policy("a"), s.Policy("b")
	r := Rate{Count: 60, Per: time.Hour, Burst: 2}
	victim, bystander, agency := p.Network(address(0)), other.Network(address(0)), p.Configured("nra")
	for _, k := range []Key{victim, bystander, agency} {
		take(t, s, k, r)
		take(t, s, k, r)
	}
	admitted := 0
	for i := range 1_000_000 {
		if take(t, s, p.Network(address(i+1)), r).Allowed {
			admitted++
		}
		if i%1000 == 0 {
			for _, k := range []Key{victim, bystander, agency} {
				if d := take(t, s, k, r); d.Allowed {
					t.Fatalf("after %d addresses the bucket of %v was refilled", i, k)
				}
			}
		}
	}
	if n := s.Networks(); n > capacity {
		t.Errorf("%d networks are kept, want at most %d", n, capacity)
	}
	if most := 3 * capacity; admitted > most {
		t.Errorf("%d requests were admitted at once, want at most %d", admitted, most)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 2<<20 {
		t.Errorf("%d bytes are held for %d slots", grown, capacity)
	}
	runtime.KeepAlive(s)
	c.advance(2 * time.Minute)
	for i := range 100 {
		if d := take(t, s, p.Network(address(2_000_000+i)), r); !d.Allowed || d.Remaining != 1 {
			t.Fatalf("a newcomer after the flood has drained: got %+v", d)
		}
	}
}

// TestFloodLeavesOthers checks that a flood on one service leaves clients of
// another one their places.
func TestFloodLeavesOthers(t *testing.T) {
	t.Parallel()
	s, _ := newStore(1024)
	flooded, quiet := s.Policy("flooded"), s.Policy("quiet")
	slow := Rate{Count: 1, Per: time.Hour, Burst: 5}
	for i := range 40 { // of 64 sets: that one holds nine of them doesn't happen
		take(t, s, quiet.Network(address(i)), slow)
	}
	for i := range 100_000 {
		take(t, s, flooded.Network(address(i)), slow)
	}
	if n := quiet.evictions.Load(); n != 0 {
		t.Errorf("%d clients of the quiet service lost their places", n)
	}
	for i := range 200 {
		if d := take(t, s, quiet.Network(address(i)), slow); !d.Allowed {
			t.Fatalf("client %d of the quiet service is refused: %+v", i, d)
		}
	}
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	p := New(Options{}).Policy("a")
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", true},
		{"2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"fe80::1%eth0", "fe80::2%eth1", true},
		{"::1", "0.0.0.0", false},
	} {
		if got := p.Network(netip.MustParseAddr(c.a)) == p.Network(netip.MustParseAddr(c.b)); got != c.same {
			t.Errorf("%s and %s count as one: %v, want %v", c.a, c.b, got, c.same)
		}
	}
}

func TestStats(t *testing.T) {
	t.Parallel()
	s, _ := newStore(0)
	p := s.Policy("a")
	take(t, s, p.Configured("nra"), perSecond(1, 4))
	p.Configured("idle")
	take(t, s, p.Network(address(1)), perSecond(1, 4))
	if got, want := fmt.Sprint(s.Usages(), s.Policies(), s.Networks()), "[{a nra 0.25}] [{a 1 0}] 1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if c := s.Capacity(); c != defaultNetworks {
		t.Errorf("capacity %d, want %d", c, defaultNetworks)
	}
}

func FuzzBucket(f *testing.F) {
	f.Add(int64(50), int64(time.Second), int64(100), int64(99)<<32, int64(time.Millisecond))
	f.Add(int64(maxCount), int64(1), int64(maxBurst), int64(maxBurst)<<32, int64(1)<<62)
	f.Add(int64(1), int64(maxPer), int64(1), int64(1)<<32, int64(1))
	f.Fuzz(func(t *testing.T, count, per, burst, level, elapsed int64) {
		r := Rate{Count: count, Per: time.Duration(per), Burst: burst}
		if r.check() != nil || level < 0 || level > maxBurst*one || elapsed < 0 {
			t.Skip()
		}
		d, after := decide(level, &r, one)
		if d.Allowed != (level+one <= burst*one) || d.Remaining < 0 || d.Remaining > burst || after < 0 {
			t.Fatalf("decide(%d, %+v) = %+v, %d", level, r, d, after)
		}
		left := drained(level, elapsed, &r)
		if left < 0 || left > level {
			t.Fatalf("drained(%d, %d, %+v) = %d", level, elapsed, r, left)
		}
		if wait := until(level, &r); wait < time.Duration(1)<<62 && level > 0 {
			if drained(level, int64(wait), &r) != 0 || drained(level, int64(wait)-1, &r) == 0 {
				t.Fatalf("until(%d, %+v) = %v is not the moment", level, r, wait)
			}
		}
	})
}

func BenchmarkTake(b *testing.B) {
	ctx := context.Background()
	s := New(Options{})
	p, r := s.Policy("a"), Rate{Count: 1, Per: time.Hour, Burst: 1e9} // so slow that no key is forgotten
	const keys = 100_000
	ks := make([]Key, keys)
	for i := range ks {
		ks[i] = p.Network(address(i))
		take(b, s, ks[i], r)
	}
	if n := s.Networks(); n < keys*99/100 {
		b.Fatalf("%d keys are in use, want %d", n, keys)
	}
	b.Run("network", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i = (i + 7919) % keys
			s.Take(ctx, ks[i], r)
		}
	})
	b.Run("configured", func(b *testing.B) {
		b.ReportAllocs()
		k := p.Configured("nra")
		for b.Loop() {
			s.Take(ctx, k, r)
		}
	})
	b.Run("two", func(b *testing.B) {
		b.ReportAllocs()
		k := s.Policy("b").Configured("nra")
		i := 0
		for b.Loop() {
			i = (i + 7919) % keys
			uses := [2]Use{{Key: ks[i], Rate: r}, {Key: k, Rate: r}}
			if _, err := s.TakeAll(ctx, uses[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			i := rand.IntN(keys)
			for pb.Next() {
				i = (i + 7919) % keys
				s.Take(ctx, ks[i], r)
			}
		})
	})
	b.Run("flood", func(b *testing.B) {
		b.ReportAllocs()
		s := New(Options{Networks: 1024})
		p, r := s.Policy("a"), Rate{Count: 1, Per: time.Hour, Burst: 10}
		i := 0
		for b.Loop() {
			i++
			s.Take(ctx, p.Network(address(i)), r)
		}
	})
}
