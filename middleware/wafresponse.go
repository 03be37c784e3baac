package middleware

import (
	"errors"
	"io"
	"maps"
	"net/http"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// BuildResponses makes the handler that inspects responses, before they are
// compressed; none unless the configuration asks for it.
func (p *WAF) BuildResponses(env Env) (Func, error) {
	if p.InForce() == "off" || p.Responses == "" || p.Responses == "off" {
		return nil, nil
	}
	rules, err := env.Engines.WAF.Ruleset(p.settings())
	if err != nil {
		return nil, err
	}
	responses, err := rules.Responses()
	if err != nil {
		return nil, err
	}
	i := &responseInspection{
		rules: responses, budget: env.Engines.inspection, buffers: env.Engines.Buffers, route: env.Route, log: env.Log,
		// Where requests are only watched, responses are too.
		block: p.Responses == "block" && p.InForce() == "block",
		count: env.Engines.WAF.ObserveResponse,
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, next) })
	}, nil
}

// responseInspection is the policy of one route.
type responseInspection struct {
	rules   *waf.Responses
	budget  *inspectionBudget
	buffers *Buffers
	block   bool
	route   string
	log     *zap.Logger
	count   func(route, outcome string)
}

func (i *responseInspection) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	// What is compressed can't be inspected.
	r.Header.Del("Accept-Encoding") // r is Observe's copy
	iw := &inspectedWriter{ResponseWriter: w, policy: i, r: r, before: maps.Clone(w.Header()), held: lease{from: i.buffers}}
	defer iw.held.end()
	next.ServeHTTP(iw, r)
	iw.decide()
}

// inspectedWriter keeps the beginning of a response until it has been inspected.
// In detect mode it keeps a copy, and the response goes on.
type inspectedWriter struct {
	http.ResponseWriter
	policy *responseInspection
	r      *http.Request
	before http.Header // what other policies have set
	held   lease
	kept   []byte
	status int // 0 until the header comes
	state  responseState
}

type responseState int

const (
	responseKept    responseState = iota // and not inspected yet
	responsePassed                       // goes on as it comes
	responseRefused                      // was answered; what still comes is lost
)

func (w *inspectedWriter) WriteHeader(status int) {
	if w.status != 0 || status < 200 && status != http.StatusSwitchingProtocols {
		w.pass(status)
		return
	}
	w.status = status
	h := w.Header()
	switch {
	case status == http.StatusSwitchingProtocols, w.r.Method == http.MethodHead, status == http.StatusNoContent, status == http.StatusNotModified, h["Content-Range"] != nil,
		!waf.InspectsResponse(h.Get("Content-Type")):
		w.state = responsePassed
	case h["Content-Encoding"] != nil: // the upstream was asked not to
		w.refuse(errEncodedResponse)
	}
	if w.state == responsePassed || !w.policy.block {
		w.pass(status)
	}
}

// pass sends the header, unless the client has got another answer.
func (w *inspectedWriter) pass(status int) {
	if w.state != responseRefused {
		w.ResponseWriter.WriteHeader(status)
	}
}

var errEncodedResponse = errors.New("the upstream sent a content coding that it was not asked for")

func (w *inspectedWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.state == responseKept {
		n := min(len(p), waf.MaxResponse-len(w.kept))
		if !w.held.more(int64(n)) {
			w.policy.buffers.refused.Inc()
			w.refuse(errNoBuffer)
			return len(p), nil
		}
		w.kept = append(w.kept, p[:n]...)
		if len(w.kept) < waf.MaxResponse {
			if w.policy.block {
				return len(p), nil
			}
			return w.ResponseWriter.Write(p)
		}
		w.decide()
		if w.policy.block { // what was kept has gone out, or has been refused
			if n == len(p) || w.state == responseRefused {
				return len(p), nil
			}
			m, err := w.ResponseWriter.Write(p[n:])
			return n + m, err
		}
	}
	if w.state == responseRefused {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the upstream's body from going round Write.
func (w *inspectedWriter) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, src)
}

// decide inspects what was kept, and lets it go on or refuses it.
func (w *inspectedWriter) decide() {
	if w.state != responseKept || w.status == 0 {
		return
	}
	v, err := w.inspect()
	switch {
	case err != nil:
		w.refuse(err)
	case v.Block:
		rec := RecordOf(w.r.Context())
		rec.InspectionRules = append(rec.InspectionRules, v.Rules...)
		rec.InspectionMatches = append(rec.InspectionMatches, v.Matches...)
		rec.InspectionCategory = v.Category
		w.policy.count(w.policy.route, outcomeOf(w.policy.block, "block"))
		d := Denial{By: "waf", Reason: "inspection_response", Detail: "the response holds what it should not"}
		if w.policy.block {
			w.deny(d)
		} else {
			rec.would(http.StatusBadGateway, d)
		}
	default:
		w.policy.count(w.policy.route, "pass")
	}
	if w.state == responseRefused {
		return
	}
	w.state = responsePassed
	if w.policy.block {
		w.ResponseWriter.WriteHeader(w.status)
		w.ResponseWriter.Write(w.kept)
	}
	w.kept = nil
}

func (w *inspectedWriter) inspect() (waf.Verdict, error) {
	a, refusal := w.policy.budget.account(w.r.Context(), RecordOf(w.r.Context()))
	if refusal == nil {
		refusal = a.turn(w.r.Context())
	}
	if refusal != nil {
		return waf.Verdict{}, refusal
	}
	used := waf.CPUTime()
	defer func() { a.close(used()) }()
	v, err := w.policy.rules.Inspect(&waf.Response{Status: w.status, Proto: "HTTP/1.1", Header: w.Header(), Body: w.kept})
	if e := w.policy.log.Check(zap.DebugLevel, "inspected response"); e != nil {
		e.Write(zap.String("event.id", RecordOf(w.r.Context()).ID), zap.Int("vazel.inspection.score", v.Score), zap.Ints("vazel.inspection.rules", v.Rules), zap.Error(err))
	}
	return v, err
}

// refuse refuses a response that can't be inspected, unless it is only watched.
func (w *inspectedWriter) refuse(err error) {
	w.policy.count(w.policy.route, "error")
	w.policy.log.Warn("a response could not be inspected", zap.String("event.id", RecordOf(w.r.Context()).ID), zap.String("vazel.route", w.policy.route), zap.Error(err))
	if w.policy.block {
		w.deny(Denial{By: "waf", Reason: "inspection_failed", Detail: "the response could not be inspected: " + err.Error()})
		return
	}
	w.state = responsePassed
}

func (w *inspectedWriter) deny(d Denial) {
	w.state, w.kept = responseRefused, nil
	h := w.Header()
	clear(h)
	maps.Copy(h, w.before)
	Deny(w.ResponseWriter, w.r, http.StatusBadGateway, d)
}

// FlushError sends what has been decided on; what is kept waits on.
func (w *inspectedWriter) FlushError() error {
	if w.state == responsePassed || !w.policy.block && w.state == responseKept && w.status != 0 {
		return http.NewResponseController(w.ResponseWriter).Flush()
	}
	return nil
}

// Flush implements http.Flusher.
func (w *inspectedWriter) Flush() { w.FlushError() }

// Unwrap is for http.ResponseController.
func (w *inspectedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
