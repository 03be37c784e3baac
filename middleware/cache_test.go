package middleware

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/cache"
)

// cached is a route with a cache in front of an upstream that counts.
type cached struct {
	t       *testing.T
	handler http.Handler
	store   *cache.Store
	asked   atomic.Int64
	answer  http.HandlerFunc
}

func (c *cached) captured() int64 { return c.store.Capturing.Load() }

func newCached(t *testing.T, p Cache, answer http.HandlerFunc) *cached {
	t.Helper()
	env := testEnv(t)
	env.Engines.Cache.Resize(1 << 20)
	f, err := p.Build(env)
	if err != nil {
		t.Fatal(err)
	}
	c := &cached{t: t, answer: answer, store: env.Engines.Cache}
	c.handler = f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		c.answer(w, r)
	}))
	return c
}

// ask sends a request; fields are pairs of names and values.
func (c *cached) ask(method, path string, fields ...string) (w *httptest.ResponseRecorder, rec *Record) {
	r := httptest.NewRequest(method, "https://data.example"+path, nil)
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] == "certificate" {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
			continue
		}
		r.Header.Add(fields[i], fields[i+1])
	}
	rec = &Record{ID: "id", Host: "data.example", Path: r.URL.Path}
	w = httptest.NewRecorder()
	w.Header().Set("Alt-Svc", "h3")
	c.handler.ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
	return w, rec
}

func say(fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i+1 < len(fields); i += 2 {
			w.Header().Add(fields[i], fields[i+1])
		}
		io.WriteString(w, "answer to "+r.URL.RequestURI())
	}
}

// TestCacheWhatIsKept: by what the response and the request say.
func TestCacheWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		answer []string
		first  []string
		second []string
		kept   bool
	}{
		{"max-age", []string{"Cache-Control", "max-age=60"}, nil, nil, true},
		{"nothing said", nil, nil, nil, false},
		{"a guess", []string{"Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"}, nil, nil, true},
		{"private", []string{"Cache-Control", "private, max-age=60"}, nil, nil, false},
		{"no-store", []string{"Cache-Control", "no-store, max-age=60"}, nil, nil, false},
		{"no-store inside quotes is text", []string{"Cache-Control", `max-age=60, ext="no-store, private"`}, nil, nil, true},
		{"a cookie is set", []string{"Cache-Control", "public, max-age=60", "Set-Cookie", "a=b"}, nil, nil, false},
		{"with a cookie", []string{"Cache-Control", "max-age=60"}, []string{"Cookie", "a=b"}, nil, false},
		{"with a cookie, public", []string{"Cache-Control", "public, max-age=60"}, []string{"Cookie", "a=b"}, nil, true},
		{"with Authorization", []string{"Cache-Control", "max-age=60, s-maxage=60"}, []string{"Authorization", "Bearer x"}, nil, false},
		{"with a certificate", []string{"Cache-Control", "max-age=60"}, []string{"certificate", ""}, nil, false},
		{"asked again with a certificate", []string{"Cache-Control", "max-age=60"}, nil, []string{"certificate", ""}, false},
		{"asked again with a certificate, public", []string{"Cache-Control", "public, max-age=60"}, nil, []string{"certificate", ""}, true},
		{"asked again with a cookie", []string{"Cache-Control", "max-age=60"}, nil, []string{"Cookie", "a=b"}, false},
		{"varies", []string{"Cache-Control", "max-age=60", "Vary", "Accept-Language"}, []string{"Accept-Language", "bg"}, []string{"Accept-Language", "en"}, false},
		{"varies, the same", []string{"Cache-Control", "max-age=60", "Vary", "Accept-Language"}, []string{"Accept-Language", "bg, en"}, []string{"Accept-Language", "bg,en"}, true},
		{"varies by everything", []string{"Cache-Control", "max-age=60", "Vary", "*"}, nil, nil, false},
		{"varies by who calls", []string{"Cache-Control", "public, max-age=60", "Vary", "X-Organization"}, nil, nil, false},
		{"the client wants a new one", []string{"Cache-Control", "max-age=60"}, nil, []string{"Cache-Control", "no-cache"}, false},
		{"too large", []string{"Cache-Control", "max-age=60", "Content-Length", "999999999"}, nil, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := newCached(t, Cache{}, say(c.answer...))
			n.ask("GET", "/a?b", c.first...)
			w, rec := n.ask("GET", "/a?b", c.second...)
			if got := n.asked.Load() == 1; got != c.kept {
				t.Errorf("the upstream was asked %d times; kept %v, want %v (%s)", n.asked.Load(), got, c.kept, rec.Cache)
			}
			if c.kept && (w.Body.String() != "answer to /a?b" || rec.Cache != "hit" || w.Header().Get("Age") == "" || !strings.HasPrefix(w.Header().Get("Cache-Status"), "vazel; hit; ttl=") || w.Header().Get("Alt-Svc") != "h3") {
				t.Errorf("got %q, %s, %v", w.Body, rec.Cache, w.Header())
			}
		})
	}
}

// TestCacheWhileUpstreamFails: what is stale is better than nothing, for a time.
func TestCacheWhileUpstreamFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newCached(t, Cache{StaleIfError: unit.Duration(time.Hour)}, say("Cache-Control", "max-age=60", "Etag", `"1"`))
		n.ask("GET", "/a")
		n.ask("GET", "/strict")
		ok := n.answer
		n.answer = func(w http.ResponseWriter, r *http.Request) {
			Deny(w, r, http.StatusBadGateway, Denial{By: "upstream", Reason: "upstream_unreachable"})
		}
		time.Sleep(2 * time.Minute) // of the fake clock
		w, rec := n.ask("GET", "/a")
		if w.Code != 200 || w.Body.String() != "answer to /a" || rec.Cache != "stale" || rec.Denial != nil || !strings.Contains(w.Header().Get("Cache-Status"), "stale-if-error") {
			t.Errorf("after two minutes: %d %q %s %v %v", w.Code, w.Body, rec.Cache, rec.Denial, w.Header())
		}
		if w, _ := n.ask("GET", "/never-seen"); w.Code != 502 {
			t.Errorf("what was never kept: %d, want 502", w.Code)
		}
		n.answer = func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
		func() {
			defer func() { recover() }()
			if w, _ := n.ask("GET", "/never-seen"); w.Code == 200 {
				t.Error("an answer that broke off was passed off as whole")
			}
		}()
		n.answer = func(w http.ResponseWriter, r *http.Request) {
			Deny(w, r, http.StatusGatewayTimeout, Denial{By: "upstream", Reason: "upstream_timeout"})
		}
		time.Sleep(time.Hour)
		if w, _ := n.ask("GET", "/a"); w.Code != 504 {
			t.Errorf("after more than an hour: %d, want 504", w.Code)
		}
		// It has not changed: one short answer renews it.
		n.answer = func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != `"1"` {
				t.Errorf("asked with %v", r.Header)
			}
			w.Header().Set("Cache-Control", "max-age=60")
			w.WriteHeader(http.StatusNotModified)
		}
		if w, rec := n.ask("GET", "/a"); w.Code != 200 || w.Body.String() != "answer to /a" || rec.Cache != "revalidated" {
			t.Errorf("renewed: %d %q %s", w.Code, w.Body, rec.Cache)
		}
		n.answer = ok
		if _, rec := n.ask("GET", "/a"); rec.Cache != "hit" {
			t.Errorf("after it was renewed: %s, want hit", rec.Cache)
		}
	})
}

// TestCacheCoalesces: many ask, the upstream is asked once.
func TestCacheCoalesces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newCached(t, Cache{}, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second) // of the fake clock
			say("Cache-Control", "max-age=60")(w, r)
		})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if w, _ := n.ask("GET", "/a"); w.Body.String() != "answer to /a" {
					t.Errorf("got %q", w.Body)
				}
			})
		}
		wg.Wait()
		if got := n.asked.Load(); got != 1 {
			t.Errorf("the upstream was asked %d times, want once", got)
		}
		// What can't be shared makes nobody wait for another's whole answer.
		n.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-store")
			w.WriteHeader(200)
			time.Sleep(time.Minute)
		}
		start := time.Now()
		for range 5 {
			wg.Go(func() { n.ask("GET", "/b") })
		}
		wg.Wait()
		if took := time.Since(start); took > 61*time.Second {
			t.Errorf("five answers that can't be shared took %v, want a minute", took)
		}
	})
}

func TestCacheAnswers(t *testing.T) {
	t.Parallel()
	n := newCached(t, Cache{}, say("Cache-Control", "max-age=60", "Etag", `"1"`, "Content-Type", "text/plain"))
	n.ask("GET", "/a")
	if w, _ := n.ask("GET", "/a", "If-None-Match", `"1"`); w.Code != 304 || w.Body.Len() > 0 {
		t.Errorf("conditional: %d %q", w.Code, w.Body)
	}
	if w, _ := n.ask("GET", "/a", "Range", "bytes=0-5"); w.Code != 206 || w.Body.String() != "answer" {
		t.Errorf("range: %d %q", w.Code, w.Body)
	}
	if w, _ := n.ask("HEAD", "/a"); w.Code != 200 || w.Body.Len() > 0 || w.Header().Get("Content-Length") != "12" {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}
	if got := n.asked.Load(); got != 1 {
		t.Errorf("the upstream was asked %d times, want once", got)
	}
	n.ask("GET", "/b")
	n.answer = say("Location", "/b")
	n.ask("POST", "/a")
	for _, path := range []string{"/a", "/b"} {
		if _, rec := n.ask("GET", path); rec.Cache == "hit" {
			t.Errorf("%s is still answered from the store after a POST", path)
		}
	}
	if w, _ := n.ask("GET", "/c", "Cache-Control", "only-if-cached"); w.Code != 504 {
		t.Errorf("only-if-cached: %d, want 504", w.Code)
	}
}

// TestCacheBound: whatever is asked, memory is bounded and the accounts are right.
func TestCacheBound(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("x", 10_000)
	n := newCached(t, Cache{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Vary", "Accept")
		io.WriteString(w, body)
	})
	env := testEnv(t)
	store := env.Engines.Cache
	store.Resize(1 << 20)
	f, err := (&Cache{}).Build(env)
	if err != nil {
		t.Fatal(err)
	}
	inner := n.answer
	n.handler = f(inner)
	for i := range 500 {
		n.ask("GET", fmt.Sprintf("/%d", i%200), "Accept", fmt.Sprint(i%37))
	}
	if s := store.Stats(); s.Bytes > s.Most || s.Entries == 0 || s.Evicted == 0 {
		t.Errorf("%+v", s)
	}
	if c := store.Capturing.Load(); c != 0 {
		t.Errorf("%d bytes are still counted as being copied", c)
	}
	store.Resize(0)
	if s := store.Stats(); s.Bytes != 0 || s.Entries != 0 {
		t.Errorf("after everything had to go: %+v", s)
	}
}
