package limit

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// latest ends the name of the file of notes.
const latest = ".latest"

// notes are what of quotas was used lately: a file with a line for each change,
// written within a moment and left to the system, so that a process that is
// killed forgets next to nothing. Counts only grow, so of several lines about one
// quota the highest is right.
type notes struct {
	wake chan struct{} // something changed

	mu   sync.Mutex
	list []*cell // that changed

	file sync.Mutex // guards what follows
	path string     // "" keeps nothing
	f    *os.File   // open once there was something to write
	size int
}

const (
	// noteEvery is the time between two writes, each of which takes some ten microseconds.
	noteEvery = 500 * time.Microsecond
	// maxNotes is how large the file grows before it is written anew.
	maxNotes = 1 << 20
)

// changedLocked is called with the cell locked.
func (n *notes) changedLocked(c *cell) {
	if c.noted {
		return
	}
	c.noted = true
	n.mu.Lock()
	n.list = append(n.list, c)
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

func (n *notes) setPath(path string) {
	n.file.Lock()
	defer n.file.Unlock()
	n.path = path
	n.closeLocked()
}

func (n *notes) closeLocked() {
	if n.f != nil {
		n.f.Close()
		n.f = nil
	}
}

// NoteQuotas writes down what is used of quotas as soon as it is, until ctx ends,
// without waiting for the disk. What is noted outlives the process, but maybe
// not the machine. What is wrong with the folder SaveQuotas tells.
func (s *Store) NoteQuotas(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kept.notes.wake:
		}
		s.noteQuotas()
		t.Reset(noteEvery)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func (s *Store) noteQuotas() error {
	n := &s.kept.notes
	n.file.Lock()
	defer n.file.Unlock()
	if n.path == "" {
		return nil
	}
	n.mu.Lock()
	changed := n.list
	n.list = nil
	n.mu.Unlock()
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, c := range changed {
		c.mu.Lock()
		c.noted = false
		used := c.b
		c.mu.Unlock()
		if err := lines.Encode(newEntry(c.policy.name, c.name, c.policy.period, used)); err != nil {
			return err
		}
	}
	if n.f == nil || n.size > maxNotes {
		if err := s.beginNotesLocked(); err != nil {
			return err
		}
	}
	w, err := n.f.Write(b.Bytes())
	if n.size += w; err != nil {
		n.closeLocked() // a line may be torn: the next ones go to another file
	}
	return err
}

// beginNotesLocked begins the file anew, with all that is used.
func (s *Store) beginNotesLocked() error {
	n := &s.kept.notes
	n.closeLocked()
	f, err := createFile(n.path + ".new")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, e := range s.quotas() {
		if err = lines.Encode(e); err != nil {
			break
		}
	}
	if err == nil {
		_, err = f.Write(b.Bytes())
	}
	if err == nil {
		err = os.Rename(f.Name(), n.path)
	}
	if err != nil {
		f.Close()
		return err
	}
	n.f, n.size = f, b.Len()
	return nil
}

// readNotes reads what can be read of a file of notes.
func readNotes(path string) (entries []quotaEntry) {
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxQuotaFile {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range bytes.Lines(b) {
		var e quotaEntry
		if json.Unmarshal(line, &e) == nil && bytes.HasSuffix(line, []byte("}\n")) {
			entries = append(entries, e)
		}
	}
	return entries
}
