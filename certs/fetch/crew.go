package fetch

import (
	"context"
	"sync"
)

// Crew gives each source that is in use a goroutine of its own, so that
// a slow source holds up no other.
type Crew[T comparable] struct {
	mu     sync.Mutex
	active map[T]bool
	wake   chan struct{}
}

// NewCrew makes a Crew without work.
func NewCrew[T comparable]() *Crew[T] { return &Crew[T]{wake: make(chan struct{}, 1)} }

// Use makes active the things that are worked on.
func (c *Crew[T]) Use(active map[T]bool) {
	c.mu.Lock()
	c.active = active
	c.mu.Unlock()
	Nudge(c.wake)
}

// Run has work done for everything active until ctx ends, and waits for it.
func (c *Crew[T]) Run(ctx context.Context, work func(context.Context, T)) {
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

// Nudge leaves a message for who waits on a channel of length one.
func Nudge(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
