package main

import (
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// limitFiles bounds how large the files of a running process may become.
func limitFiles(t *testing.T, pid int, soft uint64) {
	t.Helper()
	l := struct{ cur, max uint64 }{soft, math.MaxUint64}
	if _, _, e := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_FSIZE, uintptr(unsafe.Pointer(&l)), 0, 0, 0); e != 0 {
		t.Fatal(e)
	}
}

// TestDiskFull: a service that demands audit records refuses while they can't be
// written, others are served; what is lost is counted, and afterwards all goes on.
func TestDiskFull(t *testing.T) {
	n := newUpgradable(t)
	n.configure("  b: {owner: org, hosts: [b.example], upstreams: [\"http://" + n.upstream + "\"]}\n")
	n.command("reload", "-config", n.dir)
	ask := func(host string) int {
		t.Helper()
		n.conf.ServerName = host
		req := n.request("GET", "/")
		req.Host = host
		resp, err := n.over("h1", false).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	const full, others = "a.example", "b.example"
	if a, b := ask(full), ask(others); a != 200 || b != 200 {
		t.Fatalf("before: %d and %d", a, b)
	}
	n.until("the records are on disk", func() bool { return n.metric(`vazel_audit_records_total{result="written"}`) >= 1 })
	info, err := os.Stat(filepath.Join(n.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	limitFiles(t, n.pid, uint64(info.Size())+300) // room for a part of a record
	n.until("what demands records is refused", func() bool { return ask(full) == http.StatusServiceUnavailable })
	for range 5 {
		if got := ask(others); got != 200 {
			t.Errorf("a service without audit records: %d", got)
		}
	}
	if got := n.metric("vazel_audit_sink_errors_total{"); got == 0 {
		t.Error("no error of the audit log is counted")
	}
	n.until("lines of the access log are counted as lost", func() bool {
		if got := ask(others); got != 200 {
			t.Errorf("a service without audit records: %d", got)
		}
		return n.metric(`vazel_log_records_dropped_total{sink="access"}`) > 0
	})
	limitFiles(t, n.pid, math.MaxUint64)
	n.until("there is room again", func() bool { return ask(full) == 200 })
	if out, err := n.upgrade(); err != nil { // another process can go on with the file
		t.Errorf("%v: %s", err, out)
	}
	n.checkAudit(3)
	if b, err := os.ReadFile(filepath.Join(n.dir, "audit.log")); err != nil || strings.Count(string(b), `"route":"a"`) < 2 {
		t.Errorf("%v: %s", err, b)
	}
}
