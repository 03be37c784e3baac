package limit

import (
	"fmt"
	"math"
	"math/bits"
	"time"
)

// one is a request in the units of a level: 32 bits stand behind the point.
const one = 1 << 32

// Bounds of a Rate, within which no sum below can overflow.
const (
	maxCount = 1_000_000_000
	maxBurst = 1_000_000_000
	maxPer   = 366 * 24 * time.Hour
)

// Rate is what a key may use: at most Burst + Count/Per x t requests in any
// time t. Both bounds together are one policy, not two windows.
type Rate struct {
	Count int64         // requests ...
	Per   time.Duration // ... in this time
	Burst int64         // requests that may come at once

	// seq orders the rates that a policy was given by configurations, so that a
	// request that still runs under an old one does not bring its rate back.
	seq uint64
}

func (r *Rate) check() error {
	if r.Count < 1 || r.Count > maxCount || r.Per < 1 || r.Per > maxPer || r.Burst < 1 || r.Burst > maxBurst {
		return fmt.Errorf("limit: %d requests in %v with a burst of %d is out of range", r.Count, r.Per, r.Burst)
	}
	return nil
}

// Decision is the answer of Take.
type Decision struct {
	Allowed    bool
	Limit      int64         // the burst that counted: that of the newest configuration
	Remaining  int64         // requests that would be allowed now
	Reset      time.Duration // until one more than Remaining would be; 0 if nothing is in use
	Full       time.Duration // until nothing is in use
	RetryAfter time.Duration // until the refused request would be allowed; 0 if Allowed
}

// bucket is how much a key has in use: level units at the time last. Level and
// time say the same as GCRA's theoretical arrival time, last + level/rate (ITU-T
// I.371 defines both forms as one algorithm), but unlike a time, a number of
// requests keeps its meaning when the rate changes.
//
// Rounding always keeps more in use than is right, by less than 2^-32 of a
// request for each one admitted, so that the bound holds exactly.
type bucket struct {
	level int64
	last  int64 // nanoseconds of the store's clock
}

// at is the level at the time now.
func (b bucket) at(now int64, t *terms) int64 {
	if b.level == 0 || now <= b.last {
		return b.level
	}
	if b.last >= t.from {
		return drained(b.level, now-b.last, &t.rate)
	}
	return t.history(b, now)
}

// drained is what is left of level after a time in nanoseconds.
func drained(level, elapsed int64, r *Rate) int64 {
	hi, lo := bits.Mul64(uint64(elapsed), uint64(r.Count)<<32)
	if hi >= uint64(r.Per) {
		return 0
	}
	q, _ := bits.Div64(hi, lo, uint64(r.Per))
	if q >= uint64(level) {
		return 0
	}
	return level - int64(q)
}

// until is how long some units take to drain, rounded up.
func until(units int64, r *Rate) time.Duration {
	if units <= 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(units), uint64(r.Per))
	speed := uint64(r.Count) << 32
	if hi >= speed {
		return math.MaxInt64
	}
	q, rest := bits.Div64(hi, lo, speed)
	if rest > 0 {
		q++
	}
	return time.Duration(min(q, math.MaxInt64))
}

// decide says whether a request fits on top of level, and what holds afterwards
// if it is admitted.
func decide(level int64, r *Rate, cost int64) (d Decision, after int64) {
	burst := r.Burst * one
	after = level + cost
	d.Limit = r.Burst
	if after > burst {
		d.RetryAfter = until(after-burst, r)
		after = level
	} else {
		d.Allowed = true
	}
	d.describe(after, r)
	return d, after
}

// describe says what is left at a level.
func (d *Decision) describe(level int64, r *Rate) {
	free := r.Burst*one - level
	d.Remaining = max(0, free/one)
	d.Full = until(level, r)
	d.Reset = until((d.Remaining+1)*one-free, r)
	if d.Remaining == r.Burst {
		d.Reset = 0
	}
}
