package middleware

import (
	"sync"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// crowds count the requests under way, whatever configuration they began with.
// One lock is over all of them, so that a request enters all its bounds or none:
// one that is refused must not make others be refused, not even for a moment.
type crowds struct {
	mu     sync.Mutex
	byName map[string]*crowd
}

// crowd is the requests that one bound on concurrency counts.
type crowd struct {
	most int64              // in the newest configuration
	n    map[crowdKey]int64 // of keys with requests under way: never more than there are requests
}

// crowdKey is who is counted: a configured key, or a network or hash.
type crowdKey struct {
	configured string
	other      [16]byte
}

// presence is one request under one bound.
type presence struct {
	bound     *bound
	key       crowdKey
	partition string
	n         int64 // under way, with this request if it was let in
	full      bool  // there was no room for it
}

// of is the crowd of a bound.
func (c *crowds) of(name string) *crowd {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.byName[name]
	if one == nil {
		one = &crowd{n: map[crowdKey]int64{}}
		c.byName[name] = one
	}
	return one
}

// enter counts a request, unless a bound that is enforced has no room for it. One
// in detect that has none does not count it: what it would refuse would not be
// there.
func (c *crowds) enter(all []presence) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	entered := true
	for i := range all {
		p := &all[i]
		p.bound.crowd.most = p.bound.most // for whoever watches it fill
		p.n = p.bound.crowd.n[p.key]
		p.full = p.n >= p.bound.most
		entered = entered && (!p.full || p.bound.shadow)
	}
	if !entered {
		return false
	}
	for i := range all {
		if p := &all[i]; !p.full {
			p.n++
			p.bound.crowd.n[p.key] = p.n
		}
	}
	return true
}

// leave is for what has entered.
func (c *crowds) leave(all []presence) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range all {
		p := &all[i]
		switch n := p.bound.crowd.n; {
		case p.full:
		case n[p.key] > 1:
			n[p.key]--
		default:
			delete(n, p.key)
		}
	}
}

// underWay is how many requests of a configured key are under way, for a bound.
func (c *crowds) underWay(name string, k crowdKey) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.byName[name]; one != nil {
		return one.n[k]
	}
	return 0
}

// usages is how full each bound is for the configured keys that have requests
// under way.
func (c *crowds) usages() (all []limit.Usage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, one := range c.byName {
		for k, n := range one.n {
			if k.configured != "" && one.most > 0 && len(all) < maxSeries {
				all = append(all, limit.Usage{Policy: name, Name: k.configured, Ratio: min(1, float64(n)/float64(one.most))})
			}
		}
	}
	return all
}
