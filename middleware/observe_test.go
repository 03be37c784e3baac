package middleware

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// watched is an Observer with what it tells.
type watched struct {
	*Observer
	reg     *prometheus.Registry
	metrics *Metrics
	logged  *observer.ObservedLogs
	records chan Record
}

func newWatched(t testing.TB) *watched {
	t.Helper()
	core, logged := observer.New(zap.DebugLevel)
	w := &watched{reg: prometheus.NewPedanticRegistry(), logged: logged, records: make(chan Record, 16)}
	w.metrics = NewMetrics(w.reg)
	w.Observer = NewObserver(ObserverOptions{Metrics: w.metrics, Log: zap.New(core)})
	t.Cleanup(w.Close)
	return w
}

// handler observes f and hands the finished Records over.
func (w *watched) handler(f http.HandlerFunc) http.Handler {
	return w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := RecordOf(r.Context())
		rec.AfterRequest(func(rec *Record) {
			c := *rec
			c.done = nil
			w.records <- c
		})
		f(rw, r)
	}))
}

// serve serves f over HTTP/1.1 or HTTP/2 and returns the address and a client.
func (w *watched) serve(t *testing.T, protocol string, f http.HandlerFunc) (string, *http.Client) {
	t.Helper()
	h := w.handler(f)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c := &Conn{Listener: ":443", Protocol: protocol, Peer: netip.MustParseAddrPort(r.RemoteAddr)}
		h.ServeHTTP(rw, r.WithContext(WithConn(r.Context(), c)))
	}))
	s.EnableHTTP2 = protocol == "h2"
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, s.Client()
}

// overBoth runs a test over HTTP/1.1 and HTTP/2.
func overBoth(t *testing.T, test func(t *testing.T, protocol string)) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			test(t, protocol)
		})
	}
}

func TestObserveRecord(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		w := newWatched(t)
		url, client := w.serve(t, protocol, func(rw http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			rw.WriteHeader(http.StatusEarlyHints)
			rw.WriteHeader(http.StatusCreated)
			io.WriteString(rw, "created")
			http.NewResponseController(rw).Flush()
			if _, err := rw.(io.ReaderFrom).ReadFrom(strings.NewReader(", indeed")); err != nil {
				t.Error(err)
			}
		})
		req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/thing?secret=1", strings.NewReader("12345"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Request-Id", "chosen-by-the-client")
		req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != "created, indeed" {
			t.Fatalf("body = %q, %v", body, err)
		}
		rec := <-w.records
		if rec.Status != 201 || rec.BytesIn != 5 || rec.BytesOut != 15 || rec.Aborted != "" || rec.Method != "POST" || rec.Protocol != protocol || rec.Listener != ":443" {
			t.Errorf("record = %+v", rec)
		}
		if len(rec.ID) != 32 || !lowerHex(rec.ID) || len(rec.SpanID) != 16 || len(rec.TraceID) != 32 || rec.TraceID == "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("ids = %q, %q, %q", rec.ID, rec.TraceID, rec.SpanID)
		}
		if !rec.Client.IsLoopback() || rec.Duration <= 0 {
			t.Errorf("client = %v, duration = %v", rec.Client, rec.Duration)
		}
		if got := testutil.ToFloat64(w.metrics.requests.WithLabelValues(":443", "_unknown", "POST", "201", protocol)); got != 1 {
			t.Errorf("vazel_http_requests_total = %v, want 1", got)
		}
	})
}

func TestObserveStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		gone    bool // the client left before the handler ended
		handler http.HandlerFunc
		status  int
		aborted string
		outcome string
	}{
		{"nothing written", false, func(http.ResponseWriter, *http.Request) {}, 200, "", "ok"},
		{"only a body", false, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "x") }, 200, "", "ok"},
		{"only flushed", false, func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200, "", "ok"},
		{"the first status counts", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200) }, 404, "", "client_error"},
		{"switching protocols is final", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(101) }, 101, "", "ok"},
		{"continue is not", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(100); w.WriteHeader(204) }, 204, "", "ok"},
		{"left before the answer", true, func(http.ResponseWriter, *http.Request) {}, 499, "", "client_error"},
		{"left before the answer, aborted", true, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, 499, "", "client_error"},
		{"left during the answer", true, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, 200, "client", "ok"},
		{"broken off by us", false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); panic(http.ErrAbortHandler) }, 200, "gateway", "server_error"},
		{"refused after the answer had begun", false, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			Deny(w, r, 413, Denial{By: "max_body", Reason: "body_too_large"})
		}, 200, "gateway", "server_error"},
		{"limited", false, func(w http.ResponseWriter, r *http.Request) {
			Deny(w, r, 429, Denial{By: "rate_limit", Reason: "quota-exceeded"})
		}, 429, "", "limited"},
		{"blocked", false, func(w http.ResponseWriter, r *http.Request) {
			Deny(w, r, 403, Denial{By: "waf", Reason: "inspection_blocked"})
		}, 403, "", "blocked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWatched(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			h := w.handler(func(rw http.ResponseWriter, r *http.Request) {
				if c.gone {
					cancel()
				}
				c.handler(rw, r)
			})
			func() {
				defer func() {
					if v := recover(); v != nil && v != http.ErrAbortHandler {
						t.Errorf("panic %v", v)
					}
				}()
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "GET", "/", nil))
			}()
			rec := <-w.records
			if rec.Status != c.status || rec.Aborted != c.aborted || rec.Outcome() != c.outcome {
				t.Errorf("status, aborted, outcome = %d, %q, %q, want %d, %q, %q", rec.Status, rec.Aborted, rec.Outcome(), c.status, c.aborted, c.outcome)
			}
			if got := testutil.ToFloat64(w.metrics.inFlight.WithLabelValues("_unknown")); got != 0 {
				t.Errorf("in flight = %v, want 0", got)
			}
		})
	}
}

func TestObservePanic(t *testing.T) {
	t.Parallel()
	overBoth(t, func(t *testing.T, protocol string) {
		w := newWatched(t)
		url, client := w.serve(t, protocol, func(rw http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/late" {
				rw.WriteHeader(200)
				rw.(http.Flusher).Flush()
			}
			var record *Record
			record.Service = "a" // as a mistake in a handler would
		})
		req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/early", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer secret-of-the-client")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		rec := <-w.records
		if res.StatusCode != 500 || !strings.Contains(string(body), rec.ID) || !rec.Panic {
			t.Errorf("answer = %d %s, record = %+v", res.StatusCode, body, rec)
		}
		res, err = client.Get(url + "/late")
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		if err == nil {
			t.Error("a response that a panic cut short looks whole")
		}
		if rec := <-w.records; rec.Aborted != "gateway" || rec.Status != 200 {
			t.Errorf("record = %+v", rec)
		}
		if got := testutil.ToFloat64(w.metrics.panics.WithLabelValues("request")); got != 2 {
			t.Errorf("vazel_panics_total = %v, want 2", got)
		}
		for _, e := range w.logged.All() {
			m := e.ContextMap()
			stack, _ := m["stack"].(string)
			if !strings.Contains(stack, "observe_test.go") || !strings.Contains(m["panic"].(string), "nil pointer") || strings.Contains(stack, "secret-of-the-client") {
				t.Errorf("logged %v", m)
			}
		}
		if n := w.logged.Len(); n != 2 {
			t.Errorf("%d log entries, want 2", n)
		}
	})
}

func TestPanicText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		v    any
		want string
	}{
		{"a bug", "a bug"},
		{errors.New("a bug"), "*errors.errorString: a bug"},
		{struct{ secret string }{"s"}, "struct { secret string }"},
		{strings.Repeat("x", 1000), strings.Repeat("x", 200)},
	} {
		if got := panicText(c.v); got != c.want {
			t.Errorf("panicText(%v) = %q, want %q", c.v, got, c.want)
		}
	}
}

// After bad framing, net/http must find the body that it made in its own
// request, or it takes what follows for the next request.
func TestObserveLeavesTheServersRequestAlone(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	r := httptest.NewRequest("POST", "/", strings.NewReader("body"))
	body := r.Body
	w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, inner *http.Request) {
		if inner == r || inner.Body == body {
			t.Error("the handler got the server's own request or body")
		}
		inner.Body = http.NoBody
	})).ServeHTTP(httptest.NewRecorder(), r)
	if r.Body != body {
		t.Error("the body of the server's request was replaced")
	}
}

// A Record is used again only when nothing of the former request is in it.
func TestObserveReusesCleanRecords(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	calls := 0
	h := w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rec := RecordOf(r.Context())
		if rec.Denial != nil || rec.Organization != "" || rec.Status != 0 || rec.TraceState != "" || len(rec.done) != 0 {
			t.Errorf("record of request %d begins as %+v", calls, rec)
		}
		rec.AfterRequest(func(*Record) { calls++ })
		rec.Organization, rec.TraceState = "nra", "x=y"
		Deny(rw, r, 403, Denial{By: "allow", Reason: "not_allowed"})
	}))
	for range 100 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	}
	if calls != 100 {
		t.Errorf("%d hooks ran, want 100", calls)
	}
}

func TestObserveUnwraps(t *testing.T) {
	t.Parallel()
	w := newWatched(t)
	url, client := w.serve(t, "h1", func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "Upgrade")
		rw.Header().Set("Upgrade", "test")
		rw.WriteHeader(http.StatusSwitchingProtocols)
		c, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		buf.WriteString("hijacked")
		buf.Flush()
	})
	req, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "test")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	io.Copy(&b, res.Body)
	if rec := <-w.records; rec.Status != 101 || b.String() != "hijacked" {
		t.Errorf("status = %d, tunnel said %q", rec.Status, b.String())
	}
}
