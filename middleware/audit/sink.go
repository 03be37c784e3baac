package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
)

// sink is where records go.
type sink struct {
	path string
	f    *os.File
	file bool  // a regular file: it can be cut, locked and synced
	size int64 // of whole records
	torn bool  // the last attempt may have left a part of a line
	own  bool  // no other process may open it
}

// openSink opens path, finds where its chain ends, and says what its first new
// record has to tell. A file without a record continues the chain t.
//
// With share, another process may write to the file: the one that is taken over
// from. Both go on with one chain, for each reads the end of it under a lock.
func openSink(path string, t tip, key []byte, share bool) (s *sink, from tip, opened *note, err error) {
	opened = &note{Event: "opened"}
	switch path {
	case "off", "":
		return nil, t, nil, nil
	case "stdout":
		return &sink{path: path, f: os.Stdout}, t, opened, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return nil, t, nil, fmt.Errorf("audit_log: %w", err)
	}
	s = &sink{path: path, f: f}
	if from, err = s.begin(t, key, opened, share); err != nil {
		f.Close()
		return nil, t, nil, fmt.Errorf("audit_log: %s: %w", path, err)
	}
	return s, from, opened, nil
}

// begin finds the end of the chain in a file. What a crash left of a record is
// cut off, for nothing could be written behind it; the next record tells of it.
func (s *sink) begin(t tip, key []byte, opened *note, share bool) (tip, error) {
	info, err := s.f.Stat()
	if err != nil {
		return t, err
	}
	if !info.Mode().IsRegular() {
		if info.IsDir() {
			return t, errors.New("is a folder")
		}
		return t, nil // a pipe or terminal
	}
	s.file = true
	if s.own = lock(s.f) == nil; !s.own && !share {
		return t, errors.New("another process writes to this file")
	}
	release := exclude(s.f)
	defer release()
	if info, err = s.f.Stat(); err != nil {
		return t, err
	}
	s.size = info.Size()
	const most = 1 << 20
	from := max(0, s.size-most)
	b := make([]byte, s.size-from)
	if _, err := s.f.ReadAt(b, from); err != nil && err != io.EOF {
		return t, err
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	if end == 0 && from > 0 {
		return t, errors.New("is not an audit log; name another file")
	}
	if part := b[end:]; len(part) > 0 {
		const start = `{"sequence":`
		if n := min(len(part), len(start)); string(part[:n]) != start[:n] && !allZero(part) {
			return t, errors.New("is not an audit log; name another file")
		}
		sum := sha256.Sum256(part)
		opened.Cut, opened.CutHash = len(part), hex.EncodeToString(sum[:])
	}
	if end > 0 {
		last := b[:end-1]
		last = last[bytes.LastIndexByte(last, '\n')+1:]
		h, sum, good, err := read(last, key)
		if err != nil {
			return t, errors.New("the last line is not an audit record; name another file, or move this one away")
		}
		opened.Doubtful = !good
		t = tip{h.Sequence, sum}
	}
	if opened.Cut > 0 {
		s.size = from + int64(end)
		if err := s.f.Truncate(s.size); err != nil {
			return t, err
		}
	}
	return t, nil
}

// enter keeps other processes from writing until release is called, and returns
// the end of the chain: t, or what another process has written since.
func (s *sink) enter(t tip, key []byte) (tip, func()) {
	if !s.file {
		return t, func() {}
	}
	if !s.own {
		s.own = lock(s.f) == nil
	}
	release := exclude(s.f)
	info, err := s.f.Stat()
	if err != nil || info.Size() <= s.size || s.torn {
		return t, release
	}
	b := make([]byte, min(info.Size(), 1<<20))
	if _, err := s.f.ReadAt(b, info.Size()-int64(len(b))); err != nil && err != io.EOF {
		return t, release
	}
	b = bytes.TrimSuffix(b[:bytes.LastIndexByte(b, '\n')+1], []byte{'\n'})
	if h, sum, good, err := read(b[bytes.LastIndexByte(b, '\n')+1:], key); err == nil && good && h.Sequence > t.sequence {
		t = tip{h.Sequence, sum}
	}
	return t, release
}

// allZero is what a file system may leave of a write that a power failure
// interrupted.
func allZero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

// write writes lines, all or none of them.
func (s *sink) write(lines []byte) error {
	if err := s.mend(); err != nil {
		return err
	}
	if !s.file {
		// One by one: others may write to the same pipe, and up to PIPE_BUF bytes
		// stay together.
		for len(lines) > 0 {
			n := bytes.IndexByte(lines, '\n') + 1
			if _, err := s.f.Write(lines[:n]); err != nil {
				s.torn = true
				return err
			}
			lines = lines[n:]
		}
		return nil
	}
	info, err := s.f.Stat() // somebody may have emptied the file
	if err != nil {
		return err
	}
	s.size = info.Size()
	n, err := s.f.Write(lines)
	if err != nil {
		s.torn = n > 0
		s.mend()
		return err
	}
	s.size += int64(n)
	return nil
}

// mend removes what a failed attempt left.
func (s *sink) mend() error {
	if !s.torn {
		return nil
	}
	var err error
	if s.file {
		err = s.f.Truncate(s.size)
	} else {
		_, err = s.f.WriteString("\n")
	}
	if err == nil {
		s.torn = false
	}
	return err
}

// probe reports whether writing is likely to succeed.
func (s *sink) probe() error {
	if err := s.mend(); err != nil {
		return err
	}
	return s.sync()
}

func (s *sink) sync() error {
	if !s.file {
		return nil
	}
	return s.f.Sync()
}

// current reports whether the path still leads to what is open.
func (s *sink) current() bool {
	if s.path == "stdout" {
		return true
	}
	a, err := s.f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(s.path)
	return err == nil && os.SameFile(a, b)
}

func (s *sink) kind() string {
	if s.path == "stdout" {
		return "stdout"
	}
	return "file"
}

func (s *sink) close() {
	if s.path != "stdout" {
		s.f.Close()
	}
}
