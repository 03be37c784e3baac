package middleware

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/waf"
)

// WAF inspects requests with the OWASP Core Rule Set.
type WAF struct {
	// Mode is block, detect (log what would be blocked) or off. Default: off.
	Mode string `yaml:"mode"`
	// Paranoia is the Core Rule Set's paranoia level, 1 to 4; default: 1.
	Paranoia int `yaml:"paranoia"`
	// Threshold is the anomaly score from which a request is blocked; default: 5.
	Threshold int `yaml:"threshold"`
	// Exclude lists the ids of rules that do not apply.
	Exclude []int `yaml:"exclude"`
}

// Build makes the handler. A nil p, or mode off, makes none.
func (p *WAF) Build(env Env) (Func, error) {
	if p == nil || p.Mode == "" || p.Mode == "off" {
		return nil, nil
	}
	s := waf.Settings{Paranoia: max(1, p.Paranoia), Threshold: p.Threshold, Exclude: p.Exclude}
	if s.Threshold == 0 {
		s.Threshold = 5
	}
	rules, err := env.Engines.WAF.Ruleset(s)
	if err != nil {
		return nil, err
	}
	i := &inspection{rules: rules, manager: env.Engines.WAF, buffers: env.Engines.Buffers, block: p.Mode == "block", mode: p.Mode, route: env.Route, log: env.Log}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.serve(w, r, next) })
	}, nil
}

// inspection is the policy of one route.
type inspection struct {
	rules   *waf.Ruleset
	manager *waf.Manager
	buffers *Buffers
	block   bool
	mode    string
	route   string
	log     *zap.Logger
}

// serve inspects a request and passes it on with the bytes that were inspected.
// In block mode, what can't be inspected whole is refused.
func (i *inspection) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := RecordOf(r.Context())
	rec.InspectionMode = i.mode
	var body []byte
	if r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0 {
		if i.block && coded(r.Header) {
			i.manager.Observe(i.route, "error", waf.Verdict{})
			Deny(w, r, http.StatusUnsupportedMediaType, Denial{
				By: "waf", Reason: "inspection_encoding", Detail: "a body with Content-Encoding can't be inspected", Header: http.Header{"Accept-Encoding": {"identity"}}, Close: true,
			})
			return
		}
		held := lease{from: i.buffers}
		defer held.end()
		b, over, err := held.read(r.Body, waf.MaxBody)
		var refusal *BodyRefusal
		switch {
		case errors.As(err, &refusal):
			Deny(w, r, refusal.Status, refusal.Denial)
			return
		case err != nil:
			Deny(w, r, http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true})
			return
		case over && i.block:
			i.manager.Observe(i.route, "error", waf.Verdict{})
			Deny(w, r, http.StatusRequestEntityTooLarge, Denial{By: "waf", Reason: "inspection_too_large", Close: true})
			return
		case over:
			r.Body = replay{io.MultiReader(bytes.NewReader(b), r.Body), r.Body}
			i.manager.Observe(i.route, "skipped", waf.Verdict{})
			next.ServeHTTP(w, r)
			return
		}
		body = b
		r.Body = replay{bytes.NewReader(b), r.Body} // r is Observe's copy
		if r.ContentLength < 0 && r.Trailer == nil {
			r.ContentLength = int64(len(b))
		}
	}
	if i.block && arguments(r, body) > waf.MaxArguments {
		i.manager.Observe(i.route, "error", waf.Verdict{})
		Deny(w, r, http.StatusBadRequest, Denial{By: "waf", Reason: "inspection_too_large", Detail: "too many arguments"})
		return
	}
	uri := rec.Path
	if r.URL.RawQuery != "" {
		uri += "?" + r.URL.RawQuery
	}
	engine := lease{from: i.buffers} // the engine works on a copy
	defer engine.end()
	if n := int64(len(body)); n > 0 && !engine.more(n) {
		i.buffers.refused.Inc()
		Deny(w, r, errNoBuffer.Status, errNoBuffer.Denial)
		return
	}
	v, err := i.rules.Inspect(r.Context(), &waf.Request{
		Client: rec.Client, Method: r.Method, URI: uri, Proto: r.Proto, Host: r.Host, Header: r.Header, Body: body,
	})
	engine.end()
	rec.InspectionScore, rec.InspectionRules, rec.InspectionCategory = v.Score, v.Rules, v.Category
	switch {
	case err != nil:
		i.manager.Observe(i.route, "error", v)
		i.log.Warn("inspection failed", zap.String("event.id", rec.ID), zap.String("vazel.route", i.route), zap.Error(err))
		if i.block {
			Deny(w, r, http.StatusBadRequest, Denial{By: "waf", Reason: "inspection_failed", Detail: err.Error()})
			return
		}
	case v.Block && i.block:
		i.manager.Observe(i.route, "block", v)
		Deny(w, r, http.StatusForbidden, Denial{By: "waf", Reason: "inspection_blocked"})
		return
	case v.Block:
		i.manager.Observe(i.route, "detect", v)
	default:
		i.manager.Observe(i.route, "pass", v)
	}
	next.ServeHTTP(w, r)
}

// replay reads what was inspected and closes the original.
type replay struct {
	io.Reader
	io.Closer
}

// arguments counts parameters, for the rule engine ignores those over its limit.
func arguments(r *http.Request, body []byte) int {
	n := 0
	if r.URL.RawQuery != "" {
		n = strings.Count(r.URL.RawQuery, "&") + 1
	}
	if kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded") && len(body) > 0 {
		n += bytes.Count(body, []byte("&")) + 1
	}
	return n
}
