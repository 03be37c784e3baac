package gateway

import (
	"bytes"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"

	"github.com/vazel-gateway/vazel/certs"
)

// series counts the lines of a scrape by metric.
func (n *node) series() (all int, by map[string]int) {
	n.t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	by = map[string]int{}
	for _, f := range families {
		var b bytes.Buffer
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			n.t.Fatal(err)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if line != "" && line[0] != '#' {
				by[f.GetName()]++
				all++
			}
		}
	}
	return all, by
}

// TestSeries: a large node has fewer than 10,000 series after all kinds of
// traffic, and what clients make up adds none.
func TestSeries(t *testing.T) {
	t.Parallel()
	const services, routes, organizations = 20, 5, 60
	n := newNode(t, nil)
	var orgs, allow, conf strings.Builder
	for i := range organizations {
		fmt.Fprintf(&orgs, "  o%d: {id: NTRBG-2000%05d, ca: org-ca.pem, rate_limit: {rate: 1000/s, burst: 2000}}\n", i, i)
		fmt.Fprintf(&allow, ", o%d", i)
	}
	conf.WriteString("services:\n")
	for s := range services {
		fmt.Fprintf(&conf, "  s%d:\n    owner: meu\n    hosts: [s%d.wild.example]\n    upstreams: [\"http://%s\"]\n    waf: {mode: %s}\n    health: {path: /, every: 1s}\n    slo: registry\n    mtls: optional\n    routes:\n", s, s, n.upstream.address, "@WAF@")
		for r := range routes - 1 {
			fmt.Fprintf(&conf, "      - {paths: [/r%d], rate_limit: {rate: 1000/s, burst: 2000, per: organization}}\n", r)
		}
		fmt.Fprintf(&conf, "      - {paths: [/inner], allow: [nra%s]}\n", allow.String())
	}
	inspect := func(mode string) {
		t.Helper()
		n.config(orgs.String(), strings.ReplaceAll(conf.String(), "@WAF@", mode))
		if err := n.apply(); err != nil {
			t.Fatal(err)
		}
	}
	inspect("\"off\"") // which says nothing of organizations, and takes a while with the race detector
	attack := "?q=" + url.QueryEscape("1' UNION SELECT password FROM users--")
	var wg sync.WaitGroup
	few := make(chan struct{}, 8)
	for i := range organizations { // each calls a quarter of the services, three routes of each
		cert := n.clientOf(n.orgCA, certs.ClientSpec{CN: "system", OrganizationID: fmt.Sprintf("NTRBG-2000%05d", i)})
		wg.Go(func() {
			few <- struct{}{}
			defer func() { <-few }()
			for s := i % 4; s < services; s += 4 {
				c := n.dial(protocols[s%2], fmt.Sprintf("s%d.wild.example", s), cert)
				for _, path := range []string{"r0", fmt.Sprintf("r%d", 1+i%3), "inner"} {
					n.do(c, "GET", fmt.Sprintf("https://s%d.wild.example/%s", s, path), nil)
				}
			}
		})
	}
	wg.Wait()
	inspect("block")
	for s := range services { // everybody else: all routes, some with a body, some attacks
		wg.Go(func() {
			few <- struct{}{}
			defer func() { <-few }()
			host := fmt.Sprintf("s%d.wild.example", s)
			c := n.dial("h3", host, nil)
			for r := range routes - 1 {
				at := fmt.Sprintf("https://%s/r%d", host, r)
				n.do(c, "GET", at, nil)
				n.do(c, "POST", at, strings.NewReader("x"))
				n.do(c, "GET", at+attack, nil)
			}
			n.do(c, "GET", "https://"+host+"/inner", nil)
		})
	}
	wg.Wait()
	before, by := n.series()
	if before >= 9_800 || before < 5_000 { // those of the process come on top
		t.Errorf("%d series: %v", before, by)
	}
	if by["vazel_metric_overflow_total"] > 0 {
		t.Error("what is configured does not fit")
	}

	c := n.dial("h2", "s0.wild.example", nil)
	made := func(tag string) {
		for i := range 20 {
			n.do(c, "GET", fmt.Sprintf("https://s0.wild.example/r0/%s-%d?%s=%d", tag, i, tag, i), nil, "User-Agent", fmt.Sprint(tag, i), "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i))
			n.do(c, fmt.Sprintf("%s%d", tag, i), "https://s0.wild.example/r0", nil)
			n.do(c, "GET", fmt.Sprintf("https://s0.wild.example/%s/%d", tag, i), nil)
			n.do(c, "GET", "https://s0.wild.example/r0", nil, "Host", fmt.Sprintf("%s%d.example", tag, i))
		}
	}
	made("A") // the series of refusals of these kinds
	once, _ := n.series()
	made("B")
	if twice, after := n.series(); twice != once {
		t.Errorf("clients made %d series: %v, before %v", twice-once, after, by)
	}
	problems, err := testutil.GatherAndLint(n.reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
