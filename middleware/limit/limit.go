// Package limit counts: it decides whether one more request of a key fits its
// rate. It owns the counts, which outlive configurations, and their bound in
// memory. It does not own what a key stands for, or what is answered.
//
// The algorithm is GCRA: over any time t at most burst + rate x t requests of a
// key are admitted. golang.org/x/time/rate keeps the same promise with Allow, but
// in 88 bytes, a lock and a wall clock reading per key; it can neither ask several
// limits before it takes from one of them (Reserve with Cancel admits too
// much), nor say how long a refused request has to wait, nor be evicted safely.
package limit

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Options bound a Store.
type Options struct {
	// Networks is the largest number of networks that are counted one by one, over
	// all policies; default: 262144, which take 12 MiB when all are in use.
	Networks int
	// Now is the monotonic clock; default: time since New.
	Now func() time.Duration
}

const (
	defaultNetworks = 1 << 18
	maxShards       = 256
	maxUses         = 4
)

// Store holds the counts of the process. It is safe for concurrent use.
type Store struct {
	now  func() time.Duration
	seed maphash.Seed
	seq  atomic.Uint64

	policies atomic.Pointer[[]*Policy] // by id; the first is nil

	shards []shard
	sets   uint32 // of each shard

	shared shared // with other nodes

	mu     sync.Mutex // serializes writers of policies
	byName map[string]*Policy
}

// New makes a Store that has counted nothing.
func New(o Options) *Store {
	if o.Networks <= 0 {
		o.Networks = defaultNetworks
	}
	if o.Now == nil {
		start := time.Now()
		o.Now = func() time.Duration { return time.Since(start) }
	}
	s := &Store{now: o.Now, seed: maphash.MakeSeed(), byName: map[string]*Policy{}}
	s.policies.Store(&[]*Policy{nil})
	s.shared.init()
	shards := 1
	for shards < maxShards && shards*2*4*ways <= o.Networks {
		shards *= 2
	}
	s.shards = make([]shard, shards)
	s.sets = uint32(max(1, o.Networks/shards/ways))
	return s
}

// Capacity is how many networks can be counted one by one.
func (s *Store) Capacity() int { return len(s.shards) * int(s.sets) * ways }

// Use is one count that a request adds to.
type Use struct {
	Key  Key
	Rate Rate
	// Decision is what the limit says about the request for itself.
	Decision Decision
}

// errKey is a bug in the caller.
var errKey = errors.New("limit: a key that no policy made, or twice the same")

// Take counts one request of k if it fits r. An error is no decision; a local
// store gives one only for keys and rates that no Policy made.
func (s *Store) Take(ctx context.Context, k Key, r Rate) (Decision, error) {
	u := [1]Use{{Key: k, Rate: r}}
	_, err := s.use(u[:], one)
	return u[0].Decision, err
}

// TakeAll counts one request in all of uses if it fits each, else in none: what
// one limit refuses must not use up another. It fills in the decisions.
func (s *Store) TakeAll(ctx context.Context, uses []Use) (allowed bool, err error) {
	return s.use(uses, one)
}

// Peek says what is left for k, and takes nothing.
func (s *Store) Peek(ctx context.Context, k Key, r Rate) (Decision, error) {
	u := [1]Use{{Key: k, Rate: r}}
	_, err := s.use(u[:], 0)
	return u[0].Decision, err
}

// place is where a key is counted.
type place struct {
	mu    *sync.Mutex
	order uint64 // in which locks are taken
	p     *Policy
	cell  *cell  // of a configured key
	shard *shard // of a network
	set   uint32
	level int64 // after the request
	shown int64 // level that the decision was described by, of a shared key
	from  payment
}

func (s *Store) use(uses []Use, cost int64) (bool, error) {
	var places [maxUses]place
	if len(uses) > maxUses {
		return false, fmt.Errorf("limit: %d limits at once", len(uses))
	}
	policies := *s.policies.Load()
	for i := range uses {
		k, at := &uses[i].Key, &places[i]
		if k.policy == 0 || int(k.policy) >= len(policies) {
			return false, errKey
		}
		for j := range i {
			if uses[j].Key == *k {
				return false, errKey
			}
		}
		at.p = policies[k.policy]
		if k.cell != 0 {
			cells := *at.p.cells.Load()
			if int(k.cell) > len(cells) {
				return false, errKey
			}
			at.cell = cells[k.cell-1]
			at.mu, at.order = &at.cell.mu, uint64(k.policy)<<32|uint64(k.cell)
			continue
		}
		n, set := s.setOf(k)
		at.shard, at.set = &s.shards[n], set
		at.mu, at.order = &at.shard.mu, 1<<63|uint64(n)
	}
	// All locks are held until all limits have decided, always taken in the same
	// order, and shards once.
	var order [maxUses]*place
	for i := range uses {
		j := i
		for ; j > 0 && order[j-1].order > places[i].order; j-- {
			order[j] = order[j-1]
		}
		order[j] = &places[i]
	}
	for i := range uses {
		if i == 0 || order[i].order != order[i-1].order {
			order[i].mu.Lock()
		}
	}
	allowed, err := s.useLocked(uses, &places, cost)
	for i := range uses {
		if i == 0 || order[i].order != order[i-1].order {
			order[i].mu.Unlock()
		}
	}
	return allowed, err
}

func (s *Store) useLocked(uses []Use, places *[maxUses]place, cost int64) (bool, error) {
	now := int64(s.now()) // read under the locks, so that no bucket sees time go back
	sh := s.shared.now.Load()
	allowed := true
	for i := range uses {
		u, at := &uses[i], &places[i]
		t, err := at.p.current(&u.Rate, now)
		if err != nil {
			return false, err
		}
		level := int64(0)
		if at.cell != nil {
			if sh != nil {
				if err := at.cell.decide(sh, u, at, now, t, cost); err != nil {
					return false, err
				}
				allowed = allowed && u.Decision.Allowed
				continue
			}
			level = at.cell.b.at(now, t)
		} else {
			level = at.shard.levelLocked(&u.Key, at.set, now, t)
		}
		u.Decision, at.level = decide(level, &t.rate, cost)
		allowed = allowed && u.Decision.Allowed
	}
	if !allowed {
		for i := range uses {
			d, at, r := &uses[i].Decision, &places[i], &places[i].p.terms.Load().rate
			switch shared := sh != nil && at.cell != nil; {
			case !d.Allowed && shared:
				at.cell.refused(sh, now, cost)
			case !d.Allowed:
			case shared: // but nothing was taken
				d.describe(at.shown-cost, r)
			default:
				d.describe(at.level-cost, r)
			}
		}
		return false, nil
	}
	if cost == 0 {
		return true, nil
	}
	for i := range uses {
		at := &places[i]
		if at.cell != nil && sh != nil {
			at.cell.pay(sh, at, now, cost)
		} else if at.cell != nil {
			at.cell.b = bucket{at.level, now}
		} else {
			s.putLocked(at.shard, &uses[i].Key, at.set, bucket{at.level, now})
		}
	}
	return true, nil
}

// Networks is how many networks are counted one by one.
func (s *Store) Networks() (n int) {
	for _, p := range (*s.policies.Load())[1:] {
		n += int(p.networks.Load())
	}
	return n
}

// PolicyStats is how a policy uses the table of networks.
type PolicyStats struct {
	Name      string
	Networks  int64  // that are kept
	Evictions uint64 // of networks that were still in use
}

// Policies describes each policy.
func (s *Store) Policies() []PolicyStats {
	var all []PolicyStats
	for _, p := range (*s.policies.Load())[1:] {
		all = append(all, PolicyStats{p.name, p.networks.Load(), p.evictions.Load()})
	}
	return all
}

// Usage is how much of its burst a configured key has in use, from 0 to 1.
type Usage struct {
	Policy, Name string
	Ratio        float64
}

// Usages describes the configured keys that have something in use.
func (s *Store) Usages() []Usage {
	var all []Usage
	for _, p := range (*s.policies.Load())[1:] {
		t := p.terms.Load()
		if t == nil {
			continue
		}
		for _, c := range *p.cells.Load() {
			c.mu.Lock()
			level := max(0, c.b.at(int64(s.now()), t)-c.lease.left)
			c.mu.Unlock()
			if level > 0 {
				all = append(all, Usage{p.name, c.name, min(1, float64(level)/one/float64(t.rate.Burst))})
			}
		}
	}
	return all
}
