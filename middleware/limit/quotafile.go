package limit

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// maxQuotaFile bounds what is read at the start.
const maxQuotaFile = 64 << 20

// kept is what of quotas outlives the process: one file, replaced whole, beside
// the one before it. Both carry a checksum and are on the disk, which takes time.
// See notes for what is newer.
type kept struct {
	unsynced atomic.Bool // something changed since the files were written
	notes    notes

	saving sync.Mutex
	path   string // "" keeps nothing

	mu     sync.Mutex
	former map[[2]string]keptCount // by policy and key: read at the start, and not claimed yet
}

type keptCount struct {
	period Period
	b      bucket
}

// quotaEntry is the count of one key in one period.
type quotaEntry struct {
	Policy string `json:"policy"`
	Key    string `json:"key"`
	Period string `json:"period"` // 2026-11-25 or 2026-11
	Used   int64  `json:"used"`
}

func newEntry(policy, key string, p Period, b bucket) quotaEntry {
	start := time.Unix(b.last*86400, 0).UTC().Format(time.DateOnly)
	if p == Month {
		start = time.Date(1970, time.Month(b.last+1), 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	}
	return quotaEntry{policy, key, start, b.level / one}
}

type quotaFile struct {
	SHA256  string          `json:"sha256"` // of the entries, byte for byte
	Entries json.RawMessage `json:"entries"`
}

// countedLocked notes that a quota was used.
func (k *kept) countedLocked(c *cell) {
	if !k.unsynced.Load() { // a store would take the cache line from everybody
		k.unsynced.Store(true)
	}
	k.notes.changedLocked(c)
}

// claim hands over what was used of a quota before the process began.
func (k *kept) claim(policy, key string, p Period) bucket {
	k.mu.Lock()
	defer k.mu.Unlock()
	id := [2]string{policy, key}
	c := k.former[id]
	delete(k.former, id)
	if c.period != p {
		return bucket{}
	}
	return c.b
}

// LoadQuotas reads what was used of quotas from the file at path, where
// SaveQuotas keeps it from now on. It is called once; what was counted before is
// added. If the file can't be used, the one before it is, and the error says so; it
// never keeps the store from counting.
func (s *Store) LoadQuotas(path string) error {
	s.kept.setPath(path)
	entries, err := readQuotas(path)
	if err != nil {
		var before error
		entries, before = readQuotas(path + ".before")
		switch {
		case errors.Is(err, fs.ErrNotExist) && errors.Is(before, fs.ErrNotExist):
			err = nil // the first start, or a first one that was cut short
		case before != nil:
			err = fmt.Errorf("what was used of quotas is lost, all of them begin anew: %w", errors.Join(err, before))
		default:
			err = fmt.Errorf("quotas go on from the last file but one: %w", err)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			os.Rename(path, path+".bad") // for whoever wants to look
		}
	}
	entries = append(entries, readNotes(path+latest)...)
	former := map[[2]string]keptCount{}
	for _, e := range entries {
		id := [2]string{e.Policy, e.Key}
		if c, ok := e.bucket(); ok && c.after(former[id]) {
			former[id] = c
		}
	}
	s.kept.mu.Lock()
	s.kept.former = former
	s.kept.mu.Unlock()
	s.addFormer()
	return err
}

// addFormer adds what was used before to the keys that exist already.
func (s *Store) addFormer() {
	today := s.calendar.at(int64(s.now()))
	for _, p := range (*s.policies.Load())[1:] {
		if p.period == 0 {
			continue
		}
		for _, c := range *p.cells.Load() {
			before := cell{b: s.kept.claim(p.name, c.name, p.period)}
			if used := before.usedLocked(p.period, today); used > 0 {
				c.mu.Lock()
				c.b.level = c.usedLocked(p.period, today) + used
				s.kept.countedLocked(c)
				c.mu.Unlock()
			}
		}
	}
}

// LeaveQuotas saves what is used, for another process. Nothing is saved from then
// on.
func (s *Store) LeaveQuotas() error {
	err := s.SaveQuotas()
	s.kept.setPath("")
	return err
}

func (k *kept) setPath(path string) {
	k.saving.Lock()
	defer k.saving.Unlock()
	k.path = path
	if path != "" {
		path += latest
	}
	k.notes.setPath(path)
}

// after reports whether c is a later count of the same quota. A quota whose period
// was changed begins anew.
func (c keptCount) after(o keptCount) bool {
	return c.period != o.period || c.b.last > o.b.last || c.b.last == o.b.last && c.b.level > o.b.level
}

func (e *quotaEntry) bucket() (keptCount, bool) {
	used := min(max(e.Used, 0), maxBurst) * one
	if t, err := time.Parse(time.DateOnly, e.Period); err == nil {
		return keptCount{Day, bucket{used, dayOf(t)}}, true
	}
	t, err := time.Parse("2006-01", e.Period)
	return keptCount{Month, bucket{used, monthOf(t)}}, err == nil
}

func readQuotas(path string) (entries []quotaEntry, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxQuotaFile {
		return nil, fmt.Errorf("%s is too large", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f quotaFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if sum := sha256.Sum256(f.Entries); f.SHA256 != hex.EncodeToString(sum[:]) {
		return nil, fmt.Errorf("%s: its checksum does not fit", path)
	}
	if err := json.Unmarshal(f.Entries, &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// SaveQuotas keeps what is used of quotas, if anything changed since the last
// time. It is on the disk when SaveQuotas returns.
func (s *Store) SaveQuotas() error {
	k := &s.kept
	k.saving.Lock()
	defer k.saving.Unlock()
	if k.path == "" || !k.unsynced.Swap(false) {
		return nil
	}
	err := k.write(s.quotas())
	if err != nil {
		k.unsynced.Store(true) // try again
	}
	return err
}

// quotas lists what is used, also of quotas that are not configured any more but
// may be again before their period ends.
func (s *Store) quotas() []quotaEntry {
	entries := []quotaEntry{}
	today := s.calendar.at(int64(s.now()))
	add := func(policy, key string, p Period, b bucket) { entries = append(entries, newEntry(policy, key, p, b)) }
	for _, p := range (*s.policies.Load())[1:] {
		if p.period == 0 {
			continue
		}
		for _, c := range *p.cells.Load() {
			c.mu.Lock()
			c.usedLocked(p.period, today)
			b := c.b
			c.mu.Unlock()
			if b.level > 0 {
				add(p.name, c.name, p.period, b)
			}
		}
	}
	s.kept.mu.Lock()
	defer s.kept.mu.Unlock()
	for id, c := range s.kept.former {
		if c.period == Day && c.b.last >= today.day || c.period == Month && c.b.last >= today.month {
			add(id[0], id[1], c.period, c.b)
		}
	}
	return entries
}

// write replaces the file; the former one stays beside it.
func (k *kept) write(entries []quotaEntry) error {
	list, err := json.Marshal(entries)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(list)
	f, err := createFile(k.path + ".new")
	if err != nil {
		return err
	}
	if _, err = fmt.Fprintf(f, "{\"sha256\":%q,\"entries\":%s}\n", hex.EncodeToString(sum[:]), list); err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err != nil {
		return err
	}
	if err := os.Rename(k.path, k.path+".before"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(f.Name(), k.path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(k.path)) // the names, too, have to reach the disk
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// createFile makes a new file that others can't read, and its folder.
func createFile(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}
