package main

import (
	"context"
	"time"
)

const (
	// lookEvery is how often the files of the configuration are looked at. Asking
	// the system for each works the same for mounted volumes, symbolic links that
	// are swapped on the way to a file, and files that are yet to come; being told
	// of changes does not.
	lookEvery = 200 * time.Millisecond
	// lookAtLeast is how often they are looked at however many they are.
	lookAtLeast = 500 * time.Millisecond
	// settle is how long files must have been left alone before they are read:
	// editors and package managers write in several steps.
	settle = 100 * time.Millisecond
	// settleAtMost bounds the wait for files that are never left alone.
	settleAtMost = 2 * time.Second
)

// onChange reloads when a file that the configuration was read from changes,
// wherever it is.
func (r *reloader) onChange(ctx context.Context) {
	wait := lookEvery
	for {
		if !pause(ctx, wait) {
			return
		}
		start := time.Now()
		files := r.files()
		if files.Changed() {
			for now, deadline := "", start.Add(settleAtMost); time.Now().Before(deadline); {
				former := now
				if now = files.State(); now == former {
					break
				}
				if !pause(ctx, settle) {
					return
				}
			}
			r.reload()
			start = time.Now()
		}
		// Many files take long to look at; that must not become what the gateway does.
		wait = min(max(lookEvery, 10*time.Since(start)), lookAtLeast)
	}
}

// pause reports whether ctx lasted for d.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
