package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
)

// named is an upstream that answers with its name.
func named(t testing.TB, name string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return s
}

func TestRoundRobin(t *testing.T) {
	t.Parallel()
	g := newGateway(t, []string{named(t, "a").URL, named(t, "b").URL, named(t, "c").URL})
	seen := map[string]int{}
	for range 30 {
		_, got := do(t, g.Client(), "GET", g.URL, nil)
		seen[got]++
	}
	for _, name := range []string{"a", "b", "c"} {
		if seen[name] != 10 {
			t.Errorf("requests went to %v, want 10 to each", seen)
			break
		}
	}
}

func TestLeastConnections(t *testing.T) {
	t.Parallel()
	p := &Pool{born: time.Now(), leastConns: true}
	a, b := &server{addr: "a", pool: p}, &server{addr: "b", pool: p}
	p.servers.Store(&[]*server{a, b})
	a.active.Store(2)
	b.active.Store(1)
	for range 5 {
		if s, _ := p.pick(time.Now(), nil); s != b {
			t.Errorf("got %s, want b", s.addr)
		}
	}
	if s, _ := p.pick(time.Now(), []*server{b}); s != a {
		t.Errorf("got %s on a second attempt, want a", s.addr)
	}
}

func TestEjection(t *testing.T) {
	t.Parallel()
	good := named(t, "good")
	bad := always(t, "nonsense\r\n\r\n", false)
	other := always(t, "nonsense\r\n\r\n", false)
	g := newGateway(t, []string{good.URL, bad.URL, other.URL}, with(func(s *Settings) {
		s.Ejection = &Ejection{Failures: 2, Duration: unit.Duration(time.Hour), MaxEjected: 0.5}
	}))
	failures := 0
	for range 60 {
		if resp, _ := do(t, g.Client(), "GET", g.URL, nil); resp.StatusCode != 200 {
			failures++
		}
	}
	// One of three may be out, the other bad one goes on failing.
	out := 0
	for _, s := range g.pool.list() {
		if s.health.state(g.pool.now()) == stateEjected {
			out++
		}
	}
	if out != 1 {
		t.Errorf("%d servers are out, want 1 of 3 at 50%%", out)
	}
	if failures < 20 || failures > 40 {
		t.Errorf("%d of 60 requests failed", failures)
	}
	if got := testutil.CollectAndCount(g.manager.metrics, "vazel_upstream_server_healthy"); got != 3 {
		t.Errorf("%d servers are shown, want 3", got)
	}
}

func TestEjectedServerReturnsSlowly(t *testing.T) {
	t.Parallel()
	var h health
	start := int64(1)
	h.eject(start, time.Minute)
	at := func(d time.Duration) int64 { return start + int64(d) }
	if got := h.state(at(59 * time.Second)); got != stateEjected {
		t.Errorf("state is %d before the end", got)
	}
	share := func(d time.Duration) (up int) {
		for range 1000 {
			if h.state(at(d)) == stateUp {
				up++
			}
		}
		return up
	}
	if got := share(61 * time.Second); got < 100 || got > 350 {
		t.Errorf("chosen %d times of 1000 after a second", got)
	}
	if got := share(68 * time.Second); got < 800 {
		t.Errorf("chosen %d times of 1000 after 8 seconds", got)
	}
	if got := share(71 * time.Second); got != 1000 {
		t.Errorf("chosen %d times of 1000 after the slow start", got)
	}
	h.eject(at(80*time.Second), time.Minute)
	if got := h.state(at(190 * time.Second)); got != stateEjected {
		t.Error("the second ejection is not longer than the first")
	}
}

func TestHealthChecks(t *testing.T) {
	t.Parallel()
	var healthy atomic.Bool
	var host atomic.Value
	checked := make(chan struct{}, 100)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			host.Store(r.Host)
			if !healthy.Load() {
				w.WriteHeader(500)
			}
			checked <- struct{}{}
			return
		}
		io.WriteString(w, "ok")
	}))
	t.Cleanup(up.Close)
	healthy.Store(true)
	g := newGateway(t, []string{up.URL}, with(func(s *Settings) {
		s.Health = &Health{Path: "/health", Every: unit.Duration(5 * time.Millisecond), Unhealthy: 3, Healthy: 2}
	}))
	<-checked
	if got := host.Load(); got != "registry.example" {
		t.Errorf("Host of the check is %v", got)
	}
	if _, got := do(t, g.Client(), "GET", g.URL, nil); got != "ok" {
		t.Errorf("got %q", got)
	}
	status := func() int { resp, _ := do(t, g.Client(), "GET", g.URL, nil); return resp.StatusCode }
	healthy.Store(false)
	settle(t, g, func() bool { return status() == 503 })
	healthy.Store(true)
	settle(t, g, func() bool { return status() == 200 })
	if got := testutil.ToFloat64(g.manager.metrics.checks.WithLabelValues("registry", g.pool.list()[0].addr, "failure")); got < 3 {
		t.Errorf("%v failed checks were counted", got)
	}
}

// nameserver answers on loopback with what records hold.
type nameserver struct {
	mu      sync.Mutex
	records map[string][]string // by name and type
	fail    bool
	asked   int
}

func newNameserver(t testing.TB) (*nameserver, *net.Resolver) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameserver{records: map[string][]string{}}
	started := make(chan struct{})
	s := &dns.Server{PacketConn: pc, Handler: n, NotifyStartedFunc: func() { close(started) }}
	done := make(chan struct{})
	go func() { defer close(done); s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { s.Shutdown(); <-done })
	return n, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func (n *nameserver) set(name string, records ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records[name] = records
}

func (n *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	m := new(dns.Msg)
	m.SetReply(q)
	key := q.Question[0].Name + " " + dns.TypeToString[q.Question[0].Qtype]
	switch {
	case n.fail:
		m.Rcode = dns.RcodeServerFailure
	default:
		for _, r := range n.records[key] {
			rr, err := dns.NewRR(key[:strings.Index(key, " ")] + " 1 IN " + dns.TypeToString[q.Question[0].Qtype] + " " + r)
			if err == nil {
				m.Answer = append(m.Answer, rr)
			}
		}
	}
	w.WriteMsg(m)
}

func (p *Pool) addrs() string {
	var l []string
	for _, s := range p.list() {
		l = append(l, s.addr)
	}
	return strings.Join(l, " ")
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	n, resolver := newNameserver(t)
	n.set("app.example. A", "127.0.0.2", "127.0.0.3")
	n.set("app.example. AAAA", "::1")
	n.set("_http._tcp.svc.example. SRV", "10 1 8081 app.example.", "10 1 8082 app.example.", "20 1 9999 spare.example.")
	m := NewManager(Options{Resolver: resolver})
	build := func(url string) *Pool {
		p, err := m.Build(PoolConfig{Name: "x", URLs: []string{url}})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := build("http://app.example:8080")
	p.resolve(t.Context())
	if got, want := p.addrs(), "127.0.0.2:8080 127.0.0.3:8080 [::1]:8080"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	kept := p.list()[0]
	n.set("app.example. A", "127.0.0.2", "127.0.0.4")
	n.set("app.example. AAAA")
	p.resolve(t.Context())
	if got, want := p.addrs(), "127.0.0.2:8080 127.0.0.4:8080"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if p.list()[0] != kept {
		t.Error("a server whose address stays was made anew")
	}
	n.mu.Lock()
	n.fail = true
	n.mu.Unlock()
	p.resolve(t.Context())
	if got, want := p.addrs(), "127.0.0.2:8080 127.0.0.4:8080"; got != want {
		t.Errorf("got %q after a failed look-up, want %q", got, want)
	}
	p.origins[0].last.at = time.Now().Add(-staleAfter - time.Second)
	p.resolve(t.Context())
	if got := p.addrs(); got != "" {
		t.Errorf("got %q after the last answer became too old", got)
	}
	n.mu.Lock()
	n.fail = false
	n.mu.Unlock()

	p = build("srv+http://_http._tcp.svc.example")
	p.resolve(t.Context())
	if got, want := p.addrs(), "127.0.0.2:8081 127.0.0.2:8082 127.0.0.4:8081 127.0.0.4:8082"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := p.origins[0].serverName(), "svc.example"; got != want {
		t.Errorf("server name is %q, want %q: DNS must not decide whom to trust", got, want)
	}
}

// TestDiscoveredUpstream waits for the first look-up, and answers 502 if the
// name does not exist.
func TestDiscoveredUpstream(t *testing.T) {
	t.Parallel()
	n, resolver := newNameserver(t)
	up := named(t, "ok")
	_, port, _ := net.SplitHostPort(up.Listener.Addr().String())
	n.set("app.example. A", "127.0.0.1")
	use := func(_ *PoolConfig, _ *RouteConfig, o *Options) { o.Resolver = resolver }
	g := newGateway(t, []string{"http://app.example:" + port}, use)
	if resp, got := do(t, g.Client(), "GET", g.URL, nil); got != "ok" {
		t.Errorf("got %s %q", resp.Status, got)
	}
	g = newGateway(t, []string{"http://missing.example:" + port}, use)
	resp, _ := do(t, g.Client(), "GET", g.URL, nil)
	if got, want := resp.Header.Get("Proxy-Status"), "vazel; error=dns_error"; resp.StatusCode != 502 || got != want {
		t.Errorf("got %s, Proxy-Status %q, want 502 and %q", resp.Status, got, want)
	}
}

// TestNameserverDown: the last known addresses serve up to an age, which a metric
// shows; then the answer is 502.
func TestNameserverDown(t *testing.T) {
	t.Parallel()
	n, resolver := newNameserver(t)
	up := named(t, "ok")
	_, port, _ := net.SplitHostPort(up.Listener.Addr().String())
	n.set("app.example. A", "127.0.0.1")
	reg := prometheus.NewRegistry()
	g := newGateway(t, []string{"http://app.example:" + port}, func(_ *PoolConfig, _ *RouteConfig, o *Options) { o.Resolver, o.Registerer = resolver, reg })
	p := g.pool
	expect := func(when string, status int) {
		t.Helper()
		if resp, body := do(t, g.Client(), "GET", g.URL, nil); resp.StatusCode != status {
			t.Errorf("%s: got %s %q, want %d", when, resp.Status, body, status)
		}
	}
	age := func() float64 {
		t.Helper()
		l, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range l {
			if f.GetName() == "vazel_upstream_addresses_age_seconds" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatal("no age")
		return 0
	}
	expect("at first", 200)
	p.stop() // what follows looks names up itself
	p.work.Wait()
	n.mu.Lock()
	n.fail = true
	n.mu.Unlock()
	o := p.origins[0]
	later := func(d time.Duration) {
		o.last.at = time.Now().Add(-d)
		o.known.Store(p.now() - int64(d))
		p.resolve(t.Context())
	}
	later(staleAfter - time.Minute)
	expect("a minute before the end", 200)
	if got := age(); got < (staleAfter-time.Minute).Seconds() || got > staleAfter.Seconds() {
		t.Errorf("the age is %v", got)
	}
	later(staleAfter + time.Second)
	expect("after the end", 502)
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	junk := filepath.Join(dir, "junk.pem")
	os.WriteFile(junk, []byte("junk"), 0o600)
	m := NewManager(Options{})
	for _, test := range []struct {
		url  string
		s    Settings
		want string
	}{
		{"ftp://a", Settings{}, "scheme"},
		{"a:80", Settings{}, "scheme"},
		{"http://", Settings{}, "no host"},
		{"http://a/path", Settings{}, "rewrite"},
		{"http://user:secret@a", Settings{}, "only a scheme"},
		{"http://a:0", Settings{}, "out of range"},
		{"http://a:", Settings{}, "empty port"},
		{"srv+http://a:80", Settings{}, "SRV"},
		{"srv+http://127.0.0.1", Settings{}, "not an address"},
		{"http://a", Settings{Balance: "random"}, "balance"},
		{"http://a", Settings{UpstreamProtocol: "h2"}, "needs https"},
		{"https://a", Settings{UpstreamProtocol: "h2c"}, "without TLS"},
		{"https://a", Settings{UpstreamProtocol: "spdy"}, "none of"},
		{"https://a", Settings{UpstreamTLS: &UpstreamTLS{CA: filepath.Join(dir, "missing.pem")}}, "missing.pem"},
		{"https://a", Settings{UpstreamTLS: &UpstreamTLS{CA: junk}}, "no PEM"},
		{"https://a", Settings{UpstreamTLS: &UpstreamTLS{KeyPair: certs.KeyPair{Cert: junk}}}, "cert and key"},
	} {
		_, err := m.Build(PoolConfig{Name: "x", URLs: []string{test.url}, Settings: test.s})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error with %q", test.url, err, test.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is in the error: %v", err)
		}
	}
}

// TestReload keeps a pool that does not change, with its connections, and lets
// the exchanges of others finish.
func TestReload(t *testing.T) {
	t.Parallel()
	proceed := make(chan struct{})
	var slow atomic.Bool
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if slow.Load() {
			<-proceed
		}
		io.WriteString(w, "ok")
	}))
	t.Cleanup(up.Close)
	m := NewManager(Options{})
	c := PoolConfig{Name: "x", Hosts: []string{"x.example"}, URLs: []string{up.URL}}
	p, err := m.Build(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Activate([]*Pool{p})
	get := func(h http.Handler) string {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return w.Body.String()
	}
	if got := get(p.Handler(RouteConfig{})); got != "ok" {
		t.Fatalf("got %q", got)
	}
	c.Settings.Timeout = unit.Duration(time.Minute) // of the routes
	if again, _ := m.Build(c); again != p {
		t.Error("a pool that did not change was made anew")
	}
	c.Settings.MaxConnections = 3
	q, err := m.Build(c)
	if err != nil || q == p {
		t.Fatalf("a pool that changed was not made anew: %v", err)
	}
	slow.Store(true)
	done := make(chan string)
	go func() { done <- get(p.Handler(RouteConfig{})) }()
	settle(t, nil, func() bool { return p.list()[0].active.Load() == 1 })
	m.Activate([]*Pool{q})
	close(proceed)
	if got := <-done; got != "ok" {
		t.Errorf("an exchange of the former pool got %q", got)
	}
	if active, idle := p.list()[0].connections(); active+idle != 0 {
		t.Errorf("the former pool has %d connections in use and %d idle", active, idle)
	}
	if got := get(q.Handler(RouteConfig{})); got != "ok" {
		t.Errorf("got %q", got)
	}
	m.Activate(nil)
	if got := testutil.CollectAndCount(m.metrics.requests); got != 0 {
		t.Errorf("%d series of a retired pool are left", got)
	}
	if err := m.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestFailover has a server die while others serve.
func TestFailover(t *testing.T) {
	t.Parallel()
	a, b := named(t, "a"), named(t, "b")
	g := newGateway(t, []string{a.URL, b.URL})
	for i := range 40 {
		if i == 10 {
			a.CloseClientConnections()
			a.Close()
		}
		if resp, _ := do(t, g.Client(), "GET", g.URL, nil); resp.StatusCode != 200 {
			t.Errorf("request %d: got %s", i, resp.Status)
		}
	}
}

func TestMetricNames(t *testing.T) {
	t.Parallel()
	g := newGateway(t, []string{named(t, "a").URL})
	do(t, g.Client(), "GET", g.URL, nil)
	families, err := g.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	for _, want := range []string{"requests_total", "first_byte_duration_seconds", "connect_duration_seconds", "errors_total", "retries_total",
		"server_healthy", "circuit_open", "connections_open"} {
		if !slices.Contains(names, "vazel_upstream_"+want) {
			t.Errorf("vazel_upstream_%s is not among %s", want, fmt.Sprint(names))
		}
	}
	if got := testutil.ToFloat64(g.manager.metrics.requests.WithLabelValues("registry", "2xx")); got != 1 {
		t.Errorf("%s requests were counted, want 1", strconv.Itoa(int(got)))
	}
}
