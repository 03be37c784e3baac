package limit

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/vazel-gateway/vazel/gateway/store"
)

//go:embed quota.lua
var quotaSource string

const (
	// quotaPace is how often the store is told of what is used of a quota, while
	// much is left.
	quotaPace = int64(100 * time.Millisecond)
	// quotaStale is how long its answer tells what other nodes have used.
	quotaStale = int64(2 * time.Second)
	// refreshed is how many quotas are asked about at each sweep though nobody
	// uses them here.
	refreshed = 64
	// outlive is how long a count is kept after its period, for clocks differ.
	outlive = 24 * time.Hour
)

// decideQuota is decideLocked for a quota that other nodes use as well. The
// bucket is what all of them have used, as far as is known; the debt is the part of
// it that the store has not been told of. Beyond one request at a time a node
// takes no more than its part of what was free, so that all of them together
// do not take more than that.
func (c *cell) decideQuota(sh *sharing, d *Decision, at *place, t *terms, today *dates, now int64) error {
	l := &c.lease
	c.enterQuota(sh, now)
	*d, at.level = c.decideLocked(at, t, today, now)
	down := l.phase%2 == 1
	switch {
	case down && sh.onFailure != store.FailLocal:
		if !d.Allowed {
			d.Allowed, d.RetryAfter, at.level = true, 0, min(c.b.level+at.cost, most)
		}
		if sh.onFailure == store.FailClosed {
			return ErrUnavailable
		}
		return nil
	case !d.Allowed || l.debt == 0:
		return nil
	}
	part := (t.rate.Burst*one - (c.b.level - l.debt)) / sh.nodes
	if !down && (l.known == 0 || now-l.known > quotaStale) {
		part = min(part, max(t.rate.Burst*one/100, 2*one))
	}
	if l.debt+at.cost <= part {
		return nil
	}
	d.Allowed, d.Remaining, at.level = false, 0, c.b.level
	d.RetryAfter = d.Full
	if !down {
		d.RetryAfter = min(time.Second, d.Full) // by then there is an answer
	}
	d.Reset = d.RetryAfter
	return nil
}

// enterQuota learns that the store was lost or came back. What is owed to it
// stays owed, and the node goes by its part until there is an answer.
func (c *cell) enterQuota(sh *sharing, now int64) {
	l := &c.lease
	if p := sh.phase.Load(); p != l.phase {
		if l.phase != 0 {
			l.known = max(1, now)
		}
		l.phase, l.next = p, 0
	}
}

// owe notes what the store has to be told of.
func (c *cell) owe(sh *sharing, at *place, now int64) {
	c.lease.debt += at.cost
	if c.lease.asked == 0 {
		c.ask(sh, now)
	}
}

// tell tells the store what was used of a quota, and learns what others used.
func (a *asking) tell(ctx context.Context, c *cell) {
	sh, t := a.begin(c)
	if sh == nil {
		return
	}
	l, now := &c.lease, int64(a.now())
	today := a.calendar.at(now)
	level, debt, period := c.usedLocked(c.policy.period, today), l.debt, c.b.last
	end := today.dayEnd
	if c.policy.period == Month {
		end = today.monthEnd
	}
	c.mu.Unlock()

	key := sh.client.Key("quota:" + c.policy.name + ":" + c.name + ":" + c.policy.period.name(period))
	life := (time.Duration(end-now) + outlive).Milliseconds()
	var used int64
	err := a.call(ctx, func(ctx context.Context) error {
		v, err := sh.client.Run(ctx, a.shared.quotaScript, key, requests(debt), requests(level-debt), strconv.FormatInt(life, 10))
		if err == nil {
			_, used, err = answer(v)
		}
		return err
	})

	c.mu.Lock()
	now = int64(a.now())
	l.asked = 0
	if err == nil && c.b.last == period {
		l.debt -= debt
		if known := used + l.debt; known != c.b.level {
			c.b.level = known
			a.kept.countedLocked(c)
		}
		l.known, l.next = max(1, now), now+quotaPace
		if burst := t.rate.Burst * one; burst-c.b.level < burst/20 && c.b.level < burst {
			l.next = 0 // others have to learn of the last of it at once
		}
	}
	c.mu.Unlock()
	if err != nil {
		a.found(ctx, sh, key, fmt.Errorf("asking about a quota: %w", err))
	}
}

// refresh has the store told of what is owed to it, and asked now and then about
// quotas that only others use.
func (a *asking) refresh() {
	sh := a.shared.now.Load()
	if sh == nil || sh.phase.Load()%2 == 1 {
		return
	}
	now, asked, n := int64(a.now()), 0, 0
	for _, p := range (*a.policies.Load())[1:] {
		if p.period == 0 || p.terms.Load() == nil {
			continue
		}
		for _, c := range *p.cells.Load() {
			n++
			turn := n > a.turn && asked < refreshed
			c.mu.Lock()
			c.enterQuota(sh, now)
			if l := &c.lease; l.asked == 0 && (l.debt > 0 || turn && now-l.known > quotaStale/2) {
				c.ask(sh, now)
				if l.debt == 0 {
					asked++
				}
			}
			c.mu.Unlock()
			if turn && asked == refreshed {
				a.turn = n
			}
		}
	}
	if asked < refreshed {
		a.turn = 0
	}
}

// settleUp tells the store all that is owed to it, before the process ends.
func (a *asking) settleUp(ctx context.Context) {
	for _, p := range (*a.policies.Load())[1:] {
		if p.period == 0 {
			continue
		}
		for _, c := range *p.cells.Load() {
			c.mu.Lock()
			owed := c.lease.debt > 0
			c.mu.Unlock()
			if ctx.Err() != nil {
				return
			}
			if owed {
				a.tell(ctx, c)
			}
		}
	}
}
