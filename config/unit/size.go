package unit

import (
	"fmt"
	"math"
	"strconv"
)

// Size is a number of bytes with its unit: 512B, 64KiB, 10MiB, 1GiB; KB, MB
// and GB are powers of ten.
type Size int64

var sizeUnits = []struct {
	name string
	size int64
}{{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}}

// UnmarshalText reads a Size.
func (z *Size) UnmarshalText(text []byte) error {
	s := string(text)
	f, name, ok := number(s)
	if ok && name == "" {
		if s == "0" {
			*z = 0
			return nil
		}
		return fmt.Errorf("size %s has no unit; write %sMiB, %sKiB or %sB", s, s, s, s)
	}
	for _, u := range sizeUnits {
		if !ok || u.name != name {
			continue
		}
		bytes := f * float64(u.size)
		if bytes > 1<<53 { // what a float64 counts exactly
			return fmt.Errorf("size %s is too large", s)
		}
		if bytes > 0 && bytes < 1 {
			return fmt.Errorf("size %s is less than a byte", s)
		}
		*z = Size(math.Round(bytes))
		return nil
	}
	return fmt.Errorf("%q is not a size; write for example 512B, 64KiB, 10MiB or 1GiB", s)
}

// Or is z, or def where nothing was set.
func (z Size) Or(def int64) int64 {
	if z == 0 {
		return def
	}
	return int64(z)
}

// String spells z the way UnmarshalText reads it.
func (z Size) String() string {
	if z == 0 {
		return "0"
	}
	for _, u := range []struct {
		name string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if int64(z)%u.size == 0 {
			return strconv.FormatInt(int64(z)/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(z), 10) + "B"
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Size) Pattern() string {
	return `^(0|(0|[1-9][0-9]*)(\.[0-9]+)?(B|KiB|MiB|GiB|TiB|KB|MB|GB|TB))$`
}
