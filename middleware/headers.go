package middleware

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
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

// Build makes the handler. A nil p makes none.
func (p *Headers) Build(env Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	request, err := newChange(p.Request, ownRequestField)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	response, err := newChange(p.Response, ownResponseField)
	if err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	if request == nil && response == nil {
		return nil, nil
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if request != nil {
				// The logs read the client's own header after the request.
				r.Header = maps.Clone(r.Header)
				request.apply(r.Header)
			}
			if response == nil {
				next.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(&headWriter{ResponseWriter: w, edit: response.edit}, r)
			response.trailers(w.Header())
		})
	}, nil
}

// change is a HeaderChange with canonical names.
type change struct {
	remove []string
	set    []setting
}

type setting struct {
	name  string
	value []string
}

// newChange checks a HeaderChange; own says whose a field is that the
// configuration can't have. It is nil where nothing changes.
func newChange(c HeaderChange, own func(string) string) (*change, error) {
	name := func(n string) (string, error) {
		if n == "" {
			return "", fmt.Errorf("a field name is empty")
		}
		for i := 0; i < len(n); i++ {
			if c := n[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' {
				return "", fmt.Errorf("%q is not a field name; write letters, digits and hyphens", n)
			}
		}
		key := textproto.CanonicalMIMEHeaderKey(n)
		if why := own(key); why != "" {
			return "", fmt.Errorf("%s %s and can't be changed", key, why)
		}
		return key, nil
	}
	var out change
	for _, n := range c.Remove {
		key, err := name(n)
		if err != nil {
			return nil, err
		}
		out.remove = append(out.remove, key)
	}
	for _, n := range slices.Sorted(maps.Keys(c.Set)) {
		key, err := name(n)
		if err != nil {
			return nil, err
		}
		v := c.Set[n]
		if v != strings.Trim(v, " \t") {
			return nil, fmt.Errorf("the value of %s begins or ends with a space", key)
		}
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r >= 0x7f }) {
			return nil, fmt.Errorf("the value of %s holds a character other than printable ASCII", key)
		}
		if slices.ContainsFunc(out.set, func(s setting) bool { return s.name == key }) {
			return nil, fmt.Errorf("%s is set twice", key)
		}
		out.set = append(out.set, setting{key, []string{v}})
	}
	if len(out.remove) == 0 && len(out.set) == 0 {
		return nil, nil
	}
	return &out, nil
}

func (c *change) apply(h http.Header) {
	for _, n := range c.remove {
		delete(h, n)
	}
	for i := range c.set {
		h[c.set[i].name] = c.set[i].value
	}
}

// edit changes the head of a response.
func (c *change) edit(status int, h http.Header) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		c.apply(h)
		return
	}
	for _, n := range c.remove { // what may not go out does not go out early either
		delete(h, n)
	}
}

// trailers removes after the body what was removed before it.
func (c *change) trailers(h http.Header) {
	for _, n := range c.remove {
		delete(h, n)
		for k := range h { // trailers are announced by their prefix, in whatever case
			if rest, ok := strings.CutPrefix(k, http.TrailerPrefix); ok && strings.EqualFold(rest, n) {
				delete(h, k)
			}
		}
	}
}

// framing lists fields that make up a message or belong to a connection.
var framing = map[string]bool{
	"Connection": true, "Content-Length": true, "Content-Encoding": true, "Content-Range": true, "Expect": true, "Host": true,
	"Http2-Settings": true, "Keep-Alive": true, "Max-Forwards": true, "Proxy-Connection": true, "Te": true, "Trailer": true,
	"Transfer-Encoding": true, "Upgrade": true, "Proxy-Authenticate": true, "Proxy-Authorization": true,
	"Proxy-Authentication-Info": true,
}

func ownRequestField(key string) string {
	switch {
	case framing[key] || strings.HasPrefix(key, "Sec-Websocket-"):
		return "belongs to the connection or frames the message"
	case Reserved(key):
		return "is written by the gateway itself"
	}
	return ""
}

func ownResponseField(key string) string {
	switch {
	case framing[key] || strings.HasPrefix(key, "Sec-Websocket-"):
		return "belongs to the connection or frames the message"
	case key == "Alt-Svc" || key == "Ratelimit" || key == "Ratelimit-Policy" || key == "Retry-After":
		return "is written by the gateway itself"
	case strings.HasPrefix(key, "Access-Control-"):
		return "is written by cors"
	}
	return ""
}

// headWriter has the head of a response edited when it is sent.
type headWriter struct {
	http.ResponseWriter
	edit func(status int, h http.Header)
	done bool // the final head is out
}

// WriteHeader implements http.ResponseWriter.
func (w *headWriter) WriteHeader(status int) {
	if !w.done {
		w.done = status >= 200 || status == http.StatusSwitchingProtocols
		w.edit(status, w.Header())
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *headWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom, for servers that can copy without a buffer.
func (w *headWriter) ReadFrom(src io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.ResponseWriter, src)
}

// FlushError is what http.ResponseController calls.
func (w *headWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *headWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *headWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *headWriter) begin() {
	if !w.done {
		w.WriteHeader(http.StatusOK)
	}
}
