package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Kept is what the files of a configuration held that was in force: for a start
// while the files on disk can't be used. Secrets are not in it, for files hold
// only references to them; certificates and keys are not either.
type Kept struct {
	Main  string     `json:"main"` // path of the main file
	Hash  string     `json:"hash"`
	Saved time.Time  `json:"saved"`
	Files []KeptFile `json:"files"` // the main file is the first
}

// KeptFile is one file, by its path relative to the main file's folder.
type KeptFile struct {
	Path    string `json:"path"`
	Content string `json:"content"`
}

const maxKept = 256 << 20

// Keep writes what c was read from to a file, whole or not at all. It does
// nothing if the file holds it already.
func (c *Config) Keep(path string) error {
	k := Kept{Main: filepath.Join(c.Dir, c.Files[0].Path), Hash: c.Hash, Saved: time.Now().UTC().Round(time.Second)}
	for _, f := range c.Files {
		k.Files = append(k.Files, KeptFile{f.Path, string(c.good[f.Path])})
	}
	if former, err := ReadKept(path); err == nil && former.same(&k) {
		return nil
	}
	b, err := json.Marshal(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (k *Kept) same(o *Kept) bool {
	if k.Main != o.Main || k.Hash != o.Hash || len(k.Files) != len(o.Files) {
		return false
	}
	for i := range k.Files {
		if k.Files[i] != o.Files[i] {
			return false
		}
	}
	return true
}

// ReadKept reads what Keep wrote. If nothing was kept, the error is fs.ErrNotExist.
func ReadKept(path string) (*Kept, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKept {
		return nil, fmt.Errorf("%s is too large", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k := new(Kept)
	if err := json.Unmarshal(b, k); err != nil || len(k.Files) == 0 {
		return nil, fmt.Errorf("%s is damaged", path)
	}
	return k, nil
}

// Of reports whether k is of the configuration at path.
func (k *Kept) Of(path string) bool {
	main, err := mainFile(path)
	abs, err2 := filepath.Abs(path)
	return err == nil && main == k.Main || err2 == nil && filepath.Join(abs, "vazel.yaml") == k.Main
}

// Load loads the configuration on disk, but a drop-in file with a mistake has
// its kept version, as with LoadWith.
func (k *Kept) Load(path string) (*Config, error) { return LoadWith(k.previous(), path) }

func (k *Kept) previous() *Config {
	c := &Config{good: map[string][]byte{}}
	for _, f := range k.Files {
		c.Files = append(c.Files, FileStatus{f.Path, true})
		c.good[f.Path] = []byte(f.Content)
	}
	return c
}

// LoadKept loads what was kept. Config.Files says which files are otherwise on
// disk. Certificates, authorities and secrets are read from disk, and a mistake
// in them is an error.
func (k *Kept) LoadKept() (*Config, error) {
	c, err := load(k.Main, k.previous().good, nil, newFiles(), k)
	if err != nil {
		return nil, err
	}
	for i, path := range c.Sources() {
		b, err := readBounded(path)
		c.Files[i].Valid = err == nil && bytes.Equal(bytes.TrimPrefix(b, byteOrderMark), c.good[c.Files[i].Path])
	}
	return c, nil
}

// included lists the paths of the files other than the main one.
func (k *Kept) included(dir string) (paths []string) {
	for _, f := range k.Files[1:] {
		if p := f.Path; filepath.IsAbs(p) {
			paths = append(paths, p)
		} else {
			paths = append(paths, filepath.Join(dir, p))
		}
	}
	return paths
}
