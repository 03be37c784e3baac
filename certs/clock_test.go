package certs

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestClockJumps follows a wall clock that is set.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	c := newClock()
	for i, tt := range []struct {
		offset, jumped time.Duration
		behind         bool
	}{
		{0, 0, false},
		{300 * time.Millisecond, 0, false},
		{600 * time.Millisecond, 0, false},
		{1100 * time.Millisecond, 1100 * time.Millisecond, false}, // by small steps, but so far
		{time.Hour, time.Hour - 1100*time.Millisecond, false},
		{time.Hour, 0, false},
		{time.Hour - 500*time.Millisecond, 0, false},
		{0, -time.Hour, true},
		{0, 0, true},
		{time.Hour, time.Hour, false},
		{-time.Minute, -time.Hour - time.Minute, true},
	} {
		if jumped := c.compare(tt.offset); jumped != tt.jumped || c.behind.Load() != tt.behind {
			t.Errorf("%d: at %s: got %s, behind %v, want %s, %v", i, tt.offset, jumped, c.behind.Load(), tt.jumped, tt.behind)
		}
	}
	if f, b, o := testutil.ToFloat64(c.forward), testutil.ToFloat64(c.back), time.Duration(c.offset.Load()); f != 3 || b != 2 || o != -time.Minute {
		t.Errorf("got %v steps forward, %v back, offset %s, want 3, 2, -1m", f, b, o)
	}
	if jumped := newClock().look(time.Now().Add(time.Hour)); jumped != 0 { // an hour of both clocks
		t.Errorf("time that passes is a jump of %s", jumped)
	}
}

// TestClockSetBack: what a clock that went back calls good is kept nowhere, and
// what was kept is proven anew, now by that clock.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "root", nil)
	leaf := ca.leaf(t, subject(t, orgID("A")))
	m := newManager(t)
	s := build(t, m, Config{Organizations: map[string]Organization{"a": {ID: unit.List{"A"}, CA: unit.List{write(t, ca.cert)}}}})
	m.Activate(s)
	told := 0
	m.OnTrustChange(func(organizations []string) {
		if told++; organizations != nil {
			t.Errorf("only %v are proven anew", organizations)
		}
	})
	epoch, generation := s.Epoch(), m.generation.Load()
	m.clockSet(m.clock.compare(-time.Hour))
	if told != 1 || s.Epoch() == epoch || m.generation.Load() == generation {
		t.Error("identities and session tickets go on as if nothing were")
	}
	if got := s.Identify(state(leaf), time.Now()); got.Organization != "a" || len(s.chains.kept) != 0 {
		t.Errorf("got %q, %q; %d chains are kept, want none", got.Organization, got.Reason, len(s.chains.kept))
	}
	// By the clock as it is: not yet valid, or no longer.
	for at, want := range map[time.Time]Reason{leaf.NotBefore.Add(-time.Second): NotYetValid, leaf.NotAfter.Add(time.Second): Expired} {
		if got := s.Identify(state(leaf), at); got.Reason != want {
			t.Errorf("at %s: got %q, want %q", at, got.Reason, want)
		}
	}
	m.clockSet(m.clock.compare(0)) // mended
	if got := s.Identify(state(leaf), time.Now()); got.Organization != "a" || len(s.chains.kept) != 1 {
		t.Errorf("got %q, %q; %d chains are kept, want one", got.Organization, got.Reason, len(s.chains.kept))
	}
	if told != 2 {
		t.Error("that the clock was mended changed nothing")
	}
}
