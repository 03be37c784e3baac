package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/gateway/admin"
)

// keptFile is where the last good configuration is kept.
func keptFile(stateDir string) string { return filepath.Join(stateDir, "last-good.json") }

// begin applies the configuration on disk and opens the admin listener. If it
// can't be used, the last good one is, until the files are right; but not by a
// process that is to take over, for then the running one serves on.
func begin(o runOptions, r *reloader, in *gateway.Inheritance, ao admin.Options) (*admin.Server, error) {
	cfg, err := config.Load(o.Config)
	kept := readKept(o, r)
	if err != nil && kept != nil {
		if c, err2 := kept.Load(o.Config); err2 == nil {
			r.log.Error("files of the configuration are refused; their last good versions are in force", zap.Error(err), zap.Time("kept", kept.Saved))
			cfg, err = c, nil
		}
	}
	if err == nil {
		var a *admin.Server
		if a, err = apply(cfg, r, ao); err == nil {
			return a, nil
		}
	}
	if kept == nil || in.FromProcess() {
		return nil, err
	}
	good, err2 := kept.LoadKept()
	if err2 != nil {
		return nil, errors.Join(err, fmt.Errorf("the last good configuration can't be used either:\n%w", err2))
	}
	a, err2 := apply(good, r, ao)
	if err2 != nil {
		return nil, errors.Join(err, fmt.Errorf("the last good configuration can't be used either: %w", err2))
	}
	r.gateway.ReloadFailed(err)
	var mistakes *config.Errors
	switch {
	case errors.As(err, &mistakes):
		r.read = mistakes.Read
	case cfg != nil:
		r.read = cfg.Read
	}
	r.log.Error("configuration refused; the last good one is in force", zap.Error(err), zap.String("hash", good.Hash), zap.Time("kept", kept.Saved))
	return a, nil
}

func readKept(o runOptions, r *reloader) *config.Kept {
	if !o.LastGood {
		return nil
	}
	k, err := config.ReadKept(r.kept)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		r.log.Warn("the last good configuration can't be read", zap.Error(err))
		return nil
	case !k.Of(o.Config):
		return nil // the state folder serves another configuration now
	}
	return k
}

// apply makes c the first configuration in force.
func apply(c *config.Config, r *reloader, ao admin.Options) (*admin.Server, error) {
	a, err := admin.Listen(c.Admin, ao)
	if err != nil {
		return nil, err
	}
	if err := r.gateway.Apply(c); err != nil {
		a.Close()
		return nil, err
	}
	for _, w := range c.Warnings {
		r.log.Warn("configuration", zap.String("at", fmt.Sprintf("%s:%d:%d", w.File, w.Line, w.Column)), zap.String("message", w.Message))
	}
	r.read = c.Read
	r.use(c)
	return a, nil
}
