package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/fsnotify/fsnotify"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
)

// settle is how long files must be left alone before they are read: editors and
// package managers write in several steps.
const settle = 300 * time.Millisecond

// onChange reloads when a file of the configuration changes. It watches folders,
// for editors and Kubernetes replace files by renaming others over them.
func (r *reloader) onChange(ctx context.Context) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		r.log.Warn("configuration files are not watched; use SIGHUP or vazel reload", zap.Error(err))
		return
	}
	defer w.Close()
	// watch adds what is to be watched now, and reports whether anything was not
	// watched before. A folder that was replaced by another of its name is a new
	// one to the system, so all are added each time.
	watch := func() (more bool) {
		former := w.WatchList()
		for d := range r.folders() {
			if err := w.Add(d); err != nil {
				r.log.Warn("folder is not watched", zap.String("folder", d), zap.Error(err))
			} else if !slices.Contains(former, d) {
				more = true
			}
		}
		return more
	}
	watch()
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return
			}
			if e.Op != fsnotify.Chmod && r.concerns(e.Name) {
				timer.Reset(settle)
			}
		case err, ok := <-w.Errors:
			if !ok {
				return
			}
			r.log.Warn("watching configuration files", zap.Error(err))
			timer.Reset(settle)
		case <-timer.C:
			watch()
			r.reload()
			if watch() { // what came into a new folder meanwhile was not told
				timer.Reset(settle)
			}
		case <-ctx.Done():
			return
		}
	}
}

// concerns reports whether a change of the file may change the configuration:
// logs and state in the same folder do not.
func (r *reloader) concerns(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".pem", ".crt", ".cer", ".key", ".crl":
		return true
	}
	if filepath.Base(name) == "..data" { // Kubernetes swaps this link
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range includeFolders(r.current) {
		if ok, _ := filepath.Match(f, name); ok {
			return true
		}
	}
	return false
}

// folders lists where the files of the configuration are or may come to be.
func (r *reloader) folders() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	dirs := map[string]bool{r.current.Dir: true}
	for _, f := range r.current.Sources() {
		dirs[filepath.Dir(f)] = true
	}
	for _, f := range r.refused {
		dirs[filepath.Dir(filepath.Join(r.current.Dir, f))] = true
	}
	for _, pattern := range includeFolders(r.current) {
		found, _ := filepath.Glob(pattern)
		for _, f := range found {
			if info, err := os.Stat(f); err == nil && info.IsDir() {
				dirs[f] = true
			}
		}
	}
	return dirs
}

// includeFolders lists the folders of the patterns of include and, as these may
// be made later, those above them. They may be patterns themselves.
func includeFolders(c *config.Config) (patterns []string) {
	for _, p := range c.Include {
		if !filepath.IsAbs(p) {
			p = filepath.Join(c.Dir, p)
		}
		for d := filepath.Dir(p); d != c.Dir && d != filepath.Dir(d); d = filepath.Dir(d) {
			patterns = append(patterns, d)
		}
	}
	return patterns
}
