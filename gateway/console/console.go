// Package console shows operators, on the admin listener, what their gateway does:
// services, organizations, what ends when, limits, upstreams, refusals, and for
// each refusal who, what, which rule, which line and what to change. Its pages
// only show: nothing can be changed by them. It does not own what it shows, nor
// who may see it.
package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/limit"
)

//go:embed pages/*.html
var pages embed.FS

//go:embed pages/console.css
var style []byte

//go:embed pages/console.js
var script []byte

// Source is what is shown: a *gateway.Gateway.
type Source interface {
	Status() (gateway.Status, bool)
	Organizations() (*gateway.Organizations, error)
	Calendar(now time.Time) []certs.Due
	LimitsInUse() ([]gateway.LimitStatus, []limit.PolicyStats)
	Upstreams() []proxy.PoolStatus
	Refusals(f gateway.RefusalFilter, most int) []*middleware.Incident
	Incident(id string) *gateway.IncidentReport
}

// Console serves the pages.
type Console struct {
	source    Source
	mux       *http.ServeMux
	templates map[string]*template.Template // by language and page: bg/services
}

// New makes the console.
func New(s Source) *Console {
	c := &Console{source: s, mux: http.NewServeMux(), templates: map[string]*template.Template{}}
	for _, lang := range []string{english, bulgarian} {
		for _, p := range c.all() {
			c.templates[lang+"/"+p.name] = template.Must(template.New("layout.html").Funcs(functions(lang)).ParseFS(pages, "pages/layout.html", "pages/"+p.name+".html"))
		}
	}
	for _, p := range c.all() {
		c.mux.HandleFunc("GET "+p.path, func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, p) })
	}
	c.mux.HandleFunc("GET /console.css", asset("text/css; charset=utf-8", style))
	c.mux.HandleFunc("GET /console.js", asset("text/javascript; charset=utf-8", script))
	return c
}

// page is one of the console.
type page struct {
	name, path string
	title      string // English, as the key of its translation
	Live       bool   // it is worth being loaded again and again
	fill       func(*view) any
}

// all lists the pages in the order of the navigation.
func (c *Console) all() []page {
	return []page{
		{"services", "/{$}", "Services", true, c.services},
		{"organizations", "/organizations", "Organizations", true, c.organizations},
		{"calendar", "/calendar", "Calendar", false, c.calendar},
		{"limits", "/limits", "Limits", true, c.limits},
		{"upstreams", "/upstreams", "Upstreams", true, c.upstreams},
		{"refusals", "/refusals", "Refusals", true, c.refusals},
		{"incident", "/incident", "Incident", false, c.incident},
	}
}

// view is what a page is made of.
type view struct {
	Lang, Other string // languages: of the page, and the one to switch to
	Switch      string // address of the page in the other one
	Page        page
	Title       string
	Nav         []link
	Status      gateway.Status
	Now         time.Time
	Content     any
	Path        string
	query       url.Values
	status      int
}

type link struct {
	URL, Text string
	Here      bool
}

// Policy is the Content-Security-Policy of the pages: their own style and script,
// and nothing from elsewhere.
const Policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", Policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.mux.ServeHTTP(w, r)
}

func (c *Console) serve(w http.ResponseWriter, r *http.Request, p page) {
	st, ok := c.source.Status()
	if !ok {
		http.Error(w, "the gateway is starting", http.StatusServiceUnavailable)
		return
	}
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		http.Error(w, "the query can't be read", http.StatusBadRequest)
		return
	}
	v := &view{Lang: languageOf(w, r, q), Page: p, Path: strings.TrimSuffix(p.path, "{$}"), Status: st, Now: time.Now(), query: q, status: http.StatusOK}
	v.Title = translate(v.Lang, p.title)
	v.Other = english
	if v.Lang == english {
		v.Other = bulgarian
	}
	q.Set("lang", v.Other)
	v.Switch = v.Path + "?" + q.Encode()
	for _, other := range c.all() {
		v.Nav = append(v.Nav, link{strings.TrimSuffix(other.path, "{$}"), translate(v.Lang, other.title), other.name == p.name})
	}
	v.Content = p.fill(v)
	var b bytes.Buffer
	if err := c.templates[v.Lang+"/"+p.name].Execute(&b, v); err != nil {
		http.Error(w, fmt.Sprintf("the page can't be made: %v", err), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", v.Lang)
	h.Set("Vary", "Accept-Language, Cookie")
	w.WriteHeader(v.status)
	w.Write(b.Bytes())
}

func asset(kind string, b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "private, max-age=300")
		w.Write(b)
	}
}
