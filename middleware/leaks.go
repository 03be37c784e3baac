package middleware

import (
	"errors"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// Leaks looks for what should not leave in responses of text, JSON and XML, as they
// pass. Each kind is counted, masked (the same number of bytes, so that lengths stay
// right) or blocked: 502 response_leak, or the response is broken off where it has
// begun.
type Leaks struct {
	// EGN is what becomes of personal numbers (ЕГН) with a right checksum and a word for them near, or at the head of their column: count, mask, block or off. Default: off, nothing is looked for.
	EGN leakAction `yaml:"egn"`
	// IBAN is what becomes of account numbers with a known country, its length and a right checksum, likewise.
	IBAN leakAction `yaml:"iban"`
	// Card is what becomes of payment card numbers of known issuers with a right checksum, likewise.
	Card leakAction `yaml:"card"`
	// StackTrace is what becomes of stack traces and messages of databases, likewise.
	StackTrace leakAction `yaml:"stack_trace"`
}

// leakAction is count, mask, block or off.
type leakAction string

const (
	leakCount leakAction = "count"
	leakMask  leakAction = "mask"
	leakBlock leakAction = "block"
	leakOff   leakAction = "off"
)

// LeakActions are the values of each kind of leaks.
func LeakActions() []string {
	return []string{string(leakCount), string(leakMask), string(leakBlock), string(leakOff)}
}

// LeakKinds are the keys of leaks.
func LeakKinds() []string { return leakNames[:] }

// Build makes the handler. A nil p makes none.
func (p *Leaks) Build(env Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	l, looks := &leaks{kinds: [leakKinds]leakAction{p.EGN, p.IBAN, p.Card, p.StackTrace}}, false
	for k, action := range l.kinds {
		if action == leakOff {
			l.kinds[k], action = "", ""
		}
		if action == "" {
			continue
		}
		looks = true
		switch action {
		case leakCount:
		case leakMask:
			l.changes = true
		case leakBlock:
			l.changes, l.blocks = true, true
		default:
			return nil, errors.New(leakNames[k] + ": not one of " + strings.Join(LeakActions(), ", "))
		}
		l.counters[k] = env.Engines.leaked.WithLabelValues(env.Service, leakNames[k], string(action))
	}
	if !looks {
		return nil, nil
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { l.serve(w, r, next) })
	}, nil
}

// leaks is the policy of one route.
type leaks struct {
	kinds           [leakKinds]leakAction
	counters        [leakKinds]prometheus.Counter
	changes, blocks bool
}

// serve asks the upstream for what can be read: without a content coding and, if
// anything is not to leave, whole, for a range could cut a number in two.
func (l *leaks) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	asked := *r
	asked.Header = r.Header.Clone()
	asked.Header["Accept-Encoding"] = []string{"identity"}
	if l.changes {
		asked.Header.Del("Range")
		asked.Header.Del("If-Range")
	}
	lw := &leakWriter{ResponseWriter: w, policy: l, r: r}
	next.ServeHTTP(lw, &asked)
	lw.close()
}

const (
	// leakHead is how much of a response is looked at before it begins, where it may
	// be blocked.
	leakHead = 8 << 10
	// leakPiece is how much of it is looked at at once, and leakDropped how much is
	// read of what was blocked.
	leakPiece   = 16 << 10
	leakDropped = 1 << 20
)

// leakWriter looks at a response.
type leakWriter struct {
	http.ResponseWriter
	policy *leaks
	r      *http.Request
	status int    // that the response is to begin with, while it has not
	head   []byte // of it, likewise
	begun  bool
	finder *leakFinder // nil: nothing is looked for
	denied bool
	drop   int // bytes of what was denied
}

// WriteHeader implements http.ResponseWriter.
func (w *leakWriter) WriteHeader(status int) {
	if w.begun || w.status != 0 || w.denied || status < 200 && status != http.StatusSwitchingProtocols {
		if !w.denied {
			w.ResponseWriter.WriteHeader(status)
		}
		return
	}
	h := w.Header()
	if RecordOf(w.r.Context()).Denial == nil && status != http.StatusSwitchingProtocols && status != http.StatusNoContent && status != http.StatusNotModified && readable(h["Content-Type"]) {
		if coded(h["Content-Encoding"]) {
			if w.policy.changes && w.r.Method != http.MethodHead {
				w.deny("response_unreadable", "the upstream sent a content coding that was not asked for")
				return
			}
		} else {
			media := strings.ToLower(first(h["Content-Type"]))
			w.finder = &leakFinder{kinds: w.policy.kinds, json: strings.Contains(media, "json"), found: func(k leakKind) { w.policy.counters[k].Inc() }}
			if w.policy.changes {
				weaken(h)
				for _, name := range [...]string{"Accept-Ranges", "Content-Digest", "Repr-Digest", "Digest", "Content-Md5"} {
					delete(h, name)
				}
			}
		}
	}
	if w.status = status; w.finder == nil || !w.policy.blocks {
		w.begin()
	}
}

func coded(fields []string) bool {
	return len(fields) > 0 && !(len(fields) == 1 && (fields[0] == "" || strings.EqualFold(fields[0], "identity")))
}

// readable reports whether content of a type is looked at.
func readable(contentType []string) bool {
	media, _, _ := strings.Cut(strings.ToLower(first(contentType)), ";")
	media = strings.TrimSpace(media)
	return strings.HasPrefix(media, "text/") || strings.Contains(media, "json") || strings.HasSuffix(media, "xml")
}

// begin begins the response.
func (w *leakWriter) begin() error {
	if w.begun || w.denied || w.status == 0 {
		return nil
	}
	w.begun = true
	w.ResponseWriter.WriteHeader(w.status)
	head := w.head
	w.head = nil
	if len(head) == 0 {
		return nil
	}
	_, err := w.ResponseWriter.Write(head)
	return err
}

// deny refuses the response, or breaks it off.
func (w *leakWriter) deny(reason, detail string) {
	w.denied = true
	Deny(w.ResponseWriter, w.r, http.StatusBadGateway, Denial{By: "leaks", Reason: reason, Detail: detail})
}

// Write implements http.ResponseWriter.
func (w *leakWriter) Write(p []byte) (int, error) {
	if !w.begun && w.status == 0 && !w.denied {
		w.WriteHeader(http.StatusOK)
	}
	if w.finder == nil && !w.denied {
		return w.ResponseWriter.Write(p)
	}
	for n := 0; n < len(p); {
		if w.denied { // the answer has been given; the rest is of no use
			if w.drop += len(p) - n; w.drop > leakDropped {
				return n, errLeak
			}
			break
		}
		piece := p[n:min(len(p), n+leakPiece)]
		if err := w.pass(piece, false); err != nil {
			return n, err
		}
		n += len(piece)
	}
	return len(p), nil
}

var errLeak = errors.New("the response holds what must not leave")

// pass looks at a piece and sends what may leave.
func (w *leakWriter) pass(p []byte, end bool) error {
	out := w.finder.feed(p, end)
	if w.finder.blocked {
		w.deny("response_leak", "the response holds what must not leave")
		return nil
	}
	if !w.begun {
		if w.head = append(w.head, out...); len(w.head) < leakHead && !end {
			return nil
		}
		return w.begin()
	}
	if len(out) == 0 {
		return nil
	}
	_, err := w.ResponseWriter.Write(out)
	return err
}

// FlushError sends what may leave.
func (w *leakWriter) FlushError() error {
	if w.denied || !w.begun && w.finder != nil && len(w.head) == 0 && !strings.HasPrefix(first(w.Header()["Content-Type"]), "text/event-stream") {
		return nil // nothing was looked at yet; the head goes with what follows
	}
	if err := w.begin(); err != nil {
		return err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (w *leakWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *leakWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// close sends the end of a response that was not broken off.
func (w *leakWriter) close() {
	if w.denied {
		return
	}
	if w.finder != nil {
		w.pass(nil, true) // fails only as the client's connection does
	}
	w.begin()
}
