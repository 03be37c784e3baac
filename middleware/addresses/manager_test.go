package addresses

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
)

// process is a Manager that runs.
type process struct {
	*Manager
	t       testing.TB
	reg     *prometheus.Registry
	changed chan struct{}
	stop    func()
}

func start(t testing.TB, state string) *process {
	t.Helper()
	p := &process{t: t, reg: prometheus.NewRegistry(), changed: make(chan struct{}, 100)}
	p.Manager = NewManager(Options{Log: zap.NewNop(), Registerer: p.reg, StateDir: state, Changed: func() { p.changed <- struct{}{} }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.Run(ctx) }()
	p.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(p.stop)
	return p
}

// use puts sources in force, as a reload does.
func (p *process) use(sources map[string]Source) (*Book, error) {
	b, err := p.Build(sources)
	if err != nil {
		return nil, err
	}
	p.Prepare(b)
	p.Activate(b)
	return b, nil
}

// rules are those of one set in force.
func (p *process) rules(s Source, deny bool) *Rules {
	p.t.Helper()
	b, err := p.use(map[string]Source{"set": s})
	if err != nil {
		p.t.Fatal(err)
	}
	return rulesOf(p.t, b, deny)
}

func rulesOf(t testing.TB, b *Book, deny bool) *Rules {
	t.Helper()
	lists := [2][]string{}
	lists[map[bool]int{true: 0, false: 1}[deny]] = []string{"set"}
	r, err := b.Rules(lists[0], lists[1])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// awaitChange waits for a list to be exchanged.
func (p *process) awaitChange() {
	p.t.Helper()
	select {
	case <-p.changed:
	case <-time.After(10 * time.Second):
		p.t.Fatal("the list did not change")
	}
}

// await waits for something that nothing tells of.
func (p *process) await(what string, is func() bool) {
	p.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Second); !is(); <-tick.C {
		if time.Now().After(end) {
			p.t.Fatalf("%s does not happen", what)
		}
	}
}

func (p *process) fetched(result string) float64 {
	return testutil.ToFloat64(p.fetches.WithLabelValues("set", result))
}

func (p *process) gauge(name string) float64 {
	p.t.Helper()
	all, err := p.reg.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	p.t.Fatalf("no metric %s", name)
	return 0
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func list(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "10.%d.%d.%d\n", i>>16, i>>8&255, i&255)
	}
	return b.String()
}

// TestFile: a changed file acts; a broken one leaves the former list, also over a
// restart, and says so.
func TestFile(t *testing.T) {
	state, file := t.TempDir(), filepath.Join(t.TempDir(), "list.txt")
	write(t, file, "192.0.2.1\n")
	p, source := start(t, state), Source{File: file}
	r := p.rules(source, true)
	judge := func(a string, want Verdict) {
		t.Helper()
		if got := r.Judge(addr(a)); got.Verdict != want {
			t.Errorf("%s: got %+v, want %v", a, got, want)
		}
	}
	judge("192.0.2.1", Denied)
	judge("::ffff:192.0.2.1", Denied)
	judge("192.0.2.2", Allowed)
	if got := r.Judge(addr("192.0.2.1")); got.By != "deny_from" || got.Why != `address set "set"` {
		t.Errorf("got %+v", got)
	}
	if got := testutil.ToFloat64(p.hits.WithLabelValues("set", "denied")); got != 3 {
		t.Errorf("got %v hits, want 3", got)
	}

	write(t, file, "192.0.2.2\n")
	p.awaitChange()
	judge("192.0.2.1", Allowed)
	judge("192.0.2.2", Denied)

	write(t, file, "192.0.2.3\n192.0.2.\n")
	p.await("a refusal of the broken list", func() bool { return p.fetched("invalid") == 1 })
	judge("192.0.2.2", Denied)
	judge("192.0.2.3", Allowed)
	if got := p.gauge("vazel_address_set_valid"); got != 0 {
		t.Errorf("valid is %v", got)
	}
	if _, err := p.use(map[string]Source{"set": {File: file, MaxAge: unit.Duration(time.Hour)}}); err != nil {
		t.Errorf("a reload with other settings: %v", err)
	}

	p.stop()
	p = start(t, state)
	r = p.rules(source, true)
	judge("192.0.2.2", Denied)
	if got := p.gauge("vazel_address_set_valid"); got != 0 {
		t.Errorf("valid is %v after a restart", got)
	}
	write(t, file, "192.0.2.4\n")
	p.awaitChange()
	judge("192.0.2.4", Denied)
	if got := p.gauge("vazel_address_set_valid"); got != 1 {
		t.Errorf("valid is %v after the list was mended", got)
	}

	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	p.await("a word on the missing file", func() bool { return p.fetched("failure") == 1 })
	judge("192.0.2.4", Denied)
	if _, err := start(t, t.TempDir()).use(map[string]Source{"set": source}); err == nil {
		t.Error("a first start without the file is no error")
	}
}

// TestShrink: a truncated list opens nothing.
func TestShrink(t *testing.T) {
	state, file := t.TempDir(), filepath.Join(t.TempDir(), "list.txt")
	write(t, file, list(1000))
	p := start(t, state)
	r := p.rules(Source{File: file}, true)
	write(t, file, list(499))
	p.await("a refusal of the short list", func() bool { return p.fetched("shrunk") == 1 })
	if r.Judge(addr("10.0.3.0")).Verdict != Denied {
		t.Error("the short list is in force")
	}
	write(t, file, "# nobody\n")
	p.await("a refusal of the empty list", func() bool { return p.fetched("invalid") == 1 })
	write(t, file, list(500))
	p.awaitChange()
	if r.Judge(addr("10.0.3.0")).Verdict != Allowed {
		t.Error("the list that lost half is not in force")
	}

	p.stop()
	write(t, file, list(3))
	p = start(t, state)
	if r = p.rules(Source{File: file}, true); r.Judge(addr("10.0.1.0")).Verdict != Denied {
		t.Error("a restart takes a truncated list")
	}
	if r = p.rules(Source{File: file, MaxShrink: 1}, true); r.Judge(addr("10.0.1.0")).Verdict != Allowed || r.Judge(addr("10.0.0.2")).Verdict != Denied {
		t.Error("max_shrink: 100% does not let it")
	}
}

// publisher serves a list, and says whether it changed.
type publisher struct {
	*httptest.Server
	mu         sync.Mutex
	list, etag string
	status     int
	asked      []string // If-None-Match
}

func publish(t *testing.T, list string) *publisher {
	p := &publisher{list: list, etag: `"1"`}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked = append(p.asked, r.Header.Get("If-None-Match"))
		w.Header().Set("ETag", p.etag)
		switch {
		case p.status != 0:
			w.WriteHeader(p.status)
		case r.Header.Get("If-None-Match") == p.etag:
			w.WriteHeader(http.StatusNotModified)
		default:
			io.WriteString(w, p.list)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) set(list, etag string, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list, p.etag, p.status = list, etag, status
}

func (p *publisher) last() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[len(p.asked)-1]
}

// TestURL: a list is there before the configuration is in force, asked for again
// only if it changed, and kept over failures and restarts.
func TestURL(t *testing.T) {
	state, server := t.TempDir(), publish(t, "192.0.2.1\n")
	source := Source{URL: server.URL, Every: unit.Duration(50 * time.Millisecond)}
	p := start(t, state)
	r := p.rules(source, true)
	if r.Judge(addr("192.0.2.1")).Verdict != Denied {
		t.Error("the list is not there with the configuration")
	}
	p.awaitChange()
	p.await("a question whether it changed", func() bool { return p.fetched("unchanged") >= 1 })
	if got := server.last(); got != `"1"` {
		t.Errorf("asked with If-None-Match %s", got)
	}
	server.set("192.0.2.2\n", `"2"`, 0)
	p.awaitChange()
	if r.Judge(addr("192.0.2.2")).Verdict != Denied || r.Judge(addr("192.0.2.1")).Verdict != Allowed {
		t.Error("the new list is not in force")
	}
	server.set("<html>maintenance</html>", `"3"`, 0)
	p.await("a refusal of what is no list", func() bool { return p.fetched("invalid") >= 1 })
	if r.Judge(addr("192.0.2.2")).Verdict != Denied {
		t.Error("the former list is not in force")
	}

	p.stop()
	server.set("", "", http.StatusInternalServerError)
	p = start(t, state)
	r = p.rules(source, true)
	if got := r.Judge(addr("192.0.2.2")); got.Verdict != Denied {
		t.Errorf("after a restart without the server: got %+v", got)
	}
	p.await("a word on the failure", func() bool { return p.fetched("failure") >= 1 })
	if got := p.gauge("vazel_address_set_valid"); got != 0 {
		t.Errorf("valid is %v", got)
	}
	if got := server.last(); got != `"2"` {
		t.Errorf("after a restart asked with If-None-Match %s, want that of the kept list", got)
	}
}

// TestMissing: without a list, what it would have decided is refused or, for
// deny_from, let through if the configuration says so.
func TestMissing(t *testing.T) {
	server := publish(t, "")
	server.set("", "", http.StatusNotFound)
	for _, c := range []struct {
		onMissing string
		deny      bool
		want      Verdict
	}{{"", true, Unknown}, {Closed, true, Unknown}, {Open, true, Allowed}, {"", false, Unknown}, {Open, false, Unknown}} {
		r := start(t, t.TempDir()).rules(Source{URL: server.URL, OnMissing: c.onMissing}, c.deny)
		if got := r.Judge(addr("192.0.2.1")).Verdict; got != c.want {
			t.Errorf("%+v: got %v", c, got)
		}
	}
}

// TestStale: a list that is too old counts as before, or as missing.
func TestStale(t *testing.T) {
	for _, c := range []struct {
		onStale    string
		deny       bool
		in, others Verdict
	}{{"", true, Denied, Allowed}, {Closed, true, Denied, Unknown}, {"", false, Allowed, Denied}, {Closed, false, Unknown, Unknown}} {
		file := filepath.Join(t.TempDir(), "list.txt")
		write(t, file, "192.0.2.1\n")
		then := time.Now().Add(-time.Hour)
		if err := os.Chtimes(file, then, then); err != nil {
			t.Fatal(err)
		}
		p := start(t, t.TempDir())
		r := p.rules(Source{File: file, MaxAge: unit.Duration(30 * time.Minute), OnStale: c.onStale}, c.deny)
		if in, others := r.Judge(addr("192.0.2.1")).Verdict, r.Judge(addr("192.0.2.2")).Verdict; in != c.in || others != c.others {
			t.Errorf("%+v: got %v and %v", c, in, others)
		}
		if got := p.gauge("vazel_address_set_valid"); got != 0 {
			t.Errorf("valid is %v", got)
		}
	}
}

// TestActivate: sets that are gone leave no series behind, and those that stay
// keep theirs and their lists.
func TestActivate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list.txt")
	write(t, file, "192.0.2.1\n")
	p := start(t, t.TempDir())
	first, err := p.use(map[string]Source{"set": {File: file}, "other": {File: file}})
	if err != nil {
		t.Fatal(err)
	}
	second, err := p.use(map[string]Source{"set": {File: file}})
	if err != nil {
		t.Fatal(err)
	}
	if first.set("set") != second.set("set") {
		t.Error("a set that did not change is another one")
	}
	all, err := p.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			if strings.Contains(m.String(), `"other"`) {
				t.Errorf("%s has a series of a set that is gone", f.GetName())
			}
		}
	}
	if _, err := second.Rules([]string{"other"}, nil); err == nil {
		t.Error("rules may name a set that is gone")
	}
}

// TestPrecedence: denying wins, and a list that decides needs none that is missing.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list.txt")
	write(t, file, "192.0.2.0/24\n")
	server := publish(t, "")
	server.set("", "", http.StatusNotFound)
	b, err := start(t, t.TempDir()).use(map[string]Source{"net": {File: file}, "gone": {URL: server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		deny, allow []string
		address     string
		want        Verdict
	}{
		{[]string{"192.0.2.7"}, []string{"net"}, "192.0.2.7", Denied},
		{[]string{"192.0.2.7"}, []string{"net"}, "192.0.2.8", Allowed},
		{[]string{"192.0.2.7"}, []string{"net"}, "198.51.100.1", Denied},
		{[]string{"gone", "net"}, nil, "192.0.2.8", Denied},
		{[]string{"gone", "net"}, nil, "198.51.100.1", Unknown},
		{nil, []string{"gone", "net"}, "192.0.2.8", Allowed},
		{nil, []string{"gone", "net"}, "198.51.100.1", Unknown},
		{nil, []string{"2001:db8::/32"}, "192.0.2.8", Denied},
		{nil, []string{"0.0.0.0/0"}, "192.0.2.8", Allowed},
		{nil, []string{"0.0.0.0/0"}, "2001:db8::1", Denied},
	} {
		r, err := b.Rules(c.deny, c.allow)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Judge(addr(c.address)); got.Verdict != c.want {
			t.Errorf("%+v: got %+v", c, got)
		}
	}
	if r, err := b.Rules([]string{}, nil); r != nil || err != nil {
		t.Errorf("nothing to decide: got %v, %v", r, err)
	}
	var none *Rules
	if got := none.Judge(addr("192.0.2.8")); got.Verdict != Allowed {
		t.Errorf("no rules: got %+v", got)
	}
}

// mixed is a list of n addresses and networks, one in ten of IPv6.
func mixed(n int) []byte {
	r := rand.New(rand.NewPCG(5, 6))
	var b []byte
	for i := range n {
		if i%10 == 0 {
			b = fmt.Appendf(b, "2001:db8:%x:%x::/64\n", r.IntN(1<<16), r.IntN(1<<16))
		} else {
			b = fmt.Appendf(b, "%d.%d.%d.%d\n", 1+r.IntN(220), r.IntN(256), r.IntN(256), r.IntN(256))
		}
	}
	return b
}

func BenchmarkJudge(b *testing.B) {
	for _, n := range []int{100, 100_000, 1_000_000} {
		file := filepath.Join(b.TempDir(), "list.txt")
		if err := os.WriteFile(file, mixed(n), 0o600); err != nil {
			b.Fatal(err)
		}
		then := time.Now().Add(-time.Hour) // so that it is not looked at twice
		if err := os.Chtimes(file, then, then); err != nil {
			b.Fatal(err)
		}
		rules := start(b, b.TempDir()).rules(Source{File: file}, true)
		r := rand.New(rand.NewPCG(7, 8))
		var four, six []netip.Addr
		for range 4096 {
			four = append(four, netip.AddrFrom4([4]byte{byte(1 + r.IntN(220)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}))
			six = append(six, netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256)), 15: 1}))
		}
		for name, of := range map[string][]netip.Addr{"v4": four, "v6": six} {
			b.Run(fmt.Sprintf("entries=%d/%s", n, name), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					rules.Judge(of[i&4095])
				}
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	text := mixed(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := (Source{}).parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
