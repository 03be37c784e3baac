package unit

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Percent is a share, written 20%, between 0% and 100%; its value is 0.2.
type Percent float64

// UnmarshalText reads a Percent.
func (p *Percent) UnmarshalText(text []byte) error {
	s := string(text)
	f, rest, ok := number(s)
	if ok && rest == "" {
		return fmt.Errorf("share %s has no unit; write %s%%", s, s)
	}
	if !ok || rest != "%" || f > 100 {
		return fmt.Errorf("%q is not a share; write a number from 0%% to 100%%", s)
	}
	*p = Percent(f / 100)
	return nil
}

// String spells p the way UnmarshalText reads it.
func (p Percent) String() string {
	return strconv.FormatFloat(math.Round(float64(p)*1e11)/1e9, 'f', -1, 64) + "%"
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Percent) Pattern() string { return `^(100(\.0+)?|(0|[1-9][0-9]?)(\.[0-9]+)?)%$` }

// Date is a day, written as a quoted "2027-06-30". It lasts until its end in
// UTC.
type Date struct{ t time.Time }

// UnmarshalText reads a Date.
func (d *Date) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return fmt.Errorf("%q is not a date; write it as \"2027-06-30\"", text)
	}
	d.t = t
	return nil
}

// IsZero reports whether no date was set.
func (d Date) IsZero() bool { return d.t.IsZero() }

// End is the first moment after the day, in UTC.
func (d Date) End() time.Time { return d.t.AddDate(0, 0, 1) }

// String spells d the way UnmarshalText reads it.
func (d Date) String() string {
	if d.t.IsZero() {
		return ""
	}
	return d.t.Format(time.DateOnly)
}

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Date) Pattern() string { return `^[0-9]{4}-[0-9]{2}-[0-9]{2}$` }

// Prefix is a network, written 10.20.0.0/24 or 2001:db8::/32; a single address
// is the network that holds only itself.
type Prefix struct{ netip.Prefix }

// UnmarshalText reads a Prefix. Host bits beyond the prefix length are an
// error, for they show that somebody meant another network.
func (p *Prefix) UnmarshalText(text []byte) error {
	s := string(text)
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		p.Prefix = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	x, err := netip.ParsePrefix(s)
	if err != nil {
		return fmt.Errorf("%q is not a network; write for example 10.20.0.0/24 or 2001:db8::/32", s)
	}
	if x.Masked() != x {
		return fmt.Errorf("network %s has bits set beyond its length; write %s, or one address without /%d", s, x.Masked(), x.Bits())
	}
	p.Prefix = x
	return nil
}

// List is one word or a sequence of words: "use: open-data" is the same as
// "use: [open-data]".
type List []string

// Secret is a value that must not stand in a configuration file: the whole
// value is a reference, ${env:NAME} or ${file:PATH}. Whatever prints it prints
// the reference. Package config resolves it when it loads.
type Secret struct {
	Ref   string // as written
	value string
}

// UnmarshalText reads the reference; it does not resolve it.
func (s *Secret) UnmarshalText(text []byte) error {
	t := string(text)
	inner, ok := strings.CutPrefix(t, "${")
	inner, ok2 := strings.CutSuffix(inner, "}")
	kind, name, ok3 := strings.Cut(inner, ":")
	if !ok || !ok2 || !ok3 || name == "" || strings.ContainsAny(name, "{}") || kind != "env" && kind != "file" {
		return fmt.Errorf("a secret must be a reference; write ${env:NAME} or ${file:PATH} as the whole value")
	}
	s.Ref = t
	return nil
}

// Source is the kind of reference, "env" or "file", and its name.
func (s Secret) Source() (kind, name string) {
	kind, name, _ = strings.Cut(strings.TrimSuffix(strings.TrimPrefix(s.Ref, "${"), "}"), ":")
	return kind, name
}

// Resolve sets the value that the reference stands for.
func (s *Secret) Resolve(value string) { s.value = value }

// Reveal is the secret itself.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether no secret was set.
func (s Secret) IsZero() bool { return s.Ref == "" }

// String is the reference, never the value.
func (s Secret) String() string { return s.Ref }

// GoString is the reference, never the value.
func (s Secret) GoString() string { return s.Ref }

// Pattern is the regular expression of the spelling, for the JSON Schema.
func (Secret) Pattern() string { return `^\$\{(env|file):[^{}]+\}$` }
