package addresses

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// BadLine is a line of a list that can't be read.
type BadLine struct {
	Line    int
	Message string
}

// BadList is a list with lines that can't be read.
type BadList struct {
	Lines []BadLine // the first of them
	Total int
}

// maxBad bounds how many lines are told of.
const maxBad = 50

func (e *BadList) Error() string {
	first := e.Lines[0]
	s := fmt.Sprintf("line %d: %s", first.Line, first.Message)
	if e.Total > 1 {
		s += fmt.Sprintf(" (and %d more lines)", e.Total-1)
	}
	return s
}

// maxLine is longer than two IPv6 addresses and a comment that says why.
const maxLine = 1024

// parse reads a list. It is strict: a line that can't be read may be half of one.
func parse(b []byte) (*table, error) {
	t, bad := &table{}, &BadList{}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		if len(line) > maxLine {
			bad.note(n, fmt.Errorf("the line is longer than %d bytes", maxLine))
			continue
		}
		if i := bytes.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		first, last, err := parseEntry(string(line))
		if err != nil {
			bad.note(n, err)
			continue
		}
		if t.entries == maxEntries {
			return nil, errTooMany
		}
		t.add(first, last)
	}
	if bad.Total > 0 {
		return nil, bad
	}
	t.finish()
	return t, nil
}

func (e *BadList) note(line int, err error) {
	if e.Total++; len(e.Lines) < maxBad {
		e.Lines = append(e.Lines, BadLine{line, err.Error()})
	}
}

var errEverybody = errors.New("this is every address; write it into the configuration itself if it is meant so")

// parseEntry reads an address, a network or a range.
func parseEntry(s string) (first, last netip.Addr, err error) {
	if a, ok := parseAddr(s); ok {
		return a, a, nil
	}
	if from, to, ok := strings.Cut(s, "-"); ok {
		a, ok1 := parseAddr(strings.TrimSpace(from))
		b, ok2 := parseAddr(strings.TrimSpace(to))
		switch {
		case !ok1 || !ok2 || a.Is4() != b.Is4():
			return first, last, fmt.Errorf("%s is not a range; write for example 192.0.2.10-192.0.2.20", shown(s))
		case b.Less(a):
			return first, last, fmt.Errorf("range %s ends before it begins", shown(s))
		}
		return a, b, nil
	}
	p, err := ParsePrefix(s)
	if err != nil {
		return first, last, err
	}
	if p.Bits() == 0 {
		return first, last, errEverybody
	}
	return p.Addr(), lastOf(p), nil
}

// ParsePrefix reads an address or network. Networks of IPv4 in IPv6 form are ones
// of IPv4. Host bits beyond the length are an error: somebody meant another one.
func ParsePrefix(s string) (netip.Prefix, error) {
	if a, ok := parseAddr(s); ok {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%s is not an address, network or range", shown(s))
	}
	if p.Masked() != p {
		return p, fmt.Errorf("network %s has bits set beyond its length; write %s, or one address without /%d", shown(s), p.Masked(), p.Bits())
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p, nil
}

func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// shown quotes what a list says, which may be anything.
func shown(s string) string {
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	return fmt.Sprintf("%q", s)
}
