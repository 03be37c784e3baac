package unit

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Duration is a length of time with its unit: 250ms, 30s, 5m, 24h, 7d. Units
// can be combined in falling order (1h30m). It is never negative, and counts in
// microseconds.
type Duration time.Duration

const day = 24 * time.Hour

type durationUnit struct {
	name string
	size time.Duration
}

var durationUnits = []durationUnit{{"d", day}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}, {"us", time.Microsecond}}

// UnmarshalText reads a Duration.
func (d *Duration) UnmarshalText(text []byte) error {
	s := string(text)
	wrong := fmt.Errorf("%q is not a duration; write for example 250ms, 30s, 5m, 24h or 7d", s)
	switch _, rest, ok := number(s); {
	case s == "":
		return fmt.Errorf("a duration is missing; write for example 30s")
	case s == "0":
		*d = 0
		return nil
	case ok && rest == "":
		return fmt.Errorf("duration %s has no unit; write %ss, %sm or %sms", s, s, s, s)
	}
	total, units := 0.0, durationUnits
	for rest := s; rest != ""; {
		f, after, ok := number(rest)
		if !ok {
			return wrong
		}
		name := after
		if i := strings.IndexAny(after, "0123456789."); i >= 0 {
			name = after[:i]
		}
		at := slices.IndexFunc(units, func(u durationUnit) bool { return u.name == name })
		if at < 0 {
			return wrong
		}
		total += f * float64(units[at].size)
		if total > math.MaxInt64/2 {
			return fmt.Errorf("duration %s is too long", s)
		}
		if total > 0 && total < float64(time.Microsecond) {
			return fmt.Errorf("duration %s is shorter than 1us", s)
		}
		units, rest = units[at+1:], after[len(name):]
	}
	*d = Duration(math.Round(total/1e3) * 1e3)
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
	for _, u := range durationUnits {
		if n := rest / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			rest -= n * u.size
		}
	}
	return b.String()
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Duration) Pattern() string { return `^(0|(?:(0|[1-9][0-9]*)(\.[0-9]+)?(us|ms|s|m|h|d))+)$` }
