package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/vazel-gateway/vazel/gateway/freeport"
	"github.com/vazel-gateway/vazel/middleware/audit"
)

// upgradable is a node whose program is a link, so that another can take its place.
type upgradable struct {
	t        *testing.T
	dir      string
	vazel    string
	port     int
	conf     *tls.Config
	log      string
	upstream string
	pid      int           // of the process that serves
	release  chan struct{} // ends /hold of the upstream
	ended    chan error    // of the first process
}

func newUpgradable(t *testing.T) *upgradable { t.Helper(); return newLimited(t, "true") }

// newLimited is newUpgradable after some lines of shell, which bound the process.
func newLimited(t *testing.T, shell string) *upgradable {
	t.Helper()
	n := &upgradable{t: t, dir: t.TempDir(), release: make(chan struct{}), ended: make(chan error, 1)}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n.vazel = filepath.Join(n.dir, "vazel")
	if err := os.Symlink(program, n.vazel); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun\n")
		w.(http.Flusher).Flush()
		<-n.release
		io.WriteString(w, "ended\n")
	})
	mux.Handle("/ws", registry())
	n.upstream = l.Addr().String()
	s := &http.Server{Handler: mux}
	served := make(chan struct{})
	go func() { defer close(served); s.Serve(l) }()
	t.Cleanup(func() { s.Close(); <-served })
	if out, err := exec.Command(n.vazel, "certs", "dev", "-dir", filepath.Join(n.dir, "pki"), "-hosts", "a.example,b.example").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n.port, err = freeport.Get(); err != nil {
		t.Fatal(err)
	}
	n.configure("")
	n.conf = &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}
	n.log = filepath.Join(n.dir, "log")
	cmd := exec.Command("sh", "-c", shell+`; exec "$0" run -config "$1" -watch=false`, n.vazel, n.dir)
	f, err := os.Create(n.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Env = append(os.Environ(), "PATH="+n.dir+":"+os.Getenv("PATH")) // testscript shortens the program's name
	cmd.Stderr = f                                                      // a file, so that Wait does not wait for the heirs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { n.ended <- cmd.Wait() }()
	n.pid = cmd.Process.Pid
	t.Cleanup(func() {
		syscall.Kill(n.pid, syscall.SIGTERM)
		n.until("the last process has ended", func() bool { return syscall.Kill(n.pid, 0) != nil })
		if t.Failed() {
			b, _ := os.ReadFile(n.log)
			t.Logf("%s", b)
		}
	})
	n.until("it is ready", func() bool { return n.ask("/-/ready") == "ready\n" })
	return n
}

// command runs the program, which must succeed.
func (n *upgradable) command(args ...string) {
	n.t.Helper()
	if out, err := exec.Command(n.vazel, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("vazel %s: %v: %s", args, err, out)
	}
}

// ask is what the admin listener says, on a connection of its own.
func (n *upgradable) ask(path string) string {
	client, base := adminClient("unix:" + filepath.Join(n.dir, "admin.sock"))
	defer client.CloseIdleConnections()
	resp, err := client.Get(base + path)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// metric is the sum of the series whose names begin so.
func (n *upgradable) metric(name string) (sum float64) {
	for line := range strings.Lines(n.ask("/metrics")) {
		if strings.HasPrefix(line, name) {
			f := strings.Fields(line)
			v, err := strconv.ParseFloat(f[len(f)-1], 64)
			if err != nil {
				n.t.Errorf("%s: %v", line, err)
			}
			sum += v
		}
	}
	return sum
}

// says reports whether the log holds text.
func (n *upgradable) says(text string) bool {
	b, err := os.ReadFile(n.log)
	return err == nil && strings.Contains(string(b), text)
}

// configure writes a configuration; more is appended to it.
func (n *upgradable) configure(more string) {
	config := fmt.Sprintf(`version: 1
listen: [{address: "127.0.0.1:%d", protocols: [h1, h2, h3]}]
admin: {listen: "unix:%s/admin.sock"}
access_log: {output: access.log}
audit_log: {output: audit.log}
tls: {certificates: [{cert: pki/server.pem, key: "${file:pki/server.key}"}]}
organizations: {org: {id: NTRBG-1, ca: pki/dev-ca.pem}}
services:
  a: {owner: org, hosts: [a.example], upstreams: ["http://%s"], websocket: true, audit: full}
%s`, n.port, n.dir, n.upstream, more)
	if err := os.WriteFile(filepath.Join(n.dir, "vazel.yaml"), []byte(config), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

func (n *upgradable) until(what string, ok func() bool) {
	n.t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			n.t.Errorf("%s: not within 30s", what)
			return
		}
	}
}

// upgrade runs the command, and returns what it printed.
func (n *upgradable) upgrade(args ...string) (string, error) {
	out, err := exec.Command(n.vazel, append([]string{"upgrade", "-config", n.dir}, args...)...).CombinedOutput()
	fmt.Sscanf(string(out), "upgraded: process %d", &n.pid)
	return string(out), err
}

func (n *upgradable) address() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }

// over is a client of one protocol. Without keep, each request has its own
// connection.
func (n *upgradable) over(protocol string, keep bool) *http.Client {
	if protocol == "h3" {
		tr := &http3.Transport{TLSClientConfig: n.conf.Clone()}
		n.t.Cleanup(func() { tr.Close() })
		return &http.Client{Transport: tr, Timeout: 20 * time.Second}
	}
	conf := n.conf.Clone()
	conf.NextProtos = map[string][]string{"h1": {"http/1.1"}, "h2": {"h2"}}[protocol]
	p := new(http.Protocols)
	p.SetHTTP1(protocol == "h1")
	p.SetHTTP2(protocol == "h2")
	tr := &http.Transport{Protocols: p, DisableKeepAlives: !keep, MaxIdleConnsPerHost: 16, TLSClientConfig: conf, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", n.address())
	}}
	n.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func (n *upgradable) request(method, path string) *http.Request {
	req, err := http.NewRequest(method, "https://"+n.address()+path, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	req.Host = "a.example"
	return req
}

// TestUpgrade replaces the program twice under load over every protocol: no
// request fails, and what was open stays with the process that it began with.
func TestUpgrade(t *testing.T) {
	n := newUpgradable(t)

	// A response, over each protocol, and a WebSocket, that outlive the replacement.
	var held []*http.Response
	for _, p := range []string{"h1", "h2", "h3"} {
		resp, err := n.over(p, true).Do(n.request("GET", "/hold"))
		if err != nil {
			t.Fatalf("%s: %v", p, err)
		}
		defer resp.Body.Close()
		held = append(held, resp)
	}
	conf := n.conf.Clone()
	conf.NextProtos = []string{"http/1.1"}
	ws, err := tls.Dial("tcp", n.address(), conf)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	ws.SetDeadline(time.Now().Add(time.Minute))
	wbr := bufio.NewReader(ws)
	io.WriteString(ws, "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if resp, err := http.ReadResponse(wbr, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}

	// The load: each client one request after the other, until told to stop.
	var wg sync.WaitGroup
	var answered, failed atomic.Int64
	counts := map[string]*atomic.Int64{}
	stop := make(chan struct{})
	for _, l := range []struct {
		name, protocol string
		keep           bool
		clients        int
	}{{"h1", "h1", true, 4}, {"h1, new connections", "h1", false, 1}, {"h2", "h2", true, 2}, {"h3", "h3", true, 2}} {
		counts[l.name] = new(atomic.Int64)
		for range l.clients {
			c := n.over(l.protocol, l.keep)
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					// POST: a client may not send it again if its connection breaks off.
					resp, err := c.Do(n.request([]string{"GET", "POST"}[i%2], "/"))
					if err == nil {
						var b []byte
						b, err = io.ReadAll(resp.Body)
						resp.Body.Close()
						if err == nil && (resp.StatusCode != 200 || string(b) != "hello") {
							err = fmt.Errorf("%s: %s", resp.Status, b)
						}
					}
					if err != nil {
						failed.Add(1)
						t.Errorf("%s: %v", l.name, err)
						return
					}
					answered.Add(1)
					counts[l.name].Add(1)
				}
			})
		}
	}
	// more waits until each kind of client has had some answers more.
	more := func(what string) {
		t.Helper()
		for name, c := range counts {
			want := c.Load() + 20
			n.until(fmt.Sprintf("%s: more answers over %s", what, name), func() bool { return c.Load() >= want || failed.Load() > 0 })
		}
	}
	more("at first")
	first := n.pid
	for i := range 2 {
		former := n.pid
		start := time.Now()
		out, err := n.upgrade()
		if err != nil || n.pid == former {
			t.Fatalf("upgrade %d: %v: %s", i+1, err, out)
		}
		t.Logf("upgrade %d took %s", i+1, time.Since(start))
		more(fmt.Sprintf("after upgrade %d", i+1))
	}
	close(stop)
	wg.Wait()
	for name, c := range counts {
		t.Logf("%s: %d answers", name, c.Load())
	}
	if syscall.Kill(first, 0) != nil {
		t.Error("the first process ended while it had requests under way")
	}
	// A masked text frame with "hi", and its echo.
	ws.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'})
	echo := make([]byte, 4)
	if _, err := io.ReadFull(wbr, echo); err != nil || string(echo) != "\x81\x02hi" {
		t.Errorf("the WebSocket: %q, %v", echo, err)
	}
	ws.Close()
	close(n.release)
	for _, resp := range held {
		if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "begun\nended\n" {
			t.Errorf("%s: %q, %v", resp.Proto, b, err)
		}
	}
	select {
	case err := <-n.ended:
		if err != nil {
			t.Errorf("the first process: %v", err)
		}
	case <-time.After(40 * time.Second):
		t.Error("the first process does not end")
	}
	n.checkAudit(int(answered.Load()))
}

// checkAudit: the processes leave one chain.
func (n *upgradable) checkAudit(records int) {
	n.t.Helper()
	f, err := os.Open(filepath.Join(n.dir, "audit.log"))
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close()
	sum, err := audit.Verify(f, nil, nil)
	if err != nil || sum.Records < records {
		n.t.Errorf("the audit log: %+v, %v; want more than %d records", sum, err, records)
	}
}

// TestUpgradeRefused: a program that does not become ready changes nothing.
func TestUpgradeRefused(t *testing.T) {
	n := newUpgradable(t)
	program, err := os.Readlink(n.vazel)
	if err != nil {
		t.Fatal(err)
	}
	command := filepath.Join(n.dir, "command", "vazel") // for the command itself
	if err := os.MkdirAll(filepath.Dir(command), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, command); err != nil {
		t.Fatal(err)
	}
	place := func(content string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(n.vazel+".new", []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(n.vazel+".new", n.vazel); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, program string
		mode          os.FileMode
		want          string
	}{
		{"not a program", "nonsense", 0o700, "can't be started"},
		{"no right to it", "#!/bin/sh\n", 0o600, "can't be started"},
		{"ends at once", "#!/bin/sh\nexit 3\n", 0o700, "it ended before it was ready"},
		{"never ready", "#!/bin/sh\nexec sleep 60\n", 0o700, "it was not ready within 300ms"},
		{"bad configuration", "", 0, `unknown key "nonsense"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.program != "" {
				place(tt.program, tt.mode)
			} else {
				os.Remove(n.vazel)
				if err := os.Symlink(program, n.vazel); err != nil {
					t.Fatal(err)
				}
				n.configure("nonsense: 1\n")
			}
			limit := "20s"
			if tt.name == "never ready" {
				limit = "300ms"
			}
			pid := n.pid
			out, err := exec.Command(command, "upgrade", "-admin", "unix:"+filepath.Join(n.dir, "admin.sock"), "-timeout", limit).CombinedOutput()
			if err == nil || !strings.Contains(string(out), tt.want) || !strings.Contains(string(out), "the running program serves on") {
				t.Errorf("got %v, %s, want %s", err, out, tt.want)
			}
			if syscall.Kill(pid, 0) != nil {
				t.Fatal("the running process is gone")
			}
			for _, p := range []string{"h1", "h2", "h3"} {
				resp, err := n.over(p, false).Do(n.request("GET", "/"))
				if err != nil {
					t.Errorf("%s: %v", p, err)
					continue
				}
				resp.Body.Close()
			}
		})
	}
	// Once it is right, it takes over.
	n.configure("")
	if out, err := n.upgrade(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestUpgradeSignal: SIGUSR2 is the same as the command.
func TestUpgradeSignal(t *testing.T) {
	n := newUpgradable(t)
	syscall.Kill(n.pid, syscall.SIGUSR2)
	select {
	case err := <-n.ended:
		if err != nil {
			t.Errorf("the first process: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the first process does not end")
	}
	resp, err := n.over("h2", false).Do(n.request("GET", "/"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	b, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	if _, after, ok := strings.Cut(string(b), `"sockets left to another process","pid":`); !ok {
		t.Fatal("the log does not tell of it")
	} else if _, err := fmt.Sscan(after[:strings.IndexByte(after, ',')], &n.pid); err != nil {
		t.Fatal(err)
	}
}

// TestNotify: systemd is told when the service is ready, reloads and stops, and
// which process is the main one.
func TestNotify(t *testing.T) {
	dir := t.TempDir()
	s, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	n := newLimited(t, "export NOTIFY_SOCKET="+s.LocalAddr().String())
	// hear waits for a message; others that come before are passed over.
	hear := func(want string) {
		t.Helper()
		s.SetReadDeadline(time.Now().Add(30 * time.Second))
		b := make([]byte, 4096)
		for {
			k, err := s.Read(b)
			if err != nil {
				t.Fatalf("%q was not said: %v", want, err)
			}
			if string(b[:k]) == want {
				return
			}
			if strings.HasPrefix(string(b[:k]), "STOPPING") {
				t.Errorf("the service is said to stop, before %q", want)
			}
		}
	}
	hear(fmt.Sprintf("READY=1\nMAINPID=%d", n.pid))
	n.command("reload", "-config", n.dir)
	hear("RELOADING=1")
	hear("READY=1")
	if out, err := n.upgrade(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hear(fmt.Sprintf("MAINPID=%d", n.pid)) // from the former process, which is believed whatever NotifyAccess says
	if err := <-n.ended; err != nil {
		t.Errorf("the first process: %v", err)
	}
	n.command("reload", "-config", n.dir)
	hear("RELOADING=1")
	hear("READY=1")
	syscall.Kill(n.pid, syscall.SIGTERM)
	hear("STOPPING=1")
}
