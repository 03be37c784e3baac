package middleware

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/openapi"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// buildOpenAPI holds requests to an OpenAPI document: path and method, parameters,
// the type of a body, and what JSON and forms hold.
func buildOpenAPI(c *Chain, env Env) (Func, error) {
	if c.OpenAPIText == "" {
		return nil, nil
	}
	d, err := env.Engines.documents.Read(c.OpenAPI, []byte(c.OpenAPIText), c.OpenAPIFiles)
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
	switch {
	case body == nil || body.Kind == openapi.Unchecked:
		next.ServeHTTP(w, r)
		return
	case body.Kind == openapi.Multipart:
		p.multipart(w, r, body, next)
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

// maxText is how much text the fields of a multipart body may hold.
const maxText = 1 << 20

// multipart checks the fields and files of a body as it passes; the upstream never
// has the end of one that does not fit.
func (p *described) multipart(w http.ResponseWriter, r *http.Request, body *openapi.Body, next http.Handler) {
	if coding := strings.Join(r.Header["Content-Encoding"], ","); coding != "" && !strings.EqualFold(coding, "identity") {
		Deny(w, r, http.StatusUnsupportedMediaType, Denial{By: "openapi", Reason: "inspection_encoding", Detail: "a form in a content coding", Header: http.Header{"Accept-Encoding": {"identity"}}})
		return
	}
	checked := newChecked(r.Body, func(content io.Reader) error {
		err := formOf(r.Header["Content-Type"], content, body)
		var v *openapi.Violation
		if errors.As(err, &v) {
			return &BodyRefusal{http.StatusBadRequest, violated(v)}
		}
		return err
	})
	defer checked.stop()
	r.Body = checked // r is Observe's copy
	next.ServeHTTP(w, r)
}

// formOf checks a multipart body.
func formOf(contentType []string, content io.Reader, body *openapi.Body) error {
	malformed := func(err error) error {
		var refusal *BodyRefusal
		if errors.As(err, &refusal) {
			return err
		}
		return &BodyRefusal{http.StatusBadRequest, Denial{By: "openapi", Reason: "inspection_multipart", Detail: fmt.Sprint("the form can't be taken apart: ", err), Close: true}}
	}
	m, err := newParts(contentType, content)
	if err != nil {
		return malformed(err)
	}
	form, left := body.NewForm(), int64(maxText)
	for {
		part, err := m.next()
		if err == io.EOF {
			return form.Check()
		}
		if err != nil {
			return malformed(err)
		}
		if !form.IsText(part.name, part.kind, part.named) {
			n, err := io.Copy(io.Discard, part.content)
			if err != nil {
				return malformed(err)
			}
			if err := form.File(part.name, part.kind, n); err != nil {
				return err
			}
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part.content, left+1))
		if left -= int64(len(text)); err != nil {
			return malformed(err)
		}
		if left < 0 {
			return &BodyRefusal{http.StatusRequestEntityTooLarge, Denial{By: "openapi", Reason: "inspection_too_large", Close: true, Members: map[string]any{"limit": maxText}}}
		}
		form.Field(part.name, string(text))
	}
}

// violated is the refusal of what does not fit, with the place where.
func violated(v *openapi.Violation) Denial {
	members := map[string]any{"in": v.In, "rule": v.Rule}
	if v.In == "body" {
		members["pointer"] = v.Where
	} else {
		members["name"] = v.Where
	}
	return Denial{By: "openapi", Reason: "openapi_invalid", Detail: v.Error(), Members: members}
}

// read reads and checks a body of JSON or a form, and puts it back.
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
	if err != nil {
		return err
	}
	if body.Kind == openapi.URLForm {
		if n := bytes.Count(plain, []byte("&")) + 1; n > waf.MaxArguments {
			return &waf.Refusal{Status: http.StatusBadRequest, Reason: waf.ReasonArguments, Detail: fmt.Sprintf("%d fields of a form", n)}
		}
		return body.CheckForm(plain)
	}
	if err := waf.CheckJSON(plain); err != nil {
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
		Deny(w, r, http.StatusBadRequest, violated(v))
	default:
		p.log.Error("a request could not be checked", zap.String("event.id", RecordOf(r.Context()).ID), zap.Error(err))
		Deny(w, r, http.StatusInternalServerError, Denial{By: "openapi", Reason: "inspection_failed", Detail: fmt.Sprint(err)})
	}
}
