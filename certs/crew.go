package certs

import (
	"context"
	"sync"
)

// crew gives each thing that the active set uses a goroutine of its own, so that
// a slow source holds up no other.
type crew[T comparable] struct {
	mu     sync.Mutex
	active map[T]bool
	wake   chan struct{}
}

func newCrew[T comparable]() *crew[T] { return &crew[T]{wake: make(chan struct{}, 1)} }

// use makes active the things that are worked on.
func (c *crew[T]) use(active map[T]bool) {
	c.mu.Lock()
	c.active = active
	c.mu.Unlock()
	nudge(c.wake)
}

// run has work done for everything active until ctx ends, and waits for it.
func (c *crew[T]) run(ctx context.Context, work func(context.Context, T)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	running := map[T]context.CancelFunc{}
	for {
		c.mu.Lock()
		active := c.active
		c.mu.Unlock()
		for t, stop := range running {
			if !active[t] {
				stop()
				delete(running, t)
			}
		}
		for t := range active {
			if running[t] == nil {
				its, stop := context.WithCancel(ctx)
				running[t] = stop
				wg.Go(func() { work(its, t) })
			}
		}
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return
		case <-c.wake:
		}
	}
}

// nudge leaves a message for who waits on a channel of length one.
func nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
