//go:build e2e

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

// redisServer is a real server, on a socket in a folder of its own.
type redisServer struct {
	*program
	dir, socket string
	args        []string
}

func newRedis(t *testing.T, args ...string) *redisServer {
	t.Helper()
	dir, err := os.MkdirTemp("", "vazel-redis-") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &redisServer{dir: dir, socket: filepath.Join(dir, "s"), args: append([]string{"--port", "0", "--unixsocket", "s", "--save", "", "--appendonly", "no"}, args...)}
	r.start(t)
	return r
}

func (r *redisServer) start(t *testing.T) {
	t.Helper()
	r.program = start(t, r.dir, need(t, "redis-server", "redis-server"), r.args...)
	until(t, "the Redis server", func() bool { return strings.Contains(r.log.String(), "eady to accept connections") })
}

func (r *redisServer) kill() {
	r.cmd.Process.Kill()
	<-r.done
}

func (r *redisServer) cli(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(need(t, "redis-cli", "redis-tools"), append([]string{"-s", r.socket}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// storeNodes are nodes with one limit of a service, shared over a server. It does
// not hold for /free.
func storeNodes(t *testing.T, n int, limit, store string) (nodes []*e2eNode) {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") }))
	t.Cleanup(upstream.Close)
	for range n {
		nodes = append(nodes, newE2ENode(t, map[string]string{"s": upstream.URL}, "    mtls: \"off\"\n    rate_limit: "+limit+"\n    routes: [{paths: [/]}, {paths: [/free], rate_limit: {rate: 100000/s, per: client_ip}}]\nstore:\n"+store))
	}
	return nodes
}

func (n *e2eNode) metric(t *testing.T, name string) string {
	t.Helper()
	return metricOf(t, n.admin, name)
}

// metricOf is the value of a series of the node with that admin port.
func metricOf(t *testing.T, admin int, name string) string {
	t.Helper()
	_, b := fetch(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/metrics", admin))
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.*)$`).FindSubmatch(b)
	if m == nil {
		return ""
	}
	return string(m[1])
}

func (n *e2eNode) storeUp(t *testing.T, want string) {
	t.Helper()
	until(t, "vazel_ratelimit_store_up "+want, func() bool { return n.metric(t, "vazel_ratelimit_store_up") == want })
}

// tally is what became of requests.
type tally struct {
	mu       sync.Mutex
	codes    map[int]int
	failed   []string
	took     []time.Duration
	begun    []time.Time // of each in took
	duration time.Duration
}

func (c *tally) add(code int, at time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.codes[code]++
	c.took, c.begun = append(c.took, time.Since(at)), append(c.begun, at)
	if err != nil {
		c.failed = append(c.failed, err.Error())
	}
}

// quantile is how long all but a part of the requests took at most.
func (c *tally) quantile(part float64) time.Duration {
	took := slices.Sorted(slices.Values(c.took))
	return took[min(len(took)-1, int(part*float64(len(took))))]
}

// slow is which share of the requests that began between two moments took more
// than 5 ms, and the longest.
func (c *tally) slow(from, to time.Time) (share float64, worst time.Duration) {
	n, slow := 0, 0
	for i, at := range c.begun {
		if at.Before(from) || !at.Before(to) {
			continue
		}
		n++
		if worst = max(worst, c.took[i]); c.took[i] > 5*time.Millisecond {
			slow++
		}
	}
	return float64(slow) / float64(max(n, 1)), worst
}

// pour sends so many requests a second to each node for a while.
func pour(t *testing.T, nodes []*e2eNode, d time.Duration, perSecond ...int) *tally {
	t.Helper()
	return pourTo(nodes, "/", d, perSecond...)
}

func pourTo(nodes []*e2eNode, path string, d time.Duration, perSecond ...int) *tally {
	c := &tally{codes: map[int]int{}}
	begin, end := time.Now(), make(chan struct{})
	timer := time.AfterFunc(d, func() { close(end) })
	defer timer.Stop()
	var senders sync.WaitGroup
	for i, n := range nodes {
		senders.Go(func() {
			var requests sync.WaitGroup
			defer requests.Wait()
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for sent := 0; ; {
				select {
				case <-end:
					return
				case <-tick.C:
				}
				for ; sent < int(time.Since(begin).Seconds()*float64(perSecond[i])); sent++ {
					requests.Go(func() {
						at := time.Now()
						resp, err := n.client.Get("https://s.e2e.example" + path)
						if err != nil {
							c.add(0, at, err)
							return
						}
						_, err = io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						c.add(resp.StatusCode, at, err)
					})
				}
			}
		})
	}
	senders.Wait()
	c.duration = time.Since(begin)
	return c
}

// TestE2EStoreSkewed: two nodes hold one limit, though four fifths of the
// requests come to one of them.
func TestE2EStoreSkewed(t *testing.T) {
	r := newRedis(t)
	const rate, burst = 200, 100
	nodes := storeNodes(t, 2, fmt.Sprintf("{rate: %d/s, burst: %d, per: service}", rate, burst), "  nodes: 2\n  redis: {addresses: ["+r.socket+"]}\n")
	for _, n := range nodes {
		n.storeUp(t, "1")
	}
	c := pour(t, nodes, 10*time.Second, 480, 120)
	want := burst + rate*c.duration.Seconds()
	got := float64(c.codes[200])
	if got < want*.98 || got > want*1.02 {
		t.Errorf("%v were admitted in %v, want %v within 2 %%", got, c.duration, want)
	}
	if len(c.codes) != 2 || c.codes[429] == 0 {
		t.Errorf("got %v %v, want only 200 and 429", c.codes, c.failed)
	}
	asked := 0
	for _, n := range nodes {
		var calls int
		fmt.Sscan(n.metric(t, `vazel_ratelimit_store_requests_total{result="ok"}`), &calls)
		asked += calls
	}
	t.Logf("%v of %v admitted (%+.2f %%), %d calls of the store; half of the requests within %v, all within %v", got, want, (got/want-1)*100, asked, c.quantile(.5), c.quantile(1))
}

// TestE2EStoreLost: a server that stops answering, is killed and comes back empty
// makes no request fail or wait.
func TestE2EStoreLost(t *testing.T) {
	r := newRedis(t)
	const rate, burst = 200, 100
	nodes := storeNodes(t, 2, fmt.Sprintf("{rate: %d/s, burst: %d, per: service}", rate, burst), "  nodes: 2\n  redis: {addresses: ["+r.socket+"]}\n")
	for _, n := range nodes {
		n.storeUp(t, "1")
	}
	done, free := make(chan *tally), make(chan *tally)
	go func() { done <- pour(t, nodes, 6*time.Second, 480, 120) }()
	go func() { free <- pourTo(nodes, "/free", 6*time.Second, 240, 60) }()
	wait := func(d time.Duration) { <-time.After(d) }
	wait(3 * time.Second / 2)
	stopped := time.Now()
	r.cmd.Process.Signal(syscall.SIGSTOP)
	for _, n := range nodes {
		n.storeUp(t, "0")
	}
	_, b := fetch(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/-/store", nodes[0].admin))
	var state struct{ State, Error string }
	if err := json.Unmarshal(b, &state); err != nil || state.State != "down" || state.Error == "" {
		t.Errorf("GET /-/store: %s", b)
	}
	wait(time.Second / 2)
	r.kill()
	wait(time.Second / 2)
	r.start(t)
	for _, n := range nodes {
		n.storeUp(t, "1")
	}
	back := time.Now()
	c, others := <-done, <-free
	most := burst + rate*c.duration.Seconds()
	got := float64(c.codes[200])
	if got > most*1.02 || got < most*.85 {
		t.Errorf("%v were admitted in %v, want at most %v and hardly less", got, c.duration, most)
	}
	if len(c.codes) != 2 || len(c.failed) > 0 {
		t.Errorf("got %v %v, want only 200 and 429", c.codes, c.failed)
	}
	// The machine alone holds up some; the store must not hold up more.
	lost, worst := c.slow(stopped, back)
	unlimited, longest := others.slow(stopped, back)
	if lost > unlimited+.05 {
		t.Errorf("while the store was lost, %.1f %% of the requests took more than 5 ms, and %.1f %% of those that have no shared limit", lost*100, unlimited*100)
	}
	t.Logf("while the store was lost, over 5 ms: %.2f %%, the longest %v; without a shared limit %.2f %%, %v", lost*100, worst, unlimited*100, longest)
	for _, want := range []string{"can't be used; limits go by on_store_failure", "can be used again"} {
		if !strings.Contains(nodes[0].gateway.log.String(), want) {
			t.Errorf("the log lacks %q", want)
		}
	}
	t.Logf("%v of at most %v admitted; half of the requests within %v, all within %v", got, most, c.quantile(.5), c.quantile(1))
}

// TestE2EStoreTLS: the server is proven and proves its clients, a user of its
// access list may do no more than is needed, and no secret comes into a log.
func TestE2EStoreTLS(t *testing.T) {
	ca, err := certs.NewDevCA("redis")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key, err := ca.Server("localhost", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if err := writePair(dir, "redis", cert, key); err != nil {
		t.Fatal(err)
	}
	cert, key, err = ca.Client(certs.ClientSpec{CN: "gateway"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writePair(dir, "gateway", cert, key); err != nil {
		t.Fatal(err)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("ca.pem", string(ca.CertPEM()))
	const secret = "kamchia-4711-ropotamo"
	acl := file("users.acl", "user default off\nuser vazel on >"+secret+" ~vazel:* resetchannels "+storeCommands(t)+"\n")
	tlsPort := port(t)
	r := newRedis(t, "--tls-port", fmt.Sprint(tlsPort), "--bind", "127.0.0.1", "--tls-cert-file", filepath.Join(dir, "redis.pem"), "--tls-key-file", filepath.Join(dir, "redis.key"),
		"--tls-ca-cert-file", filepath.Join(dir, "ca.pem"), "--tls-auth-clients", "yes", "--aclfile", acl)
	password := file("password", secret+"\n")
	wrong := file("wrong", "veleka-wrong-0815\n")
	settings := func(password, ca string) string {
		return fmt.Sprintf("  nodes: 2\n  redis:\n    addresses: [\"localhost:%d\"]\n    username: vazel\n    password: ${file:%s}\n    tls: {ca: %s, cert: %s, key: \"${file:%s}\"}\n",
			tlsPort, password, ca, filepath.Join(dir, "gateway.pem"), filepath.Join(dir, "gateway.key"))
	}
	limit := "{rate: 1000/s, per: service}"
	n := storeNodes(t, 1, limit, settings(wrong, filepath.Join(dir, "ca.pem")))[0]
	n.storeUp(t, "0")
	if code, _ := fetch(t, n.client, "https://s.e2e.example/"); code != 200 {
		t.Errorf("with a wrong password a request got %d", code)
	}
	reload := func(what, store string) {
		t.Helper()
		conf := filepath.Join(n.dir, "vazel.yaml")
		b, err := os.ReadFile(conf)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b[:bytes.Index(b, []byte("\nstore:\n"))], "\nstore:\n"+store...)
		if err := os.WriteFile(conf, b, 0o600); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(fmt.Sprintf("http://127.0.0.1:%d/-/reload", n.admin), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 {
			t.Fatalf("%s: %s", what, b)
		}
	}
	reload("the right password", settings(password, filepath.Join(dir, "ca.pem")))
	n.storeUp(t, "1")
	until(t, "a lease", func() bool {
		fetch(t, n.client, "https://s.e2e.example/")
		out, err := exec.Command(need(t, "redis-cli", "redis-tools"), "-s", r.socket, "--user", "vazel", "--pass", secret, "--no-auth-warning", "get", "vazel:limit:s:service:_all").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.Contains(string(out), ".")
	})
	reload("another authority", settings(password, filepath.Join(n.dir, "ca.pem")))
	n.storeUp(t, "0")
	until(t, "the reason in the log", func() bool {
		return strings.Contains(n.gateway.log.String(), "unknown authority") && strings.Contains(n.gateway.log.String(), "WRONGPASS")
	})
	if code, _ := fetch(t, n.client, "https://s.e2e.example/"); code != 200 {
		t.Errorf("with an unproven server a request got %d", code)
	}
	for _, s := range []string{secret, "veleka-wrong-0815"} {
		if strings.Contains(n.gateway.log.String(), s) {
			t.Errorf("the log holds the password %s", s)
		}
	}
}

// storeCommands are those that docs/operations.md lets the gateway's user have.
func storeCommands(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*user vazel on .* (-@all .*)$`).FindSubmatch(b)
	if m == nil {
		t.Fatal("docs/operations.md shows no user of the access list")
	}
	return string(m[1])
}

// TestE2EACMEStore: two nodes share certificates and locks over a server that
// never sees a key; one of them orders.
func TestE2EACMEStore(t *testing.T) {
	t.Parallel()
	r := newRedis(t)
	p := newPebble(t, nil)
	p.start(t)
	raw := make([]byte, 32)
	rand.Read(raw)
	key := filepath.Join(t.TempDir(), "storage-key")
	if err := os.WriteFile(key, []byte(base64.StdEncoding.EncodeToString(raw)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	hosts := []string{"a.e2e.example", "b.e2e.example", "c.e2e.example"}
	node := func(first bool) *acmeNode {
		n := newACMENode(t, p, strings.Join(hosts, ", "), "storage: redis\nstorage_key: ${file:"+key+"}", first)
		f, err := os.OpenFile(filepath.Join(n.dir, "vazel.yaml"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := fmt.Fprintf(f, "store: {nodes: 2, redis: {addresses: [%s]}}\n", r.socket); err != nil {
			t.Fatal(err)
		}
		return n
	}
	one, two := node(true), node(false)
	two.start(t) // where challenges don't arrive
	one.start(t)
	roots := p.roots(t)
	for _, h := range hosts {
		x, y := one.wait(t, h, roots), two.wait(t, h, roots)
		if !x.Equal(y) {
			t.Errorf("%s: the nodes serve different certificates", h)
		}
	}
	if got := p.issued(); got != len(hosts) {
		t.Errorf("%d certificates were issued for %d hosts", got, len(hosts))
	}
	if got := strings.Count(p.program.log.String(), "Added order"); got > 6 {
		t.Errorf("%d orders for %d hosts", got, len(hosts))
	}
	all := r.cli(t, "hgetall", "vazel:acme")
	for _, clear := range []string{"PRIVATE KEY", "CERTIFICATE", "contact", "urls"} {
		if strings.Contains(all, clear) {
			t.Errorf("%q lies in the store in the clear", clear)
		}
	}
	for _, h := range hosts {
		if !strings.Contains(all, h+".key") {
			t.Errorf("the store has no key of %s", h)
		}
	}
	// A node that starts with the server gone serves nothing new, but one that runs
	// goes on.
	r.kill()
	if _, err := two.handshake(hosts[0], roots); err != nil {
		t.Errorf("without the server: %v", err)
	}
	for _, n := range []*acmeNode{one, two} {
		if log := n.gateway.log.String(); strings.Contains(log, base64.StdEncoding.EncodeToString(raw)) {
			t.Error("the log holds the key")
		}
	}
}
