package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// proxyDef is proxies/NAME/proxy.json. Every other file of that folder is a
// text/template rendered into the run folder before the proxy starts; cmd and
// env are templates as well.
type proxyDef struct {
	Title string   `json:"title"` // for people; the folder's name by default
	Cmd   []string `json:"cmd"`
	Env   []string `json:"env"`
	Skip  []string `json:"skip"`    // scenarios or variants it cannot do
	Ver   []string `json:"version"` // command that prints the version
	LogF  string   `json:"log"`     // access log file in the run folder, to count its lines

	name string
}

// vars is what templates see.
type vars struct {
	Dir, Addr, Port            string // run folder, listen address
	Backend                    string // host:port
	Cert, Key, CertKey         string // server certificate
	ClientCA                   string
	Workers                    int
	Variant                    string
	Log, MTLS, Filters, Direct bool
	Inspect, Plain             bool // requests are inspected, by the rule engine alone
	Paranoia                   int
}

type proxy struct {
	def     *proxyDef
	variant string
	dir     string
	addr    string
	cmd     *exec.Cmd
	pids    []int
}

func loadDef(root, name string) (*proxyDef, error) {
	b, err := os.ReadFile(filepath.Join(root, name, "proxy.json"))
	if err != nil {
		return nil, err
	}
	d := &proxyDef{name: name}
	if err := json.Unmarshal(b, d); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if d.Title == "" {
		d.Title = name
	}
	return d, nil
}

// installed reports an error if the program is not there.
func (d *proxyDef) installed() error {
	program, err := render(d.Cmd[0], vars{})
	if err == nil {
		_, err = exec.LookPath(program)
	}
	return err
}

var number = regexp.MustCompile(`v?[0-9]+[.][0-9]+[.0-9]*[^\s,)"]*`)

// version is what the program says of itself.
func (d *proxyDef) version() string {
	if len(d.Ver) == 0 {
		return ""
	}
	program, _ := render(d.Ver[0], vars{})
	out, _ := exec.Command(program, d.Ver[1:]...).CombinedOutput()
	if v := number.Find(out); v != nil {
		return string(v)
	}
	if words := strings.Fields(string(out)); len(words) > 0 { // a build without a number: "vazel COMMIT"
		return words[len(words)-1]
	}
	return ""
}

func (d *proxyDef) skips(s string) bool {
	for _, x := range d.Skip {
		if x == s {
			return true
		}
	}
	return false
}

func render(text string, v vars) (string, error) {
	t, err := template.New("").Funcs(template.FuncMap{
		"env": func(k, def string) string {
			if x := os.Getenv(k); x != "" {
				return x
			}
			return def
		}}).Option("missingkey=error").Parse(text)
	if err != nil {
		return "", err
	}
	var sb strings.Builder
	err = t.Execute(&sb, v)
	return sb.String(), err
}

func startProxy(root, work string, d *proxyDef, variant string, p *pki, backend string, workers, port, paranoia int) (*proxy, error) {
	px := &proxy{def: d, variant: variant, dir: filepath.Join(work, d.name+"-"+variant), addr: fmt.Sprintf("127.0.0.1:%d", port)}
	os.RemoveAll(px.dir)
	if err := os.MkdirAll(px.dir, 0o777); err != nil {
		return nil, err
	}
	v := vars{Dir: px.dir, Addr: px.addr, Port: fmt.Sprint(port), Backend: backend, Cert: p.Cert, Key: p.Key, CertKey: p.CertKey,
		ClientCA: p.ClientCA, Workers: workers, Variant: variant,
		Log: variant == "log" || variant == "all", MTLS: variant == "mtls", Filters: variant == "filters" || variant == "all",
		Inspect: strings.HasPrefix(variant, "inspect"), Plain: variant == "inspect-plain", Paranoia: paranoia}
	files, _ := filepath.Glob(filepath.Join(root, d.name, "*"))
	for _, f := range files {
		if filepath.Base(f) == "proxy.json" {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		s, err := render(string(b), v)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		if err := os.WriteFile(filepath.Join(px.dir, filepath.Base(f)), []byte(s), 0o644); err != nil {
			return nil, err
		}
	}
	var args []string
	for _, a := range d.Cmd {
		s, err := render(a, v)
		if err != nil {
			return nil, err
		}
		if s != "" {
			args = append(args, s)
		}
	}
	out, err := os.Create(filepath.Join(px.dir, "stdout.log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	errf, err := os.Create(filepath.Join(px.dir, "stderr.log"))
	if err != nil {
		return nil, err
	}
	defer errf.Close()
	px.cmd = exec.Command(args[0], args[1:]...)
	px.cmd.Dir, px.cmd.Stdout, px.cmd.Stderr = px.dir, out, errf
	px.cmd.Env = append(os.Environ(), "HOME="+px.dir, fmt.Sprintf("GOMAXPROCS=%d", workers))
	for _, e := range d.Env {
		s, err := render(e, v)
		if err != nil {
			return nil, err
		}
		px.cmd.Env = append(px.cmd.Env, s)
	}
	px.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := px.cmd.Start(); err != nil {
		return nil, err
	}
	for i := 0; i < 100; i++ {
		c, err := net.DialTimeout("tcp", px.addr, time.Second)
		if err == nil {
			c.Close()
			time.Sleep(300 * time.Millisecond) // let all workers come up
			px.pids = tree(px.cmd.Process.Pid)
			return px, nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	px.stop()
	tail, _ := os.ReadFile(filepath.Join(px.dir, "stderr.log"))
	return nil, fmt.Errorf("%s (%s) did not listen on %s: %s", d.name, variant, px.addr, lastLines(string(tail), 5))
}

func (px *proxy) stop() {
	if px == nil || px.cmd == nil || px.cmd.Process == nil {
		return
	}
	px.cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() { px.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(3 * time.Second):
		for _, p := range tree(px.cmd.Process.Pid) {
			syscall.Kill(p, syscall.SIGKILL)
		}
		<-done
	}
}

func lastLines(s string, n int) string {
	l := strings.Split(strings.TrimSpace(s), "\n")
	if len(l) > n {
		l = l[len(l)-n:]
	}
	return strings.Join(l, " | ")
}
