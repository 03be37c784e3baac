package middleware

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// askBody sends a GET with a body whose length the head does not tell.
func (c *cached) askBody(path string, body io.Reader) (*httptest.ResponseRecorder, *Record) {
	r := httptest.NewRequest("GET", "https://data.example"+path, io.MultiReader(body))
	r.ContentLength = -1
	rec := &Record{ID: "id", Host: "data.example", Path: r.URL.Path}
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
	return w, rec
}

// brokenBody fails as a body does that a policy refuses.
type brokenBody struct{ err error }

func (b brokenBody) Read([]byte) (int, error) { return 0, b.err }

// TestCacheFatGET: what a body made of a response is nobody else's.
func TestCacheFatGET(t *testing.T) {
	t.Parallel()
	n := newCached(t, Cache{}, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "body "+string(b))
	})
	if w, rec := n.askBody("/a", strings.NewReader("evil")); w.Body.String() != "body evil" || rec.Cache != cachePass {
		t.Errorf("with a body: %q %s", w.Body, rec.Cache)
	}
	if w, rec := n.askBody("/a", strings.NewReader("")); w.Body.String() != "body " || rec.Cache != cacheMiss {
		t.Errorf("an empty body: %q %s", w.Body, rec.Cache)
	}
	if w, rec := n.ask("GET", "/a"); w.Body.String() != "body " || rec.Cache != cacheHit {
		t.Errorf("without a body: %q %s", w.Body, rec.Cache)
	}
	asked := n.asked.Load()
	if w, _ := n.askBody("/b", brokenBody{&BodyRefusal{408, Denial{By: "http", Reason: "body_timeout"}}}); w.Code != 408 {
		t.Errorf("a body that is refused: %d, want 408", w.Code)
	}
	if w, _ := n.askBody("/b", brokenBody{errors.New("gone")}); w.Code != 400 {
		t.Errorf("a body that breaks off: %d, want 400", w.Code)
	}
	if got := n.asked.Load(); got != asked {
		t.Errorf("the upstream was asked %d times for bodies that never came", got-asked)
	}
}

// TestCacheUnkeyedStatus: nobody can have a resource answered with the error that
// only his own request deserves.
func TestCacheUnkeyedStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		field  [2]string
	}{
		{412, [2]string{"If-Match", `"no"`}},
		{400, [2]string{"X-Meta", "\\"}},
		{431, [2]string{"X-Big", strings.Repeat("x", 20_000)}},
		{406, [2]string{"Accept", "image/none"}},
		{415, [2]string{"Content-Type", "x/y"}},
		{416, [2]string{"Range", "bytes=9999-"}},
		{429, [2]string{"X-Meta", "1"}},
	} {
		n := newCached(t, Cache{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "public, max-age=60")
			if r.Header.Get(c.field[0]) != "" {
				w.WriteHeader(c.status)
			}
			io.WriteString(w, "answer")
		})
		if w, _ := n.ask("GET", "/a", c.field[0], c.field[1]); w.Code != c.status {
			t.Errorf("%s: %d, want %d", c.field[0], w.Code, c.status)
		}
		if w, _ := n.ask("GET", "/a"); w.Code != 200 {
			t.Errorf("after %d was forced by %s, everybody gets %d", c.status, c.field[0], w.Code)
		}
	}
}

// TestCacheBackends: routes with one path but different upstreams share nothing,
// before and after a reload, and a change through one is seen through the other.
func TestCacheBackends(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	env.Engines.Cache.Resize(1 << 20)
	route := func(backend string) *cached {
		env.Backend = backend
		f, err := (&Cache{}).Build(env)
		if err != nil {
			t.Fatal(err)
		}
		c := &cached{t: t}
		c.handler = f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.asked.Add(1)
			w.Header().Set("Cache-Control", "max-age=60")
			io.WriteString(w, "from "+backend)
		}))
		return c
	}
	one, two := route("one"), route("two")
	for range 2 {
		for backend, n := range map[string]*cached{"one": one, "two": two} {
			if w, _ := n.ask("GET", "/a"); w.Body.String() != "from "+backend {
				t.Errorf("the route to %s answered %q", backend, w.Body)
			}
		}
	}
	if one.asked.Load() != 1 || two.asked.Load() != 1 {
		t.Errorf("asked %d and %d times, want once each", one.asked.Load(), two.asked.Load())
	}
	one.ask("POST", "/a")
	if _, rec := two.ask("GET", "/a"); rec.Cache == cacheHit {
		t.Error("after a POST on the same URL, the old answer of the other route is still given")
	}
	if w, rec := route("one").ask("GET", "/b"); rec.Cache == cacheHit {
		t.Errorf("a miss answered %q", w.Body)
	}
	if _, rec := route("one").ask("GET", "/b"); rec.Cache != cacheHit {
		t.Errorf("after a reload that changed nothing: %s, want hit", rec.Cache)
	}
}

// TestCacheLeaders: those that wait for another's answer neither share its fate
// nor wait for its client.
func TestCacheLeaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newCached(t, Cache{}, nil)
		var wg sync.WaitGroup
		leader := func(path string) {
			wg.Go(func() {
				defer func() { recover() }()
				n.ask("GET", path)
			})
			synctest.Wait()
		}
		// The client of the first reads a byte a minute.
		n.answer = func(w http.ResponseWriter, r *http.Request) {
			first := n.asked.Load() == 1
			w.Header().Set("Cache-Control", "max-age=600")
			io.WriteString(w, "half ")
			if first {
				time.Sleep(10 * time.Minute)
			}
			io.WriteString(w, "whole")
		}
		leader("/slow")
		start := time.Now()
		if w, _ := n.ask("GET", "/slow"); w.Body.String() != "half whole" {
			t.Errorf("got %q", w.Body)
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("waited %v for another's client", took)
		}
		if _, rec := n.ask("GET", "/slow"); rec.Cache != cacheHit {
			t.Errorf("the answer to the one that went on was not kept: %s", rec.Cache)
		}
		wg.Wait()

		// The first fails, breaks off, or its client leaves.
		for name, fail := range map[string]func(http.ResponseWriter){
			"fails":      func(w http.ResponseWriter) { w.Header().Del("Cache-Control"); w.WriteHeader(502) },
			"breaks-off": func(w http.ResponseWriter) { io.WriteString(w, "ha"); panic(http.ErrAbortHandler) },
			"panics":     func(w http.ResponseWriter) { panic(http.ErrAbortHandler) },
		} {
			n.asked.Store(0)
			n.answer = func(w http.ResponseWriter, r *http.Request) {
				first := n.asked.Load() == 1
				w.Header().Set("Cache-Control", "max-age=600")
				time.Sleep(time.Second)
				if first {
					fail(w)
				}
				io.WriteString(w, "whole")
			}
			leader("/" + name)
			for range 3 {
				wg.Go(func() {
					if w, _ := n.ask("GET", "/"+name); w.Code != 200 || w.Body.String() != "whole" {
						t.Errorf("the first %s: another got %d %q", name, w.Code, w.Body)
					}
				})
			}
			wg.Wait()
			if w, rec := n.ask("GET", "/"+name); rec.Cache != cacheHit || w.Body.String() != "whole" {
				t.Errorf("the first %s: afterwards %s %q", name, rec.Cache, w.Body)
			}
		}
		if got := n.captured(); got != 0 {
			t.Errorf("%d bytes are still counted as being copied", got)
		}
	})
}

// TestCacheRenewal: an upstream that says "not modified" changes neither what is
// kept into something else nor whose it is.
func TestCacheRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newCached(t, Cache{}, say("Cache-Control", "max-age=60", "Etag", `"1"`))
		n.ask("GET", "/a")
		time.Sleep(2 * time.Minute)
		n.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"2"`)
			w.WriteHeader(304)
		}
		if w, _ := n.ask("GET", "/a"); w.Code != 200 || w.Header().Get("Etag") != `"1"` || w.Body.String() != "answer to /a" {
			t.Errorf("a 304 about another representation: %d %v %q", w.Code, w.Header(), w.Body)
		}
		n.answer = say("Cache-Control", "max-age=60", "Etag", `"1"`)
		if _, rec := n.ask("GET", "/a"); rec.Cache != cacheMiss {
			t.Errorf("what the upstream does not know any more was kept: %s", rec.Cache)
		}
		time.Sleep(2 * time.Minute)
		n.answer = func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Etag", `"1"`)
			w.Header().Set("Cache-Control", "max-age=60")
			w.Header().Set("Set-Cookie", "session=secret")
			w.WriteHeader(304)
		}
		n.ask("GET", "/a")
		if w, rec := n.ask("GET", "/a"); rec.Cache != cacheHit || w.Header().Get("Set-Cookie") != "" {
			t.Errorf("another's cookie was kept: %s %v", rec.Cache, w.Header())
		}
		// no-cache="field" is read as no-cache: too much is asked, never too little.
		n.answer = say("Cache-Control", `max-age=60, no-cache="Set-Cookie"`, "Etag", `"1"`)
		n.ask("GET", "/b")
		if _, rec := n.ask("GET", "/b"); rec.Cache == cacheHit {
			t.Error("a response with no-cache was given without asking")
		}
	})
}

// TestCacheSharedHeader: what later policies add to one answer is not in another.
func TestCacheSharedHeader(t *testing.T) {
	t.Parallel()
	n := newCached(t, Cache{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Vary"] = append(make([]string, 0, 8), "Accept", "Accept-Language", "Origin")
		w.Header().Set("Cache-Control", "max-age=60")
		io.WriteString(w, "answer")
	})
	inner := n.handler
	n.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		inner.ServeHTTP(&headWriter{ResponseWriter: w, edit: func(_ int, h http.Header) { addVary(h, r.URL.RawQuery) }}, r)
	})
	n.ask("GET", "/a?x")
	var wg sync.WaitGroup
	for range 4 { // for the race detector
		wg.Go(func() {
			if w, _ := n.ask("GET", "/a?x"); strings.Join(w.Header()["Vary"], ",") != "Accept,Accept-Language,Origin,x" {
				t.Errorf("Vary: %v", w.Header()["Vary"])
			}
		})
	}
	wg.Wait()
}
