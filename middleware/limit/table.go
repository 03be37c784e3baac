package limit

import (
	"hash/maphash"
	"math"
	"sync"
	"time"
)

// ways is how many slots a network can be kept in.
const ways = 16

// slot keeps the bucket of one network under one policy.
type slot struct {
	key Key // key.policy is 0 if the slot is free
	b   bucket
}

// shard is a part of the table of networks. The table is of a fixed size. A
// bucket that has drained can be forgotten, for a new one is just like it. Where
// a set is full of others, one gives way, and its level goes into the shard's
// water mark of its policy.
//
// Whoever is not in the table starts from the water mark: it drains at the
// policy's rate, and no bucket that was evicted since can hold more. So nobody
// gains from being evicted, or from having others evicted, however many
// addresses he has; at worst, newcomers of that shard and policy wait as long
// as the fullest of the evicted would have to. Without evictions the mark is
// zero.
type shard struct {
	mu    sync.Mutex
	slots []slot
	tags  []uint16 // of the slots, 0 of free ones: a look-up reads these, and one slot
	marks []bucket // by policy
	_     [40]byte
}

// setOf is where a network belongs, and the tag of its slot. The hash is seeded,
// so that nobody can choose addresses that meet in one set.
func (s *Store) setOf(k *Key) (sh uint32, set uint32, tag uint16) {
	h := maphash.Comparable(s.seed, *k)
	return uint32(h>>32) & uint32(len(s.shards)-1), uint32((h & math.MaxUint32) * uint64(s.sets) >> 32), uint16(h) | 1
}

// find is the slot of a network, or nil.
func (sh *shard) findLocked(k *Key, set uint32, tag uint16) *slot {
	if sh.slots == nil {
		return nil
	}
	tags := (*[ways]uint16)(sh.tags[set*ways:])
	for i := range tags {
		if tags[i] == tag {
			if sl := &sh.slots[set*ways+uint32(i)]; sl.key == *k {
				return sl
			}
		}
	}
	return nil
}

// levelLocked is what a network has in use; sl is its slot, or nil.
func (sh *shard) levelLocked(k *Key, sl *slot, now int64, t *terms) int64 {
	if sl != nil {
		return sl.b.at(now, t)
	}
	if int(k.policy) < len(sh.marks) {
		return sh.marks[k.policy].at(now, t)
	}
	return 0
}

// putLocked keeps a network's bucket, in the slot where it was found, unless that
// has gone to another limit of the same request.
func (s *Store) putLocked(at *place, k *Key, b bucket) {
	sh := at.shard
	if sl := at.slot; sl != nil && sl.key == *k {
		sl.b = b
		return
	}
	if sh.slots == nil { // most gateways never see so many networks that all shards are used
		sh.slots, sh.tags = make([]slot, s.sets*ways), make([]uint16, s.sets*ways)
	}
	policies := *s.policies.Load()
	i := at.set*ways + uint32(sh.victimLocked(k, at.set, b.last, policies))
	sl := &sh.slots[i]
	if sl.key.policy != 0 {
		former := policies[sl.key.policy]
		former.networks.Add(-1)
		t := former.terms.Load()
		if level := sl.b.at(b.last, t); level > 0 {
			former.evictions.Add(1)
			sh.raiseLocked(sl.key.policy, bucket{level, b.last}, t, len(policies))
		}
	}
	policies[k.policy].networks.Add(1)
	*sl = slot{key: *k, b: b}
	sh.tags[i] = at.tag
}

// victimLocked chooses the slot for a newcomer: a free one, a drained one, or one
// of the policy that has taken most of the set, so that a flood on one service
// leaves the clients of others their places; of those the one that would drain
// first.
func (sh *shard) victimLocked(k *Key, set uint32, now int64, policies []*Policy) int {
	slots := (*[ways]slot)(sh.slots[set*ways:])
	var after [ways]time.Duration // until the slot would drain
	for i := range slots {
		sl := &slots[i]
		if sl.key.policy == 0 {
			return i
		}
		t := policies[sl.key.policy].terms.Load()
		level := sl.b.at(now, t)
		if level == 0 {
			return i
		}
		after[i] = until(level, &t.rate)
	}
	best, most := 0, 0
	for i := range slots {
		taken := 0
		for j := range slots {
			if slots[j].key.policy == slots[i].key.policy {
				taken++
			}
		}
		if slots[i].key.policy == k.policy {
			taken++ // the newcomer
		}
		if taken > most || taken == most && after[i] < after[best] {
			best, most = i, taken
		}
	}
	return best
}

// raiseLocked raises the water mark of a policy to a bucket's level.
func (sh *shard) raiseLocked(policy uint32, b bucket, t *terms, policies int) {
	if int(policy) >= len(sh.marks) {
		grown := make([]bucket, policies)
		copy(grown, sh.marks)
		sh.marks = grown
	}
	m := &sh.marks[policy]
	m.level, m.last = max(b.level, m.at(b.last, t)), b.last
}
