//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway/freeport"
)

// need is the path of a program. In CI it must be there; elsewhere the test says
// what to install.
func need(t *testing.T, program, debian string) string {
	t.Helper()
	for _, p := range []string{program, "/usr/sbin/" + program, "/usr/lib/cgi-bin/" + program} {
		if path, err := exec.LookPath(p); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed; .ci/run has to install %s", program, debian)
	}
	t.Skipf("needs %s: apt-get install %s", program, debian)
	return ""
}

var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "vazel-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "vazel")
	out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// program is a running child. It is stopped, by its pid, at the end of the test.
type program struct {
	cmd  *exec.Cmd
	log  *syncBuffer
	done chan struct{}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func start(t *testing.T, dir, name string, args ...string) *program {
	t.Helper()
	p := &program{cmd: exec.Command(name, args...), log: &syncBuffer{}, done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(p.done); p.cmd.Wait() }()
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(40 * time.Second):
			p.cmd.Process.Kill()
			<-p.done
			t.Errorf("%s did not stop on SIGTERM", name)
		}
		if t.Failed() {
			t.Logf("%s:\n%s", filepath.Base(name), p.log)
		}
	})
	return p
}

// until polls for a condition of another process.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 30s", what)
		}
	}
}

func port(t *testing.T) int {
	t.Helper()
	port, err := freeport.Get()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// node is a gateway program in front of given upstreams, one host each.
type e2eNode struct {
	dir          string
	https, admin int
	gateway      *program
	client       *http.Client
	roots        *x509.CertPool
}

func newE2ENode(t *testing.T, upstreams map[string]string, settings string) *e2eNode {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	n := &e2eNode{dir: t.TempDir(), https: port(t), admin: port(t), roots: x509.NewCertPool()}
	ca, err := certs.NewDevCA("e2e")
	if err != nil {
		t.Fatal(err)
	}
	n.roots.AddCert(ca.Certificate)
	cert, key, err := ca.Server("*.e2e.example", "127.0.0.1", "localhost")
	if err != nil {
		t.Fatal(err)
	}
	if err := writePair(n.dir, "server", cert, key); err != nil {
		t.Fatal(err)
	}
	if err := writePair(n.dir, "ca", ca.CertPEM(), ca.KeyPEM()); err != nil {
		t.Fatal(err)
	}
	cert, key, err = ca.Client(certs.ClientSpec{CN: "system", OrganizationID: "NTRBG-1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writePair(n.dir, "client", cert, key); err != nil {
		t.Fatal(err)
	}
	n.configure(t, upstreams, settings)
	n.gateway = start(t, n.dir, bin, "run", "-config", n.dir, "-watch=false")
	until(t, "ready", func() bool {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/-/ready", n.admin))
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 200
	})
	protocols := new(http.Protocols)
	protocols.SetHTTP2(true)
	protocols.SetHTTP1(true)
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: n.roots}, Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", n.https))
		},
	}
	t.Cleanup(tr.CloseIdleConnections)
	n.client = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	return n
}

func (n *e2eNode) configure(t *testing.T, upstreams map[string]string, settings string) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nlisten: [{address: \"127.0.0.1:%d\", protocols: [h1, h2, h3]}]\nadmin: {listen: \"127.0.0.1:%d\"}\naccess_log: {output: access.log}\naudit_log: {output: \"off\"}\n", n.https, n.admin)
	b.WriteString("tls: {certificates: [{cert: server.pem, key: \"${file:server.key}\"}]}\norganizations: {org: {id: NTRBG-1, ca: ca.pem}}\nservices:\n")
	for name, url := range upstreams {
		hosts := name + ".e2e.example"
		if name == "local" {
			hosts = "127.0.0.1, localhost" // wrk and h2load send no server name
		}
		fmt.Fprintf(&b, "  %s:\n    owner: org\n    hosts: [%s]\n    upstreams: [%q]\n%s", name, hosts, url, settings)
	}
	if err := os.WriteFile(filepath.Join(n.dir, "vazel.yaml"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func fetch(t *testing.T, c *http.Client, url string) (int, []byte) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// TestE2EDemo pastes every request that "vazel demo" prints into a shell.
func TestE2EDemo(t *testing.T) {
	need(t, "curl", "curl")
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p := start(t, dir, bin, "demo", "-https", fmt.Sprint(port(t)), "-http", fmt.Sprint(port(t)), "-admin", fmt.Sprint(port(t)))
	until(t, "the list of requests", func() bool { return strings.Contains(p.log.String(), "Ctrl-C") })
	var script strings.Builder
	for line := range strings.SplitSeq(p.log.String(), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "V="), strings.HasPrefix(line, "C="):
			script.WriteString(line + "\n")
		case strings.HasPrefix(line, "$V"), strings.HasPrefix(line, "for "), strings.HasPrefix(line, "curl"):
			script.WriteString(line + "; echo\n")
		}
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got := string(out)
	for _, want := range []string{
		`"count":1`, `"given_to":"nra"`, `"reason":"no_client_cert"`, `"reason":"expired"`, `"reason":"unknown_ca"`, `"reason":"not_allowed"`, `"reason":"inspection_blocked"`,
		"200\n200\n200\n429\n", `vazel_organization_requests_total{organization="nra",outcome="limited",route="registries/bulk"} 1`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the output lacks %s:\n%s", want, got)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "map.png")); err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) {
		t.Errorf("map.png: %v", err)
	}
}

// TestE2ENginx: files from nginx arrive as they are.
func TestE2ENginx(t *testing.T) {
	nginx := need(t, "nginx", "nginx-light")
	dir := t.TempDir()
	at := port(t)
	files := map[string]int{"small.txt": 100, "page.html": 20_000, "large.bin": 8 << 20}
	for name, size := range files {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size], 0o644); err != nil {
			t.Fatal(err)
		}
	}
	user := ""
	if os.Getuid() == 0 {
		user = "user root; " // the folder is the test's own
	}
	conf := user + fmt.Sprintf(`daemon off; pid %[1]s/nginx.pid; error_log %[1]s/error.log; worker_processes 1;
events { worker_connections 512; }
http { access_log off; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen 127.0.0.1:%[2]d; root %[1]s; location / { } } }
`, dir, at)
	if err := os.WriteFile(filepath.Join(dir, "nginx.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	start(t, dir, nginx, "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", filepath.Join(dir, "error.log"))
	direct := fmt.Sprintf("http://127.0.0.1:%d/", at)
	until(t, "nginx", func() bool {
		resp, err := http.Get(direct + "small.txt")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == 200
	})
	n := newE2ENode(t, map[string]string{"files": strings.TrimSuffix(direct, "/")}, "")
	for name, size := range files {
		_, want := fetch(t, http.DefaultClient, direct+name)
		status, got := fetch(t, n.client, "https://files.e2e.example/"+name)
		if status != 200 || len(got) != size || !bytes.Equal(got, want) {
			t.Errorf("%s: %d, %d bytes, want the same %d bytes as directly", name, status, len(got), len(want))
		}
	}
	req, _ := http.NewRequest("GET", "https://files.e2e.example/large.bin", nil)
	req.Header.Set("Range", "bytes=1000-1999")
	resp, err := n.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 206 || len(b) != 1000 {
		t.Errorf("range: %d, %d bytes", resp.StatusCode, len(b))
	}
	if status, _ := fetch(t, n.client, "https://files.e2e.example/missing"); status != 404 {
		t.Errorf("missing file: %d", status)
	}
}

const mapfile = `MAP
  NAME "e2e"
  STATUS ON
  SIZE 400 300
  EXTENT 22 41 29 45
  PROJECTION
    "init=epsg:4326"
  END
  WEB
    METADATA
      "ows_title" "Пример"
      "ows_onlineresource" "https://maps.e2e.example/?"
      "ows_srs" "EPSG:4326"
      "ows_enable_request" "*"
      "wfs_getfeature_formatlist" "gml"
    END
  END
  LAYER
    NAME "places"
    TYPE POINT
    STATUS ON
    TEMPLATE "x"
    EXTENT 22 41 29 45
    FEATURE POINTS 23.32 42.7 END END
    FEATURE POINTS 27.91 43.21 END END
    PROJECTION
      "init=epsg:4326"
    END
    METADATA
      "ows_title" "Населени места"
      "gml_include_items" "all"
      "ows_include_items" "all"
    END
    CLASS
      STYLE
        COLOR 176 42 55
        SYMBOL 0
        SIZE 8
      END
    END
  END
END
`

// TestE2EMapServer: a real OGC service answers through the gateway with the same
// bytes as directly.
func TestE2EMapServer(t *testing.T) {
	mapserv := need(t, "mapserv", "cgi-mapserver")
	dir := t.TempDir()
	path := filepath.Join(dir, "e2e.map")
	if err := os.WriteFile(path, []byte(mapfile), 0o644); err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(dir, "mapserver.conf")
	if err := os.WriteFile(conf, []byte("CONFIG\n  ENV\n    MS_MAP_PATTERN \".\"\n  END\nEND\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: &cgi.Handler{Path: mapserv, Env: []string{"MS_MAPFILE=" + path, "MAPSERVER_CONFIG_FILE=" + conf}, Dir: dir}}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	direct := "http://" + l.Addr().String()
	n := newE2ENode(t, map[string]string{"maps": direct}, "")
	for name, tt := range map[string]struct{ query, want string }{
		"WMS GetCapabilities": {"?service=WMS&version=1.3.0&request=GetCapabilities", "<WMS_Capabilities"},
		"WMS GetMap":          {"?SERVICE=WMS&VERSION=1.3.0&REQUEST=GetMap&LAYERS=places&STYLES=&CRS=EPSG:4326&BBOX=41,22,45,29&WIDTH=400&HEIGHT=300&FORMAT=image/png", "\x89PNG"},
		"WFS GetFeature":      {"?service=WFS&version=1.1.0&request=GetFeature&typename=places", "FeatureCollection"},
	} {
		status, want := fetch(t, http.DefaultClient, direct+"/"+tt.query)
		if status != 200 || !bytes.Contains(want, []byte(tt.want)) {
			t.Fatalf("%s, directly: %d %.300s", name, status, want)
		}
		status, got := fetch(t, n.client, "https://maps.e2e.example/"+tt.query)
		// WFS stamps its answers with the time.
		stamp := regexp.MustCompile(`timeStamp="[^"]*"`)
		if status != 200 || !bytes.Equal(stamp.ReplaceAll(got, nil), stamp.ReplaceAll(want, nil)) {
			t.Errorf("%s: %d, %d bytes differ from the %d bytes that come directly", name, status, len(got), len(want))
		}
	}
}

// TestE2EH2spec runs the conformance suite of HTTP/2.
func TestE2EH2spec(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "hello")
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	n := newE2ENode(t, map[string]string{"local": "http://" + l.Addr().String()}, "")
	cmd := exec.Command("go", "tool", "-modfile=../../.ci/tools/go.mod", "h2spec", "-t", "-k", "-h", "127.0.0.1", "-p", fmt.Sprint(n.https), "-o", "5")
	out, _ := cmd.CombinedOutput()
	m := regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`).FindStringSubmatch(string(out))
	if m == nil {
		t.Fatalf("no result: %s", out)
	}
	t.Log(m[0])
	var passed int
	fmt.Sscan(m[2], &passed)
	if passed < 145 {
		t.Errorf("%s, want all of 145 passed:\n%s", m[0], out)
	}
	if i := strings.Index(string(out), "Failures:"); i >= 0 {
		t.Logf("%s", out[i:])
	}
}

// TestE2EReloadUnderLoad reloads each second under load from wrk and h2load: no
// request fails, and idle connections, WebSocket and streams stay open.
func TestE2EReloadUnderLoad(t *testing.T) {
	wrk, h2load := need(t, "wrk", "wrk"), need(t, "h2load", "nghttp2-client")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", openData())
	mux.Handle("/ws", registry())
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") })
	s := &http.Server{Handler: mux}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	upstream := "http://" + l.Addr().String()
	settings := "    websocket: true\n    rate_limit: {rate: 1000000/s, per: service}\n"
	n := newE2ENode(t, map[string]string{"local": upstream}, settings)

	// Three connections that must outlive every reload.
	dial := func(proto string) (*tls.Conn, *bufio.Reader) {
		c, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", n.https), &tls.Config{RootCAs: n.roots, NextProtos: []string{proto}})
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(2 * time.Minute))
		t.Cleanup(func() { c.Close() })
		return c, bufio.NewReader(c)
	}
	idle, ibr := dial("http/1.1")
	hello := func(c io.Writer, br *bufio.Reader) error {
		io.WriteString(c, "GET /hello HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(resp.Body)
		if err == nil && (resp.StatusCode != 200 || string(b) != "hello") {
			err = fmt.Errorf("%s: %s", resp.Status, b)
		}
		return err
	}
	if err := hello(idle, ibr); err != nil {
		t.Fatal(err)
	}
	ws, wbr := dial("http/1.1")
	io.WriteString(ws, "GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if resp, err := http.ReadResponse(wbr, nil); err != nil || resp.StatusCode != 101 {
		t.Fatal(resp, err)
	}
	sse, sbr := dial("http/1.1")
	io.WriteString(sse, "GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
	if resp, err := http.ReadResponse(sbr, nil); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}

	load := func(name string, args ...string) chan string {
		done := make(chan string, 1)
		go func() {
			out, err := exec.Command(name, args...).CombinedOutput()
			done <- fmt.Sprintf("%s\n%v", out, err)
		}()
		return done
	}
	url := fmt.Sprintf("https://127.0.0.1:%d/hello", n.https)
	a := load(wrk, "-t1", "-c16", "-d8s", url)
	b := load(h2load, "-c4", "-m8", "-D8", "--warm-up-time=0", url)
	bin, _ := binary()
	each := time.NewTicker(time.Second)
	defer each.Stop()
	for i := range 8 {
		n.configure(t, map[string]string{"local": upstream, fmt.Sprintf("other%d", i): upstream}, settings)
		out, err := exec.Command(bin, "reload", "-config", n.dir).CombinedOutput()
		if err != nil || string(out) != "applied\n" {
			t.Errorf("reload: %v %s", err, out)
		}
		<-each.C
	}
	wrkOut, h2Out := <-a, <-b
	t.Log(wrkOut, h2Out)
	if strings.Contains(wrkOut, "Socket errors") || strings.Contains(wrkOut, "Non-2xx") || !strings.Contains(wrkOut, "Requests/sec") {
		t.Errorf("wrk: %s", wrkOut)
	}
	if !regexp.MustCompile(` 0 failed, 0 errored, 0 timeout`).MatchString(h2Out) || !regexp.MustCompile(`[1-9]\d* 2xx, 0 3xx, 0 4xx, 0 5xx`).MatchString(h2Out) {
		t.Errorf("h2load: %s", h2Out)
	}
	if err := hello(idle, ibr); err != nil {
		t.Errorf("the idle connection: %v", err)
	}
	// A masked text frame with "hi", and its echo.
	ws.Write([]byte{0x81, 0x82, 0, 0, 0, 0, 'h', 'i'})
	echo := make([]byte, 4)
	if _, err := io.ReadFull(wbr, echo); err != nil || string(echo) != "\x81\x02hi" {
		t.Errorf("the WebSocket: %q, %v", echo, err)
	}
	until(t, "the eighth event of the stream", func() bool {
		l, err := sbr.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended: %v", err)
		}
		return strings.Contains(l, "id: 8")
	})
}
