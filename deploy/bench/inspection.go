package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// inspected are the ways in which requests are inspected, and what they are
// compared with: the same proxy without. All of them only detect, so that every
// request has the same work and the same answer.
var inspected = []struct{ title, proxy, without, with string }{
	{"nginx + ModSecurity", "nginx", "base", "inspect"},
	{"rule engine alone", "gateway", "base", "inspect-plain"},
	{"Vazel", "gateway", "base", "inspect"},
}

// inspection measures what inspection adds to the CPU time of a request, by class
// of requests, interleaved in each round.
func inspection(o options, e *env, start func(*proxyDef, string) (*proxy, error)) error {
	// ModSecurity does not take every path in Include.
	if err := os.Symlink(os.Getenv("CRS"), filepath.Join(o.work, "crs")); err != nil {
		return err
	}
	list := classes()
	costs := make([][][]float64, len(inspected)) // of a way and class, in µs
	for i, way := range inspected {
		costs[i] = make([][]float64, len(list))
		d, err := loadDef("proxies", way.proxy)
		if err != nil {
			return err
		}
		if err := d.installed(); err != nil {
			return err
		}
		without, err := start(d, way.without)
		if err != nil {
			return err
		}
		defer without.stop()
		with, err := start(d, way.with)
		if err != nil {
			return err
		}
		defer with.stop()
		for round := range o.rounds {
			for c, cl := range list {
				base, err := cpuPerRequest(e, without, cl.raw(), o.dur/4)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", way.title, cl.name, err)
				}
				all, err := cpuPerRequest(e, with, cl.raw(), o.dur)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", way.title, cl.name, err)
				}
				fmt.Fprintf(os.Stderr, "%s, %s, round %d: %.0f µs, %.0f without\n", way.title, cl.name, round+1, all, base)
				costs[i][c] = append(costs[i][c], all-base)
			}
		}
		without.stop()
		with.stop()
	}
	text := inspectionTable(o, list, costs)
	fmt.Print(text)
	if o.docs == "" {
		return nil
	}
	return documentIn(filepath.Join(o.docs, "docs", "inspection.md"), map[string]string{fmt.Sprintf("inspection %d", o.paranoia): text})
}

// inspectionTable shows the medians, and Vazel's share of the others' costs.
func inspectionTable(o options, list []class, costs [][][]float64) string {
	var b strings.Builder
	b.WriteString("| CPU µs that inspection adds |")
	for _, way := range inspected {
		fmt.Fprintf(&b, " %s |", way.title)
	}
	b.WriteString(" of ModSecurity | of the engine alone |\n| --- | --: | --: | --: | --: | --: |\n")
	sums, n := [2]float64{}, 0.0
	for c, cl := range list {
		fmt.Fprintf(&b, "| %s |", cl.name)
		for i := range inspected {
			fmt.Fprintf(&b, " %.0f |", median(costs[i][c]))
		}
		own := median(costs[2][c])
		for i := range sums {
			r := own / median(costs[i][c])
			sums[i] += math.Log(r)
			fmt.Fprintf(&b, " %.2f |", r)
		}
		b.WriteString("\n")
		n++
	}
	fmt.Fprintf(&b, "| **geometric mean** | | | | **%.2f** | **%.2f** |\n\n", math.Exp(sums[0]/n), math.Exp(sums[1]/n))
	fmt.Fprintf(&b, "%s; paranoia %d, %s, medians of %d rounds of %v, keep-alive HTTPS/1.1, two connections.\n", time.Now().UTC().Format(time.DateOnly), o.paranoia, processor(), o.rounds, o.dur)
	return b.String()
}

// cpuPerRequest sends one request again and again over two connections, and
// returns the CPU time that the proxy takes for it, in µs.
func cpuPerRequest(e *env, px *proxy, raw []byte, d time.Duration) (float64, error) {
	px.pids = tree(px.cmd.Process.Pid)
	var ops atomic.Int64
	failed := make(chan error, 2)
	stop := time.Now().Add(d)
	begun := cpuOf(px.pids)
	for range 2 {
		go func() {
			failed <- again(e, px.addr, raw, stop, &ops)
		}()
	}
	for range 2 {
		if err := <-failed; err != nil {
			return 0, err
		}
	}
	used := cpuOf(px.pids).sub(begun)
	return used.total() / float64(ops.Load()) * 1e6, nil
}

// again sends a request until the time is up, and at least once.
func again(e *env, addr string, raw []byte, stop time.Time, ops *atomic.Int64) error {
	c, err := tls.Dial("tcp", addr, tlsConf(e.pki, false, false))
	if err != nil {
		return err
	}
	defer c.Close()
	br, body := bufio.NewReaderSize(c, 64<<10), make([]byte, 64<<10)
	for {
		c.SetDeadline(time.Now().Add(2 * time.Minute))
		if _, err := c.Write(raw); err != nil {
			return err
		}
		head, b, err := readResponse(br, body)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(head, "HTTP/1.1 200") {
			return fmt.Errorf("%.40q: %.200q", head, b)
		}
		ops.Add(1)
		if time.Now().After(stop) {
			return nil
		}
	}
}
