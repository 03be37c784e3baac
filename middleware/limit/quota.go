package limit

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Period is the calendar period of a quota, in UTC: days that are equally long
// and the same on every node.
type Period uint8

// The periods.
const (
	Day Period = iota + 1
	Month
)

func (p Period) String() string { return [...]string{"", "day", "month"}[p] }

// name is how a period is written, of which n is the number since 1970.
func (p Period) name(n int64) string {
	if p == Month {
		return time.Date(1970, time.Month(n+1), 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	}
	return time.Unix(n*86400, 0).UTC().Format(time.DateOnly)
}

// Longest is how long the period lasts at most.
func (p Period) Longest() time.Duration {
	if p == Day {
		return 24 * time.Hour
	}
	return 31 * 24 * time.Hour
}

// Quota finds or makes the policy of that name, which counts by calendar periods.
// Its keys are configured ones only.
func (s *Store) Quota(name string, period Period) *Policy { return s.policy(name, period) }

// Amount is a quota of n in each period, as a configuration gives it.
func (p *Policy) Amount(n int64) (Rate, error) {
	if p.period == 0 {
		return Rate{}, fmt.Errorf("limit: policy %q has no period", p.name)
	}
	return p.Rate(n, p.period.Longest(), n)
}

// usedLocked is what of a quota is used in the present period. The bucket's time
// is the number of its period. One that is later than the present was counted
// while the clock was wrong: what was used stays used, and ends with the present
// period.
func (c *cell) usedLocked(p Period, now *dates) int64 {
	n := now.day
	if p == Month {
		n = now.month
	}
	if c.b.last < n {
		c.b.level, c.lease.debt, c.lease.known = 0, 0, 0
	}
	c.b.last = n
	return c.b.level
}

func (c *cell) decideLocked(at *place, t *terms, today *dates, now int64) (d Decision, after int64) {
	level := c.usedLocked(at.p.period, today)
	end := today.dayEnd
	if at.p.period == Month {
		end = today.monthEnd
	}
	after = level + at.cost
	d.Limit, d.Full = t.rate.Burst, time.Duration(max(end-now, 1))
	if after > t.rate.Burst*one {
		d.RetryAfter = d.Full
		after = level
	} else {
		d.Allowed = true
	}
	d.describeQuota(after)
	return d, after
}

// describeQuota says what is left; Full holds the time to the period's end.
func (d *Decision) describeQuota(level int64) {
	d.Remaining = max(0, d.Limit-(level+one-1)/one)
	d.Reset = d.Full
	if level == 0 {
		d.Reset = 0
	}
}

// settle is how long the wall clock must differ before it is believed.
const settle = time.Hour

// calendar tells day and month. It goes by the monotonic clock, so that a clock
// that jumps neither refills a quota nor freezes it: a difference of a moment
// is followed at once, a larger one when it has lasted for an hour.
type calendar struct {
	wall func() time.Time
	mono func() time.Duration
	now  atomic.Pointer[dates]

	mu     sync.Mutex
	base   time.Time // at the time since of the monotonic clock
	since  time.Duration
	jump   time.Duration // difference that is not believed yet
	jumped time.Duration // since when
}

// dates are the present day and month.
type dates struct {
	day, month       int64 // since 1970
	dayEnd, monthEnd int64 // by the monotonic clock
}

func newCalendar(wall func() time.Time, mono func() time.Duration) *calendar {
	c := &calendar{wall: wall, mono: mono, base: wall().Round(0).UTC(), since: mono()}
	c.setLocked(c.since)
	return c
}

// at is the calendar at a time of the monotonic clock.
func (c *calendar) at(now int64) *dates {
	if d := c.now.Load(); now < d.dayEnd {
		return d
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d := c.now.Load(); now < d.dayEnd {
		return d
	}
	c.setLocked(time.Duration(now))
	return c.now.Load()
}

func (c *calendar) setLocked(now time.Duration) {
	t := c.base.Add(now - c.since)
	y, m, d := t.Date()
	until := func(end time.Time) int64 { return int64(now + end.Sub(t)) }
	c.now.Store(&dates{
		day: dayOf(t), month: monthOf(t),
		dayEnd: until(time.Date(y, m, d+1, 0, 0, 0, 0, time.UTC)), monthEnd: until(time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)),
	})
}

func dayOf(t time.Time) int64 {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC).Unix() / 86400
}
func monthOf(t time.Time) int64 { return int64(t.Year()-1970)*12 + int64(t.Month()) - 1 }

// KeepTime compares the calendar of quotas with the wall clock; it is for every
// second or so. It reports a jump of the clock when it sees one, and when it
// follows it.
func (s *Store) KeepTime() (jump time.Duration, followed bool) {
	c := s.calendar
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.mono()
	diff := c.wall().Round(0).Sub(c.base.Add(now - c.since))
	const moment = 2 * time.Second
	small := func(d time.Duration) bool { return -moment <= d && d <= moment }
	switch {
	case small(diff):
		c.jump = 0
	case c.jump == 0 || !small(diff-c.jump):
		c.jump, c.jumped = diff, now
		return diff, false
	case now-c.jumped < settle:
		return 0, false
	default:
		jump, followed, c.jump = diff, true, 0
	}
	c.base, c.since = c.base.Add(now-c.since+diff), now
	c.setLocked(now)
	return jump, followed
}
