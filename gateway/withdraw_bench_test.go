package gateway

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
)

// BenchmarkWithdraw takes away one of 50 organizations that hold 10,000
// connections in all, each with a certificate of its own. It counts what the
// reload does beyond building the snapshot.
func BenchmarkWithdraw(b *testing.B) {
	const organizations, connections = 50, 10000
	n := newNode(b, nil)
	var add, names []string
	for i := range organizations {
		add = append(add, fmt.Sprintf("  org%d: {name: Org, id: NTRBG-2000000%02d, ca: org-ca.pem}", i, i))
		names = append(names, fmt.Sprintf("org%d", i))
	}
	n.config(fmt.Sprintf("services:\n  inner: {owner: meu, hosts: [inner.example], upstreams: [\"http://%s\"], allow: [%s]}\n", n.upstream.address, strings.Join(names, ", ")))
	raw, _ := os.ReadFile(filepath.Join(n.dir, "vazel.yaml"))
	all := strings.Replace(string(raw), "services:", strings.Join(add, "\n")+"\nservices:", 1)
	build := func(text string) *snapshot {
		n.write("vazel.yaml", text)
		c, err := config.Load(n.dir)
		if err != nil {
			b.Fatal(err)
		}
		s, err := n.gateway.build(c)
		if err != nil {
			b.Fatal(err)
		}
		return s
	}
	var open []*conn
	var closed atomic.Int64
	for i := range connections {
		pair := n.clientOf(n.orgCA, certs.ClientSpec{CN: "system", OrganizationID: fmt.Sprintf("NTRBG-2000000%02d", i%organizations)})
		c := &conn{sni: "inner.example", end: func() { closed.Add(1) }, close: func() {}, cut: func() {}}
		c.proven.Store(&proven{peers: []*x509.Certificate{pair.Leaf}})
		n.gateway.conns.add(c)
		open = append(open, c)
	}
	for name, change := range map[string]func(string) string{
		"allow of one": func(s string) string { return strings.Replace(s, "allow: [org0,", "allow: [", 1) },
		"authority of one": func(s string) string {
			return strings.Replace(s, "NTRBG-200000000, ca: org-ca.pem", "NTRBG-200000000, ca: other-ca.pem", 1)
		},
		"authority of all": func(s string) string { return strings.ReplaceAll(s, "ca: org-ca.pem", "ca: other-ca.pem") },
		"unrelated":        func(s string) string { return strings.Replace(s, "name: Org,", "name: Other,", 1) },
	} {
		b.Run(name, func(b *testing.B) {
			former := build(all)
			for _, c := range open {
				c.ending.Store(false)
				n.gateway.conns.identify(over, c, former.certs, former.hosts.find("inner.example"), c.proven.Load().peers)
			}
			for b.Loop() {
				b.StopTimer()
				next := build(change(all))
				for _, c := range open {
					if c.ending.Swap(false) {
						n.gateway.conns.identify(over, c, former.certs, former.hosts.find("inner.example"), c.proven.Load().peers)
					}
				}
				closed.Store(0)
				b.StartTimer()
				n.gateway.replaced(former, next)
			}
			b.ReportMetric(float64(closed.Load()), "closed/op")
		})
	}
}
