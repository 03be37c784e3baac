package main

import (
	"context"
	"path/filepath"
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
	watched := map[string]bool{}
	watch := func() {
		r.mu.Lock()
		dirs := folders(r.current)
		r.mu.Unlock()
		for d := range dirs {
			if !watched[d] {
				if err := w.Add(d); err != nil {
					r.log.Warn("folder is not watched", zap.String("folder", d), zap.Error(err))
				}
				watched[d] = true
			}
		}
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
			r.reload()
			watch()
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
	return filepath.Base(name) == "..data" // Kubernetes swaps this link
}

// folders lists where the files of a configuration are.
func folders(c *config.Config) map[string]bool {
	dirs := map[string]bool{c.Dir: true}
	for _, f := range c.Sources() {
		dirs[filepath.Dir(f)] = true
	}
	return dirs
}
