package unit

import (
	"fmt"
	"strings"
)

// Bandwidth is a number of bytes in a second, written as a size and "/s":
// 500B/s, 64KiB/s, 10MiB/s.
type Bandwidth int64

// UnmarshalText reads a Bandwidth.
func (b *Bandwidth) UnmarshalText(text []byte) error {
	size, ok := strings.CutSuffix(string(text), "/s")
	if !ok {
		return fmt.Errorf("%q is not a bandwidth; write for example 500B/s, 64KiB/s or 10MiB/s", text)
	}
	var z Size
	if err := z.UnmarshalText([]byte(size)); err != nil {
		return err
	}
	if z == 0 {
		return fmt.Errorf("bandwidth %s is out of range; it must be at least 1B/s", text)
	}
	*b = Bandwidth(z)
	return nil
}

// String spells b the way UnmarshalText reads it.
func (b Bandwidth) String() string {
	if b == 0 {
		return ""
	}
	return Size(b).String() + "/s"
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Bandwidth) Pattern() string {
	return strings.TrimSuffix(Size(0).Pattern(), "$") + "/s$"
}
