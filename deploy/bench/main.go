// Command bench compares reverse proxies that terminate TLS in front of one
// backend on one machine. See README.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == 3 && os.Args[1] == "backend" {
		runBackend(os.Args[2])
		return
	}
	var o options
	proxies := flag.String("proxies", "nginx,haproxy,gateway,caddy,traefik", "names of folders under proxies, in the order to interleave; ratios are to the first. Those that are not installed are left out")
	scen := flag.String("scenarios", "all", "scenarios to run, or all")
	flag.StringVar(&o.work, "work", "", "work folder (default: a new temporary folder, removed at the end)")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds")
	flag.DurationVar(&o.dur, "dur", 5*time.Second, "length of one measured run")
	flag.IntVar(&o.rate, "rate", 2000, "requests/s of the fixed-rate scenario")
	flag.IntVar(&o.idle, "idle", 5000, "connections of the idle scenario")
	flag.IntVar(&o.workers, "workers", 2, "worker processes/threads/GOMAXPROCS of each proxy")
	flag.StringVar(&o.out, "out", "", "write all samples here as JSON lines")
	flag.StringVar(&o.md, "md", "", "write the tables here as Markdown too")
	flag.StringVar(&o.docs, "docs", "", "put the results into README.md and docs/performance.md of this folder")
	flag.StringVar(&o.chain, "chain", "", "output of the Go benchmark of the chain, for -docs")
	flag.IntVar(&o.port, "port", 21000, "first port to use")
	flag.BoolVar(&o.inspection, "inspection", false, "compare what inspection costs instead (needs CRS, the folder of the Core Rule Set's rules)")
	flag.IntVar(&o.paranoia, "paranoia", 1, "level of paranoia of -inspection")
	flag.BoolVar(&o.check, "check", false, "only start each proxy in each variant and check its answers")
	flag.Parse()
	o.proxies, o.scenarios = splitList(*proxies), splitList(*scen)
	if err := bench(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	proxies, scenarios          []string
	work, out, md, docs, chain  string
	rounds, rate, idle, workers int
	port                        int
	dur                         time.Duration
	check, inspection           bool
	paranoia                    int
}

func splitList(s string) []string {
	var l []string
	for _, x := range strings.Split(s, ",") {
		if x = strings.TrimSpace(x); x != "" {
			l = append(l, x)
		}
	}
	return l
}

func bench(o options) error {
	var lim syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim)
	lim.Cur = lim.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lim)
	if int(lim.Cur) < 3*o.idle {
		return fmt.Errorf("open files limit %d is too low for %d idle connections", lim.Cur, o.idle)
	}
	if o.work == "" {
		w, err := os.MkdirTemp("", "bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(w)
		o.work = w
	}
	if err := os.MkdirAll(o.work, 0o777); err != nil {
		return err
	}
	os.Chmod(o.work, 0o777) // nginx's workers may be another user's
	o.work, _ = filepath.Abs(o.work)
	keys, err := makePKI(o.work)
	if err != nil {
		return err
	}
	lua := filepath.Join(o.work, "upload.lua")
	os.WriteFile(lua, []byte("wrk.method=\"POST\"\nwrk.body=string.rep(\"0123456789abcdef\",65536)\nwrk.headers[\"Content-Type\"]=\"application/octet-stream\"\n"), 0o644)
	e := &env{pki: keys, backend: fmt.Sprintf("127.0.0.1:%d", o.port), lua: lua, rate: o.rate, idleN: o.idle}

	be := exec.Command("/proc/self/exe", "backend", e.backend)
	be.Stderr = os.Stderr
	be.Env = append(os.Environ(), "GOGC=400")
	be.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := be.Start(); err != nil {
		return err
	}
	defer func() { be.Process.Kill(); be.Wait() }()

	var defs []*proxyDef
	for _, n := range o.proxies {
		d, err := loadDef("proxies", n)
		if err != nil {
			return err
		}
		if err := d.installed(); err != nil {
			fmt.Fprintf(os.Stderr, "%s is left out: %v\n", n, err)
			continue
		}
		defs = append(defs, d)
	}
	next := o.port + 1
	start := func(d *proxyDef, variant string) (*proxy, error) {
		next++
		px, err := startProxy("proxies", o.work, d, variant, keys, e.backend, o.workers, next, o.paranoia)
		if err != nil {
			return nil, err
		}
		if o.inspection { // whose answers are looked at with each request
			return px, nil
		}
		if err := verify(e, px); err != nil {
			px.stop()
			return nil, fmt.Errorf("%s (%s): wrong answer: %w", d.name, variant, err)
		}
		return px, nil
	}
	if o.inspection {
		return inspection(o, e, start)
	}
	if o.check {
		return checkAll(defs, start)
	}
	samples, err := runAll(o, e, defs, start)
	if err != nil {
		return err
	}
	table, under, details := summary(defs, samples, false), conditions(o, defs, samples), tables(defs, samples)
	text := table + "\n" + under + details
	fmt.Print(text)
	if o.md != "" {
		if err := os.WriteFile(o.md, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if o.docs == "" {
		return nil
	}
	chain, err := chainTable(o.chain)
	if err != nil {
		return err
	}
	return document(o.docs, map[string]string{
		"brief": summary(defs, samples, true) + "\n" + under, "summary": table + "\n" + under, "details": strings.TrimLeft(details, "\n"), "chain": chain,
	})
}

// checkAll starts each proxy in each variant.
func checkAll(defs []*proxyDef, start func(*proxyDef, string) (*proxy, error)) error {
	bad := 0
	for _, d := range defs {
		for _, v := range []string{"base", "log", "filters", "all", "mtls"} {
			if d.skips(v) {
				fmt.Printf("%-12s %-8s skipped\n", d.name, v)
				continue
			}
			px, err := start(d, v)
			if err != nil {
				bad++
				fmt.Printf("%-12s %-8s FAILED: %v\n", d.name, v, err)
				continue
			}
			fmt.Printf("%-12s %-8s ok\n", d.name, v)
			px.stop()
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d failed", bad)
	}
	return nil
}

// runAll measures every wanted scenario, proxies in turn in each round.
func runAll(o options, e *env, defs []*proxyDef, start func(*proxyDef, string) (*proxy, error)) (samples []sample, err error) {
	var jf *os.File
	if o.out != "" {
		if jf, err = os.OpenFile(o.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return nil, err
		}
		defer jf.Close()
	}
	record := func(s sample) {
		samples = append(samples, s)
		if jf != nil {
			b, _ := json.Marshal(s)
			jf.Write(append(b, '\n'))
		}
		fmt.Fprintf(os.Stderr, "%s round %d %-12s cpu %8.1f us/op (user %.1f sys %.1f) %9.0f op/s p50 %.2f p99 %.2f ms, perconn %.1f KB, other %.0f%% %s %s\n",
			s.Scenario, s.Round, s.Proxy, s.CPUus, s.UserUS, s.SysUS, s.RPS, s.P50, s.P99, s.PerConnKB, s.OtherPct, s.Note, s.Err)
	}
	running := map[string]*proxy{}
	stop := func() {
		for k, px := range running {
			px.stop()
			delete(running, k)
		}
	}
	defer stop()
	variant := ""
	for _, sc := range scenarios {
		if !slices.Contains(o.scenarios, sc.name) && !slices.Contains(o.scenarios, "all") {
			continue
		}
		if sc.variant != variant || sc.fresh {
			stop()
			variant = sc.variant
		}
		for round := 1; round <= o.rounds; round++ {
			for _, d := range defs {
				if d.skips(sc.name) || d.skips(sc.variant) {
					continue
				}
				s := sample{Proxy: d.name, Scenario: sc.name, Round: round}
				px := running[d.name]
				if px == nil {
					if px, err = start(d, sc.variant); err != nil {
						s.Err = err.Error()
						record(s)
						continue
					}
					running[d.name] = px
				}
				if sc.fresh {
					measureIdle(e, px, sc.proto, &s)
				} else {
					measure(e, px, sc, o.dur, &s)
				}
				record(s)
				if sc.fresh {
					px.stop()
					delete(running, d.name)
				}
			}
		}
	}
	return samples, nil
}
