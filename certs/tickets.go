package certs

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

// turnEvery is how long a session ticket key encrypts. It decrypts for as long
// again.
const turnEvery = 12 * time.Hour

// tickets are the secrets from which session ticket keys derive. They never
// leave the process, and a former one can't be computed from a later one.
type tickets struct {
	mu          sync.Mutex
	now, former [32]byte
}

func newTickets() *tickets {
	t := &tickets{}
	rand.Read(t.now[:])
	rand.Read(t.former[:])
	return t
}

// keys are the ticket keys of a label: what encrypts, and what may still decrypt.
func (t *tickets) keys(label string) [][32]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	derive := func(secret [32]byte) [32]byte {
		h := hmac.New(sha256.New, secret[:])
		h.Write([]byte(label))
		return [32]byte(h.Sum(nil))
	}
	return [][32]byte{derive(t.now), derive(t.former)}
}

func (t *tickets) turn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.former = t.now
	rand.Read(t.now[:])
}

// turnTickets turns the keys over until ctx ends.
func (m *Manager) turnTickets(ctx context.Context) {
	tick := time.NewTicker(turnEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.tickets.turn()
			if s := m.active.Load(); s != nil {
				s.rekey()
			}
		}
	}
}
