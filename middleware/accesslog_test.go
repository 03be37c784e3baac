package middleware

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/vazel-gateway/vazel/certs"
)

// linesOf reads a log as JSON objects.
func linesOf(t *testing.T, path string) (lines []map[string]any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		lines = append(lines, m)
	}
	return lines
}

// logFiles has w log into files, until the returned function closes them.
func logFiles(t *testing.T, w *watched) (access, security string, closed func()) {
	t.Helper()
	dir := t.TempDir()
	access, security = filepath.Join(dir, "access.log"), filepath.Join(dir, "security.log")
	logs, err := w.Open(LogOutputs{Access: RequestLog{Output: access}, Security: RequestLog{Output: security}})
	if err != nil {
		t.Fatal(err)
	}
	w.Use(logs, nil)
	return access, security, func() { w.Use(&Logs{}, nil) }
}

func TestAccessLogLine(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	access, security, closed := logFiles(t, w)
	h := w.handler(func(rw http.ResponseWriter, r *http.Request) {
		rec := RecordOf(r.Context())
		rec.Host, rec.Path, rec.Service, rec.Route = "registry.example", "/citizens/7523169263", "registry", "registry"
		rec.Organization = "nra"
		rec.Identity = certs.Identity{Organization: "nra", Leaf: &x509.Certificate{Raw: []byte("der"), Subject: pkix.Name{CommonName: "nra"}}}
		rec.Upstream, rec.UpstreamServer, rec.UpstreamDuration, rec.Attempts = "registry", "192.0.2.7:80", 5*time.Millisecond, 1
		rec.RateLimitPolicy, rec.RateLimitDecision = "registry", "allowed"
		rec.InspectionMode, rec.InspectionScore, rec.InspectionRules, rec.InspectionCategory = "detect", 5, []int{942100}, "sqli"
		io.Copy(io.Discard, r.Body)
		io.WriteString(rw, "answer")
	})
	r := httptest.NewRequest("POST", "/citizens/7523169263?token=secret-query", strings.NewReader("secret-body"))
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CurveID: tls.X25519MLKEM768}
	r.Header.Set("Authorization", "Bearer secret-token")
	r.Header.Set("Cookie", "secret-cookie")
	r = r.WithContext(WithConn(r.Context(), &Conn{Listener: ":443", Protocol: "h2", Peer: netip.MustParseAddrPort("203.0.113.77:5000")}))
	h.ServeHTTP(httptest.NewRecorder(), r)
	rec := <-w.records
	closed()

	lines := linesOf(t, access)
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	got := lines[0]
	at, err := time.Parse(time.RFC3339Nano, got["@timestamp"].(string))
	if err != nil || !at.Equal(rec.Start.Truncate(time.Microsecond)) || !strings.HasSuffix(got["@timestamp"].(string), "Z") {
		t.Errorf("@timestamp = %v, %v, want %v", got["@timestamp"], err, rec.Start)
	}
	sum := sha256.Sum256([]byte("der"))
	for key, want := range map[string]any{
		"event.dataset": "vazel.access", "event.id": rec.ID, "event.action": "request", "event.outcome": "success", "event.duration": float64(rec.Duration),
		"http.request.method": "POST", "url.domain": "registry.example", "url.path": "/citizens/[id]", "http.response.status_code": 200.0,
		"http.request.body.size": 11.0, "http.response.body.size": 6.0, "network.protocol.version": "2", "client.address": "203.0.113.0",
		"tls.protocol.version": "1.3", "tls.curve": "X25519MLKEM768",
		"tls.client.hash.sha256": hex.EncodeToString(sum[:]), "trace_id": rec.TraceID, "span_id": rec.SpanID, "vazel.listener": ":443", "vazel.service": "registry", "vazel.route": "registry",
		"vazel.organization": "nra", "vazel.decision": "allow", "vazel.upstream.server": "192.0.2.7:80", "vazel.upstream.duration": 5e6, "vazel.attempts": 1.0,
		"vazel.ratelimit.policy": "registry", "vazel.ratelimit.decision": "allowed",
		"vazel.inspection.mode": "detect", "vazel.inspection.score": 5.0, "vazel.inspection.category": "sqli",
	} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
		delete(got, key)
	}
	delete(got, "@timestamp")
	delete(got, "vazel.inspection.rules")
	if len(got) != 0 {
		t.Errorf("more than expected: %v", got)
	}
	if b, _ := os.ReadFile(access); bytes.Contains(b, []byte("secret")) {
		t.Errorf("the line holds what only the client and the service may know: %s", b)
	}
	if l := linesOf(t, security); len(l) != 0 {
		t.Errorf("security log of an ordinary request: %v", l)
	}
}

func TestSecurityLog(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	access, security, closed := logFiles(t, w)
	statuses := []int{400, 401, 403, 421, 429, 404, 502}
	for _, status := range statuses {
		w.handler(func(rw http.ResponseWriter, r *http.Request) {
			rec := RecordOf(r.Context())
			rec.Identity = certs.Identity{Claimed: "nra", Leaf: &x509.Certificate{Raw: []byte("der"), Subject: pkix.Name{CommonName: "ivan@example.bg"}}}
			Deny(rw, r, status, Denial{By: "allow", Reason: "expired", Detail: "line one\nline two of a@example.bg"})
		}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(WithConn(t.Context(), &Conn{Peer: netip.MustParseAddrPort("[2001:db8:1:2::5]:5000")}), "GET", "/", nil))
		<-w.records
	}
	closed()
	if n := len(linesOf(t, access)); n != len(statuses) {
		t.Errorf("%d lines in the access log, want %d", n, len(statuses))
	}
	lines := linesOf(t, security)
	if len(lines) != 5 {
		t.Fatalf("%d lines in the security log, want 5", len(lines))
	}
	for i, l := range lines {
		for key, want := range map[string]any{
			"event.dataset": "vazel.security", "http.response.status_code": float64(statuses[i]), "client.address": "2001:db8:1:2::5", "network.peer.address": "2001:db8:1:2::5",
			"event.outcome": "failure", "vazel.decision": "deny", "vazel.denied_by": "allow", "vazel.reason": "expired", "vazel.claimed_organization": "nra",
			"vazel.detail": "line one\nline two of [email]", "tls.client.subject": "CN=[email]",
		} {
			if l[key] != want {
				t.Errorf("line %d: %s = %v, want %v", i, key, l[key], want)
			}
		}
	}
	if got := linesOf(t, access)[0]["client.address"]; got != "2001:db8:1::" {
		t.Errorf("client.address in the access log = %v, want 2001:db8:1::", got)
	}
}

// A reload that keeps a log keeps its sink; one that changes it loses no line of
// a request that was under way.
func TestLogsOverReload(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	first, second := filepath.Join(t.TempDir(), "first"), filepath.Join(t.TempDir(), "second")
	logs, err := w.OpenLogs(RequestLog{Output: first})
	if err != nil {
		t.Fatal(err)
	}
	w.Use(logs, nil)
	if again, err := w.OpenLogs(RequestLog{Output: first}); err != nil || again.access.sink != logs.access.sink {
		t.Errorf("the same log was opened anew: %v", err)
	}
	unused, err := w.Open(LogOutputs{Access: RequestLog{Output: first}, Security: RequestLog{Output: second}})
	if err != nil || unused.access.sink != logs.access.sink {
		t.Errorf("the access log was opened anew: %v", err)
	}
	w.Discard(unused)
	w.handler(func(http.ResponseWriter, *http.Request) {
		logs, err := w.OpenLogs(RequestLog{Output: second})
		if err != nil {
			t.Error(err)
			return
		}
		w.Use(logs, nil)
	}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	w.Close()
	if n, m := len(linesOf(t, first)), len(linesOf(t, second)); n != 0 || m != 1 {
		t.Errorf("%d lines in the first log and %d in the second, want 0 and 1", n, m)
	}
	if got := testutil.ToFloat64(w.metrics.logDropped.WithLabelValues("access")); got != 0 {
		t.Errorf("%v lines dropped, want 0", got)
	}
	if _, err := w.OpenLogs(RequestLog{Output: filepath.Join(first, "not-a-folder")}); err == nil || !strings.Contains(err.Error(), "access_log") {
		t.Errorf("error = %v, want one that names the access log", err)
	}
}

func TestLogReopen(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	access, security, closed := logFiles(t, w)
	request := func() {
		w.handler(func(http.ResponseWriter, *http.Request) {}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}
	request()
	if err := os.Rename(access, access+".1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	request()
	request()
	closed()
	if n, m := len(linesOf(t, access+".1")), len(linesOf(t, access)); n != 1 || m != 2 {
		t.Errorf("%d lines before and %d after, want 1 and 2", n, m)
	}
	if info, err := os.Stat(security); err != nil || info.Mode().Perm()&0o007 != 0 {
		t.Errorf("everybody may read the log: %v, %v", info.Mode(), err)
	}
}

// stuck is an output that stands still until it is let go.
type stuck struct {
	bytes.Buffer
	entered, let chan struct{}
}

func (s *stuck) Write(p []byte) (int, error) {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.let
	return s.Buffer.Write(p)
}

func (s *stuck) Close() error { return nil }

// newSink makes a sink over w.
func newSink(t *testing.T, w io.WriteCloser) (*logSink, prometheus.Counter) {
	t.Helper()
	dropped := prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"})
	s := makeLogSink(dropped)
	go s.run(w)
	t.Cleanup(s.close)
	return s, dropped
}

// An output that stands still costs lines, never time, and every line is either
// written or counted.
func TestLogNeverBlocks(t *testing.T) {
	t.Parallel()
	w := &stuck{entered: make(chan struct{}, 1), let: make(chan struct{})}
	s, dropped := newSink(t, w)
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	s.log(line)
	<-w.entered
	const room = logWaiting / 1024
	const n = 3 * room
	for range n {
		s.log(line)
	}
	if got := testutil.ToFloat64(dropped); got != n-room {
		t.Errorf("%v lines dropped, want %d", got, n-room)
	}
	close(w.let)
	s.close()
	s.log(line) // too late
	written := bytes.Count(w.Bytes(), []byte("\n"))
	if got := int(testutil.ToFloat64(dropped)) + written; got != n+2 {
		t.Errorf("%d lines written or counted, want %d", got, n+2)
	}
}

// full takes some bytes and then no more, until it has room again.
type full struct {
	bytes.Buffer
	room int
}

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.room -= n
	f.Buffer.Write(p[:n])
	if n < len(p) {
		return n, os.ErrInvalid
	}
	return n, nil
}

func (f *full) Close() error { return nil }

func TestLogOnFullDisk(t *testing.T) {
	t.Parallel()
	dropped := prometheus.NewCounter(prometheus.CounterOpts{Name: "dropped"})
	w := &full{room: 6}
	b := batch{w: w, dropped: dropped}
	b.write([]byte("abc\nabc\nabc\n")) // "abc\nab" fits
	w.room = 100
	b.write([]byte("def\n"))
	if got, want := w.String(), "abc\nab\ndef\n"; got != want {
		t.Errorf("wrote %q, want %q", got, want)
	}
	if got := testutil.ToFloat64(dropped); got != 2 {
		t.Errorf("%v lines dropped, want 2", got)
	}
}

func BenchmarkAccessLogLine(b *testing.B) {
	w := newWatched(b)
	logs, err := w.OpenLogs(RequestLog{Output: filepath.Join(b.TempDir(), "access.log")})
	if err != nil {
		b.Fatal(err)
	}
	w.Use(logs, nil)
	rec := &Record{
		ID: randomHex()[:32], TraceID: randomHex()[:32], SpanID: randomHex()[:16], Start: time.Now(), Listener: ":443", Protocol: "h2", Client: netip.MustParseAddr("203.0.113.77"),
		Method: "GET", Host: "registry.example", Path: "/v1/parcels/68134.8360.729", Service: "registry", Route: "registry", Organization: "nra", Status: 200, BytesOut: 1024,
		Upstream: "registry", UpstreamServer: "192.0.2.7:80", UpstreamDuration: 5 * time.Millisecond, Attempts: 1, RateLimitPolicy: "registry", RateLimitDecision: "allowed",
		Identity: certs.Identity{Leaf: &x509.Certificate{Raw: make([]byte, 1200)}},
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, CurveID: tls.X25519MLKEM768}
	b.ReportAllocs()
	for b.Loop() {
		logs.request(w.Observer, rec, r)
	}
}
