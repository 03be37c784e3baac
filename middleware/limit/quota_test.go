package limit

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// wallClock is a wall clock that may be set apart from the monotonic one.
type wallClock struct {
	clock
	base   time.Time
	offset atomic.Int64
}

func (c *wallClock) Wall() time.Time {
	return c.base.Add(c.Now() + time.Duration(c.offset.Load()))
}

func newQuotas(t testing.TB, at, file string) (*Store, *wallClock) {
	t.Helper()
	base, err := time.Parse(time.DateTime, at)
	if err != nil {
		t.Fatal(err)
	}
	c := &wallClock{base: base}
	s := New(Options{Now: c.Now, Wall: c.Wall})
	if file != "" {
		if err := s.LoadQuotas(file); err != nil {
			t.Fatal(err)
		}
	}
	return s, c
}

func quota(t testing.TB, s *Store, period Period, n int64) (Key, Rate) {
	t.Helper()
	p := s.Quota("a:quota:"+period.String(), period)
	r, err := p.Amount(n)
	if err != nil {
		t.Fatal(err)
	}
	return p.Configured("nra"), r
}

func TestQuotaPeriods(t *testing.T) {
	t.Parallel()
	s, c := newQuotas(t, "2026-02-27 23:00:00", "")
	day, perDay := quota(t, s, Day, 3)
	month, perMonth := quota(t, s, Month, 7)
	try := func(cost int64) [2]Decision {
		t.Helper()
		uses := [2]Use{{Key: day, Rate: perDay, Cost: cost}, {Key: month, Rate: perMonth, Cost: cost}}
		if _, err := s.TakeAll(context.Background(), uses[:]); err != nil {
			t.Fatal(err)
		}
		return [2]Decision{uses[0].Decision, uses[1].Decision}
	}
	if d := try(2); !d[0].Allowed || d[0].Remaining != 1 || d[0].Reset != time.Hour || d[1].Remaining != 5 || d[1].Reset != 25*time.Hour {
		t.Errorf("got %+v", d)
	}
	if d := try(2); d[0].Allowed || d[0].RetryAfter != time.Hour || d[0].Remaining != 1 || !d[1].Allowed || d[1].Remaining != 5 {
		t.Errorf("beyond the day's quota: got %+v, want it refused until midnight and nothing of the month taken", d)
	}
	c.advance(time.Hour) // the 28th
	if d := try(3); !d[0].Allowed || d[0].Remaining != 0 || d[1].Remaining != 2 {
		t.Errorf("the next day: got %+v", d)
	}
	c.advance(24 * time.Hour) // March
	if d := try(1); !d[1].Allowed || d[1].Remaining != 6 || d[1].Reset != 31*24*time.Hour {
		t.Errorf("the next month: got %+v", d)
	}
}

// TestQuotaClock: a clock that jumps neither refills a quota nor freezes it.
func TestQuotaClock(t *testing.T) {
	t.Parallel()
	s, c := newQuotas(t, "2026-11-25 12:00:00", "")
	k, r := quota(t, s, Day, 2)
	take(t, s, k, r)
	take(t, s, k, r)
	refused := func(what string) {
		t.Helper()
		if d := take(t, s, k, r); d.Allowed {
			t.Errorf("%s: the quota is refilled", what)
		} else if d.RetryAfter > 24*time.Hour {
			t.Errorf("%s: the quota is frozen for %v", what, d.RetryAfter)
		}
	}
	for _, jump := range []time.Duration{48 * time.Hour, -48 * time.Hour, 10 * 365 * 24 * time.Hour, -1} {
		c.offset.Store(int64(jump))
		s.KeepTime()
		refused(jump.String())
	}
	c.offset.Store(int64(-72 * time.Hour)) // three days back, and it stays so
	if jump, followed := s.KeepTime(); jump > -71*time.Hour || followed {
		t.Errorf("a jump: got %v, %v, want it to be told", jump, followed)
	}
	c.advance(settle)
	if _, followed := s.KeepTime(); !followed {
		t.Error("a jump that lasts: it is not followed")
	}
	refused("after following the clock back")
	c.advance(24 * time.Hour)
	if d := take(t, s, k, r); !d.Allowed {
		t.Errorf("a day later: got %+v, want it allowed", d)
	}
}

func TestQuotasSurvive(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state", "quotas.json")
	s, _ := newQuotas(t, "2026-11-25 12:00:00", file)
	day, perDay := quota(t, s, Day, 100)
	month, perMonth := quota(t, s, Month, 1000)
	for range 7 {
		take(t, s, day, perDay)
		take(t, s, month, perMonth)
	}
	if err := s.SaveQuotas(); err != nil {
		t.Fatal(err)
	}
	// A run that knows only one of the quotas forgets neither.
	s, _ = newQuotas(t, "2026-11-25 13:00:00", file)
	day, perDay = quota(t, s, Day, 100)
	if d := take(t, s, day, perDay); d.Remaining != 92 {
		t.Errorf("after a restart %d remain, want 92", d.Remaining)
	}
	if err := s.SaveQuotas(); err != nil {
		t.Fatal(err)
	}
	s, _ = newQuotas(t, "2026-11-26 00:00:00", file)
	day, perDay = quota(t, s, Day, 100)
	month, perMonth = quota(t, s, Month, 1000)
	if d, m := take(t, s, day, perDay), take(t, s, month, perMonth); d.Remaining != 99 || m.Remaining != 992 {
		t.Errorf("on the next day %d and %d remain, want 99 and 992", d.Remaining, m.Remaining)
	}
	// A restart with a clock that is wrong by years refills nothing for a restart
	// with the right one, and freezes nothing.
	s, _ = newQuotas(t, "2026-11-24 10:00:00", file)
	day, perDay = quota(t, s, Day, 100)
	if d := take(t, s, day, perDay); d.Remaining != 91 || d.Reset != 14*time.Hour {
		t.Errorf("after a restart the day before: got %+v, want 91 remaining for 14h", d)
	}
}

// TestQuotasOfKilled: what was noted last counts, also if it never reached the
// disk, and a torn note harms nothing.
func TestQuotasOfKilled(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "quotas.json")
	s, _ := newQuotas(t, "2026-11-25 12:00:00", file)
	k, r := quota(t, s, Day, 100)
	take(t, s, k, r)
	if err := s.SaveQuotas(); err != nil {
		t.Fatal(err)
	}
	take(t, s, k, r)
	if err := s.noteQuotas(); err != nil {
		t.Fatal(err)
	}
	s, _ = newQuotas(t, "2026-11-25 13:00:00", file)
	k, r = quota(t, s, Day, 100)
	if d := take(t, s, k, r); d.Remaining != 97 {
		t.Errorf("after a kill %d remain, want 97", d.Remaining)
	}
	if err := os.WriteFile(file+".latest", []byte(`{"sha256":"`), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = newQuotas(t, "2026-11-25 13:00:00", file)
	k, r = quota(t, s, Day, 100)
	if d := take(t, s, k, r); d.Remaining != 98 {
		t.Errorf("after a torn note %d remain, want 98 as on the disk", d.Remaining)
	}
}

// TestQuotasBequeathed: while one process takes over from another, what the former
// used is added to what the new one has counted already.
func TestQuotasBequeathed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "quotas.json")
	former, _ := newQuotas(t, "2026-11-25 12:00:00", file)
	next, _ := newQuotas(t, "2026-11-25 12:00:00", "")
	k, r := quota(t, former, Day, 100)
	nk, nr := quota(t, next, Day, 100)
	for range 5 {
		take(t, former, k, r)
	}
	take(t, next, nk, nr)
	if err := former.LeaveQuotas(); err != nil {
		t.Fatal(err)
	}
	take(t, former, k, r)
	if err := next.LoadQuotas(file); err != nil {
		t.Fatal(err)
	}
	if err := former.SaveQuotas(); err != nil {
		t.Fatal(err)
	}
	if d := take(t, next, nk, nr); d.Remaining != 93 {
		t.Errorf("%d remain, want 93", d.Remaining)
	}
	if err := next.SaveQuotas(); err != nil {
		t.Fatal(err)
	}
	s, _ := newQuotas(t, "2026-11-25 13:00:00", file)
	k, r = quota(t, s, Day, 100)
	if d := take(t, s, k, r); d.Remaining != 92 {
		t.Errorf("after another restart %d remain, want 92", d.Remaining)
	}
}

func TestQuotaFileDamaged(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "quotas.json")
	s, _ := newQuotas(t, "2026-11-25 12:00:00", file)
	k, r := quota(t, s, Day, 100)
	for range 2 {
		take(t, s, k, r)
		if err := s.SaveQuotas(); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"cut": string(whole[:len(whole)/2]), "changed": strings.Replace(string(whole), `"used":2`, `"used":0`, 1), "empty": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s = New(Options{Wall: func() time.Time { return time.Date(2026, 11, 25, 13, 0, 0, 0, time.UTC) }})
		if err := s.LoadQuotas(file); err == nil || !strings.Contains(err.Error(), "quotas.json") {
			t.Errorf("%s: got %v, want an error that names the file", name, err)
		}
		k, r := quota(t, s, Day, 100)
		if d := take(t, s, k, r); d.Remaining != 98 {
			t.Errorf("%s: %d remain, want 98: the file before counts", name, d.Remaining)
		}
		if _, err := os.Stat(file + ".bad"); err != nil {
			t.Errorf("%s: the damaged file is gone: %v", name, err)
		}
	}
	for _, f := range []string{file, file + ".before"} {
		if err := os.WriteFile(f, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s = New(Options{})
	if err := s.LoadQuotas(file); err == nil || !strings.Contains(err.Error(), "begin anew") {
		t.Errorf("both damaged: got %v", err)
	}
	k, r = quota(t, s, Day, 100)
	if d := take(t, s, k, r); !d.Allowed {
		t.Errorf("both damaged: got %+v", d)
	}
}

func TestShadowAndCost(t *testing.T) {
	t.Parallel()
	s, _ := newStore(0)
	real, shadow := s.Policy("real").Configured("x"), s.Policy("shadow").Configured("x")
	uses := [2]Use{{Key: real, Rate: perSecond(1, 10), Cost: 4}, {Key: shadow, Rate: perSecond(1, 5), Cost: 4, Shadow: true}}
	for i, want := range []struct {
		ok, shadow bool
		left       int64
	}{{true, true, 6}, {true, false, 2}, {false, false, 2}} {
		ok, err := s.TakeAll(context.Background(), uses[:])
		if err != nil || ok != want.ok || uses[1].Decision.Allowed != want.shadow || uses[0].Decision.Remaining != want.left {
			t.Errorf("request %d: got %v, %v, %+v", i, ok, err, uses)
		}
	}
	// What is dearer than the whole burst takes all of it.
	k := s.Policy("dear").Configured("x")
	dear := [1]Use{{Key: k, Rate: perSecond(1, 3), Cost: 50}}
	if ok, err := s.TakeAll(context.Background(), dear[:]); !ok || err != nil || dear[0].Decision.Remaining != 0 {
		t.Errorf("got %v, %v, %+v", ok, err, dear)
	}
}

// TestHashedFlood has a million made-up keys pass the table: memory is bounded,
// and nobody who used up his burst gets another one. Under the race detector a
// tenth will do, for one goroutine does it all.
func TestHashedFlood(t *testing.T) {
	t.Parallel()
	const capacity = 10_240
	s, _ := newStore(capacity)
	p := s.Policy("a")
	r := Rate{Count: 60, Per: time.Hour, Burst: 2}
	hash := func(i int) Key {
		return p.Hashed([16]byte{byte(i >> 16), byte(i >> 8), byte(i), 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7})
	}
	known, network := hash(1<<24-2), p.Network(address(1))
	if known == network {
		t.Fatal("a hash stands for an address")
	}
	for range 2 {
		take(t, s, known, r)
		take(t, s, network, r)
	}
	keys := 1_000_000
	if underRace {
		keys /= 10
	}
	for i := range keys {
		take(t, s, hash(2*i), r)
		if i%1000 == 0 && (take(t, s, known, r).Allowed || take(t, s, network, r).Allowed) {
			t.Fatalf("after %d keys a bucket was refilled", i)
		}
	}
	if n := s.Networks(); n > capacity {
		t.Errorf("%d keys are kept, want at most %d", n, capacity)
	}
}
