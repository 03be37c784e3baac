package limit

import (
	"context"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/gateway/store"
)

// daily is a quota of n a day on a node of a fleet.
func (f *fleet) daily(node int, n int64) (Key, Rate) {
	f.t.Helper()
	p := f.nodes[node].Quota("q", Day)
	r, err := p.Amount(n)
	if err != nil {
		f.t.Fatal(err)
	}
	return p.Configured("org"), r
}

// use sends requests to a node until one is refused; the server answers after
// each.
func (f *fleet) use(node int, n int64, most int) (admitted int) {
	f.t.Helper()
	k, r := f.daily(node, n)
	for admitted < most && take(f.t, f.nodes[node].Store, k, r).Allowed {
		admitted++
		f.answer()
		f.pass(time.Millisecond)
	}
	return admitted
}

func (f *fleet) sweep() {
	for _, a := range f.nodes {
		a.refresh()
	}
	f.answer()
}

func TestSharedQuota(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	if a, b := f.use(0, 1000, 600), f.use(1, 1000, 2000); a != 600 || b < 395 || b > 401 {
		t.Errorf("of 1000 for a day %d were admitted by one node and then %d by the other", a, b)
	}
	f.sweep()
	f.pass(1100 * time.Millisecond)
	f.sweep()
	if n := f.use(0, 1000, 10); n > 1 {
		t.Errorf("%d were admitted when all was used", n)
	}
	f.pass(24 * time.Hour)
	if n := f.use(0, 1000, 100); n != 100 {
		t.Errorf("the next day %d of 100 were admitted", n)
	}
}

// TestSharedQuotaSmall: the last of a small quota can be used, wherever one comes
// in.
func TestSharedQuotaSmall(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	total := 0
	for range 5 {
		for node := range f.nodes {
			f.pass(time.Second)
			f.sweep()
			total += f.use(node, 3, 1)
		}
	}
	if total != 3 {
		t.Errorf("%d of 3 for a day were admitted", total)
	}
}

// TestSharedQuotaBoth: two nodes under load at once stay within the quota.
func TestSharedQuotaBoth(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	var total int64
	for i := range 2000 {
		for node, a := range f.nodes {
			k, r := f.daily(node, 5000)
			for range []int{4, 1}[node] {
				if take(t, a.Store, k, r).Allowed {
					total++
				}
			}
		}
		f.answer()
		f.pass(time.Millisecond)
		if i%250 == 0 {
			f.sweep()
		}
	}
	if total < 4990 || total > 5010 {
		t.Errorf("%d of 5000 for a day were admitted", total)
	}
	if f.calls > 900 {
		t.Errorf("%d calls for 10000 requests", f.calls)
	}
}

// TestSharedQuotaLost: without the server a node goes by its part; what it used is
// told when the server, which forgot everything, is back, and outlives the node.
func TestSharedQuotaLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	f.use(0, 1000, 200)
	f.use(1, 1000, 1)
	f.pass(time.Second)
	f.sweep()
	f.server.Close()
	f.probe()
	if a, b := f.use(0, 1000, 2000), f.use(1, 1000, 2000); a != 399 || b != 399 {
		t.Errorf("%d and %d of 799 were admitted alone, want half by each", a, b)
	}
	f.server.FlushAll()
	if err := f.server.Restart(); err != nil {
		t.Fatal(err)
	}
	f.probe()
	f.sweep()
	f.pass(time.Second)
	f.sweep()
	for i := range f.nodes {
		if n := f.use(i, 1000, 10); n > 1 {
			t.Errorf("node %d admitted %d when all was used", i, n)
		}
	}
	for _, a := range f.nodes {
		a.leave()
	}
	fresh := newNode(t, f.clock, f.server.Addr(), 2, "")
	f.nodes = append(f.nodes, fresh)
	f.daily(2, 1000)
	if n := f.use(2, 1000, 10); n > 1 {
		t.Errorf("a new node admitted %d when all was used", n)
	}
}

func TestSharedQuotaFailure(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]int{store.FailOpen: 100, store.FailClosed: 0, store.FailLocal: 5} {
		f := newFleet(t, 2, mode)
		f.server.Close()
		f.probe()
		k, r := f.daily(0, 10)
		admitted := 0
		for range 100 {
			if d, err := f.nodes[0].Take(context.Background(), k, r); err == nil && d.Allowed {
				admitted++
			}
		}
		if admitted != want {
			t.Errorf("%s: %d were admitted, want %d", mode, admitted, want)
		}
	}
}
