package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// large writes 10,000 routes in 500 services, spread over 50 files. The version
// makes the files differ.
func (n *upgradable) large(version int) {
	n.t.Helper()
	if err := os.MkdirAll(filepath.Join(n.dir, "teams"), 0o700); err != nil {
		n.t.Fatal(err)
	}
	for file := range 50 {
		var w strings.Builder
		w.WriteString("services:\n")
		for s := range 10 {
			k := 10*file + s
			fmt.Fprintf(&w, "  svc%d:\n    owner: org\n    hosts: [svc%d.example]\n    upstreams: [\"http://%s\"]\n    rate_limit: {rate: %d/s, per: organization}\n    routes:\n", k, k, n.upstream, 1000+version)
			for r := range 20 {
				fmt.Fprintf(&w, "      - {paths: [/api/v%d], max_body: %dMiB}\n", r, r+1)
			}
		}
		name := filepath.Join(n.dir, "teams", fmt.Sprintf("t%02d.yaml", file))
		if err := os.WriteFile(name+".new", []byte(w.String()), 0o600); err != nil {
			n.t.Fatal(err)
		}
		if err := os.Rename(name+".new", name); err != nil {
			n.t.Fatal(err)
		}
	}
}

// TestReloadLarge reloads 10,000 routes under load: no request fails. How long
// it takes is measured by hand, for here other tests run beside it.
func TestReloadLarge(t *testing.T) {
	n := newUpgradable(t)
	if out, err := exec.Command(n.vazel, "certs", "dev", "-dir", filepath.Join(n.dir, "pki"), "-hosts", "a.example,*.example").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(n.dir, "vazel.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(n.dir, "vazel.yaml"), append([]byte("include: teams/*.yaml\n"), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	reload := func() time.Duration {
		t.Helper()
		start := time.Now()
		if out, err := exec.Command(n.vazel, "reload", "-config", n.dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return time.Since(start)
	}
	n.large(0)
	t.Logf("from 1 to 10,000 routes: %s", reload())

	var wg sync.WaitGroup
	var answered atomic.Int64
	stop := make(chan struct{})
	for _, l := range []struct {
		protocol string
		keep     bool
	}{{"h1", true}, {"h1", false}, {"h2", true}, {"h3", true}} {
		c := n.over(l.protocol, l.keep)
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := c.Do(n.request("POST", "/"))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%s: %v, %v", l.protocol, resp, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for i := range 4 {
		before := answered.Load()
		n.large(i + 1)
		took := reload()
		t.Logf("reload %d took %s, with %d answers meanwhile", i+1, took, answered.Load()-before)
	}
	close(stop)
	wg.Wait()
}
