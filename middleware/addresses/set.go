package addresses

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

// Set is one named list. It outlives configurations that do not change its source.
type Set struct {
	name   string
	source Source
	state  atomic.Pointer[state]
	stale  atomic.Bool // older than max_age
	failed atomic.Bool // the last attempt to get it
	hits   hits
	keep   string            // file of the kept copy; "" for none
	kept   [sha256.Size]byte // sum of the list in it

	inside, unusable string // what judgments say

	// Of the goroutine that follows the source.
	tries int
	fault string // logged last
	seen  os.FileInfo
	read  time.Time
}

// hits counts the decisions that a set made.
type hits struct{ denied, allowed prometheus.Counter }

// state is a list as it was read. It is immutable.
type state struct {
	table   *table
	got     time.Time     // when the source last said so; of a file: when it was written
	version fetch.Version // of a URL
	sum     [sha256.Size]byte
}

// list is what is to be decided by. Without known, what is not in it may be so
// only because the list is missing or old.
func (s *Set) list(denying bool) (t *table, known bool) {
	st := s.state.Load()
	if st == nil {
		return nil, denying && s.source.OnMissing == Open
	}
	if s.stale.Load() && s.source.OnStale == Closed {
		if denying {
			return st.table, false
		}
		return nil, false
	}
	return st.table, true
}

// entries of the list in force; -1 without one.
func (s *Set) entries() int {
	if st := s.state.Load(); st != nil {
		return st.table.entries
	}
	return -1
}

// staleAt is when the list becomes too old; zero for never.
func (s *Set) staleAt() time.Time {
	st, age := s.state.Load(), s.source.MaxAge.Std()
	if st == nil || age == 0 {
		return time.Time{}
	}
	return st.got.Add(age)
}

// begin reads the file of a new set. A list that can't be used is an error unless
// a former one is there.
func (s *Set) begin() error {
	start, former := time.Now(), s.state.Load()
	st, _, info, err := readFile(s.source)
	if err == nil && former != nil {
		err = s.source.fits(st.table, former.table.entries)
	}
	switch {
	case err == nil:
		s.state.Store(st)
		s.seen, s.read = info, start
	case former == nil:
		return err
	default:
		s.failed.Store(true) // is looked at again, and told of
	}
	return nil
}

// readFile reads the list of a file. It was whole only if nobody wrote to it
// meanwhile.
func readFile(s Source) (*state, []byte, os.FileInfo, error) {
	info, err := os.Stat(s.File)
	switch {
	case err != nil:
		return nil, nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, info, fmt.Errorf("%s is not a regular file", s.File)
	case info.Size() > maxList:
		return nil, nil, info, fmt.Errorf("%s is larger than %d MiB", s.File, maxList>>20)
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return nil, nil, info, err
	}
	st, err := s.judge(b, -1)
	if err != nil {
		return nil, nil, info, err
	}
	st.got = notAfter(info.ModTime(), time.Now())
	return st, b, info, nil
}

// judge makes a state of what a source said.
func (s Source) judge(b []byte, former int) (*state, error) {
	t, err := s.parse(b)
	if err == nil {
		err = s.fits(t, former)
	}
	if err != nil {
		return nil, err
	}
	return &state{table: t, sum: sha256.Sum256(b)}, nil
}

// notAfter: a list from the future would never grow old.
func notAfter(t, now time.Time) time.Time {
	if t.After(now) {
		return now
	}
	return t
}

// keptMark begins the first line of a kept copy.
const keptMark = "# vazel kept this: "

func keptName(dir string, s Source) string {
	sum := sha256.Sum256([]byte(s.URL))
	if s.File != "" {
		sum = sha256.Sum256([]byte("file:" + s.File))
	}
	return filepath.Join(dir, "address-sets", hex.EncodeToString(sum[:])+".txt")
}

// writeKept keeps a list across restarts.
func (s *Set) writeKept(b []byte, st *state) error {
	head, err := json.Marshal(st.version)
	if err != nil {
		return err
	}
	if err := fetch.WriteWhole(s.keep, slices.Concat([]byte(keptMark), head, []byte("\n"), b)); err != nil {
		return err
	}
	s.kept = st.sum
	return os.Chtimes(s.keep, st.got, st.got) // its age is that of the list
}

// readKept is what writeKept left; nil if there is nothing of use.
func (s *Set) readKept() (*state, error) {
	info, err := os.Stat(s.keep)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxList+4096 {
		return nil, fmt.Errorf("%s is too large", s.keep)
	}
	b, err := os.ReadFile(s.keep)
	if err != nil {
		return nil, err
	}
	head, rest, _ := bytes.Cut(b, []byte("\n"))
	var v fetch.Version
	if text, ok := bytes.CutPrefix(head, []byte(keptMark)); !ok || json.Unmarshal(text, &v) != nil {
		return nil, fmt.Errorf("%s is not a kept list", s.keep)
	}
	st, err := s.source.judge(rest, -1)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.keep, err)
	}
	st.got, st.version = notAfter(info.ModTime(), time.Now()), v
	s.kept = st.sum
	return st, nil
}
