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
	// all policies; default: 262144, which take 13 MiB when all are in use.
	Networks int
	// Now is the monotonic clock; default: time since New.
	Now func() time.Duration
	// Wall is the clock that days and months go by; default: time.Now.
	Wall func() time.Time
}

// MaxUses is the largest number of limits that one request may add to.
const MaxUses = 12

const (
	defaultNetworks = 1 << 18
	maxShards       = 256
)

// Store holds the counts of the process. It is safe for concurrent use.
type Store struct {
	now  func() time.Duration
	seed maphash.Seed
	seq  atomic.Uint64
	from atomic.Uint64 // see InForce

	policies atomic.Pointer[[]*Policy] // by id; the first is nil

	shards []shard
	sets   uint32 // of each shard

	shared shared // with other nodes

	calendar *calendar
	kept     kept // quotas across restarts

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
	if o.Wall == nil {
		o.Wall = time.Now
	}
	s := &Store{now: o.Now, seed: maphash.MakeSeed(), byName: map[string]*Policy{}, calendar: newCalendar(o.Wall, o.Now)}
	s.kept.notes.wake = make(chan struct{}, 1)
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
	// Cost is how much the request counts; 0 is 1. What is dearer than a whole
	// burst takes the whole burst, so that it is not refused for ever.
	Cost int64
	// Shadow says that the limit counts what it would refuse, and refuses nothing.
	Shadow bool
	// Decision is what the limit says about the request for itself.
	Decision Decision
}

// errKey is a bug in the caller.
var errKey = errors.New("limit: a key that no policy made, or twice the same")

// Take counts one request of k if it fits r. An error is no decision; a local
// store gives one only for keys and rates that no Policy made.
func (s *Store) Take(ctx context.Context, k Key, r Rate) (Decision, error) {
	u := [1]Use{{Key: k, Rate: r}}
	_, err := s.use(u[:], true)
	return u[0].Decision, err
}

// TakeAll counts one request in all of uses if it fits each, else in none: what
// one limit refuses must not use up another. It fills in the decisions. A shadow
// that the request does not fit stands in nobody's way.
func (s *Store) TakeAll(ctx context.Context, uses []Use) (allowed bool, err error) {
	return s.use(uses, true)
}

// Peek says what is left for k, and takes nothing.
func (s *Store) Peek(ctx context.Context, k Key, r Rate) (Decision, error) {
	u := [1]Use{{Key: k, Rate: r}}
	_, err := s.use(u[:], false)
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
	tag   uint16
	slot  *slot // where it was found
	cost  int64 // in units of a level
	level int64 // after the request
	shown int64 // level that the decision was described by, of a shared key
	from  payment
}

func (s *Store) use(uses []Use, take bool) (bool, error) {
	switch n := len(uses); {
	case n <= 2: // clearing the places of twelve takes longer than the decision
		var places [2]place
		return s.useAt(uses, places[:n], take)
	case n <= MaxUses:
		var places [MaxUses]place
		return s.useAt(uses, places[:n], take)
	default:
		return false, fmt.Errorf("limit: %d limits at once", n)
	}
}

func (s *Store) useAt(uses []Use, places []place, take bool) (bool, error) {
	policies := *s.policies.Load()
	for i := range uses {
		k, at := &uses[i].Key, &places[i]
		if k.policy == 0 || int(k.policy) >= len(policies) || k.cell == 0 && policies[k.policy].period != 0 {
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
		n, set, tag := s.setOf(k)
		at.shard, at.set, at.tag = &s.shards[n], set, tag
		at.mu, at.order = &at.shard.mu, 1<<63|uint64(n)
	}
	// All locks are held until all limits have decided, always taken in the same
	// order, and shards once.
	var order [MaxUses]*place
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
	allowed, err := s.useLocked(uses, places, take)
	for i := range uses {
		if i == 0 || order[i].order != order[i-1].order {
			order[i].mu.Unlock()
		}
	}
	return allowed, err
}

func (s *Store) useLocked(uses []Use, places []place, take bool) (bool, error) {
	now := int64(s.now()) // read under the locks, so that no bucket sees time go back
	sh := s.shared.now.Load()
	allowed := true
	for i := range uses {
		u, at := &uses[i], &places[i]
		t, err := at.p.current(&u.Rate, now)
		if err != nil {
			return false, err
		}
		at.cost = 0
		if take {
			at.cost = min(max(u.Cost, 1), t.rate.Burst) * one
		}
		switch {
		case at.cell != nil && sh != nil:
			if at.p.period != 0 {
				err = at.cell.decideQuota(sh, &u.Decision, at, t, s.calendar.at(now), now)
			} else {
				err = at.cell.decide(sh, &u.Decision, at, t, now)
			}
			if err != nil && !u.Shadow {
				return false, err
			}
		case at.p.period != 0:
			u.Decision, at.level = at.cell.decideLocked(at, t, s.calendar.at(now), now)
		case at.cell != nil:
			u.Decision, at.level = decide(at.cell.b.at(now, t), &t.rate, at.cost)
		default:
			at.slot = at.shard.findLocked(&u.Key, at.set, at.tag)
			u.Decision, at.level = decide(at.shard.levelLocked(&u.Key, at.slot, now, t), &t.rate, at.cost)
		}
		allowed = allowed && (u.Decision.Allowed || u.Shadow)
	}
	if !allowed {
		for i := range uses {
			d, at := &uses[i].Decision, &places[i]
			switch shared := sh != nil && at.cell != nil; {
			case !d.Allowed && shared:
				at.cell.refused(sh, now, at.cost)
			case !d.Allowed:
			case shared && at.p.period == 0: // but nothing was taken
				d.describe(at.shown-at.cost, &at.p.terms.Load().rate)
			default:
				at.p.describe(d, at.level-at.cost)
			}
		}
		return false, nil
	}
	if !take {
		return true, nil
	}
	for i := range uses {
		at := &places[i]
		shared := sh != nil && at.cell != nil
		switch {
		case !uses[i].Decision.Allowed: // a shadow
			if shared {
				at.cell.refused(sh, now, at.cost)
			}
		case at.p.period != 0:
			at.cell.b.level = at.level
			s.kept.countedLocked(at.cell)
			if shared {
				at.cell.owe(sh, at, now)
			}
		case shared:
			at.cell.pay(sh, at, now)
		case at.cell != nil:
			at.cell.b = bucket{at.level, now}
		default:
			s.putLocked(at, &uses[i].Key, bucket{at.level, now})
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

// Usages describes the configured keys of policies in force that have something
// in use.
func (s *Store) Usages() []Usage {
	var all []Usage
	for _, p := range (*s.policies.Load())[1:] {
		t := p.terms.Load()
		if from := s.from.Load(); t == nil || from > 0 && p.given.Load() <= from {
			continue
		}
		for _, c := range *p.cells.Load() {
			c.mu.Lock()
			now, level := int64(s.now()), int64(0)
			if p.period != 0 {
				level = c.usedLocked(p.period, s.calendar.at(now))
			} else {
				level = max(0, c.b.at(now, t)-c.lease.left)
			}
			c.mu.Unlock()
			if level > 0 {
				all = append(all, Usage{p.name, c.name, min(1, float64(level)/one/float64(t.rate.Burst))})
			}
		}
	}
	return all
}
