// Package limit counts: it decides whether one more request of a key fits its
// rate. It owns the counts, which outlive configurations, and their bound in
// memory. What a key stands for is the caller's.
//
// The algorithm is the leaky bucket as a meter, which decides as GCRA does:
// over any time t at most burst + rate x t requests are admitted.
package limit

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// Rate is what a key may use.
type Rate struct {
	PerSecond float64
	Burst     float64 // at least 1
}

// Decision is the answer of Take.
type Decision struct {
	Allowed    bool
	Remaining  int           // requests that would fit now
	Reset      time.Duration // until the whole burst is there again
	RetryAfter time.Duration // until one request fits; 0 if allowed
}

// Key is who is counted: a configured name, or a network.
type Key struct {
	Name string
	Net  netip.Prefix
}

// Options bound a Store.
type Options struct {
	// Networks is the largest number of networks that are counted one by one, over
	// all limiters; default: 262144.
	Networks int
	// Now is the monotonic clock; default: time.Since the start.
	Now func() time.Duration
}

const (
	shards          = 64
	defaultNetworks = 1 << 18
)

// Store holds the counts of the process.
type Store struct {
	now      func() time.Duration
	seed     maphash.Seed
	perShard int

	mu       sync.Mutex
	limiters map[string]*Limiter

	shards [shards]shard
}

// shard is a part of the table of networks.
type shard struct {
	mu       sync.Mutex
	buckets  map[networkKey]bucket
	overflow map[*Limiter]bucket // shared by the networks that found no place
}

type networkKey struct {
	limiter *Limiter
	net     netip.Prefix
}

// bucket is how full a key's bucket is: level counts admitted requests and
// drains at the key's rate.
type bucket struct {
	level float64
	rate  float64 // at which it drained last
	last  time.Duration
}

// New makes a Store.
func New(o Options) *Store {
	if o.Networks == 0 {
		o.Networks = defaultNetworks
	}
	if o.Now == nil {
		start := time.Now()
		o.Now = func() time.Duration { return time.Since(start) }
	}
	s := &Store{now: o.Now, seed: maphash.MakeSeed(), perShard: max(1, o.Networks/shards), limiters: map[string]*Limiter{}}
	for i := range s.shards {
		s.shards[i].buckets = map[networkKey]bucket{}
		s.shards[i].overflow = map[*Limiter]bucket{}
	}
	return s
}

// Limiter is the counts of one policy, found again by its name after a reload.
type Limiter struct {
	store *Store
	mu    sync.Mutex
	named map[string]*namedBucket // configured keys: never evicted
}

type namedBucket struct {
	mu sync.Mutex
	b  bucket
}

// Limiter finds or makes the limiter of a policy.
func (s *Store) Limiter(name string) *Limiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.limiters[name]
	if l == nil {
		l = &Limiter{store: s, named: map[string]*namedBucket{}}
		s.limiters[name] = l
	}
	return l
}

// Take admits one request of k, or not.
func (l *Limiter) Take(k Key, r Rate) Decision { return l.use(k, r, 1) }

// Return gives a request back that Take admitted and that another limit
// refused: it has not been made.
func (l *Limiter) Return(k Key, r Rate) { l.use(k, r, -1) }

func (l *Limiter) use(k Key, r Rate, n float64) Decision {
	now := l.store.now()
	if k.Net == (netip.Prefix{}) {
		l.mu.Lock()
		nb := l.named[k.Name]
		if nb == nil {
			nb = &namedBucket{b: bucket{last: now}}
			l.named[k.Name] = nb
		}
		l.mu.Unlock()
		nb.mu.Lock()
		defer nb.mu.Unlock()
		return nb.b.use(now, r, n)
	}
	return l.store.useNetwork(networkKey{l, k.Net}, now, r, n)
}

func (s *Store) useNetwork(k networkKey, now time.Duration, r Rate, n float64) Decision {
	sh := &s.shards[maphash.Comparable(s.seed, k.net)%shards]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	b, ok := sh.buckets[k]
	if !ok {
		if len(sh.buckets) >= s.perShard && !sh.makeRoom(now) {
			// No bucket may be forgotten before it is empty, or its owner would get a
			// full burst anew. Newcomers share one until there is room.
			b := sh.overflow[k.limiter]
			d := b.use(now, r, n)
			sh.overflow[k.limiter] = b
			return d
		}
		b.last = now
	}
	d := b.use(now, r, n)
	sh.buckets[k] = b
	return d
}

// makeRoom drops buckets that have drained: forgetting those changes nothing.
// It looks at some and reports whether it found one.
func (sh *shard) makeRoom(now time.Duration) bool {
	found, looked := false, 0
	for k, b := range sh.buckets {
		if b.level-(now-b.last).Seconds()*b.rate <= 0 {
			delete(sh.buckets, k)
			found = true
		}
		if looked++; looked == 64 {
			break
		}
	}
	return found
}

// use drains b and puts n requests into it if they fit. Negative n takes out.
func (b *bucket) use(now time.Duration, r Rate, n float64) Decision {
	if elapsed := now - b.last; elapsed > 0 {
		b.level = max(0, b.level-elapsed.Seconds()*r.PerSecond)
		b.last = now
	}
	b.rate = r.PerSecond
	burst := max(1, r.Burst)
	const slack = 1e-9 // of rounding
	allowed := n <= 0 || b.level+n <= burst+slack
	if allowed {
		b.level = max(0, b.level+n)
	}
	d := Decision{
		Allowed:   allowed,
		Remaining: int(max(0, burst-b.level+slack)),
		Reset:     seconds(b.level / r.PerSecond),
	}
	if !allowed {
		d.RetryAfter = max(1, seconds((b.level+n-burst)/r.PerSecond))
	}
	return d
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// Networks is how many networks are counted one by one.
func (s *Store) Networks() (n int) {
	for i := range s.shards {
		s.shards[i].mu.Lock()
		n += len(s.shards[i].buckets)
		s.shards[i].mu.Unlock()
	}
	return n
}

// Network is what counts as one client: an IPv4 address, or the /64 of an IPv6
// address, which is the least that one household or machine is given.
func Network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}
