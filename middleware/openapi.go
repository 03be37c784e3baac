package middleware

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/openapi"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// buildOpenAPI holds requests to an OpenAPI document: path and method, parameters,
// and the type of a body, of JSON its content too.
func buildOpenAPI(text string, env Env) (Func, error) {
	if text == "" {
		return nil, nil
	}
	d, err := env.Engines.documents.Read([]byte(text))
	if err != nil {
		return nil, err
	}
	p := &described{document: d, buffers: env.Engines.Buffers, log: env.Log}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, next) })
	}, nil
}

// described is the policy of one route.
type described struct {
	document *openapi.Document
	buffers  *Buffers
	log      *zap.Logger
}

func (p *described) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	rec := RecordOf(r.Context())
	op, allow := p.document.Find(r.Method, rec.Path)
	switch {
	case op == nil && len(allow) > 0:
		Deny(w, r, http.StatusMethodNotAllowed, Denial{By: "openapi", Reason: "method_not_allowed", Header: http.Header{"Allow": {strings.Join(allow, ", ")}}})
		return
	case op == nil:
		Deny(w, r, http.StatusNotFound, Denial{By: "openapi", Reason: "not_found", Detail: "a path that the OpenAPI document does not have"})
		return
	}
	if err := op.Check(r); err != nil {
		p.refuse(w, r, err)
		return
	}
	present, ok := hasBody(w, r)
	if !ok {
		return
	}
	kind := first(r.Header["Content-Type"])
	if len(r.Header["Content-Type"]) > 1 {
		kind = "several"
	}
	body, err := op.Body(kind, present)
	switch {
	case errors.Is(err, openapi.ErrType):
		unsupportedType(w, r, "openapi", []string{strings.Join(op.Types(), ", ")})
		return
	case err != nil:
		p.refuse(w, r, err)
		return
	}
	if body == nil || !body.JSON {
		next.ServeHTTP(w, r)
		return
	}
	held := lease{from: p.buffers}
	defer held.end()
	if err := p.read(r, &held, body); err != nil {
		p.refuse(w, r, err)
		return
	}
	next.ServeHTTP(w, r)
}

// read reads and checks a JSON body, and puts it back.
func (p *described) read(r *http.Request, held *lease, body *openapi.Body) error {
	b, over, err := held.read(r.Body, waf.MaxBody)
	var refusal *BodyRefusal
	switch {
	case errors.As(err, &refusal):
		return refusal
	case err != nil:
		return &BodyRefusal{http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true}}
	case over:
		return &BodyRefusal{http.StatusRequestEntityTooLarge, Denial{By: "openapi", Reason: "inspection_too_large", Close: true, Members: map[string]any{"limit": waf.MaxBody}}}
	}
	r.Body = replay{bytes.NewReader(b), r.Body} // r is Observe's copy
	if r.ContentLength < 0 && r.Trailer == nil {
		r.ContentLength = int64(len(b))
	}
	codings := r.Header["Content-Encoding"]
	if n := waf.Expansion(codings, len(b)); n > 0 && !held.more(2*int64(n)) {
		p.buffers.refused.Inc()
		return errNoBuffer
	}
	plain, err := waf.Plain(codings, b, false)
	if err == nil {
		err = waf.CheckJSON(plain)
	}
	if err != nil {
		return err
	}
	return body.CheckJSON(plain)
}

// refuse answers a request that does not fit, with the place where.
func (p *described) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *BodyRefusal
	var guard *waf.Refusal
	var v *openapi.Violation
	switch {
	case errors.As(err, &refusal):
		Deny(w, r, refusal.Status, refusal.Denial)
	case errors.As(err, &guard):
		Deny(w, r, guard.Status, Denial{By: "openapi", Reason: guard.Reason, Detail: guard.Detail})
	case errors.As(err, &v):
		members := map[string]any{"in": v.In, "rule": v.Rule}
		if v.In == "body" {
			members["pointer"] = v.Where
		} else {
			members["name"] = v.Where
		}
		Deny(w, r, http.StatusBadRequest, Denial{By: "openapi", Reason: "openapi_invalid", Detail: v.Error(), Members: members})
	default:
		p.log.Error("a request could not be checked", zap.String("event.id", RecordOf(r.Context()).ID), zap.Error(err))
		Deny(w, r, http.StatusInternalServerError, Denial{By: "openapi", Reason: "inspection_failed", Detail: fmt.Sprint(err)})
	}
}
