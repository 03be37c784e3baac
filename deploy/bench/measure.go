package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// sample is one measured run of one proxy in one scenario.
type sample struct {
	Proxy, Scenario string
	Round           int
	CPUus           float64 // proxy CPU µs per operation
	UserUS, SysUS   float64
	RPS             float64
	P50, P99        float64
	PerConnKB       float64 `json:",omitempty"`
	BaseMB          float64 `json:",omitempty"`
	Ops             int64
	OtherPct        float64 // share of the machine's CPU used by foreign processes
	Errors          int
	Note            string `json:",omitempty"`
	Err             string `json:",omitempty"`
}

// machineBusy is the CPU time used by everything on the machine, in seconds.
func machineBusy() float64 {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	var busy float64
	for i, x := range f[1:] {
		v, _ := strconv.ParseFloat(x, 64)
		if i != 3 && i != 4 && i < 8 { // all but idle, iowait, guest
			busy += v / 100
		}
	}
	return busy
}

func measure(e *env, px *proxy, sc scenario, d time.Duration, s *sample) {
	px.pids = tree(px.cmd.Process.Pid)
	var ops atomic.Int64
	type ret struct {
		r   result
		err error
	}
	ch := make(chan ret, 1)
	go func() {
		r, err := sc.run(e, px, d, &ops)
		ch <- ret{r, err}
	}()
	count := func() int64 {
		if sc.ownCount {
			return ops.Load()
		}
		return backendCount(e.backend)
	}
	self := os.Getpid()
	time.Sleep(d / 5) // connections, caches and heaps warm up
	mine := tree(self)
	n0, c0, b0, m0 := count(), cpuOf(px.pids), machineBusy(), cpuOf(mine)
	t0 := time.Now()
	time.Sleep(d * 7 / 10)
	n1, c1, b1, m1 := count(), cpuOf(px.pids), machineBusy(), cpuOf(mine)
	wall := time.Since(t0).Seconds()
	got := <-ch
	n := float64(n1 - n0)
	c := c1.sub(c0)
	s.Ops, s.Errors, s.Note = n1-n0, got.r.Errors, got.r.Note
	if n > 0 {
		s.CPUus, s.UserUS, s.SysUS = c.total()/n*1e6, c.User/n*1e6, c.Sys/n*1e6
	}
	s.RPS, s.P50, s.P99 = n/wall, got.r.P50, got.r.P99
	s.OtherPct = 100 * (b1 - b0 - m1.sub(m0).total()) / (wall * 2)
	switch {
	case got.err != nil:
		s.Err = got.err.Error()
	case s.CPUus == 0:
		s.Err = "nothing was measured"
	}
	if (sc.variant == "log" || sc.variant == "all") && px.def.LogF != "" {
		if l := countLines(filepath.Join(px.dir, px.def.LogF)); l < got.r.Ops*9/10 {
			s.Err = fmt.Sprintf("log has %d lines after %d requests", l, got.r.Ops)
		}
	}
}

func countLines(path string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	defer os.Truncate(path, 0)
	var n int64
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		_, err := r.ReadSlice('\n')
		if err == nil {
			n++
		} else if !errors.Is(err, bufio.ErrBufferFull) {
			return n
		}
	}
}

func measureIdle(e *env, px *proxy, proto string, s *sample) {
	px.pids = tree(px.cmd.Process.Pid)
	before := pssOf(px.pids)
	release := make(chan struct{})
	n, err := idle(e.pki, px.addr, proto, e.idleN, release)
	time.Sleep(3 * time.Second)
	px.pids = tree(px.cmd.Process.Pid)
	after := pssOf(px.pids)
	close(release)
	s.Ops = int64(n)
	if n > 0 {
		s.PerConnKB = float64(after-before) / 1024 / float64(n)
	}
	s.BaseMB = float64(before) / (1 << 20)
	if err != nil {
		s.Err = fmt.Sprintf("%d of %d connections: %v", n, e.idleN, err)
	}
	time.Sleep(500 * time.Millisecond)
}

func backendCount(addr string) int64 {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return 0
	}
	defer c.Close()
	io.WriteString(c, "GET /__stats HTTP/1.1\r\nHost: x\r\n\r\n")
	_, b, err := readResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(b), 10, 64)
	return n
}
