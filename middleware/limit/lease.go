package limit

import (
	"errors"
	"time"

	"github.com/vazel-gateway/vazel/gateway/store"
)

// ErrUnavailable means that the shared store can't be used, and that the
// configuration wants requests to be refused then.
var ErrUnavailable = errors.New("the store of the limits can't be used")

const (
	// pause is the least that a client is told to wait who would have needed a
	// lease: by then there is an answer.
	pause = 50 * time.Millisecond
	// quiet is how long a key rests before its lease is given back.
	quiet = int64(time.Second)
	// stale is how long an answer counts when the store is lost.
	stale = int64(time.Second)
	// share is the part of a second's limit that is leased: a twentieth.
	share = 20
)

// lease is what this node may admit of a configured key without asking. The
// cell's bucket is what all nodes have in use, as it was last known; the lease
// is part of that.
type lease struct {
	left  int64  // units that are paid for and unspent
	debt  int64  // units that were admitted and that the store has not been told of
	need  int64  // units of the dearest request that waits for a larger lease
	back  int64  // units to be given back
	phase uint64 // of shared, as this key knows it
	known int64  // time of the last answer; 0 for none
	asked int64  // time of the question under way; 0 for none
	next  int64  // time before which a question is of no use
	used  int64  // time of the last request
	force bool   // the store may have forgotten: it is told what is in use
}

// payment is what a request of a shared key is paid from.
type payment uint8

const (
	fromLease payment = iota + 1
	fromShare         // of the limit: if the store is up, it learns of it later
)

// size is how much is leased at a time.
func size(r *Rate) int64 {
	perSecond := float64(r.Count) / r.Per.Seconds()
	n := int64(perSecond / share * one)
	return max(one, min(n, r.Burst*one))
}

// grace is how much of the whole limit counts as free where nothing is known of
// it: so little that it hardly matters, enough for one request on each node.
func grace(nodes int64, r *Rate) int64 {
	return min(max(size(r), r.Burst*one/share, nodes*one), r.Burst*one)
}

// most bounds levels, so that two of them can be added.
const most = 1<<62 - 1

// times is what a request takes from the whole limit if each of n nodes goes by
// its part of it.
func times(units, n int64) int64 {
	if units > most/n {
		return most
	}
	return units * n
}

// decide says whether a request fits, and what would pay for it: the lease; or,
// as long as that is used up and no answer has come, this node's part of what
// was free when the store was last heard of. Of that the store learns with the
// next question, so that nothing is forgotten. It is called with the cell locked.
func (c *cell) decide(sh *sharing, d *Decision, at *place, t *terms, now int64) error {
	l, r, cost := &c.lease, &t.rate, at.cost
	if p := sh.phase.Load(); p != l.phase {
		c.enter(sh, p, now, t)
	}
	level := c.b.at(now, t)
	down := l.phase%2 == 1
	*d = Decision{Limit: r.Burst, Allowed: true}
	if down && sh.onFailure == store.FailClosed {
		return ErrUnavailable
	}
	dear := times(cost, sh.nodes)
	fits := level <= r.Burst*one-min(dear, r.Burst*one) // what is dearer than the burst is admitted, and paid for, by itself
	switch {
	case l.left >= cost:
		at.from, at.shown = fromLease, max(0, level-l.left)+cost
		d.describe(at.shown, r)
		return nil
	case fits:
		at.from, at.level = fromShare, min(level+dear, most)
	case down && sh.onFailure == store.FailOpen:
		at.from, at.level = fromShare, max(level, r.Burst*one)
	default:
		d.Allowed = false
		d.describe(level, r)
		d.Remaining = 0
		d.RetryAfter = max(until(level+cost-r.Burst*one, r), time.Duration(l.next-now), pause)
		d.Reset, d.Full = max(d.Reset, d.RetryAfter), max(d.Full, d.RetryAfter)
		return nil
	}
	at.shown = min(level+cost, max(level, r.Burst*one))
	d.describe(at.shown, r)
	if down {
		d.Remaining /= sh.nodes // what is left is that of this node
	}
	return nil
}

// pay takes what decide found.
func (c *cell) pay(sh *sharing, at *place, now int64) {
	l := &c.lease
	l.used = now
	switch at.from {
	case fromLease:
		l.left -= at.cost
	case fromShare:
		c.b = bucket{at.level, now}
		if l.phase%2 == 0 {
			l.debt += at.cost
		}
	}
	if l.asked == 0 && (l.left*4 < size(&at.p.terms.Load().rate) || l.debt > 0) {
		c.ask(sh, now)
	}
}

// refused notes that a request was turned away, which may be for want of a
// lease only.
func (c *cell) refused(sh *sharing, now, cost int64) {
	c.lease.used = now
	c.lease.need = max(c.lease.need, cost)
	if c.lease.asked == 0 {
		c.ask(sh, now)
	}
}

// ask has a worker ask the store, unless that is of no use now.
func (c *cell) ask(sh *sharing, now int64) {
	l := &c.lease
	if l.phase%2 == 1 || now < l.next {
		return
	}
	select {
	case sh.questions <- c:
		l.asked = max(1, now)
	default: // so many that the store can't follow; the next request tries again
	}
}

// enter learns that the store was lost or came back since the last request.
func (c *cell) enter(sh *sharing, phase uint64, now int64, t *terms) {
	l := &c.lease
	since := min(sh.since.Load(), now)
	if phase%2 == 1 && (l.known == 0 || since-l.known > stale) {
		// What other nodes have in use is not known: nothing is left but the grace,
		// and what has drained since.
		c.b = bucket{max(c.b.at(since, t), t.rate.Burst*one-grace(sh.nodes, &t.rate)), since}
	}
	l.debt, l.next, l.known, l.force, l.phase = 0, 0, 0, true, phase
}
