package middleware

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/cache"
)

// Cache keeps responses in memory as RFC 9111 lets a shared cache, and answers
// from them while the upstream fails. What was asked with a certificate, a cookie
// or Authorization is kept, and answered from it, only if the response says public.
type Cache struct {
	// Mode is public (keep what the upstream lets a shared cache keep) or off; default: public.
	Mode string `yaml:"mode"`
	// StaleIfError is for how long after it became stale a response still answers while the upstream fails, unless the response says otherwise; default: 24h.
	StaleIfError unit.Duration `yaml:"stale_if_error"`
	// MaxObject is the largest body that is kept; default: 4MiB.
	MaxObject unit.Size `yaml:"max_object"`
}

// CacheModes lists the values of mode.
func CacheModes() []string { return []string{"public", "off"} }

// Build makes the handler. A nil p makes none.
func (p *Cache) Build(env Env) (Func, error) {
	if p == nil || p.Mode == "off" {
		return nil, nil
	}
	if p.Mode != "" && p.Mode != "public" {
		return nil, fmt.Errorf("mode: %q is not public or off", p.Mode)
	}
	c := &cacher{
		store: env.Engines.Cache, metrics: env.Engines.cacheResults(env.Route), scope: env.Service, backend: env.Backend,
		stale: p.StaleIfError.Or(24 * time.Hour), most: int(p.MaxObject.Or(4 << 20)),
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, next) })
	}, nil
}

// The results of vazel_cache_requests_total.
const (
	cacheHit         = "hit"
	cacheMiss        = "miss"
	cacheRevalidated = "revalidated"
	cacheStale       = "stale" // the upstream failed
	cacheCoalesced   = "coalesced"
	cachePass        = "pass" // can't be cached
)

// cacher answers the requests of one route.
type cacher struct {
	store   *cache.Store
	metrics map[string]prometheus.Counter
	scope   string
	backend string
	stale   time.Duration
	most    int
}

const (
	// maxWait is how long a request waits for the answer to another one of its kind.
	maxWait = 5 * time.Second
	// maxBodyWait is how much of that may pass after the answer has begun: how fast
	// it comes then is up to the client that it goes to.
	maxBodyWait = time.Second
)

func (c *cacher) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := RecordOf(r.Context())
	key := c.key(r.Host, rec.Path, r.URL)
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	default:
		next.ServeHTTP(w, r)
		if rec.Status >= 200 && rec.Status < 400 && r.Method != http.MethodOptions {
			c.invalidate(key, r, w.Header())
		}
		return
	}
	empty, err := emptyBody(r)
	if err != nil {
		refusal := &BodyRefusal{http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true}}
		errors.As(err, &refusal)
		Deny(w, r, refusal.Status, refusal.Denial)
		return
	}
	if r.Header["Upgrade"] != nil || !empty {
		c.done(rec, cachePass)
		next.ServeHTTP(w, r)
		return
	}
	asked := cache.DirectivesOf(r.Header)
	if r.Header["Cache-Control"] == nil && r.Header.Get("Pragma") == "no-cache" {
		asked.NoCache = true
	}
	personal := r.Header["Authorization"] != nil || r.Header["Cookie"] != nil || r.TLS != nil && len(r.TLS.PeerCertificates) > 0
	e := c.find(key, r, personal)
	if e != nil && !asked.NoStore && e.Fresh(time.Now(), asked) {
		c.done(rec, cacheHit)
		c.answer(w, r, &e.Response, "hit")
		return
	}
	if asked.OnlyIfCached {
		Deny(w, r, http.StatusGatewayTimeout, Denial{By: "cache", Reason: "not_cached"})
		return
	}
	if !personal && !asked.NoCache && !asked.NoStore && r.Header["Range"] == nil && r.Method == http.MethodGet {
		flight, wait := c.store.Join(key + "\x00" + c.backend)
		if flight != nil {
			defer flight.Land()
			c.fetch(w, r, next, key, e, personal, asked, flight)
			return
		}
		t := time.NewTimer(maxWait)
		defer t.Stop()
		select {
		case <-wait:
		case <-t.C:
		case <-r.Context().Done():
		}
		if e = c.find(key, r, personal); e != nil && e.Fresh(time.Now(), asked) {
			c.done(rec, cacheCoalesced)
			c.answer(w, r, &e.Response, "hit; collapsed")
			return
		}
	}
	c.fetch(w, r, next, key, e, personal, asked, nil)
}

// emptyBody reports whether a request has no body, which upstreams may read also
// with a method for which it means nothing. Where the head does not tell, as
// in HTTP/3, the first byte does.
func emptyBody(r *http.Request) (bool, error) {
	switch {
	case r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0:
		return true, nil
	case r.ContentLength > 0:
		return false, nil
	}
	var one [1]byte
	switch _, err := io.ReadFull(r.Body, one[:]); err {
	case nil:
		r.Body = replay{io.MultiReader(bytes.NewReader(one[:]), r.Body), r.Body} // r is Observe's copy
		return false, nil
	case io.EOF:
		r.Body, r.ContentLength = http.NoBody, 0
		return true, nil
	default:
		return false, err
	}
}

// invalidate forgets what a request has changed, and what its answer names on the
// same host (RFC 9111 4.4).
func (c *cacher) invalidate(key string, r *http.Request, answer http.Header) {
	c.store.Remove(key)
	for _, name := range []string{"Location", "Content-Location"} {
		v := answer[name]
		if len(v) != 1 {
			continue
		}
		u, err := r.URL.Parse(v[0])
		if err != nil || u.Host != "" && u.Host != r.Host {
			continue
		}
		c.store.Remove(c.key(r.Host, u.EscapedPath(), u))
	}
}

// key stands for all that the upstream is told and may answer by, but for what
// Vary names. The host is as the client spelled it, with its port.
func (c *cacher) key(host, path string, u *url.URL) string {
	key := c.scope + "\x00" + host + "\x00" + path
	if u.RawQuery != "" || u.ForceQuery {
		key += "?" + u.RawQuery
	}
	return key
}

// find is what may answer r.
func (c *cacher) find(key string, r *http.Request, personal bool) *cache.Entry {
	e := c.store.Find(key, c.backend, r.Header)
	if e != nil && personal && !e.Policy.Public {
		return nil
	}
	return e
}

func (c *cacher) done(rec *Record, result string) {
	rec.Cache = result
	c.metrics[result].Inc()
}

// fetch asks the upstream, and keeps its answer if it may.
func (c *cacher) fetch(w http.ResponseWriter, r *http.Request, next http.Handler, key string, e *cache.Entry, personal bool, asked cache.Directives, flight *cache.Flight) {
	cw := &cacheWriter{
		ResponseWriter: w, c: c, rec: RecordOf(r.Context()), key: key, kept: e, personal: personal, flight: flight,
		request: maps.Clone(r.Header), former: maps.Clone(w.Header()), started: time.Now(),
	}
	cw.keep = r.Method == http.MethodGet && !asked.NoStore && r.Header["Range"] == nil
	out := r
	if e != nil && cache.Validators(e.Header) && cw.keep {
		cw.asking = true
		out = r.Clone(r.Context())
		for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
			delete(out.Header, name)
		}
		if tag := e.Header["Etag"]; len(tag) == 1 {
			out.Header["If-None-Match"] = tag
		}
		if at := e.Header["Last-Modified"]; len(at) == 1 {
			out.Header["If-Modified-Since"] = at
		}
	}
	defer cw.stopCapture()
	cw.run(next, out)
	switch {
	case cw.instead != nil:
		cw.restore()
		c.done(cw.rec, cw.result)
		c.answer(w, r, cw.instead, cw.how)
	case cw.status == 0: // the handler wrote nothing
		c.done(cw.rec, cachePass)
	default:
		cw.store()
	}
}

// run has the upstream asked. An answer that breaks off, and that nobody was to
// see, is none.
func (w *cacheWriter) run(next http.Handler, r *http.Request) {
	defer func() {
		if v := recover(); v != nil && (w.instead == nil || v != http.ErrAbortHandler) {
			panic(v)
		}
	}()
	next.ServeHTTP(w, r)
}

// answer serves a kept response: whole, a part of it, or that the client has it
// already.
func (c *cacher) answer(w http.ResponseWriter, r *http.Request, resp *cache.Response, how string) {
	now := time.Now()
	h := w.Header()
	for name, values := range resp.Header {
		if _, ours := h[name]; !ours {
			h[name] = values
		}
	}
	h["Age"] = []string{strconv.FormatInt(int64(resp.AgeAt(now)/time.Second), 10)}
	status := "vazel; " + how + "; ttl=" + strconv.FormatInt(int64(resp.FreshFor(now)/time.Second), 10)
	h["Cache-Status"] = append(h["Cache-Status"][:len(h["Cache-Status"]):len(h["Cache-Status"])], status)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // not guessed
	}
	if resp.Status == http.StatusOK {
		at, _ := http.ParseTime(h.Get("Last-Modified"))
		http.ServeContent(w, r, "", at, bytes.NewReader(resp.Body))
		return
	}
	h["Content-Length"] = []string{strconv.Itoa(len(resp.Body))}
	if resp.Status == http.StatusNoContent {
		delete(h, "Content-Length")
	}
	w.WriteHeader(resp.Status)
	if r.Method != http.MethodHead && resp.Status != http.StatusNoContent {
		io.Copy(w, struct{ io.Reader }{bytes.NewReader(resp.Body)}) // in pieces, each of which may take its time
	}
}

// cacheWriter passes a response on and keeps a copy, or takes it for the sign to
// answer with what is kept.
type cacheWriter struct {
	http.ResponseWriter
	c        *cacher
	request  http.Header // as the client sent it
	rec      *Record
	key      string
	kept     *cache.Entry // stale, or not to be used without asking
	asking   bool         // the upstream was asked whether it has changed
	keep     bool
	personal bool
	flight   *cache.Flight
	landing  *time.Timer // ends the flight while the body is on its way
	former   http.Header // what the gateway had set before
	started  time.Time

	status  int
	copying bool
	resp    cache.Response
	instead *cache.Response // answers in place of what is written
	how     string
	result  string
	counted int64 // of body, in the process's sum of copies under way
}

// maxCapturing bounds all copies under way together: the store does not count
// them yet.
const maxCapturing = 32 << 20

// WriteHeader implements http.ResponseWriter.
func (w *cacheWriter) WriteHeader(status int) {
	if w.instead != nil || w.status != 0 {
		return
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	w.status = status
	h := w.Header()
	now := time.Now()
	switch {
	case w.asking && status == http.StatusNotModified:
		resp := w.kept.Response
		same := cache.SameTag(h["Etag"], resp.Header["Etag"])
		if same {
			resp = w.kept.Renewed(w.fresh(), w.started, now)
		}
		if same && resp.Policy.Storable(resp.Status, resp.Header, w.personal) {
			w.c.store.Put(w.key, w.c.backend, w.request, resp)
		} else { // also where the upstream speaks of another representation (RFC 9111 4.3.4)
			w.c.store.Remove(w.key)
		}
		w.instead, w.how, w.result = &resp, "hit; fwd=stale; fwd-status=304", cacheRevalidated
		return
	case status >= 500 && w.kept != nil && w.kept.StaleOnError(now, w.c.stale):
		w.instead, w.how, w.result = &w.kept.Response, "hit; fwd=stale; fwd-status="+strconv.Itoa(status)+"; detail=stale-if-error", cacheStale
		return
	}
	if w.rec.Denial == nil && w.keep {
		policy := cache.PolicyOf(status, h, w.started, now)
		length, err := strconv.Atoi(h.Get("Content-Length"))
		if policy.Storable(status, h, w.personal) && h["Trailer"] == nil && !variesByCaller(h) && (err != nil || length <= w.c.most) {
			w.copying = true
			if w.flight != nil {
				w.landing = time.AfterFunc(maxBodyWait, w.flight.Land)
			}
			w.resp = cache.Response{Status: status, Header: w.fresh(), Requested: w.started, Received: now, Policy: policy}
		}
	}
	why := "; fwd=uri-miss"
	if w.kept != nil {
		why = "; fwd=stale"
	}
	if w.copying {
		why += "; stored"
	} else if w.flight != nil {
		w.flight.Land() // nobody can share this answer
	}
	h["Cache-Status"] = append(h["Cache-Status"][:len(h["Cache-Status"]):len(h["Cache-Status"])], "vazel"+why)
	w.ResponseWriter.WriteHeader(status)
}

// variesByCaller reports whether a response depends on what the gateway tells the
// upstream of the caller, which is not among the fields of the client's request.
func variesByCaller(h http.Header) bool {
	for _, v := range h["Vary"] {
		for name := range strings.SplitSeq(v, ",") {
			if Reserved(strings.TrimSpace(name)) {
				return true
			}
		}
	}
	return false
}

// fresh is the header of the upstream's response, without what the gateway had
// set.
func (w *cacheWriter) fresh() http.Header {
	h := maps.Clone(w.Header())
	for name := range w.former {
		delete(h, name)
	}
	for name, values := range h {
		h[name] = slices.Clip(values) // shared by all that are answered with it
	}
	return h
}

// restore puts the header back to what it was before the upstream was asked.
func (w *cacheWriter) restore() {
	h := w.Header()
	clear(h)
	maps.Copy(h, w.former)
	w.rec.Denial = nil // the refusal was never sent
}

// Write implements http.ResponseWriter.
func (w *cacheWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.instead != nil {
		return len(p), nil
	}
	if w.copying {
		w.capture(p)
	}
	return w.ResponseWriter.Write(p)
}

func (w *cacheWriter) capture(p []byte) {
	n := int64(len(p))
	w.counted += n
	if w.c.store.Capturing.Add(n) > maxCapturing || len(w.resp.Body)+len(p) > w.c.most {
		w.copying, w.resp.Body = false, nil
		if w.flight != nil {
			w.flight.Land()
		}
		return
	}
	w.resp.Body = append(w.resp.Body, p...)
}

func (w *cacheWriter) stopCapture() {
	if w.landing != nil {
		w.landing.Stop()
	}
	w.c.store.Capturing.Add(-w.counted)
	w.counted = 0
}

// store keeps a response that was passed on whole.
func (w *cacheWriter) store() {
	result := cacheMiss
	if !w.copying {
		result = cachePass
	} else if n, err := strconv.Atoi(w.resp.Header.Get("Content-Length")); err == nil && n != len(w.resp.Body) && w.status != http.StatusNoContent {
		result = cachePass // not whole after all
	} else {
		delete(w.resp.Header, "Content-Length")
		w.resp.Body = bytes.Clone(w.resp.Body) // without room to grow
		w.c.store.Put(w.key, w.c.backend, w.request, w.resp)
	}
	w.c.done(w.rec, result)
}

// FlushError is what http.ResponseController calls.
func (w *cacheWriter) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.instead != nil {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *cacheWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *cacheWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
