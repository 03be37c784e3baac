package middleware

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// Headers sets and removes header fields on the way to the upstream and back.
type Headers struct {
	// Request changes the header that the upstream gets.
	Request HeaderChange `yaml:"request"`
	// Response changes the header that the client gets.
	Response HeaderChange `yaml:"response"`
}

// HeaderChange first removes fields, then sets others.
type HeaderChange struct {
	// Remove lists names of fields to remove.
	Remove []string `yaml:"remove"`
	// Set maps names of fields to their new value.
	Set map[string]string `yaml:"set"`
}

// change is a HeaderChange with canonical names.
type change struct {
	remove []string
	set    map[string][]string
}

// framing lists fields that a configuration may not touch: they frame messages
// or belong to a connection.
var framing = map[string]bool{
	"Connection": true, "Content-Length": true, "Transfer-Encoding": true, "Upgrade": true, "Host": true, "Te": true,
	"Trailer": true, "Keep-Alive": true, "Proxy-Connection": true, "Expect": true,
}

func newChange(c HeaderChange, request bool) (out change, err error) {
	name := func(n string) (string, error) {
		for i := 0; i < len(n); i++ {
			if c := n[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return "", fmt.Errorf("%q is not a field name", n)
			}
		}
		key := textproto.CanonicalMIMEHeaderKey(n)
		switch {
		case key == "":
			return "", fmt.Errorf("a field name is empty")
		case framing[key]:
			return "", fmt.Errorf("%s belongs to the connection and can't be changed", key)
		case request && Reserved(key):
			return "", fmt.Errorf("%s is written by the gateway itself", key)
		}
		return key, nil
	}
	for _, n := range c.Remove {
		key, err := name(n)
		if err != nil {
			return out, err
		}
		out.remove = append(out.remove, key)
	}
	for n, v := range c.Set {
		key, err := name(n)
		if err != nil {
			return out, err
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return out, fmt.Errorf("the value of %s holds a control character", key)
		}
		if out.set == nil {
			out.set = map[string][]string{}
		}
		out.set[key] = []string{v}
	}
	return out, nil
}

func (c *change) apply(h http.Header) {
	for _, n := range c.remove {
		delete(h, n)
	}
	for n, v := range c.set {
		h[n] = v[:1:1]
	}
}

func (c *change) empty() bool { return len(c.remove) == 0 && len(c.set) == 0 }

// Build makes the handler. A nil p makes none.
func (p *Headers) Build(env Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	request, err := newChange(p.Request, true)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	response, err := newChange(p.Response, false)
	if err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			request.apply(r.Header)
			if !response.empty() {
				w = &headerWriter{ResponseWriter: w, change: &response}
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// headerWriter changes the header when the response begins.
type headerWriter struct {
	http.ResponseWriter
	change *change
	done   bool
}

// WriteHeader implements http.ResponseWriter.
func (w *headerWriter) WriteHeader(status int) {
	if !w.done && status >= 200 {
		w.done = true
		w.change.apply(w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *headerWriter) Write(p []byte) (int, error) {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *headerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// FlushError begins the response if it has not begun.
func (w *headerWriter) FlushError() error {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}
