package unit

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time with its unit: 250ms, 30s, 5m, 24h, 7d. Units
// can be combined in falling order (1h30m). It is never negative.
type Duration time.Duration

const day = 24 * time.Hour

var durationUnits = []struct {
	name string
	size time.Duration
}{{"ms", time.Millisecond}, {"us", time.Microsecond}, {"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", day}}

// UnmarshalText reads a Duration.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "" {
		return fmt.Errorf("a duration is missing; write for example 30s")
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil && s != "0" {
		return fmt.Errorf("duration %s has no unit; write %ss, %sm or %sms", s, s, s, s)
	}
	if s == "0" {
		*d = 0
		return nil
	}
	var total time.Duration
	for rest := s; rest != ""; {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		u := n
		for u < len(rest) && (rest[u] < '0' || rest[u] > '9') && rest[u] != '.' {
			u++
		}
		size := time.Duration(0)
		for _, unit := range durationUnits {
			if unit.name == rest[n:u] {
				size = unit.size
			}
		}
		f, err := strconv.ParseFloat(rest[:n], 64)
		if n == 0 || size == 0 || err != nil {
			return fmt.Errorf("%q is not a duration; write for example 250ms, 30s, 5m, 24h or 7d", s)
		}
		if f*float64(size)+float64(total) > math.MaxInt64/2 {
			return fmt.Errorf("duration %s is too long", s)
		}
		total += time.Duration(f * float64(size))
		rest = rest[u:]
	}
	*d = Duration(total)
	return nil
}

// Std is the same length as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Or is d, or def where nothing was set.
func (d Duration) Or(def time.Duration) time.Duration {
	if d == 0 {
		return def
	}
	return time.Duration(d)
}

// String spells d the way UnmarshalText reads it.
func (d Duration) String() string {
	if d == 0 {
		return "0"
	}
	var b strings.Builder
	rest := time.Duration(d)
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}} {
		if n := rest / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * u.size
		}
	}
	return b.String()
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Duration) Pattern() string { return `^(0|([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+)$` }
