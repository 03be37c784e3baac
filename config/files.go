package config

import (
	"encoding/hex"
	"fmt"
	"hash"
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// Files are the files that a configuration was read from, wherever they are,
// and those that it would have been read from if they had been there: YAML,
// certificates, keys, authorities and secrets. A change of anything on the way
// to a file, such as a symbolic link, counts as one of the file. Revocation lists
// are among them only while they can't be used: package certs follows the others.
type Files struct {
	paths    []string // in the order in which they were looked at
	patterns []string // of include
	then     map[string]string
}

func newFiles() *Files { return &Files{then: map[string]string{}} }

// note remembers what stands at path, before it is read.
func (f *Files) note(path string) {
	if _, ok := f.then[path]; !ok {
		f.paths = append(f.paths, path)
		f.then[path] = fileState(path)
	}
}

// notePattern remembers which files a pattern found.
func (f *Files) notePattern(pattern string) {
	if _, ok := f.then[pattern]; !ok {
		f.patterns = append(f.patterns, pattern)
		f.then[pattern] = patternState(pattern)
	}
}

// State is the same as long as no file changes; it costs one system call for
// each.
func (f *Files) State() string {
	return f.state(fileState, patternState)
}

// Changed reports whether a file is no longer as it was when it was read.
func (f *Files) Changed() bool {
	then := func(name string) string { return f.then[name] }
	return f.State() != f.state(then, then)
}

func (f *Files) state(file, pattern func(string) string) string {
	h := fnv.New128a()
	for _, p := range f.paths {
		part(h, file(p))
	}
	for _, p := range f.patterns {
		part(h, pattern(p))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func part(h hash.Hash, s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }

// fileState tells the versions of a file apart: those that were written, and
// those that took the place of another.
func fileState(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "none"
	}
	s := fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), " ", info.Mode())
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		s += fmt.Sprint(" ", st.Dev, " ", st.Ino)
	}
	return s
}

func patternState(pattern string) string {
	found, _ := filepath.Glob(pattern)
	slices.Sort(found)
	h := fnv.New128a()
	for _, name := range found {
		part(h, name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
