package gateway

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware"
)

// partners is a node that two organizations use, each with an authority of its own.
type partners struct {
	*node
	release  chan struct{} // closed: streams end
	nra, meu *tls.Certificate
	text     string // of the configuration
}

const partnersConfig = `services:
  open: {owner: meu, hosts: [open.example], upstreams: ["http://%[1]s"]}
  inner:
    owner: meu
    hosts: [inner.example]
    upstreams: ["http://%[1]s"]
    mtls: required
    allow: [nra, meu]
    routes:
      - {paths: [/], name: inner}
      - {paths: [/route], name: route, allow: [nra, meu]}
      - {paths: [/ws], name: ws, websocket: true}
`

func newPartners(t *testing.T, limits string) *partners {
	p := &partners{release: make(chan struct{})}
	p.node = newNode(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "stream"):
			io.WriteString(w, "begin\n")
			http.NewResponseController(w).Flush()
			select {
			case <-p.release:
				io.WriteString(w, "end")
			case <-r.Context().Done():
			}
		case r.Header.Get("Upgrade") != "":
			echoWebSocket(w)
		default:
			io.WriteString(w, r.Header.Get("X-Organization"))
		}
	})
	p.nra, p.meu = p.client(p.orgCA, "NTRBG-100000003"), p.client(p.otherCA, "NTRBG-100000001")
	p.revoke()
	p.config(fmt.Sprintf(partnersConfig, p.upstream.address))
	b, _ := os.ReadFile(filepath.Join(p.dir, "vazel.yaml"))
	p.text = strings.NewReplacer("limits: {", "limits: {"+limits,
		"id: NTRBG-100000003, ca: org-ca.pem}", "id: NTRBG-100000003, ca: org-ca.pem, crl: {file: nra.crl}}").Replace(string(b))
	if !strings.Contains(p.text, limits) || !strings.Contains(p.text, "crl:") {
		t.Fatalf("the harness has another frame:\n%s", p.text)
	}
	p.use(p.text)
	return p
}

func echoWebSocket(w http.ResponseWriter) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
	rw.Flush()
	io.Copy(c, rw.Reader)
}

// use applies a configuration.
func (p *partners) use(text string) {
	p.t.Helper()
	p.write("vazel.yaml", text)
	if err := p.apply(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *partners) revoke(serials ...*big.Int) {
	p.t.Helper()
	der, err := p.orgCA.CRL(time.Now().Add(time.Hour), serials...)
	if err != nil {
		p.t.Fatal(err)
	}
	p.write("nra.crl", string(der))
}

// withdrawals are the ways to lose a right, with the reason that is counted.
var withdrawals = map[string]struct {
	reason string
	do     func(p *partners)
}{
	"revoked": {"revoked", func(p *partners) {
		p.revoke(p.nra.Leaf.SerialNumber)
		p.use(p.text)
	}},
	"authority removed": {"unknown_ca", func(p *partners) {
		p.revoke()
		p.use(strings.NewReplacer("ca: org-ca.pem, crl: {file: nra.crl}", "ca: server-ca.pem", "ca: org-ca.pem", "ca: server-ca.pem").Replace(p.text))
	}},
	"organization removed": {"wrong_organization", func(p *partners) {
		lines := strings.Split(p.text, "\n")
		for i, l := range lines {
			if strings.HasPrefix(l, "  nra:") {
				lines = append(lines[:i], lines[i+1:]...)
				break
			}
		}
		p.use(strings.ReplaceAll(strings.Join(lines, "\n"), "allow: [nra, meu]", "allow: [meu]"))
	}},
	"allow narrowed": {"not_allowed", func(p *partners) {
		p.use(strings.ReplaceAll(p.text, "allow: [nra, meu]", "allow: [meu]"))
	}},
	"service removed": {"not_allowed", func(p *partners) {
		p.use(strings.ReplaceAll(p.text, "hosts: [inner.example]", "hosts: [third.example]"))
	}},
	"agreement over": {"agreement_expired", func(p *partners) {
		p.use(strings.Replace(p.text, "id: NTRBG-100000003,", `id: NTRBG-100000003, valid_until: "2024-12-31",`, 1))
	}},
}

// TestWithdrawal: whatever takes the right away ends exactly the connections of
// that organization, idle, busy and WebSocket, over each protocol.
func TestWithdrawal(t *testing.T) {
	for name, tt := range withdrawals {
		for _, protocol := range protocols {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				p := newPartners(t, "")
				idle, busy := p.link(protocol, "inner.example", p.nra, nil), p.link(protocol, "inner.example", p.nra, nil)
				otherIdle, otherBusy := p.link(protocol, "inner.example", p.meu, nil), p.link(protocol, "inner.example", p.meu, nil)
				public := p.link(protocol, "open.example", nil, nil)
				if name == "service removed" { // then it is everybody's right that is gone
					otherIdle, otherBusy = p.link(protocol, "open.example", nil, nil), p.link(protocol, "open.example", nil, nil)
				}
				for l, want := range map[*link]string{idle: "nra", otherIdle: "meu", public: ""} {
					if l.host == "open.example" {
						want = ""
					}
					if status, got := l.get("/"); status != 200 || got != want {
						t.Fatalf("%d %q, want %q", status, got, want)
					}
				}
				var ws, otherWS *link
				if protocol == "h1" {
					ws, otherWS = p.link("h1", "inner.example", p.nra, nil), p.link("h1", "inner.example", p.meu, nil)
					ws.websocket("/ws")
					otherWS.websocket("/ws")
				}
				broken, whole := busy.stream("/stream"), otherBusy.stream("/stream")

				start := time.Now()
				tt.do(p)
				idle.over(t, "the idle connection")
				if protocol == "h2" && !idle.goAway.Load() {
					t.Error("no GOAWAY")
				}
				victims := 2
				if ws != nil {
					ws.over(t, "the WebSocket")
					victims++
				}
				if s := <-broken; s.err == nil || s.rest != "" {
					t.Errorf("the answer under way looks whole: %q", s.rest)
				}
				busy.over(t, "the busy connection")
				if took := time.Since(start); took > 3*time.Second { // one is promised; this machine may be loaded
					t.Errorf("took %v", took)
				} else {
					t.Logf("took %v", took)
				}
				if got := p.metric(`vazel_connections_withdrawn_total{organization="nra",reason="` + tt.reason + `"}`); got != fmt.Sprint(victims) {
					t.Errorf("%s connections were counted for %s, want %d", got, tt.reason, victims)
				}

				// Nobody else's.
				for _, l := range []*link{otherIdle, public} {
					if status, got := l.get("/"); status != 200 {
						t.Errorf("somebody else's connection: %d %s", status, got)
					}
				}
				close(p.release)
				if s := <-whole; s.err != nil || s.rest != "end" {
					t.Errorf("somebody else's answer: %q, %v", s.rest, s.err)
				}
				if otherWS != nil && name != "service removed" {
					otherWS.echo("still there")
				}

				// And never again, with a new connection.
				if name == "service removed" {
					return
				}
				status, got := p.link(protocol, "inner.example", p.nra, nil).get("/")
				if status != 403 || !strings.Contains(got, `"reason":"`+tt.reason+`"`) {
					t.Errorf("a new connection: %d %s", status, got)
				}
			})
		}
	}
}

// TestUnrelatedReload closes nothing.
func TestUnrelatedReload(t *testing.T) {
	p := newPartners(t, "")
	var idle []*link
	var streams []<-chan streamed
	for _, protocol := range protocols {
		l, busy := p.link(protocol, "inner.example", p.nra, nil), p.link(protocol, "inner.example", p.nra, nil)
		l.get("/")
		idle, streams = append(idle, l, busy), append(streams, busy.stream("/stream"))
	}
	ws := p.link("h1", "inner.example", p.nra, nil)
	ws.websocket("/ws")
	for _, text := range []string{
		p.text + "  third: {owner: meu, hosts: [third.example], upstreams: [\"http://127.0.0.1:1\"], mtls: required, allow: [sofia]}\n",
		strings.Replace(p.text, "allow: [nra, meu]", "allow: [nra]", 1),                                                                                   // another organization's right
		strings.Replace(p.text, "organizations:", "organizations:\n  varna: {name: Varna, id: NTRBG-100000009, ca: org-ca.pem}", 1),                       // another organization
		strings.Replace(p.text, "limits: {", "limits: {max_streams: 50, ", 1),                                                                             // other bounds
		strings.Replace(p.text, "organizations:", "organizations:\n  varna: {name: Varna, id: NTRBG-100000009, ca: org-ca.pem, crl: {file: nra.crl}}", 1), // its list
		p.text,
	} {
		p.revoke(big.NewInt(int64(len(text)))) // somebody else's certificate
		p.use(text)
	}
	close(p.release)
	for i, s := range streams {
		if s := <-s; s.err != nil || s.rest != "end" {
			t.Errorf("%s: an answer under way: %q, %v", protocols[i], s.rest, s.err)
		}
	}
	ws.echo("still there")
	for _, l := range idle {
		if status, got := l.get("/"); status != 200 || got != "nra" || !l.open() {
			t.Errorf("%s: %d %s", l.protocol, status, got)
		}
	}
	if got := p.metric(`vazel_connections_withdrawn_total{organization="nra",reason="not_allowed"}`); got != "" {
		t.Errorf("%s connections were withdrawn", got)
	}
}

// TestRouteNarrowed ends what is under way on the route, and no more.
func TestRouteNarrowed(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newPartners(t, "")
			idle := p.link(protocol, "inner.example", p.nra, nil)
			idle.get("/route")
			one := p.link(protocol, "inner.example", p.nra, nil)
			broken := one.stream("/route/stream")
			other := one
			if protocol == "h1" {
				other = p.link(protocol, "inner.example", p.nra, nil)
			}
			whole := other.stream("/stream")
			theirs := p.link(protocol, "inner.example", p.meu, nil).stream("/route/stream")
			p.use(strings.Replace(p.text, "name: route, allow: [nra, meu]", "name: route, allow: [meu]", 1))
			if s := <-broken; s.err == nil || s.rest != "" {
				t.Errorf("the answer under way looks whole: %q", s.rest)
			}
			close(p.release)
			for _, c := range []<-chan streamed{whole, theirs} {
				if s := <-c; s.err != nil || s.rest != "end" {
					t.Errorf("an answer that may go on: %q, %v", s.rest, s.err)
				}
			}
			for _, l := range []*link{idle, other} {
				if status, got := l.get("/"); status != 200 {
					t.Errorf("the connection: %d %s", status, got)
				}
				if status, _ := l.get("/route"); status != 403 {
					t.Errorf("the route: %d", status)
				}
			}
			total := p.metric(`vazel_http_requests_withdrawn_total{organization="nra",reason="not_allowed"}`) + p.metric(`vazel_connections_withdrawn_total{organization="nra",reason="not_allowed"}`)
			if total != "1" {
				t.Errorf("%q were counted", total)
			}
		})
	}
}

// TestWithdrawalFinish lets answers under way become whole, as configured, while
// idle connections and WebSockets end at once.
func TestWithdrawalFinish(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newPartners(t, "withdrawal_timeout: 60s, ")
			idle, busy := p.link(protocol, "inner.example", p.nra, nil), p.link(protocol, "inner.example", p.nra, nil)
			idle.get("/")
			ws := p.link("h1", "inner.example", p.nra, nil)
			ws.websocket("/ws")
			stream := busy.stream("/stream")
			withdrawals["allow narrowed"].do(p)
			idle.over(t, "the idle connection")
			ws.over(t, "the WebSocket")
			if !busy.open() {
				t.Error("the busy connection ended at once")
			}
			close(p.release)
			if s := <-stream; s.err != nil || s.rest != "end" {
				t.Errorf("the answer under way: %q, %v", s.rest, s.err)
			}
			if protocol != "h3" { // whose server waits for its client
				busy.over(t, "the connection whose answer is whole")
			}
			if status, _ := busy.get("/"); status == 200 {
				t.Error("a request after the withdrawal was served")
			}
		})
	}
}

// TestWithdrawalCut breaks answers off at once, as configured and for what was
// revoked.
func TestWithdrawalCut(t *testing.T) {
	for name, limits := range map[string]string{"allow narrowed": "withdrawal: cut, withdrawal_timeout: 60s, ", "revoked": "withdrawal_timeout: 60s, "} {
		for _, protocol := range protocols {
			t.Run(name+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				p := newPartners(t, limits)
				busy := p.link(protocol, "inner.example", p.nra, nil)
				stream := busy.stream("/stream")
				withdrawals[name].do(p)
				if s := <-stream; s.err == nil || s.rest != "" {
					t.Errorf("the answer under way looks whole: %q", s.rest)
				}
				busy.over(t, "the connection")
			})
		}
	}
}

// TestCertificateEnds: one that ends takes its connections along.
func TestCertificateEnds(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newPartners(t, "")
			end := time.Now().Truncate(time.Second).Add(3 * time.Second)
			short := p.clientOf(p.orgCA, certs.ClientSpec{CN: "s", OrganizationID: "NTRBG-100000003", NotAfter: end})
			idle, busy, other := p.link(protocol, "inner.example", short, nil), p.link(protocol, "inner.example", short, nil), p.link(protocol, "inner.example", p.nra, nil)
			idle.get("/")
			other.get("/")
			if s := <-busy.stream("/stream"); s.err == nil {
				t.Error("the answer under way looks whole")
			}
			if time.Now().Before(end) {
				t.Error("ended too early")
			}
			idle.over(t, "the idle connection")
			if status, _ := other.get("/"); status != 200 {
				t.Errorf("another certificate of the organization: %d", status)
			}
		})
	}
}

// TestProtectedNow: connections of a host that asks for certificates from now on
// can't show one.
func TestProtectedNow(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newPartners(t, "")
			idle, busy, other := p.link(protocol, "open.example", nil, nil), p.link(protocol, "open.example", nil, nil), p.link(protocol, "inner.example", p.nra, nil)
			idle.get("/")
			other.get("/")
			stream := busy.stream("/stream")
			p.use(strings.Replace(p.text, "hosts: [open.example],", "hosts: [open.example], mtls: required, allow: [nra],", 1))
			idle.over(t, "the idle connection")
			if s := <-stream; s.err == nil {
				t.Error("the answer under way looks whole")
			}
			if status, _ := other.get("/"); status != 200 {
				t.Errorf("another host's connection: %d", status)
			}
		})
	}
}

// TestResumption: a session is resumed on the same host under the same trust, and
// its certificate is looked at anew.
func TestResumption(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			p := newPartners(t, "")
			// resumed connects with the sessions that were got for another host, too.
			cache := &anyHost{}
			resumed := func(host string) (bool, int, string) {
				t.Helper()
				l := p.link(protocol, host, p.nra, cache)
				defer l.close()
				status, got := l.get("/")
				cache.await(t)
				return l.resumed, status, got
			}
			resumed("inner.example")
			if again, status, got := resumed("inner.example"); !again || status != 200 || got != "nra" {
				t.Errorf("the same host: resumed %v, %d %s", again, status, got)
			}
			if again, status, _ := resumed("open.example"); again || status != 200 {
				t.Errorf("from a protected host to a public one: resumed %v, %d", again, status)
			}
			if again, status, got := resumed("inner.example"); again || got != "nra" {
				t.Errorf("from a public host to a protected one: resumed %v, %d %s", again, status, got)
			}
			p.use(p.text + "  third: {owner: meu, hosts: [third.example], upstreams: [\"http://127.0.0.1:1\"]}\n")
			if again, _, _ := resumed("inner.example"); !again {
				t.Error("not resumed after an unrelated reload")
			}
			withdrawals["allow narrowed"].do(p)
			if _, status, _ := resumed("inner.example"); status != 403 {
				t.Errorf("after its right was withdrawn: %d", status)
			}
			p.use(p.text)
			resumed("inner.example")
			withdrawals["revoked"].do(p)
			// The list is read in the background: a second is what is promised.
			for begin := time.Now(); ; {
				_, status, _ := resumed("inner.example")
				if status == 403 {
					break
				}
				if time.Since(begin) > time.Second {
					t.Fatalf("a second after its revocation: %d", status)
				}
			}
			if _, status, _ := resumed("inner.example"); status != 403 {
				t.Errorf("let in again after its revocation: %d", status)
			}
			withdrawals["authority removed"].do(p)
			if again, status, _ := resumed("inner.example"); again || status != 403 {
				t.Errorf("after its authority was removed: resumed %v, %d", again, status)
			}
		})
	}
}

// anyHost is a session cache that gives what it got last, whoever asks.
type anyHost struct {
	mu   sync.Mutex
	last *tls.ClientSessionState
	puts chan struct{}
}

func (a *anyHost) Get(string) (*tls.ClientSessionState, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.puts = make(chan struct{}, 8)
	return a.last, a.last != nil
}

func (a *anyHost) Put(_ string, s *tls.ClientSessionState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s == nil {
		return
	}
	a.last = s
	select {
	case a.puts <- struct{}{}:
	default:
	}
}

// await waits until the connection's ticket has come.
func (a *anyHost) await(t *testing.T) {
	t.Helper()
	a.mu.Lock()
	c := a.puts
	a.mu.Unlock()
	select {
	case <-c:
	case <-time.After(5 * time.Second):
		t.Error("no session ticket came")
	}
}

// TestNoSlip changes trust while requests are being decided: when a change has
// been applied and what it ends has ended, nobody holds what he may not have.
func TestNoSlip(t *testing.T) {
	p := newPartners(t, "withdrawal: cut, ")
	narrowed := strings.ReplaceAll(p.text, "allow: [nra, meu]", "allow: [meu]")
	var served atomic.Int64
	for round := range 15 {
		begin, stopped := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		for i := range 12 {
			protocol := protocols[i%3]
			l := p.link(protocol, "inner.example", p.nra, nil)
			wg.Go(func() {
				<-begin
				for {
					r, _ := http.NewRequest("GET", "https://inner.example/stream", nil)
					resp, err := l.rt.RoundTrip(r)
					if err != nil {
						return // the connection was ended
					}
					line, _ := bufio.NewReader(resp.Body).ReadString('\n')
					if resp.StatusCode != 200 || line != "begin\n" {
						resp.Body.Close()
						select {
						case <-stopped:
							return
						default:
							continue
						}
					}
					served.Add(1)
					if _, err := io.ReadAll(resp.Body); err == nil {
						t.Errorf("%s: an answer that never ends became whole", l.protocol)
						return
					}
				}
			})
		}
		close(begin)
		p.use(narrowed)
		close(stopped)
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("round %d: an exchange goes on after its right was withdrawn", round)
		}
		p.use(p.text)
	}
	t.Logf("%d exchanges were begun and cut", served.Load())
}

// TestStaleDecision: a request that was being decided by a former configuration
// is decided again, on whichever side of the change it was entered.
func TestStaleDecision(t *testing.T) {
	p := newPartners(t, "withdrawal: cut, ")
	g := p.gateway
	admit := func(snap *snapshot) *exchange {
		c := &conn{sni: "inner.example", end: func() {}, close: func() {}, cut: func() {}}
		c.Protocol = "h1"
		g.conns.add(c)
		t.Cleanup(func() { g.conns.remove(c) })
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{p.nra.Leaf}}
		r = r.WithContext(middleware.WithRecord(c.context(t.Context()), &middleware.Record{Start: time.Now(), Host: "inner.example"}))
		target, err := canonicalTarget("/")
		if err != nil {
			t.Fatal(err)
		}
		found, ex := g.admit(w, r, snap, snap.hosts.find("inner.example"), target, http.NewResponseController(w))
		if found != nil && !found.callers[ex.organization] { // its handler refuses
			ex.leave()
			return nil
		}
		return ex
	}
	for name, tt := range withdrawals {
		t.Run(name, func(t *testing.T) {
			before := g.snapshot.Load()
			entered := admit(before)
			if entered == nil {
				t.Fatal("refused before the change")
			}
			tt.do(p)
			select {
			case <-entered.Done():
			case <-time.After(5 * time.Second):
				t.Error("what was entered before the change goes on")
			}
			entered.leave()
			if admit(before) != nil {
				t.Error("what was entered after the change was let in")
			}
			p.revoke()
			p.use(p.text)
			for again := (*exchange)(nil); again == nil; { // a list in use changes by itself, after the reload
				if again = admit(g.snapshot.Load()); again != nil {
					again.leave()
				}
			}
		})
	}
}
