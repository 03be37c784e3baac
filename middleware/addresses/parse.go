package addresses

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
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
func (s Source) parse(b []byte) (*table, error) {
	p := &parser{table: &table{}, most: s.most()}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	if s.Column > 0 {
		p.columns(b, s.Column)
	} else {
		p.lines(b)
	}
	switch {
	case p.full:
		return nil, errTooMany
	case p.bad.Total > 0:
		return nil, &p.bad
	}
	p.table.finish()
	return p.table, nil
}

// parser is a list while it is read.
type parser struct {
	table *table
	most  int
	full  bool
	bad   BadList
}

func (p *parser) lines(b []byte) {
	for n := 1; len(b) > 0 && !p.full; n++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\n"))
		if len(line) > maxLine {
			p.bad.note(n, fmt.Errorf("the line is longer than %d bytes", maxLine))
			continue
		}
		if i := bytes.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			p.take(n, string(line))
		}
	}
}

// columns reads a table. What separates its cells is told by the first line.
func (p *parser) columns(b []byte, column int) {
	r := csv.NewReader(bytes.NewReader(b))
	r.Comment, r.FieldsPerRecord, r.ReuseRecord, r.TrimLeadingSpace = '#', -1, true, true
	first, rest, more := bytes.Cut(b, []byte("\n"))
	for more && (len(bytes.TrimSpace(first)) == 0 || first[0] == '#') {
		first, rest, more = bytes.Cut(rest, []byte("\n"))
	}
	for _, c := range ",;\t" {
		if bytes.ContainsRune(first, c) {
			r.Comma = c
			break
		}
	}
	for row := 1; !p.full; row++ {
		cells, err := r.Read()
		var wrong *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return
		case errors.As(err, &wrong):
			p.bad.note(wrong.StartLine, wrong.Err)
			return // what follows may be inside quotes, or not
		case err != nil:
			p.bad.note(row, err)
			return
		}
		n, _ := r.FieldPos(0)
		if len(cells) < column {
			p.bad.note(n, fmt.Errorf("there is no column %d", column))
			continue
		}
		cell := strings.TrimSpace(cells[column-1])
		if row == 1 && !strings.ContainsAny(cell, ".:") {
			continue // a heading
		}
		p.take(n, cell)
	}
}

// take adds an entry that stands in line n.
func (p *parser) take(n int, entry string) {
	first, last, err := parseEntry(entry)
	switch {
	case err != nil:
		p.bad.note(n, err)
	case p.table.entries == p.most:
		p.full = true
	default:
		p.table.add(first, last)
	}
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
