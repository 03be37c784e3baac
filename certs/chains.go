package certs

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// Bounds of the kept chains.
const (
	chainAge  = 50 * time.Second
	maxChains = 4096
)

// chains keeps the verified chains of recent clients, for signatures are a
// fifth of what their handshake costs.
//
// What makes it safe: it belongs to one Set, whose authorities never change, so
// it is gone with them. Only good chains are kept, under a digest of every byte
// that the client sent and the organization whose authorities were asked. An
// entry lasts for less than a minute, never outside of the validity of any
// certificate of its chain, and not when the wall clock went back. Only the
// signatures are spared: identifier, usage, revocation and agreement are looked
// at each time. An entry holds no memory of the client's.
type chains struct {
	mu   sync.Mutex
	kept map[chainKey]keptChain
}

type chainKey struct {
	sent [sha256.Size]byte
	of   *organization
}

// keptChain says of which certificates a chain consists: positions in what the
// client sent, from the leaf up, and at its end an authority.
type keptChain struct {
	at       [maxChain]int8
	n        int
	anchor   *x509.Certificate
	from, to time.Time // wall clock
}

// sentDigest is over all that the client sent, in its order.
func sentDigest(peers []*x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	var n [8]byte
	for _, c := range peers {
		binary.BigEndian.PutUint64(n[:], uint64(len(c.Raw)))
		h.Write(n[:])
		h.Write(c.Raw)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// get is the chain that was verified for k, made of what the client sent now;
// nil if none counts now.
func (cs *chains) get(k chainKey, sent []*x509.Certificate, now time.Time) []*x509.Certificate {
	now = now.Round(0)
	cs.mu.Lock()
	e, ok := cs.kept[k]
	cs.mu.Unlock()
	if !ok || now.Before(e.from) || now.After(e.to) {
		return nil
	}
	chain := make([]*x509.Certificate, 0, e.n+1)
	for _, i := range e.at[:e.n] {
		if int(i) >= len(sent) {
			return nil
		}
		chain = append(chain, sent[i])
	}
	return append(chain, e.anchor)
}

// put keeps a chain that was verified at now.
func (cs *chains) put(k chainKey, chain, sent []*x509.Certificate, now time.Time) {
	now = now.Round(0)
	e := keptChain{n: len(chain) - 1, anchor: chain[len(chain)-1], from: now, to: now.Add(chainAge)}
	for _, c := range chain {
		if c.NotAfter.Before(e.to) {
			e.to = c.NotAfter
		}
	}
	for i, c := range chain[:e.n] {
		at := slices.IndexFunc(sent, c.Equal)
		if at < 0 || i == len(e.at) {
			return // not made of what was sent
		}
		e.at[i] = int8(at)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.kept == nil || len(cs.kept) >= maxChains {
		// Only clients with good certificates come here; starting over is cheap
		// and needs no order.
		cs.kept = make(map[chainKey]keptChain)
	}
	cs.kept[k] = e
}
