package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

func toMS(v, unit string) float64 {
	f, _ := strconv.ParseFloat(v, 64)
	switch unit {
	case "us":
		return f / 1000
	case "s":
		return f * 1000
	}
	return f
}

// wrk drives a closed loop with the wrk program.
func wrk(addr, path string, conns int, d time.Duration, lua string) (result, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", int(d.Seconds())), "--latency", "-H", "Host: " + host}
	for _, h := range reqHeaders {
		args = append(args, "-H", h)
	}
	if lua != "" {
		args = append(args, "-s", lua)
	}
	args = append(args, "https://"+addr+path)
	out, err := exec.Command("wrk", args...).CombinedOutput()
	s := string(out)
	if err != nil {
		return result{}, fmt.Errorf("wrk: %v: %s", err, lastLines(s, 3))
	}
	var r result
	if m := reWrkReq.FindStringSubmatch(s); m != nil {
		r.Ops, _ = strconv.ParseInt(m[1], 10, 64)
	}
	if m := reWrkRPS.FindStringSubmatch(s); m != nil {
		r.RPS, _ = strconv.ParseFloat(m[1], 64)
	}
	for _, m := range reWrkPct.FindAllStringSubmatch(s, -1) {
		if m[1] == "50" {
			r.P50 = toMS(m[2], m[3])
		} else {
			r.P99 = toMS(m[2], m[3])
		}
	}
	if m := reWrkErr.FindAllString(s, -1); m != nil {
		r.Errors, r.Note = 1, strings.TrimSpace(strings.Join(m, ";"))
	}
	if r.Ops == 0 {
		return r, fmt.Errorf("wrk: no requests: %s", lastLines(s, 3))
	}
	return r, nil
}

// h2load drives HTTP/2 with conns connections of streams concurrent streams.
func h2load(addr, path string, conns, streams int, d time.Duration) (result, error) {
	args := []string{"-t1", fmt.Sprintf("-c%d", conns), fmt.Sprintf("-m%d", streams), fmt.Sprintf("-D%d", int(d.Seconds())),
		"-H", ":authority: " + host}
	for _, h := range reqHeaders {
		args = append(args, "-H", h)
	}
	args = append(args, "https://"+addr+path)
	out, err := exec.Command("h2load", args...).CombinedOutput()
	s := string(out)
	if err != nil {
		return result{}, fmt.Errorf("h2load: %v: %s", err, lastLines(s, 3))
	}
	var r result
	if m := reH2RPS.FindStringSubmatch(s); m != nil {
		r.RPS, _ = strconv.ParseFloat(m[1], 64)
	}
	if m := reH2Count.FindStringSubmatch(s); m != nil {
		r.Ops, _ = strconv.ParseInt(m[2], 10, 64)
		f, _ := strconv.Atoi(m[4])
		e, _ := strconv.Atoi(m[5])
		r.Errors = f + e
	}
	if m := reH2Codes.FindStringSubmatch(s); m != nil {
		for _, x := range m[2:] {
			n, _ := strconv.Atoi(x)
			r.Errors += n
		}
	}
	if m := reH2Time.FindStringSubmatch(s); m != nil {
		if dd, err := time.ParseDuration(m[1]); err == nil {
			r.P50 = float64(dd) / 1e6 // h2load gives the mean
		}
	}
	if !strings.Contains(s, "Application protocol: h2") {
		return r, errors.New("h2load: not HTTP/2")
	}
	if r.Ops == 0 {
		return r, fmt.Errorf("h2load: no requests: %s", lastLines(s, 3))
	}
	return r, nil
}

var reH3 = regexp.MustCompile(`requests (\d+) bytes (\d+) errors (\d+) p50 ([0-9.]+) p99 ([0-9.]+)`)

// h3load drives HTTP/3 (or HTTP/2) with the program in the h3load folder.
func h3load(proto, addr, path string, conns, streams, size int, d time.Duration) (result, error) {
	bin := os.Getenv("H3LOAD")
	if bin == "" {
		bin = "h3load"
	}
	args := []string{"-proto", proto, "-addr", addr, "-path", path, "-c", fmt.Sprint(conns), "-m", fmt.Sprint(streams), "-size", fmt.Sprint(size), "-d", d.String()}
	for _, h := range reqHeaders {
		args = append(args, "-H", h)
	}
	out, err := exec.Command(bin, args...).CombinedOutput()
	if err != nil {
		return result{}, fmt.Errorf("h3load: %v: %s", err, lastLines(string(out), 3))
	}
	m := reH3.FindStringSubmatch(string(out))
	if m == nil {
		return result{}, fmt.Errorf("h3load: %s", lastLines(string(out), 3))
	}
	var r result
	r.Ops, _ = strconv.ParseInt(m[1], 10, 64)
	r.Bytes, _ = strconv.ParseInt(m[2], 10, 64)
	r.Errors, _ = strconv.Atoi(m[3])
	r.P50 = toMS(m[4], "ms")
	r.P99 = toMS(m[5], "ms")
	if r.Errors > 0 {
		r.Note = lastLines(string(out), 2)
	}
	return r, nil
}
