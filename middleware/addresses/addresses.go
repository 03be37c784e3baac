// Package addresses owns sets of network addresses: lists of prefixes from files
// and URLs, how they are read, kept and followed, and the answer to whether an
// address is denied. It does not know whose address it is, nor how to refuse.
package addresses

import (
	"errors"
	"fmt"
	"net/url"

	"github.com/vazel-gateway/vazel/config/unit"
)

// Source is where the list of a set is, and what happens while it can't be used.
type Source struct {
	// File is the list: one address, network or range (192.0.2.10-192.0.2.20) on a line; # and ; begin comments. One line that can't be read, and the former list stays in force. A change acts within a second, without a reload; a copy of the last good list is kept in the state folder.
	File string `yaml:"file"`
	// URL is where the list is fetched in the background, instead of file. A copy is kept in the state folder across restarts.
	URL string `yaml:"url"`
	// Column is which column of a table (CSV with commas, semicolons or tabs) holds the entries, from 1; its first line may be a heading. Default: the list is no table.
	Column int `yaml:"column"`
	// Every is how often the list is fetched, spread by a tenth so that many nodes don't ask at once; default: 1h.
	Every unit.Duration `yaml:"every"`
	// MaxAge is how long after its last success (of a file: after it was written) a list counts as fresh; default: without end.
	MaxAge unit.Duration `yaml:"max_age"`
	// OnStale is what happens when the list is older than max_age: keep (the list stays in force, vazel_address_set_valid is 0) or closed (whatever the set has to decide is refused with 503); default: keep.
	OnStale string `yaml:"on_stale"`
	// OnMissing is what happens where deny_from names the set and there is no list yet, as before the first success of a new URL: closed (requests are refused with 503) or open (they pass unchecked); default: closed. A set of allow_from that has no list never lets anybody in.
	OnMissing string `yaml:"on_missing"`
	// AllowEmpty takes a list without entries for what it says; otherwise it is an error, for a truncated list must not open everything.
	AllowEmpty bool `yaml:"allow_empty"`
	// MaxEntries is how many entries a list may have; one with more is not used. Default: 1000000.
	MaxEntries int `yaml:"max_entries"`
	// MaxShrink is the largest share of its entries that a list of 100 or more may lose at once; one that loses more is not used until this allows it (100% for any); default: 50%.
	MaxShrink unit.Percent `yaml:"max_shrink"`
}

// The words of OnStale and OnMissing.
const (
	Keep   = "keep"
	Closed = "closed"
	Open   = "open"
)

const (
	defaultShrink  = 0.5
	defaultEntries = 1_000_000
	shrinkFrom     = 100      // entries; smaller lists are written by hand
	maxList        = 64 << 20 // bytes
	// MostEntries is the largest max_entries: 160 MB of IPv6 ranges.
	MostEntries = 5_000_000
)

// Check finds mistakes that need no list.
func (s Source) Check() error {
	if (s.URL == "") == (s.File == "") {
		return errors.New("write either url or file")
	}
	if s.URL == "" {
		if s.Every != 0 {
			return errors.New("every belongs to a url; a file is looked at all the time")
		}
		if s.OnMissing != "" {
			return errors.New("on_missing belongs to a url; a file has to be there")
		}
		return nil
	}
	u, err := url.Parse(s.URL)
	switch {
	case err == nil && u.User != nil:
		return errors.New("url must not hold a name or password: it stands in logs")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("url %q is not an http or https address", s.URL)
	}
	return nil
}

// sameList reports whether two sources name one list and read it alike.
func (s Source) sameList(o Source) bool {
	return s.File == o.File && s.URL == o.URL && s.Column == o.Column
}

// CheckFile reads the list of a file as a set would.
func (s Source) CheckFile() error {
	_, _, _, err := readFile(s)
	return err
}

// most is how many entries a list may have.
func (s Source) most() int {
	if s.MaxEntries != 0 {
		return s.MaxEntries
	}
	return defaultEntries
}

// fits holds a list against what the source may say; former is the number of
// entries in force, or -1.
func (s Source) fits(t *table, former int) error {
	if t.entries == 0 && !s.AllowEmpty {
		return errEmpty
	}
	most := float64(s.MaxShrink)
	if most == 0 {
		most = defaultShrink
	}
	if former >= shrinkFrom && float64(former-t.entries) > most*float64(former) {
		return fmt.Errorf("%w: it has %d entries, and the one in force %d; max_shrink says how much may go at once", errShrunk, t.entries, former)
	}
	return nil
}

var (
	errShrunk  = errors.New("the list has shrunk too much")
	errEmpty   = errors.New("the list has no entries; allow_empty: true takes it for what it says")
	errTooMany = errors.New("the list has more entries than max_entries allows")
)
