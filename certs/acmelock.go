package certs

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway/store"
)

// The scripts touch a lock only if it is still that of whoever asks.
const (
	lockRenewScript   = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0`
	lockReleaseScript = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`
)

// Lock implements certmagic.Locker. A lock ends half a minute after its holder
// did. Whoever lost one, as after a pause of the process, may still finish what
// it began: certmagic looks again whether something is left to do once it has
// a lock, so that the worst is a second certificate.
func (s *sharedStorage) Lock(ctx context.Context, name string) error {
	for {
		if ok, err := s.TryLock(ctx, name); ok || err != nil {
			return err
		}
		timer := time.NewTimer(lockRetry)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// TryLock implements certmagic.TryLocker.
func (s *sharedStorage) TryLock(ctx context.Context, name string) (bool, error) {
	c, _, err := s.client()
	if err != nil {
		return false, err
	}
	h := &heldLock{token: rand.Text(), done: make(chan struct{})}
	ok, err := c.SetNew(ctx, c.Key("acme-lock:"+name), h.token, lockLife)
	if !ok || err != nil {
		return false, err
	}
	ctx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.mu.Lock()
	s.locks[name] = h
	s.mu.Unlock()
	go func() {
		defer close(h.done)
		s.renew(ctx, name, h)
	}()
	return true, nil
}

// renew keeps a lock until it is given back.
func (s *sharedStorage) renew(ctx context.Context, name string, h *heldLock) {
	script := store.NewScript(lockRenewScript)
	tick := time.NewTicker(lockRenew)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c, _, err := s.client()
		if err != nil {
			continue // it may come back before the lock ends
		}
		v, err := c.Run(ctx, script, c.Key("acme-lock:"+name), h.token, lockLife.Milliseconds())
		if n, _ := v.(int64); err == nil && n == 0 {
			s.log.Warn("a lock in the store was lost; another node may obtain the same certificate", zap.String("lock", name))
			return
		}
	}
}

// Unlock implements certmagic.Locker.
func (s *sharedStorage) Unlock(ctx context.Context, name string) error {
	s.mu.Lock()
	h := s.locks[name]
	delete(s.locks, name)
	s.mu.Unlock()
	if h == nil {
		return errors.New("the lock " + name + " is not held")
	}
	h.cancel()
	<-h.done
	c, _, err := s.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockWrite)
	defer cancel()
	_, err = c.Run(ctx, store.NewScript(lockReleaseScript), c.Key("acme-lock:"+name), h.token)
	return err
}
