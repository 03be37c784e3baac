package gateway

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vazel-gateway/vazel/config"
)

// BenchmarkReload10000 is a reload of 10,000 routes in 500 services of 60
// organizations, spread over 51 files, of which one has changed.
func BenchmarkReload10000(b *testing.B) {
	n := newNode(b, nil)
	n.config("include: teams/*.yaml\n")
	raw, err := os.ReadFile(filepath.Join(n.dir, "vazel.yaml"))
	if err != nil {
		b.Fatal(err)
	}
	var add strings.Builder
	add.WriteString("organizations:\n")
	for i := range 60 {
		fmt.Fprintf(&add, "  org%d: {name: Org %d, id: NTRBG-2000000%02d, ca: org-ca.pem, rate_limit: {rate: 500/s}}\n", i, i, i)
	}
	text := strings.Replace(string(raw), "organizations:\n", add.String(), 1)
	n.write("vazel.yaml", text)
	if err := os.MkdirAll(filepath.Join(n.dir, "teams"), 0o700); err != nil {
		b.Fatal(err)
	}
	team := func(t, version int) {
		var w strings.Builder
		w.WriteString("services:\n")
		for s := range 10 {
			k := 10*t + s
			fmt.Fprintf(&w, "  svc%d:\n    owner: org%d\n    hosts: [svc%d.wild.example]\n    upstreams: [\"http://%s\"]\n    rate_limit: {rate: %d/s, per: organization}\n    mtls: %s\n    routes:\n",
				k, k%60, k, n.upstream.address, 1000+version, []string{"\"off\"", "required"}[k%2])
			for r := range 20 {
				fmt.Fprintf(&w, "      - {paths: [/api/v%d], max_body: %dMiB", r, r+1)
				if k%2 == 1 {
					fmt.Fprintf(&w, ", allow: [org%d, org%d]", (k+r)%60, (k+r+1)%60)
				}
				w.WriteString("}\n")
			}
		}
		n.write(fmt.Sprintf("teams/t%02d.yaml", t), w.String())
	}
	for t := range 50 {
		team(t, 0)
	}
	c, err := config.Load(n.dir)
	if err != nil {
		b.Fatal(err)
	}
	if err := n.gateway.Apply(c); err != nil {
		b.Fatal(err)
	}
	version := 0
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			version++
			team(7, version)
			if c, err = config.LoadWith(c, n.dir); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apply", func(b *testing.B) {
		for b.Loop() {
			if err := n.gateway.Apply(c); err != nil {
				b.Fatal(err)
			}
		}
	})
}
