package middleware

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vazel-gateway/vazel/certs"
)

// receiver is a syslog receiver over TLS that proves itself and asks for nothing.
type receiver struct {
	net.Listener
	ca  string // file
	got chan string

	mu    sync.Mutex
	conns []net.Conn
}

func newReceiver(t *testing.T, reads bool) *receiver {
	t.Helper()
	s := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate, which is of 127.0.0.1
	defer s.Close()
	r := &receiver{ca: filepath.Join(t.TempDir(), "ca.pem"), got: make(chan string, 1024)}
	if err := os.WriteFile(r.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	var err error
	if r.Listener, err = tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := r.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, c)
			r.mu.Unlock()
			wg.Go(func() {
				if !reads {
					c.(*tls.Conn).Handshake()
					return
				}
				for in := bufio.NewReader(c); ; {
					m, err := message(in)
					if err != nil {
						return
					}
					r.got <- m
				}
			})
		}
	})
	t.Cleanup(func() {
		r.Close()
		r.breakOff()
		wg.Wait()
	})
	return r
}

// breakOff ends all connections.
func (r *receiver) breakOff() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}

func (r *receiver) log(format string) RequestLog {
	return RequestLog{Output: syslogTLS + r.Addr().String(), Format: format, TLS: &certs.ClientTLS{CA: r.ca}}
}

// message reads one message, as RFC 5425 frames it.
func message(r *bufio.Reader) (string, error) {
	length, err := r.ReadString(' ')
	if err != nil {
		return "", err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, " "))
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r, b)
	return string(b), err
}

// refuse has a request refused that belongs into both logs.
func (w *watched) refuse(path string) {
	w.handler(func(rw http.ResponseWriter, r *http.Request) {
		RecordOf(r.Context()).Path = path
		Deny(rw, r, 403, Denial{By: "waf", Reason: "attack_detected"})
	}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	<-w.records
}

var syslogHead = regexp.MustCompile(`^<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z [!-~]{1,255} vazel \d+ (access|security) - `)

// TestSyslog sends a log to a receiver that breaks off and comes again.
func TestSyslog(t *testing.T) {
	t.Parallel()
	w, r := newWatched(t), newReceiver(t, true)
	logs, err := w.Open(LogOutputs{Security: r.log(FormatJSON)})
	if err != nil {
		t.Fatal(err)
	}
	w.Use(logs, nil)
	up := w.metrics.logUp.WithLabelValues("security")
	for _, path := range []string{"/first", "/second"} {
		m := ""
		for m == "" { // a line that was on its way when the receiver broke off is lost
			w.refuse(path)
			select {
			case m = <-r.got:
			case <-time.After(100 * time.Millisecond):
			}
		}
		head := syslogHead.FindStringSubmatch(m)
		if head == nil || head[1] != "84" || head[2] != "security" {
			t.Fatalf("message %q begins otherwise", m)
		}
		var fields map[string]any
		if err := json.Unmarshal([]byte(m[len(head[0]):]), &fields); err != nil || fields["url.path"] != path {
			t.Errorf("%q: %v, path %v, want %s", m, err, fields["url.path"], path)
		}
		if got := testutil.ToFloat64(up); got != 1 {
			t.Errorf("vazel_log_sink_up = %v, want 1", got)
		}
		r.breakOff()
		for len(r.got) > 0 {
			<-r.got
		}
	}
	w.Close()
	if got := testutil.ToFloat64(up); got != 0 {
		t.Errorf("vazel_log_sink_up = %v after the end, want 0", got)
	}
}

// TestSyslogProvesReceiver sends nothing to one that its authority does not vouch for.
func TestSyslogProvesReceiver(t *testing.T) {
	t.Parallel()
	w, r, other := newWatched(t), newReceiver(t, true), newReceiver(t, true)
	l := r.log(FormatCEF)
	l.TLS.CA, l.TLS.ServerName = other.ca, "logs.egov.example"
	logs, err := w.Open(LogOutputs{Access: l})
	if err != nil {
		t.Fatal(err)
	}
	w.Use(logs, nil)
	w.refuse("/x")
	w.Close()
	if len(r.got) > 0 {
		t.Errorf("got %q", <-r.got)
	}
	if got := testutil.ToFloat64(w.metrics.logDropped.WithLabelValues("access")); got != 1 {
		t.Errorf("%v lines dropped, want 1", got)
	}
	if n := w.logged.FilterMessageSnippet("can't be reached").Len(); n != 1 {
		t.Errorf("told %d times that the receiver can't be reached, want once", n)
	}
}

// TestSyslogNeverBlocks has a receiver that takes nothing, and one that does not
// even answer: requests don't wait, and what finds no room is counted.
func TestSyslogNeverBlocks(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for name, output := range map[string]func() RequestLog{
		"reads nothing":  func() RequestLog { return newReceiver(t, false).log(FormatJSON) },
		"never answers":  func() RequestLog { return RequestLog{Output: syslogTLS + silent.Addr().String(), Format: FormatJSON} },
		"does not exist": func() RequestLog { return RequestLog{Output: syslogTLS + "127.0.0.1:1", Format: FormatJSON} },
	} {
		w := newWatched(t)
		logs, err := w.Open(LogOutputs{Access: output()})
		if err != nil {
			t.Fatal(err)
		}
		rec := &Record{ID: strings.Repeat("a", 32), Start: time.Now(), Method: "GET", Path: "/" + strings.Repeat("x", 1000), Status: 200}
		r := httptest.NewRequest("GET", "/", nil)
		const lines = 20000 // four times what finds room
		start := time.Now()
		for range lines {
			logs.request(w.Observer, rec, r)
		}
		took := time.Since(start)
		dropped := testutil.ToFloat64(w.metrics.logDropped.WithLabelValues("access"))
		if took > 5*time.Second {
			t.Errorf("%s: %d lines took %v", name, lines, took)
		}
		if dropped < lines/4 || dropped > lines {
			t.Errorf("%s: %v of %d lines dropped", name, dropped, lines)
		}
		go logs.Close() // gives up on its own
	}
}

func TestReceiver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ output, address, wrong string }{
		{"syslog+tls://logs.egov.example:6514", "logs.egov.example:6514", ""},
		{"syslog+tls://logs.egov.example", "logs.egov.example:6514", ""},
		{"syslog+tls://[2001:db8::1]:6514/", "[2001:db8::1]:6514", ""},
		{"/var/log/vazel/access.log", "", ""},
		{"syslog://logs.egov.example:514", "", "is no receiver"},
		{"syslog+tls://", "", "is no receiver"},
		{"syslog+tls://user@logs.egov.example:6514", "", "is no receiver"},
		{"syslog+tls://logs.egov.example:6514/path", "", "is no receiver"},
		{"https://logs.egov.example", "", "is no receiver"},
	} {
		l := RequestLog{Output: c.output}
		address, _, _, err := l.receiver()
		if address != c.address || (err == nil) != (c.wrong == "") || err != nil && !strings.Contains(err.Error(), c.wrong) {
			t.Errorf("%s: got %q, %v, want %q, %q", c.output, address, err, c.address, c.wrong)
		}
	}
}
