package gateway

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// limited is a service with the rest of its settings.
func (n *node) limited(settings string) string {
	return fmt.Sprintf("services:\n  inner:\n    owner: meu\n    hosts: [inner.example]\n    upstreams: [\"http://%s\"]\n    allow: [\"*\"]\n%s\n", n.upstream.address, settings)
}

// use applies another configuration with one service.
func (n *node) use(settings string) {
	n.t.Helper()
	n.config(n.limited(settings))
	if err := n.apply(); err != nil {
		n.t.Fatal(err)
	}
}

// TestLimitHolds: however many clients hammer one key over whatever protocols,
// connections and streams, no more than burst + rate x t get through.
func TestLimitHolds(t *testing.T) {
	n := newNode(t, nil)
	n.use("    rate_limit: {rate: 10/s, burst: 25, per: organization}")
	nra := n.client(n.orgCA, "NTRBG-100000003")
	const enough = 300
	var admitted, refused, other atomic.Int64
	stop, plenty := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	start := time.Now()
	for _, p := range protocols {
		for range 3 { // connections
			c := n.dial(p, "inner.example", nra)
			for range 4 { // streams, or further connections
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						resp, err := c.Get("https://inner.example/")
						if err != nil {
							other.Add(1)
							return
						}
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
						switch resp.StatusCode {
						case 200:
							admitted.Add(1)
						case 429:
							if refused.Add(1) == enough {
								close(plenty)
							}
						default:
							other.Add(1)
						}
					}
				})
			}
		}
	}
	<-time.After(time.Second) // and for as long as it takes to be refused often
	select {
	case <-plenty:
	case <-time.After(time.Minute):
	}
	close(stop)
	wg.Wait()
	t.Logf("%d admitted and %d refused in %v", admitted.Load(), refused.Load(), time.Since(start))
	took := time.Since(start).Seconds()
	if most := int64(25 + 10*took + 1); admitted.Load() > most {
		t.Errorf("%d requests were admitted in %.2fs, want at most %d", admitted.Load(), took, most)
	}
	if admitted.Load() < 25 || refused.Load() == 0 || other.Load() != 0 {
		t.Errorf("%d admitted, want the burst at least; %d refused, want some; %d otherwise, want none", admitted.Load(), refused.Load(), other.Load())
	}
}

// TestLimitEvasion: no spelling of what a client is or asks for gets him another
// bucket.
func TestLimitEvasion(t *testing.T) {
	n := newNode(t, nil)
	services := `services:
  open:
    owner: meu
    hosts: [open.example, "*.wild.example"]
    upstreams: ["http://` + n.upstream.address + `"]
    routes:
      - {paths: [/], rate_limit: [{rate: 1/h, burst: 4, per: client_ip}, {rate: 1/h, burst: 100, per: route}]}
`
	n.config(services)
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	admitted := 0
	for i, try := range []struct {
		protocol, sni, url string
		header             []string
	}{
		{"h1", "open.example", "https://open.example/", []string{"X-Forwarded-For", "192.0.2.1"}},
		{"h1", "open.example", "https://open.example/", []string{"X-Forwarded-For", "192.0.2.2", "X-Forwarded-For", "192.0.2.3"}},
		{"h2", "open.example", "https://open.example/", []string{"Forwarded", "for=192.0.2.4", "X-Real-Ip", "192.0.2.5"}},
		{"h3", "open.example", "https://open.example/", []string{"X-Client-Ip", "192.0.2.6"}},
		{"h1", "open.example", "https://OPEN.example/", nil},
		{"h1", "open.example", "https://open.example./", nil},
		{"h2", "open.example", "https://Open.Example./", []string{"X-Forwarded-For", "::1"}},
		{"h1", "open.example", "https://open.example//", nil},
		{"h2", "open.example", "https://open.example/./a/../", nil},
		{"h3", "open.example", "https://open.example/%61", nil},
		{"h1", "a.wild.example", "https://a.wild.example/", nil},
		{"h2", "b.wild.example", "https://b.wild.example/?x", nil},
		{"h1", "open.example", "https://open.example/", []string{"Connection", "X-Forwarded-For", "X-Forwarded-For", "192.0.2.9"}},
	} {
		resp, body := n.do(n.dial(try.protocol, try.sni, nil), "GET", try.url, nil, try.header...)
		switch resp.StatusCode {
		case 200:
			admitted++
		case 429, 400, 421:
		default:
			t.Errorf("request %d: %d %s", i, resp.StatusCode, body)
		}
	}
	if admitted != 4 {
		t.Errorf("%d requests were admitted, want 4", admitted)
	}
}

// TestLimitOfNetwork: an IPv6 client has a /64 to choose addresses from, and one
// bucket for all of it.
func TestLimitOfNetwork(t *testing.T) {
	n := newNode(t, nil)
	n.config(`trusted_proxies: [127.0.0.0/8]
services:
  open:
    owner: meu
    hosts: [open.example]
    upstreams: ["http://` + n.upstream.address + `"]
    rate_limit: {rate: 1/h, burst: 2, per: client_ip}
`)
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	ask := func(client string) int {
		c, err := net.Dial("tcp", n.https)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(10 * time.Second))
		kind := "TCP4 " + client + " 127.0.0.1"
		if netip.MustParseAddr(client).Is6() {
			kind = "TCP6 " + client + " ::1"
		}
		io.WriteString(c, "PROXY "+kind+" 1234 443\r\n")
		tc := tls.Client(c, &tls.Config{RootCAs: n.roots, ServerName: "open.example"})
		io.WriteString(tc, "GET / HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(tc)
		var status int
		fmt.Sscanf(string(answer), "HTTP/1.1 %d", &status)
		return status
	}
	for _, step := range []struct {
		client string
		want   int
	}{
		{"2001:db8:1:2::1", 200}, {"2001:db8:1:2:ffff::7", 200}, {"2001:db8:1:2:1:2:3:4", 429}, {"2001:db8:1:3::1", 200},
		{"192.0.2.1", 200}, {"::ffff:192.0.2.1", 200}, {"192.0.2.1", 429}, {"192.0.2.2", 200},
	} {
		if got := ask(step.client); got != step.want {
			t.Errorf("from %s: %d, want %d", step.client, got, step.want)
		}
	}
}

// TestLimitsTogether: several limits hold at once, a request counts to all or to
// none, and a refusal says which it was.
func TestLimitsTogether(t *testing.T) {
	n := newNode(t, nil)
	n.use(`    rate_limit:
      - {rate: 1/s, burst: 10, per: organization}
      - {rate: 1/h, burst: 3, per: "header:X-Api-Key"}
      - {name: total, rate: 1/h, burst: 5, per: service}
      - {name: planned, rate: 1/h, burst: 1, per: route, mode: detect}`)
	nra, sofia := n.dial("h2", "inner.example", n.client(n.orgCA, "NTRBG-100000003")), n.dial("h1", "inner.example", n.client(n.orgCA, "NTRBG-100000004"))
	for i, step := range []struct {
		c      *http.Client
		key    string
		status int
		policy string
	}{
		{nra, "a", 200, ""}, {nra, "a", 200, ""}, {nra, "a", 200, ""}, {nra, "a", 429, "inner:header:X-Api-Key"}, {nra, "a", 429, "inner:header:X-Api-Key"},
		{sofia, "a", 429, "inner:header:X-Api-Key"}, {sofia, "b", 200, ""}, {sofia, "c", 200, ""}, {sofia, "d", 429, "inner:total"}, {nra, "e", 429, "inner:total"},
	} {
		resp, body := n.do(step.c, "GET", "https://inner.example/", nil, "X-Api-Key", step.key)
		if resp.StatusCode != step.status {
			t.Fatalf("request %d: %d %s, want %d", i, resp.StatusCode, body, step.status)
		}
		policies, left := resp.Header.Get("RateLimit-Policy"), resp.Header.Get("RateLimit")
		if !strings.Contains(policies, `"inner:organization";q=10;w=10;pk=:`) || !strings.Contains(policies, `"inner:total";q=5;w=18000`) || strings.Contains(policies, "planned") {
			t.Errorf("request %d: RateLimit-Policy: %s", i, policies)
		}
		if step.status == 200 {
			if strings.Count(left, ";r=") != 3 || resp.Header.Get("Retry-After") != "" {
				t.Errorf("request %d: RateLimit: %s", i, left)
			}
			continue
		}
		var p struct {
			Type, Policy, Partition string
			Limit, Remaining, Reset int64
			Incident                string `json:"incident_id"`
		}
		if err := json.Unmarshal([]byte(body), &p); err != nil || p.Policy != step.policy || !strings.HasSuffix(p.Type, "#quota-exceeded") || p.Remaining != 0 || p.Reset == 0 || p.Limit == 0 || p.Partition == "" || len(p.Incident) != 32 {
			t.Errorf("request %d: %v %s", i, err, body)
		}
		if after, _ := strconv.ParseInt(resp.Header.Get("Retry-After"), 10, 64); after < p.Reset {
			t.Errorf("request %d: Retry-After is %d, before the reset in %ds", i, after, p.Reset)
		}
		if !strings.HasPrefix(left, fmt.Sprintf("%q;r=0;t=", step.policy)) || strings.Count(left, ";r=") != 1 {
			t.Errorf("request %d: RateLimit: %s", i, left)
		}
	}
	let := n.gateway.Refusals(RefusalFilter{Detected: true}, 10)
	if len(let) != 4 {
		t.Errorf("mode detect let %d requests through, want 4", len(let))
	}
	for _, i := range let {
		if i.Policy != "inner:planned" || i.By != "rate_limit" || i.Status != 429 || i.Answered != 200 || len(i.Decided) == 0 {
			t.Errorf("let through: %+v", i)
		}
	}
	for series, want := range map[string]string{
		`vazel_ratelimit_decisions_total{decision="allowed",policy="inner:total"}`:          "5",
		`vazel_ratelimit_decisions_total{decision="limited",policy="inner:total"}`:          "2",
		`vazel_ratelimit_decisions_total{decision="shadow_limited",policy="inner:planned"}`: "9",
		`vazel_ratelimit_limited_total{organization="nra",policy="inner:header:X-Api-Key"}`: "2",
		`vazel_ratelimit_keys{policy="inner:header:X-Api-Key"}`:                             "3",
		`vazel_ratelimit_near_limit_total{policy="inner:total"}`:                            "1",
	} {
		if got := n.metric(series); got != want {
			t.Errorf("%s = %q, want %q", series, got, want)
		}
	}
}

// TestReloadRates: new rates count at once, and what was used stays used.
func TestReloadRates(t *testing.T) {
	n := newNode(t, nil)
	c := n.dial("h2", "inner.example", n.client(n.orgCA, "NTRBG-100000003"))
	get := func() int {
		resp, _ := n.do(c, "GET", "https://inner.example/", nil)
		return resp.StatusCode
	}
	for i, step := range []struct {
		burst int
		want  []int
	}{{4, []int{200, 200, 200}}, {2, []int{429}}, {5, []int{200, 200, 429}}, {1, []int{429}}, {6, []int{200, 429}}} {
		n.use(fmt.Sprintf("    rate_limit: [{rate: 1/h, burst: %d, per: organization}]\n    quota: {day: 1000, per: organization}", step.burst))
		for j, want := range step.want {
			if got := get(); got != want {
				t.Errorf("step %d, request %d: %d, want %d", i, j, got, want)
			}
		}
	}
	n.use("    rate_limit: {rate: 1/s, burst: 100, per: service}")
	if get() != 200 {
		t.Error("without these limits a request is refused")
	}
	if got := n.metric(`vazel_ratelimit_quota_used_ratio{organization="nra",policy="inner:organization:day"}`); got != "" {
		t.Errorf("a quota that is not in force any more is %s used", got)
	}
	n.use("    quota: {day: 7, per: organization}") // six were let through
	if a, b := get(), get(); a != 200 || b != 429 {
		t.Errorf("the quota: %d, %d, want 200, 429", a, b)
	}
}

// TestQuotaPage: an organization sees its own limits, its use and its refusals,
// and nobody else's.
func TestQuotaPage(t *testing.T) {
	n := newNode(t, nil)
	n.use(`    rate_limit: {rate: 1/h, burst: 2, per: organization}
    quota: {month: 50, per: organization}
    concurrency: 7
    routes:
      - paths: [/]
      - {paths: [/own], allow: [sofia], rate_limit: {rate: 9/h, per: organization}}`)
	nra, sofia := n.client(n.orgCA, "NTRBG-100000003"), n.client(n.orgCA, "NTRBG-100000004")
	c := n.dial("h2", "inner.example", nra)
	incident := ""
	for i, want := range []int{200, 200, 429} {
		resp, body := n.do(c, "GET", "https://inner.example/x", nil)
		if resp.StatusCode != want {
			t.Fatalf("request %d: %d %s", i, resp.StatusCode, body)
		}
		if want == 429 {
			var p map[string]any
			json.Unmarshal([]byte(body), &p)
			incident, _ = p["incident_id"].(string)
		}
	}
	type page struct {
		Organization string
		Limits       []struct {
			Policy, Kind, Partition, Period string
			Limit, Remaining, Used, Reset   int64
			Routes                          []string
		}
		Refusals []struct {
			Reason, Policy string
			Status         int
			Incident       string `json:"incident_id"`
		}
	}
	see := func(p string, cert *tls.Certificate) (v page) {
		t.Helper()
		resp, body := n.do(n.dial(p, "inner.example", cert), "GET", "https://inner.example/.well-known/vazel/quota", nil)
		if err := json.Unmarshal([]byte(body), &v); err != nil || resp.StatusCode != 200 || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v %s", resp.StatusCode, err, body)
		}
		return v
	}
	own := see("h3", nra)
	if own.Organization != "nra" || len(own.Limits) != 3 || len(own.Refusals) != 1 || own.Refusals[0].Incident != incident || own.Refusals[0].Policy != "inner:organization" || own.Refusals[0].Status != 429 {
		t.Fatalf("%+v", own)
	}
	if l := own.Limits[0]; l.Policy != "inner:organization" || l.Limit != 2 || l.Remaining != 0 || l.Used != 2 || l.Reset == 0 || l.Kind != "rate" || l.Partition != "organization" {
		t.Errorf("the rate: %+v", l)
	}
	if l := own.Limits[1]; l.Policy != "inner:organization:month" || l.Limit != 50 || l.Remaining != 48 || l.Period != "month" {
		t.Errorf("the quota: %+v", l)
	}
	if l := own.Limits[2]; l.Policy != "inner:concurrency" || l.Limit != 7 {
		t.Errorf("the bound on concurrency: %+v", l)
	}
	if other := see("h1", sofia); other.Organization != "sofia" || len(other.Refusals) != 0 || len(other.Limits) != 4 || other.Limits[0].Used != 0 {
		t.Errorf("another organization's page: %+v", other)
	}
	if resp, body := n.do(n.dial("h2", "inner.example", nil), "GET", "https://inner.example/.well-known/vazel/quota", nil); resp.StatusCode != 401 {
		t.Errorf("without a certificate: %d %s", resp.StatusCode, body)
	}
	if resp, _ := n.do(c, "POST", "https://inner.example/.well-known/vazel/quota", nil); resp.StatusCode != 405 || resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", resp.StatusCode, resp.Header)
	}
	if heads := n.upstream.take(); len(heads) != 2 {
		t.Errorf("%d requests reached the upstream, want 2", len(heads))
	}
}

// TestQuotaSurvives: another process goes on with what was used.
func TestQuotaSurvives(t *testing.T) {
	n := newNode(t, nil)
	settings := "    quota: {day: 3, month: 100, per: organization}"
	n.use(settings)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	for range 2 {
		n.do(n.dial("h2", "inner.example", nra), "GET", "https://inner.example/", nil)
	}
	n.stop()
	n.reg = prometheus.NewRegistry()
	var err error
	if n.gateway, err = New(Options{Log: zap.NewNop(), Registerer: n.reg, StateDir: filepath.Join(n.dir, "state"), Version: "test"}); err != nil {
		t.Fatal(err)
	}
	if err := n.apply(); err != nil {
		t.Fatal(err)
	}
	n.run()
	for i, want := range []int{200, 429} {
		resp, body := n.do(n.dial("h2", "inner.example", nra), "GET", "https://inner.example/", nil)
		if resp.StatusCode != want {
			t.Errorf("request %d after the restart: %d, want %d: %s", i, resp.StatusCode, want, body)
		}
		if want == 429 {
			midnight := time.Until(time.Now().UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)).Seconds()
			if after, _ := strconv.ParseFloat(resp.Header.Get("Retry-After"), 64); after < midnight-2 || after > midnight+60 {
				t.Errorf("Retry-After is %v, want midnight in %v", after, midnight)
			}
			if !strings.Contains(body, `"period":"day"`) {
				t.Errorf("the refusal does not say that it is the day's: %s", body)
			}
		}
	}
	if got := n.metric(`vazel_ratelimit_quota_used_ratio{organization="nra",policy="inner:organization:month"}`); got != "0.03" {
		t.Errorf("the share of the month is %s, want 0.03", got)
	}
}

// TestCostOfOperation: a GetFeature takes more of a limit than a GetMap, also as a
// document, and the upstream gets what was sent.
func TestCostOfOperation(t *testing.T) {
	n := newNode(t, nil)
	n.use("    rate_limit: {rate: 1/h, burst: 30, per: organization}\n    costs: [{operations: GetMap, cost: 2}, {operations: GetFeature, cost: 10}]")
	c := n.dial("h2", "inner.example", n.client(n.orgCA, "NTRBG-100000003"))
	document := `<?xml version="1.0"?><wfs:GetFeature xmlns:wfs="http://www.opengis.net/wfs/2.0" service="WFS"/>`
	for i, step := range []struct {
		method, query, body string
		status              int
		left                string
	}{
		{"GET", "?service=WMS&REQUEST=getmap", "", 200, "28"}, {"GET", "?Request=GetFeature", "", 200, "18"}, {"POST", "", document, 200, "8"},
		{"POST", "", document, 429, "8"}, {"GET", "", "", 200, "7"},
	} {
		resp, body := n.do(c, step.method, "https://inner.example/ows"+step.query, strings.NewReader(step.body), "Content-Type", "text/xml")
		if resp.StatusCode != step.status || !strings.HasPrefix(resp.Header.Get("RateLimit"), `"inner:organization";r=`+step.left+`;`) {
			t.Errorf("request %d: %d %s %s, want %d and %s left", i, resp.StatusCode, resp.Header.Get("RateLimit"), body, step.status, step.left)
		}
		if step.status == 200 && body != fmt.Sprintf("%s /ows%s %d", step.method, step.query, len(step.body)) {
			t.Errorf("request %d: the upstream got %q", i, body)
		}
		if step.status == 429 && (!strings.Contains(body, `"cost":10`) || resp.Header.Get("Retry-After") != strconv.Itoa(2*3600)) {
			t.Errorf("request %d: Retry-After %s, %s", i, resp.Header.Get("Retry-After"), body)
		}
	}
}
