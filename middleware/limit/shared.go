package limit

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway/store"
)

//go:embed lease.lua
var leaseSource string

const (
	askers     = 16   // questions that may be under way
	mostAsked  = 8192 // keys that may wait for one of them
	probeEvery = time.Second
	probeDown  = 250 * time.Millisecond // while the store can't be used
	sweepEvery = 250 * time.Millisecond
	askTimeout = 1200 * time.Millisecond
	leaveTime  = time.Second // to give back leases when the process ends
)

// shared is the part of a Store that other nodes have a part in: the counts of
// configured keys. Requests never wait for it.
type shared struct {
	script      *store.Script
	quotaScript *store.Script
	mu          sync.Mutex              // serializes changes of what follows
	now         atomic.Pointer[sharing] // nil while there is no store
	change      chan struct{}           // another one is in force, or the store was lost
	questions   chan *cell
	phase       atomic.Uint64 // even while the store can be used; grows with each change
	since       atomic.Int64  // when it changed last
	err         error         // why it was lost last
	suspect     string        // key that could not be asked about then
}

// sharing is one way to share.
type sharing struct {
	*shared
	client    *store.Client
	nodes     int64
	onFailure string
}

func (s *shared) init() {
	s.script, s.quotaScript = store.NewScript(leaseSource), store.NewScript(quotaSource)
	s.change = make(chan struct{}, 1)
	s.questions = make(chan *cell, mostAsked)
}

// Share has the counts of configured keys shared over c from now on; nil ends it.
// Nothing that was counted is forgotten: the store is told.
func (s *Store) Share(c *store.Client) {
	sh := &s.shared
	sh.mu.Lock()
	defer sh.mu.Unlock()
	former := sh.now.Load()
	if c == nil {
		sh.now.Store(nil)
		return
	}
	if former == nil || !former.client.Same(c) {
		sh.since.Store(int64(s.now()))
		sh.phase.Store(sh.phase.Load()/2*2 + 2) // up, until it is found out
	}
	set := c.Settings()
	sh.now.Store(&sharing{shared: sh, client: c, nodes: int64(set.Nodes), onFailure: set.OnStoreFailure})
	select {
	case sh.change <- struct{}{}:
	default:
	}
}

// Watcher is told how the shared store does.
type Watcher interface {
	// Asked is told of each call: its result, which is ok, error or timeout, and how long it took.
	Asked(result string, took time.Duration)
}

// Status is how the shared store does.
type Status struct {
	Up        bool          // or not known to be down yet
	For       time.Duration // since when
	Nodes     int           // that share it
	OnFailure string        // what holds while it is down
	Err       error         // what is wrong; nil if Up
}

// Status describes the shared store, if there is one.
func (s *Store) Status() (st Status, configured bool) {
	sh := &s.shared
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := sh.now.Load()
	if now == nil {
		return st, false
	}
	st = Status{Up: sh.phase.Load()%2 == 0, For: s.now() - time.Duration(sh.since.Load()), Nodes: int(now.nodes), OnFailure: now.onFailure}
	if !st.Up {
		st.Err = sh.err
	}
	return st, true
}

// Up reports whether the shared store can be used, and whether there is one.
func (s *Store) Up() (up, configured bool) {
	sh := s.shared.now.Load()
	return sh != nil && sh.phase.Load()%2 == 0, sh != nil
}

// Run asks the shared store what requests need, and looks each second whether
// it can be used, until ctx ends. Leases are given back then.
func (s *Store) Run(ctx context.Context, log *zap.Logger, w Watcher) {
	a := &asking{Store: s, log: log, watcher: w}
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case c := <-s.shared.questions:
					a.ask(ctx, c)
				}
			}
		})
	}
	sweep, probe := time.NewTicker(sweepEvery), time.NewTimer(0)
	defer sweep.Stop()
	defer probe.Stop()
	next := func() {
		d := probeEvery
		if up, configured := s.Up(); configured && !up {
			d = probeDown
		}
		probe.Reset(d)
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-s.shared.change:
			if up, _ := s.Up(); up { // another store; after a failure it is too early
				a.probe(ctx)
			}
			next()
		case <-probe.C:
			a.probe(ctx)
			next()
		case <-sweep.C:
			a.giveBack(quiet)
			a.refresh()
		}
	}
	wg.Wait()
	a.leave()
}

// asking is the work of Run.
type asking struct {
	*Store
	log     *zap.Logger
	watcher Watcher
	turn    int // of refresh
}

// probe finds out whether the store can be written.
func (a *asking) probe(ctx context.Context) {
	sh := a.shared.now.Load()
	if sh == nil {
		return
	}
	a.shared.mu.Lock()
	key := sh.client.Key("limit:probe")
	if s := a.shared.suspect; s != "" { // of a cluster the server has to answer that did not
		key += ":{" + s + "}"
	}
	a.shared.mu.Unlock()
	err := a.call(ctx, func(ctx context.Context) error { return sh.client.Set(ctx, key, 1, time.Minute) })
	a.found(ctx, sh, "", err)
}

func (a *asking) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	begin := time.Now()
	err := f(ctx)
	result := "ok"
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		result = "timeout"
	} else if err != nil {
		result = "error"
		var t interface{ Timeout() bool }
		if errors.As(err, &t) && t.Timeout() {
			result = "timeout"
		}
	}
	a.watcher.Asked(result, time.Since(begin))
	return err
}

// found notes whether the store could be used, for a key. Only a probe finds it
// up again, so that a store that fails now and then does not change every moment.
func (a *asking) found(ctx context.Context, sh *sharing, key string, err error) {
	if ctx.Err() != nil {
		return // the process ends
	}
	a.shared.mu.Lock()
	defer a.shared.mu.Unlock()
	if now := a.shared.now.Load(); now == nil || !now.client.Same(sh.client) {
		return // about a store of the past
	}
	down := sh.phase.Load()%2 == 1
	if down == (err != nil) {
		return
	}
	sh.since.Store(int64(a.now()))
	sh.phase.Add(1)
	mode := zap.String("vazel.store.on_failure", sh.onFailure)
	a.shared.suspect = ""
	if err != nil {
		a.shared.err, a.shared.suspect = err, key
		select {
		case sh.change <- struct{}{}: // Run looks again soon
		default:
		}
		a.log.Error("the store of the limits can't be used; limits go by on_store_failure", mode, zap.Error(err))
	} else {
		a.log.Info("the store of the limits can be used again", mode)
	}
}

// begin locks a cell that the store is to be asked about, unless there is nothing
// to ask any longer: then it returns nil, and the cell may ask again.
func (a *asking) begin(c *cell) (*sharing, *terms) {
	sh := a.shared.now.Load()
	c.mu.Lock()
	t := c.policy.terms.Load()
	if sh == nil || t == nil || sh.phase.Load()%2 == 1 || sh.phase.Load() != c.lease.phase {
		c.lease.asked = 0
		c.mu.Unlock()
		return nil, nil
	}
	return sh, t
}

// ask asks the store about a key: it tells what was admitted without a lease,
// and takes a new one.
func (a *asking) ask(ctx context.Context, c *cell) {
	if c.policy.period != 0 {
		a.tell(ctx, c)
		return
	}
	sh, t := a.begin(c)
	if sh == nil {
		return
	}
	l, now := &c.lease, int64(a.now())
	phase, debt, back, force := l.phase, l.debt, l.back, l.force
	want := max(0, max(size(&t.rate), min(l.need, t.rate.Burst*one))-l.left)
	if back > 0 {
		want = 0
	}
	floor := max(0, c.b.at(now, t)-times(debt, sh.nodes))
	key := sh.client.Key("limit:" + c.policy.name + ":" + c.name)
	c.mu.Unlock()

	var grant, level int64
	err := a.call(ctx, func(ctx context.Context) (err error) {
		v, err := sh.client.Run(ctx, a.shared.script, key,
			strconv.FormatFloat(float64(t.rate.Count)/float64(t.rate.Per.Microseconds()), 'g', 17, 64), t.rate.Burst,
			requests(debt), requests(want), requests(back), requests(floor), force)
		if err == nil {
			grant, level, err = answer(v)
		}
		return err
	})

	c.mu.Lock()
	now = int64(a.now())
	l.asked, l.back = 0, 0
	if err == nil && l.phase == phase {
		l.debt -= debt
		if force {
			l.force = false
		}
		l.left += grant
		c.b = bucket{min(level+times(l.debt, sh.nodes), most), now}
		l.known, l.next = max(1, now), 0
		if l.left >= l.need {
			l.need = 0
		}
		if grant < want { // little is left: as soon as there is more
			r := &t.rate
			l.next = now + int64(max(until(level+one-r.Burst*one, r), until(min(size(r)/2, r.Burst*one/4), r)))
		} else if l.debt > 0 {
			c.ask(sh, now)
		}
	}
	c.mu.Unlock()
	if err != nil {
		a.found(ctx, sh, key, fmt.Errorf("asking about a limit: %w", err))
	}
}

// requests spells units as the script wants them.
func requests(units int64) string {
	return strconv.FormatFloat(float64(units)/one, 'f', 6, 64)
}

// answer reads what the script said: a lease, and what is in use with it.
func answer(v any) (grant, level int64, err error) {
	l, ok := v.([]any)
	if !ok || len(l) != 2 {
		return 0, 0, fmt.Errorf("the store gave no answer but %T", v)
	}
	var n [2]float64
	for i := range n {
		s, _ := l[i].(string)
		if n[i], err = strconv.ParseFloat(s, 64); err != nil || !(n[i] >= 0) {
			return 0, 0, errors.New("the store gave an answer that is no number of requests")
		}
	}
	return int64(min(n[0], maxBurst) * one), int64(min(n[1], maxBurst) * one), nil
}

// giveBack returns the leases of keys that nobody has used for a while. What
// would have drained by itself in the meantime is not given back: others have
// had it.
func (a *asking) giveBack(after int64) (cells []*cell) {
	sh := a.shared.now.Load()
	if sh == nil || sh.phase.Load()%2 == 1 {
		return nil
	}
	for _, p := range (*a.policies.Load())[1:] {
		t := p.terms.Load()
		if t == nil {
			continue
		}
		for _, c := range *p.cells.Load() {
			c.mu.Lock()
			l := &c.lease
			if now := int64(a.now()); l.left > 0 && l.asked == 0 && now-l.used >= after && l.phase == sh.phase.Load() {
				l.back, l.left, l.next = drained(l.left, max(0, now-l.known), &t.rate), 0, 0
				if l.back > 0 {
					cells = append(cells, c)
					if after > 0 {
						c.ask(sh, now)
					}
				}
			}
			c.mu.Unlock()
		}
	}
	return cells
}

// leave gives back every lease, and tells what is used of quotas, before the process ends, as far as that is quick.
func (a *asking) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	for len(a.shared.questions) > 0 { // of requests that have been answered
		c := <-a.shared.questions
		c.mu.Lock()
		c.lease.asked = 0
		c.mu.Unlock()
	}
	for _, c := range a.giveBack(0) {
		if ctx.Err() != nil {
			return
		}
		a.ask(ctx, c)
	}
	a.settleUp(ctx)
}
