package unit

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of events in a unit of time: 50/s, 100/m, 1000/h, 5000/d.
type Rate struct {
	Count int64
	Per   time.Duration
}

// UnmarshalText reads a Rate.
func (r *Rate) UnmarshalText(text []byte) error {
	s := string(text)
	count, per, found := strings.Cut(s, "/")
	f, rest, ok := number(count)
	ok = ok && rest == "" && digits(count) == len(count)
	if !found && ok {
		return fmt.Errorf("rate %s has no unit; write %s/s, %s/m or %s/h", s, s, s, s)
	}
	size := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": day}[per]
	if !ok || size == 0 {
		return fmt.Errorf("%q is not a rate; write for example 50/s, 100/m or 1000/h", s)
	}
	if f < 1 || f > 1e9 {
		return fmt.Errorf("rate %s is out of range; it must be between 1 and 1000000000 in its unit of time", s)
	}
	*r = Rate{Count: int64(f), Per: size}
	return nil
}

// PerSecond is the rate in events a second.
func (r Rate) PerSecond() float64 {
	if r.Per == 0 {
		return 0
	}
	return float64(r.Count) / r.Per.Seconds()
}

// String spells r the way UnmarshalText reads it.
func (r Rate) String() string {
	switch r.Per {
	case 0:
		return ""
	case time.Second:
		return strconv.FormatInt(r.Count, 10) + "/s"
	case time.Minute:
		return strconv.FormatInt(r.Count, 10) + "/m"
	case time.Hour:
		return strconv.FormatInt(r.Count, 10) + "/h"
	}
	return strconv.FormatInt(r.Count, 10) + "/d"
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Rate) Pattern() string { return `^[1-9][0-9]*/[smhd]$` }
