package middleware

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// CheckOperation says what is wrong with an entry of operations.
func CheckOperation(s string) error {
	service, name, ok := strings.Cut(s, ":")
	if !ok {
		service, name = "x", s
	}
	for _, part := range []string{service, name} {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool {
			return !alphanumeric(byte(min(r, 0x7f))) && !strings.ContainsRune("_.-", r)
		}) {
			return fmt.Errorf("%q is not an operation such as WMS:GetMap or ExecuteSynchronous", s)
		}
	}
	return nil
}

// operations is the policy of one route: what may be asked for.
type operations struct{ list []allowedOperation }

type allowedOperation struct{ service, name string } // service may be ""

// buildOperations refuses requests that ask for other operations than the listed
// ones, or don't show what they ask for. Query, form, document and SOAPAction may
// each name one: whichever the upstream believes, it has to be listed.
func buildOperations(list []string, env Env) (Func, error) {
	if len(list) == 0 {
		return nil, nil
	}
	o := &operations{}
	for _, s := range list {
		if err := CheckOperation(s); err != nil {
			return nil, err
		}
		service, name, ok := strings.Cut(s, ":")
		if !ok {
			service, name = "", s
		}
		o.list = append(o.list, allowedOperation{service, name})
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := readOperation(r)
			var refusal *BodyRefusal
			switch {
			case errors.As(err, &refusal):
				Deny(w, r, refusal.Status, refusal.Denial)
			case err != nil:
				Deny(w, r, http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true})
			default:
				if why := o.refuses(r, &body); why != "" {
					Deny(w, r, http.StatusForbidden, Denial{By: "operations", Reason: "operation_not_allowed", Detail: why})
					return
				}
				next.ServeHTTP(w, r)
			}
		})
	}, nil
}

// soapService is the service that stands for what a SOAP envelope holds.
const soapService = "SOAP"

// refuses is why a request may not pass, or "".
func (o *operations) refuses(r *http.Request, body *operation) string {
	query := Query{Raw: r.URL.RawQuery}
	asked := false
	for _, q := range []*Query{&query, &body.form} {
		for _, name := range q.All("request") {
			asked = true
			services := append(query.All("service"), body.form.All("service")...)
			if len(services) == 0 {
				services = []string{""}
			}
			for _, s := range services {
				if !o.allows(s, name) {
					return "an operation that is not listed, in a parameter"
				}
			}
		}
	}
	switch {
	case body.hidden:
		return "a body that does not show its operation"
	case body.name != "":
		asked = true
		service := body.service
		if body.soap {
			service = soapService
		}
		if !o.allows(service, body.name) {
			return "an operation that is not listed, in a document"
		}
	case body.present && len(body.form.All("request")) == 0 && body.form.Raw == "":
		return "a body that is neither a form nor a document"
	}
	if body.soap {
		for _, action := range soapActions(r) {
			if action != "" && !o.allowsAction(action) {
				return "an operation that is not listed, in SOAPAction"
			}
		}
	}
	if !asked {
		return "no operation"
	}
	return ""
}

// allows reports whether an operation is listed; service is "" if the request does
// not say it.
func (o *operations) allows(service, name string) bool {
	for _, a := range o.list {
		if strings.EqualFold(a.name, name) && (a.service == "" || service == "" && !strings.EqualFold(a.service, soapService) || strings.EqualFold(a.service, service)) {
			return true
		}
	}
	return false
}

// allowsAction is for servers that go by SOAPAction and not by the document. It is
// a URI that ends with the name of the operation, and documents are often named
// after the operation and Request.
func (o *operations) allowsAction(action string) bool {
	tail := action[strings.LastIndexAny(action, "/#:")+1:]
	return o.allows(soapService, tail) || o.allows(soapService, tail+"Request") || o.allows(soapService, strings.TrimSuffix(tail, "Request"))
}

// soapActions lists the actions that the header of a request names: in SOAPAction
// (SOAP 1.1 6.1.1), or as a parameter of its type (RFC 3902 2).
func soapActions(r *http.Request) (out []string) {
	for _, v := range r.Header["Soapaction"] {
		out = append(out, strings.Trim(strings.TrimSpace(v), `"`))
	}
	for _, v := range r.Header["Content-Type"] {
		if _, params, err := mime.ParseMediaType(v); err == nil && params["action"] != "" {
			out = append(out, params["action"])
		}
	}
	return out
}
