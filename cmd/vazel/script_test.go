package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vazel-gateway/vazel/gateway/freeport"
)

// TestMain lets scripts call the real program as "vazel".
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vazel": func() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) },
	})
}

// TestScripts runs testdata/*.txtar: commands, files and wanted output. In the
// files, @HTTPS@, @HTTP@, @ADMIN@, @UP1@, @UP2@ and @OTHER@ are free ports; the
// scripts know them as $HTTPS and so on.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Values[begun{}] = new([]io.ReadCloser)
			var replace []string
			for _, name := range []string{"HTTPS", "HTTP", "ADMIN", "UP1", "UP2", "OTHER"} {
				p, err := freePort()
				if err != nil {
					return err
				}
				env.Setenv(name, p)
				replace = append(replace, "@"+name+"@", p)
			}
			r := strings.NewReplacer(replace...)
			return filepath.WalkDir(env.WorkDir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				return os.WriteFile(path, []byte(r.Replace(string(b))), 0o600)
			})
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ask":      cmdAsk,
			"raw":      cmdRaw,
			"start":    cmdStart,
			"finish":   cmdFinish,
			"upstream": cmdUpstream,
			"ready":    cmdReady,
			"eventual": cmdEventual,
			"logged":   cmdLogged,
			"signal":   cmdSignal,
		},
	})
}

// freePort is a port that nobody listens on, over TCP and UDP.
func freePort() (string, error) {
	port, err := freeport.Get()
	return strconv.Itoa(port), err
}

// question is what the flags of ask say.
type question struct {
	protocols, cert, sni, method, body string
	plain                              bool
	times                              int
	header                             http.Header
}

func (q *question) flags(args []string) (url string, err error) {
	f := flag.NewFlagSet("ask", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&q.protocols, "p", "h1,h2,h3", "protocols")
	f.StringVar(&q.cert, "cert", "", "client certificate NAME.pem with NAME.key")
	f.StringVar(&q.sni, "sni", "", "server name, if not that of the URL; - for none")
	f.StringVar(&q.method, "X", "", "method")
	f.StringVar(&q.body, "d", "", "body")
	f.IntVar(&q.times, "n", 1, "number of requests on the connection")
	f.BoolVar(&q.plain, "plain", false, "without TLS, to $HTTP")
	f.Func("H", "header field, Name: value", func(s string) error {
		name, value, ok := strings.Cut(s, ": ")
		if !ok {
			return errors.New("no colon")
		}
		q.header[name] = append(q.header[name], value)
		return nil
	})
	if err := f.Parse(args); err != nil {
		return "", err
	}
	if f.NArg() != 1 {
		return "", errors.New("one URL is needed")
	}
	if q.method == "" {
		q.method = "GET"
		if q.body != "" {
			q.method = "POST"
		}
	}
	return f.Arg(0), nil
}

// cmdAsk sends a request over each protocol and prints the answer: status,
// header and body. The answers must not differ. "! ask" wants no answer at all.
func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	q := question{header: http.Header{}}
	url, err := q.flags(args)
	ts.Check(err)
	first := ""
	protocols := strings.Split(q.protocols, ",")
	if q.plain {
		protocols = []string{"h1"}
	}
	for i, p := range protocols {
		got, err := q.ask(ts, p, url)
		switch {
		case neg && err == nil:
			ts.Fatalf("%s: got %s, want no answer", p, got)
		case neg:
			fmt.Fprintln(ts.Stdout(), err)
			continue
		case err != nil:
			ts.Fatalf("%s: %v", p, err)
		}
		// What belongs to one connection or request may differ.
		same := comparable(got)
		if i == 0 {
			first = same
			fmt.Fprint(ts.Stdout(), got)
		} else if same != first {
			ts.Fatalf("%s answers otherwise than %s:\n%s\n--- %s\n%s", p, protocols[0], same, protocols[0], first)
		}
	}
}

var incidentID = regexp.MustCompile(`[0-9a-f]{32}`)

// comparable is an answer without what differs from request to request.
func comparable(answer string) string {
	var lines []string
	for l := range strings.SplitSeq(answer, "\n") {
		name, _, _ := strings.Cut(l, ":")
		switch name {
		case "Date", "Content-Length", "X-Request-Id", "Alt-Svc", "Ratelimit", "Connection", "Proto", "Traceparent":
			continue
		}
		lines = append(lines, incidentID.ReplaceAllString(l, "ID"))
	}
	return strings.Join(lines, "\n")
}

func (q *question) ask(ts *testscript.TestScript, protocol, url string) (string, error) {
	req, err := http.NewRequest(q.method, url, strings.NewReader(q.body))
	ts.Check(err)
	req.Header.Set("User-Agent", "ask")
	for k, v := range q.header {
		if k == "Host" {
			req.Host = v[0]
			continue
		}
		req.Header[k] = v
	}
	c, done := q.client(ts, protocol, req.URL.Hostname())
	defer done()
	var b bytes.Buffer
	for range q.times {
		req.Body = io.NopCloser(strings.NewReader(q.body))
		resp, err := c.Do(req)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "Proto: %s\nStatus: %d\n", resp.Proto, resp.StatusCode)
		for _, m := range []http.Header{resp.Header, resp.Trailer} {
			var lines []string
			for k, vv := range m {
				for _, v := range vv {
					lines = append(lines, k+": "+v+"\n")
				}
			}
			slices.Sort(lines)
			b.WriteString(strings.Join(lines, "") + "\n")
		}
		b.Write(body)
		b.WriteString("\n")
	}
	return b.String(), nil
}

// begun is the key of the answers that cmdStart leaves for cmdFinish.
type begun struct{}

// cmdStart asks as cmdAsk does, over each protocol, and leaves the bodies of the
// answers to be read.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	q := question{header: http.Header{}}
	url, err := q.flags(args)
	ts.Check(err)
	var bodies []io.ReadCloser
	for p := range strings.SplitSeq(q.protocols, ",") {
		req, err := http.NewRequest(q.method, url, nil)
		ts.Check(err)
		c, done := q.client(ts, p, req.URL.Hostname())
		ts.Defer(done)
		resp, err := c.Do(req)
		ts.Check(err)
		bodies = append(bodies, resp.Body)
	}
	*ts.Value(begun{}).(*[]io.ReadCloser) = bodies
}

// cmdFinish has the upstream at a port end what cmdStart began, and prints it.
// "! finish" wants every answer to be broken off.
func cmdFinish(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: finish PORT")
	}
	for _, body := range *ts.Value(begun{}).(*[]io.ReadCloser) {
		if !neg {
			resp, err := http.Post("http://127.0.0.1:"+args[0]+"/release", "", nil)
			ts.Check(err)
			resp.Body.Close()
		}
		b, err := io.ReadAll(body)
		body.Close()
		if neg != (err != nil) {
			ts.Fatalf("got %q, %v", b, err)
		}
		fmt.Fprintf(ts.Stdout(), "%s\n", b)
	}
}

// client speaks one protocol with the node of the script, whatever the host.
func (q *question) client(ts *testscript.TestScript, protocol, host string) (c *http.Client, done func()) {
	c = &http.Client{Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if q.plain {
		tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+ts.Getenv("HTTP"))
		}}
		c.Transport = tr
		return c, tr.CloseIdleConnections
	}
	address := "127.0.0.1:" + ts.Getenv("HTTPS")
	conf := q.tls(ts, host)
	if protocol == "h3" {
		tr := &http3.Transport{DisableCompression: true, TLSClientConfig: conf, Dial: func(ctx context.Context, _ string, c *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			c = c.Clone()
			c.ServerName = conf.ServerName
			return quic.DialAddr(ctx, address, c, qc)
		}}
		c.Transport = tr
		return c, func() { tr.Close() }
	}
	p := new(http.Protocols)
	p.SetHTTP1(protocol == "h1")
	p.SetHTTP2(protocol == "h2")
	conf.NextProtos = map[string][]string{"h1": {"http/1.1"}, "h2": {"h2"}}[protocol]
	tr := &http.Transport{Protocols: p, DisableCompression: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", address)
	}}
	c.Transport = tr
	return c, tr.CloseIdleConnections
}

// tls trusts the authority that "vazel certs dev -dir pki" made.
func (q *question) tls(ts *testscript.TestScript, host string) *tls.Config {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ts.ReadFile("pki/dev-ca.pem"))) {
		ts.Fatalf("no authority in pki/dev-ca.pem")
	}
	conf := &tls.Config{RootCAs: roots, ServerName: host}
	switch q.sni {
	case "":
	case "-":
		conf.ServerName, conf.InsecureSkipVerify = "", true
	default:
		conf.ServerName = q.sni
	}
	if q.cert != "" {
		pair, err := tls.X509KeyPair([]byte(ts.ReadFile(q.cert+".pem")), []byte(ts.ReadFile(q.cert+".key")))
		ts.Check(err)
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return conf
}

// cmdRaw sends the bytes of a file to a port and prints what comes back until
// the other side closes. With -tls HOST it does so within TLS, after the bytes
// of -before FILE.
func cmdRaw(ts *testscript.TestScript, neg bool, args []string) {
	f := flag.NewFlagSet("raw", flag.ContinueOnError)
	host := f.String("tls", "", "")
	before := f.String("before", "", "")
	ts.Check(f.Parse(args))
	if f.NArg() != 2 {
		ts.Fatalf("usage: raw [-tls HOST] [-before FILE] PORT FILE")
	}
	var c net.Conn
	c, err := net.Dial("tcp", "127.0.0.1:"+f.Arg(0))
	ts.Check(err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if *before != "" {
		_, err := io.WriteString(c, wire(ts.ReadFile(*before)))
		ts.Check(err)
	}
	if *host != "" {
		q := question{}
		conf := q.tls(ts, *host)
		conf.NextProtos = []string{"http/1.1"}
		tc := tls.Client(c, conf)
		if err := tc.Handshake(); err != nil {
			if !neg {
				ts.Fatalf("handshake: %v", err)
			}
			return
		}
		c = tc
	}
	_, err = io.WriteString(c, wire(ts.ReadFile(f.Arg(1))))
	ts.Check(err)
	b, err := io.ReadAll(bufio.NewReader(c))
	ts.Stdout().Write(bytes.ReplaceAll(b, []byte("\r"), nil))
	if neg != (len(b) == 0) {
		ts.Fatalf("got %d bytes, %v", len(b), err)
	}
}

// wire is the text of a script's file with the line ends of HTTP/1.1.
func wire(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

// cmdReady waits until the node of the script is ready; with the word tls, until
// its admin listener answers that it wants https.
func cmdReady(ts *testscript.TestScript, neg bool, args []string) {
	want := http.StatusOK
	if len(args) > 0 {
		want = http.StatusBadRequest
	}
	eventually(ts, "the node is ready", func() bool {
		resp, err := http.Get("http://127.0.0.1:" + ts.Getenv("ADMIN") + "/-/ready")
		if err != nil {
			return neg
		}
		resp.Body.Close()
		return neg == (resp.StatusCode != want)
	})
}

// cmdEventual waits until the answer of the admin listener at a path holds a
// text, or no longer does, or a file of this name does.
func cmdEventual(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: eventual PATH|FILE TEXT")
	}
	eventually(ts, fmt.Sprintf("%s holds %q (or not: %v)", args[0], args[1], neg), func() bool {
		if !strings.HasPrefix(args[0], "/") {
			b, _ := os.ReadFile(ts.MkAbs(args[0]))
			return neg != bytes.Contains(b, []byte(args[1]))
		}
		resp, err := http.Get("http://127.0.0.1:" + ts.Getenv("ADMIN") + args[0])
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return err == nil && neg != bytes.Contains(b, []byte(args[1]))
	})
}

// cmdLogged waits until a log holds the incident id of the refusal asked last.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	answer := ts.ReadFile("stdout")
	_, body, _ := strings.Cut(answer, "\n\n")
	id := incidentID.FindString(body)
	if len(args) != 1 || neg || id == "" {
		ts.Fatalf("usage: logged FILE, after a refusal")
	}
	cmdEventual(ts, false, []string{args[0], `"event.id":"` + id + `"`})
}

// cmdSignal sends a signal to what runs in the background.
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	sig, ok := map[string]os.Signal{"TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL}[strings.Join(args, " ")]
	if !ok || neg {
		ts.Fatalf("usage: signal TERM|HUP|KILL")
	}
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(sig))
	}
}

func eventually(ts *testscript.TestScript, what string, ok func() bool) {
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("not within 20s: %s", what)
		}
	}
}
