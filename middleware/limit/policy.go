package limit

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Policy is a limit as the configuration names it. It is found again by its
// name after a reload, with everything that it counted.
type Policy struct {
	store  *Store
	id     uint32
	name   string
	period Period        // of quotas; 0 for rates
	given  atomic.Uint64 // seq of the newest rate that a configuration gave

	terms     atomic.Pointer[terms]
	cells     atomic.Pointer[[]*cell] // of configured keys, by index; only ever grows
	networks  atomic.Int64            // slots in use
	evictions atomic.Uint64           // slots taken from keys that were still in use

	mu    sync.Mutex // serializes writers of terms and cells
	index map[string]uint32
}

// cell is the bucket of a configured key, in a cache line of its own: the keys
// of the organizations are the hottest.
type cell struct {
	mu     sync.Mutex
	noted  bool // of quotas: it waits to be written down
	b      bucket
	lease  lease
	policy *Policy
	name   string
	_      [16]byte
}

// Policy finds or makes the policy of that name. Policies are never forgotten:
// names come from configurations, so there are few of them.
func (s *Store) Policy(name string) *Policy { return s.policy(name, 0) }

func (s *Store) policy(name string, period Period) *Policy {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.byName[name]; p != nil {
		return p
	}
	known := *s.policies.Load()
	p := &Policy{store: s, id: uint32(len(known)), name: name, period: period, index: map[string]uint32{}}
	p.cells.Store(&[]*cell{})
	grown := append(slices.Clone(known), p)
	s.policies.Store(&grown)
	s.byName[name] = p
	return p
}

// Rate is a rate of the policy, as a configuration gives it. The newest one
// counts from its first use on, for requests of older configurations too.
func (p *Policy) Rate(count int64, per time.Duration, burst int64) (Rate, error) {
	r := Rate{Count: count, Per: per, Burst: burst, seq: p.store.seq.Add(1)}
	p.given.Store(r.seq)
	return r, r.check()
}

// Mark is the present moment in the order in which rates are given.
func (s *Store) Mark() uint64 { return s.seq.Load() }

// InForce says that only policies that were given a rate after a mark are in
// force. Others keep what they counted, but Usages is silent about them.
func (s *Store) InForce(after uint64) { s.from.Store(after) }

// Key is who is counted, and by which policy. Keys come from a Policy.
type Key struct {
	net    [16]byte // of networks
	policy uint32   // 0 for no key at all
	cell   uint32   // of configured keys, from 1; 0 for networks
}

// Configured is the key of something that the configuration names, such as an
// organization. Such keys are kept for as long as the process lives: they must
// never come from a request.
func (p *Policy) Configured(name string) Key {
	p.mu.Lock()
	defer p.mu.Unlock()
	i, ok := p.index[name]
	if !ok {
		c := &cell{policy: p, name: name}
		if p.period != 0 {
			c.b = p.store.kept.claim(p.name, name, p.period)
		}
		grown := append(slices.Clone(*p.cells.Load()), c)
		i = uint32(len(grown))
		p.cells.Store(&grown)
		p.index[name] = i
	}
	return Key{policy: p.id, cell: i}
}

// Network is the key of the network that an address belongs to: an IPv4 address
// counts for itself, also when it is written as IPv6; of an IPv6 address counts
// the /64, which is the least that one line or machine is given.
func (p *Policy) Network(a netip.Addr) Key {
	return Key{policy: p.id, net: Network(a)}
}

// Network is the network that an address belongs to, as Policy.Network tells.
func Network(a netip.Addr) (net [16]byte) {
	if a = a.Unmap(); a.Is4() {
		net = a.As16()
	} else if a.Is6() {
		full := a.As16()
		copy(net[:8], full[:8])
	}
	return net
}

// Hashed is the key of something that a client sent, of which only a keyed hash
// is at hand. Such keys share the bounded table with networks.
func (p *Policy) Hashed(sum [16]byte) Key {
	return Key{policy: p.id, net: Sum(sum)}
}

// Sum is a hash that no Network is the same as.
func Sum(sum [16]byte) [16]byte {
	sum[0] |= 1  // of an IPv4 address this byte is 0,
	sum[15] |= 1 // and of a /64 this one
	return sum
}

// describe says what is left of the policy at a level.
func (p *Policy) describe(d *Decision, level int64) {
	if p.period != 0 {
		d.describeQuota(level)
		return
	}
	d.describe(level, &p.terms.Load().rate)
}

// terms are the rates of a policy over time.
type terms struct {
	rate  Rate
	from  int64  // when rate began
	older []span // before that, the newest last
}

// span is a rate that was in force until the next one.
type span struct {
	rate Rate
	from int64
}

// maxSpans bounds how many changes of a rate are told apart.
const maxSpans = 16

// current is what is in force for a request that brings r.
func (p *Policy) current(r *Rate, now int64) (*terms, error) {
	if t := p.terms.Load(); t != nil && (t.rate == *r || r.seq < t.rate.seq) {
		return t, nil
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("policy %q: %w", p.name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.terms.Load()
	switch {
	case t == nil:
		t = &terms{rate: *r}
	case t.rate == *r || r.seq < t.rate.seq: // another request was first
		return t, nil
	case t.rate.Count == r.Count && t.rate.Per == r.Per && t.rate.Burst == r.Burst:
		t = &terms{rate: *r, from: t.from, older: t.older} // a reload that changed nothing
	default:
		older := append(slices.Clone(t.older), span{t.rate, t.from})
		if len(older) > maxSpans {
			older[1].from = older[0].from
			if slower(&older[0].rate, &older[1].rate) {
				older[1].rate = older[0].rate
			}
			older = older[1:]
		}
		t = &terms{rate: *r, from: max(now, t.from), older: older}
	}
	p.terms.Store(t)
	return t, nil
}

// slower reports whether a drains no faster than b.
func slower(a, b *Rate) bool {
	return float64(a.Count)*float64(b.Per) <= float64(b.Count)*float64(a.Per)
}

// history drains a bucket that was last used before the rate in force: each
// rate counts for its own time, so that a change neither forgives nor invents.
func (t *terms) history(b bucket, now int64) int64 {
	level, at := b.level, b.last
	for i := range t.older {
		end := t.from
		if i+1 < len(t.older) {
			end = t.older[i+1].from
		}
		if end = min(end, now); at < end {
			if level = drained(level, end-at, &t.older[i].rate); level == 0 {
				return 0
			}
			at = end
		}
	}
	if at < now {
		level = drained(level, now-at, &t.rate)
	}
	return level
}
