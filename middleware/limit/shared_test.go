package limit

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway/store"
)

// fleet is some nodes that share a server, all by one clock. The script runs for
// real; questions are answered when the test says so.
type fleet struct {
	*clock
	t      testing.TB
	server *miniredis.Miniredis
	nodes  []*asking
	calls  int
	bad    int
}

// Asked implements Watcher.
func (f *fleet) Asked(result string, took time.Duration) {
	f.calls++
	if result != "ok" {
		f.bad++
	}
}

func newFleet(t testing.TB, n int, mode string) *fleet {
	f := &fleet{clock: &clock{}, t: t, server: miniredis.RunT(t)}
	f.server.SetTime(time.Unix(1_800_000_000, 0))
	for range n {
		f.nodes = append(f.nodes, newNode(t, f.clock, f.server.Addr(), n, mode))
		f.nodes[len(f.nodes)-1].watcher = f
	}
	return f
}

func newNode(t testing.TB, c *clock, server string, nodes int, mode string) *asking {
	t.Helper()
	st := store.New()
	t.Cleanup(st.Close)
	client, err := st.Build(&store.Settings{Redis: store.Redis{Addresses: []string{server}}, Nodes: nodes, OnStoreFailure: mode})
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{Now: c.Now, Wall: func() time.Time { return time.Unix(1_800_000_000, int64(c.Now())) }})
	s.Share(client)
	st.Use(client)
	return &asking{Store: s, log: zap.NewNop(), watcher: quietWatcher{}}
}

// answer has the server answer all questions.
func (f *fleet) answer() {
	for _, a := range f.nodes {
		for len(a.shared.questions) > 0 {
			a.ask(context.Background(), <-a.shared.questions)
		}
	}
}

// pass lets time pass on the nodes and the server.
func (f *fleet) pass(d time.Duration) {
	f.advance(d)
	f.server.SetTime(time.Unix(1_800_000_000, int64(f.Now())))
	f.server.FastForward(d)
}

func (f *fleet) probe() {
	for _, a := range f.nodes {
		a.probe(context.Background())
	}
}

// load sends per node so many requests each millisecond, and counts what is
// admitted. The server answers once a millisecond.
func (f *fleet) load(d time.Duration, key string, r Rate, perMilli ...int) (admitted []int64) {
	f.t.Helper()
	admitted = make([]int64, len(f.nodes))
	for i := range int(d / time.Millisecond) {
		for n, a := range f.nodes {
			k := a.Policy("p").Configured(key)
			for range perMilli[n] {
				if take(f.t, a.Store, k, r).Allowed {
					admitted[n]++
				}
			}
		}
		f.answer()
		f.pass(time.Millisecond)
		if i%250 == 0 {
			for _, a := range f.nodes {
				a.giveBack(quiet)
				if up, _ := a.Up(); !up { // or the machine was busy
					a.probe(context.Background())
				}
			}
		}
	}
	return admitted
}

func sum(l []int64) (n int64) {
	for _, v := range l {
		n += v
	}
	return n
}

// within reports whether got is at most 2 % from want.
func within(t *testing.T, what string, got, want int64) {
	t.Helper()
	if got*100 < want*98 || got*100 > want*102 {
		t.Errorf("%s: %d were admitted, want %d within 2 %%", what, got, want)
	}
}

func TestSharedSkewed(t *testing.T) {
	t.Parallel()
	for i, r := range []Rate{perSecond(1000, 100), perSecond(200, 200), {Count: 6000, Per: time.Minute, Burst: 20}} {
		f, d := newFleet(t, 2, ""), 10*time.Second
		if i > 0 && underRace {
			d = 3 * time.Second
		}
		got := f.load(d, "org", r, 4, 1)
		within(t, "twofold overload and more, 4:1", sum(got), r.Burst+int64(d.Seconds()*float64(r.Count)/r.Per.Seconds()))
		if asks := float64(f.calls) / d.Seconds(); asks > 2*40*3 {
			t.Errorf("%v: %v calls a second", r, asks)
		}
		t.Logf("%d/%v burst %d: %v admitted in %v, %d calls", r.Count, r.Per, r.Burst, got, d, f.calls)
	}
}

// TestSharedIdle: below its limit nobody is refused, wherever he comes in.
func TestSharedIdle(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	r := perSecond(2500, 250)
	if got := f.load(3*time.Second, "org", r, 2, 0); sum(got) != 6000 {
		t.Errorf("%v of 6000 were admitted below the limit, all on one node", got)
	}
	if got := f.load(3*time.Second, "org", r, 0, 2); sum(got) != 6000 {
		t.Errorf("%v of 6000 were admitted below the limit, then all on the other node", got)
	}
	k := f.nodes[0].Policy("p").Configured("burst")
	for i := range 125 {
		if d := take(t, f.nodes[0].Store, k, r); !d.Allowed {
			t.Fatalf("request %d of a burst was refused before the store could answer: %+v", i, d)
		}
	}
}

// TestSharedLost: with the server killed each node admits its part, with nothing
// left over from before; and with it back, though it forgot everything, the limit
// is that of all nodes again.
func TestSharedLost(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	r := perSecond(1000, 500)
	within(t, "together", sum(f.load(2*time.Second, "org", r, 4, 1)), 2500)
	f.server.Close()
	got := f.load(2*time.Second, "org", r, 4, 4)
	if f.bad == 0 {
		t.Fatal("the store was not missed")
	}
	for i, n := range got {
		if n < 950 || n > 1050 {
			t.Errorf("node %d admitted %d alone, want 1000, its part of 2s", i, n)
		}
	}
	f.server.FlushAll()
	if err := f.server.Restart(); err != nil {
		t.Fatal(err)
	}
	f.probe()
	for i, a := range f.nodes {
		if up, _ := a.Up(); !up {
			t.Errorf("node %d did not find the server again", i)
		}
	}
	within(t, "together again, with no burst anew", sum(f.load(5*time.Second, "org", r, 4, 1)), 5000)
}

func TestSharedStoreFailure(t *testing.T) {
	t.Parallel()
	r := perSecond(10, 10)
	for mode, want := range map[string]int{store.FailOpen: 1000, store.FailClosed: 0, store.FailLocal: 10} {
		f := newFleet(t, 2, mode)
		f.server.Close()
		f.probe()
		k, admitted := f.nodes[0].Policy("p").Configured("org"), 0
		for range 1000 {
			d, err := f.nodes[0].Take(context.Background(), k, r)
			if mode == store.FailClosed && !errors.Is(err, ErrUnavailable) {
				t.Errorf("closed: got %+v, %v", d, err)
			}
			if err == nil && d.Allowed {
				admitted++
			}
			f.pass(2 * time.Millisecond)
		}
		if admitted != want {
			t.Errorf("%s: %d of 1000 in 2s were admitted at 10/s, want %d", mode, admitted, want)
		}
		net := f.nodes[0].Policy("p").Network(address(1))
		if d := take(t, f.nodes[0].Store, net, r); !d.Allowed || d.Remaining != 9 {
			t.Errorf("%s: a limit by address: got %+v, want it local", mode, d)
		}
	}
}

// TestSharedHung: decisions never wait for a server that takes questions and
// gives no answers.
func TestSharedHung(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	asked := make(chan struct{}, 64)
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				b := make([]byte, 4096)
				for n, err := 1, error(nil); n > 0 && err == nil; n, err = c.Read(b) {
					select {
					case asked <- struct{}{}:
					default:
					}
				}
			})
		}
	})
	start := time.Now()
	s := New(Options{})
	st := store.New()
	client, err := st.Build(&store.Settings{Redis: store.Redis{Addresses: []string{l.Addr().String()}}, Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	s.Share(client)
	st.Use(client)
	ctx, cancel := context.WithCancel(context.Background())
	var runs sync.WaitGroup
	runs.Go(func() { s.Run(ctx, zap.NewNop(), quietWatcher{}) })
	k, r := s.Policy("p").Configured("org"), Rate{Count: 1000, Per: time.Second, Burst: 1000}
	take(t, s, k, r)
	<-asked
	admitted, worst := 1, time.Duration(0)
	for i := range 5000 {
		at := time.Now()
		if take(t, s, k, r).Allowed {
			admitted++
		}
		if i > 0 {
			worst = max(worst, time.Since(at))
		}
	}
	took := time.Since(start)
	if most := 500 + int(took.Seconds()*500) + 1; admitted < 500 || admitted > most {
		t.Errorf("%d were admitted in %v without an answer, want this node's part, at most %d", admitted, took, most)
	}
	if worst > 500*time.Millisecond {
		t.Errorf("a decision took %v", worst)
	}
	t.Logf("5000 decisions in %v, none in more than %v", took, worst)
	cancel()
	st.Close()
	l.Close()
	runs.Wait()
	conns.Wait()
}

// TestSharedGivenBack: a lease that is not used is free for others.
func TestSharedGivenBack(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	hour := Rate{Count: 3600 * 20, Per: time.Hour, Burst: 3000}
	a, b := f.nodes[0], f.nodes[1]
	take(t, a.Store, a.Policy("p").Configured("org"), hour)
	f.answer()
	if c := (*a.Policy("p").cells.Load())[0]; c.lease.left == 0 {
		t.Fatal("no lease was taken")
	}
	a.leave()
	if c := (*a.Policy("p").cells.Load())[0]; c.lease.left != 0 {
		t.Errorf("%d units are left to a node that went", c.lease.left)
	}
	take(t, b.Store, b.Policy("p").Configured("org"), hour)
	f.answer()
	if c := (*b.Policy("p").cells.Load())[0]; c.b.level-c.lease.left > 2*one {
		t.Errorf("%d units are in use after two requests", c.b.level-c.lease.left)
	}
}

// TestSharedRemaining: what clients are told falls by one with each request.
func TestSharedRemaining(t *testing.T) {
	t.Parallel()
	f := newFleet(t, 2, "")
	r := perSecond(100, 100)
	k := f.nodes[0].Policy("p").Configured("org")
	for i := range 40 {
		if d := take(t, f.nodes[0].Store, k, r); !d.Allowed || d.Remaining != int64(99-i) && i > 3 {
			t.Errorf("request %d: got %+v", i, d)
		}
		f.answer()
	}
}

// BenchmarkTakeShared is a decision about a shared key while another goroutine
// asks for leases.
func BenchmarkTakeShared(b *testing.B) {
	f := newFleet(b, 2, "")
	s := f.nodes[0].Store
	r := Rate{Count: maxCount, Per: time.Second, Burst: maxBurst}
	p := s.Policy("p")
	keys := make([]Key, 100_000)
	for i := range keys {
		keys[i] = p.Configured(string(rune('a'+i%26)) + time.Duration(i).String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Run(ctx, zap.NewNop(), quietWatcher{}) }()
	i := 0
	for b.Loop() {
		s.Take(ctx, keys[i%len(keys)], r)
		i++
	}
	b.ReportAllocs()
	b.StopTimer()
	cancel()
	<-done
}

type quietWatcher struct{}

func (quietWatcher) Asked(string, time.Duration) {}
