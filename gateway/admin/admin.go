// Package admin serves operators on a listener of their own: metrics, health,
// reload, and the pages of the console. It must never be reachable from outside; it does not own what it
// shows.
package admin

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
)

// Options is what a Server needs from the process.
type Options struct {
	Log      *zap.Logger
	Gatherer prometheus.Gatherer
	Ready    func() bool
	// Reload loads the configuration from disk and applies it.
	Reload func() error
	// Upgrade has the program that is on disk now take over, within a time.
	Upgrade func(limit time.Duration) (pid int, err error)
	// Operators are those who may use a listener that asks for certificates, now.
	Operators func() []string
	// Inherited is a listener that was passed to the process, or nil.
	Inherited func(network, address string) net.Listener
	// Organizations is what is shown of the organizations, as JSON.
	Organizations func() (any, error)
	// Store is what is shown of the store that nodes share, as JSON; nil without one.
	Store func() any
	// Incident is what is known of a refused request, as JSON; nil if it is not.
	Incident func(id string) any
	// Incidents are the newest refusals, most of them at most, as JSON.
	Incidents func(query url.Values, most int) any
	// Console serves the pages for people; nil for none.
	Console http.Handler
	// Effective is the configuration in force, with secrets as references.
	Effective func() any
}

// Server is the admin listener.
type Server struct {
	o        Options
	address  string
	listener net.Listener
	http     *http.Server
	hosts    []string
	secure   bool // it speaks https, and asks for certificates
}

// Listen opens the admin listener that c asks for.
func Listen(c config.Admin, o Options) (*Server, error) {
	s := &Server{o: o, address: c.Listen}
	network, address := "tcp", c.Listen
	if path, ok := strings.CutPrefix(c.Listen, "unix:"); ok {
		network, address = "unix", path
	}
	operators, err := operatorsTLS(c)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	l, err := listen(network, address, o)
	if err != nil {
		return nil, fmt.Errorf("admin: %w", err)
	}
	s.listener = l
	s.hosts = append([]string{"localhost"}, c.Hosts...)
	if host, _, err := net.SplitHostPort(l.Addr().String()); err == nil {
		s.hosts = append(s.hosts, host)
	}
	s.http = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		TLSConfig:         operators,
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // HTTP/1.1 is enough
		ErrorLog:          quiet(o.Log),
	}
	s.secure = operators != nil
	return s, nil
}

// quiet has what strangers do wrong in handshakes in the log of whoever looks for
// it only.
func quiet(l *zap.Logger) *log.Logger {
	std, err := zap.NewStdLogAt(l.Named("admin"), zap.DebugLevel)
	if err != nil { // of a level that does not exist
		return nil
	}
	return std
}

func listen(network, address string, o Options) (net.Listener, error) {
	if o.Inherited != nil {
		if l := o.Inherited(network, address); l != nil {
			return l, nil
		}
	}
	if network == "unix" {
		if err := removeStale(address); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen(network, address)
	if err != nil || network != "unix" {
		return l, err
	}
	if err := os.Chmod(address, 0o660); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("%s: another program listens there", path)
	}
	return os.Remove(path)
}

// Address is where the listener is, with the port that was chosen.
func (s *Server) Address() string {
	if s.listener.Addr().Network() == "unix" {
		return "unix:" + s.listener.Addr().String()
	}
	return s.listener.Addr().String()
}

// Listener is passed on to a process that takes over.
func (s *Server) Listener() net.Listener { return s.listener }

// Close closes a listener that was not served.
func (s *Server) Close() { s.listener.Close() }

// Retire ends connections that wait for a request, after the listener was left to
// another process.
func (s *Server) Retire() { s.http.SetKeepAlivesEnabled(false) }

// Serve answers until Shutdown.
func (s *Server) Serve() error {
	var err error
	if s.secure {
		err = s.http.ServeTLS(s.listener, "", "")
	} else {
		err = s.http.Serve(s.listener)
	}
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Shutdown lets answers under way finish until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error { return s.http.Shutdown(ctx) }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.o.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics: true, MaxRequestsInFlight: 4, Timeout: 30 * time.Second,
	}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "healthy")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, r *http.Request) {
		if !s.o.Ready() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.HandleFunc("GET /-/config", s.config)
	mux.HandleFunc("POST /-/reload", s.reload)
	mux.HandleFunc("POST /-/upgrade", s.upgrade)
	mux.HandleFunc("GET /-/organizations", s.organizations)
	mux.HandleFunc("GET /-/store", s.store)
	mux.HandleFunc("GET /-/incidents", s.incidents)
	mux.HandleFunc("GET /-/incidents/{id}", s.incident)
	words := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "Vazel admin\n\n/metrics\n/-/healthy\n/-/ready\n/-/config\n/-/organizations\n/-/store\n/-/incidents\n/-/reload (POST)\n/-/upgrade (POST)\n")
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		if s.o.Console == nil || !middleware.PrefersHTML(r.Header["Accept"]) {
			words(w, r)
			return
		}
		s.o.Console.ServeHTTP(w, r)
	})
	if s.o.Console != nil {
		mux.Handle("GET /", s.o.Console)
	}
	return s.guard(mux)
}

// config shows what is in force.
func (s *Server) config(w http.ResponseWriter, r *http.Request) {
	if s.o.Effective == nil {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	enc.Encode(s.o.Effective())
}

// reload answers with every mistake that kept the configuration from being applied.
func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	err := s.o.Reload()
	if err == nil {
		json.NewEncoder(w).Encode(map[string]any{"result": "applied"})
		return
	}
	w.WriteHeader(http.StatusUnprocessableEntity)
	json.NewEncoder(w).Encode(map[string]any{"result": "refused", "error": err.Error()})
}

// UpgradeAtMost is how long a new program may take to become ready.
const UpgradeAtMost = 50 * time.Second

// upgrade answers when the new program serves, or with what kept it from that.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request) {
	if s.o.Upgrade == nil {
		http.NotFound(w, r)
		return
	}
	limit := UpgradeAtMost
	if v := r.URL.Query().Get("timeout"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 || d > UpgradeAtMost {
			http.Error(w, "timeout is a time of up to "+UpgradeAtMost.String(), http.StatusBadRequest)
			return
		}
		limit = d
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close")
	pid, err := s.o.Upgrade(limit)
	if err == nil {
		json.NewEncoder(w).Encode(map[string]any{"result": "upgraded", "pid": pid})
		return
	}
	w.WriteHeader(http.StatusUnprocessableEntity)
	json.NewEncoder(w).Encode(map[string]any{"result": "refused", "error": err.Error()})
}

// organizations answers what "vazel orgs" shows.
func (s *Server) organizations(w http.ResponseWriter, r *http.Request) {
	all, err := s.o.Organizations()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(all)
}

// store answers whether the store that nodes share can be used.
func (s *Server) store(w http.ResponseWriter, r *http.Request) {
	var state any
	if s.o.Store != nil {
		state = s.o.Store()
	}
	if state == nil {
		http.Error(w, "no store is configured", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(state)
}

// guard keeps web pages of other origins out: a browser on the operator's
// machine can be led here by a name that resolves to a loopback address.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if s.listener.Addr().Network() != "unix" && !s.knownHost(r.Host) {
			http.Error(w, "this name is not configured in admin.hosts", http.StatusMisdirectedRequest)
			return
		}
		scheme := "http"
		if s.secure {
			scheme = "https"
			if name := s.operator(r); name == "" {
				http.Error(w, "your certificate is not one of admin.operators", http.StatusForbidden)
				return
			} else if r.Method != http.MethodGet && r.Method != http.MethodHead {
				s.o.Log.Info("an operator acts", zap.String("operator", name), zap.String("path", r.URL.Path))
			}
		}
		if o := r.Header.Get("Origin"); o != "" && o != scheme+"://"+r.Host {
			http.Error(w, "requests from other origins are refused", http.StatusForbidden)
			return
		}
		if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" && !followsLink(r) {
			http.Error(w, "requests from other sites are refused", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// followsLink reports whether somebody follows a link of another site, such as that to
// an incident in a ticket, to a page of the console. Pages change nothing, and the site
// neither learns what they say nor may frame them.
func followsLink(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.Header.Get("Origin") == "" &&
		r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" &&
		r.URL.Path != "/metrics" && !strings.HasPrefix(r.URL.Path, "/-/")
}

func (s *Server) knownHost(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if a, err := netip.ParseAddr(host); err == nil {
		// An address can't be made to resolve elsewhere.
		return a.IsLoopback() || slices.Contains(s.hosts, host) || s.anyAddress()
	}
	return slices.Contains(s.hosts, strings.ToLower(strings.TrimSuffix(host, ".")))
}

// anyAddress reports whether the listener is on all addresses of the machine.
func (s *Server) anyAddress() bool {
	host, _, err := net.SplitHostPort(s.listener.Addr().String())
	a, perr := netip.ParseAddr(host)
	return err == nil && perr == nil && a.IsUnspecified()
}
