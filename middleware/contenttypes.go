package middleware

import (
	"fmt"
	"mime"
	"net/http"
	"strings"
)

// CheckContentType says what is wrong with an entry of content_types.
func CheckContentType(s string) error {
	media, params, err := mime.ParseMediaType(s)
	kind, sub, ok := strings.Cut(media, "/")
	if err != nil || !ok || len(params) > 0 || s != media || kind == "*" || sub == "" || strings.Contains(sub, "*") && sub != "*" {
		return fmt.Errorf("%q is not a media type such as application/json or image/*, in lower case", s)
	}
	return nil
}

// buildContentTypes refuses request bodies of other types than the listed ones,
// and those that say none. What it answers tells the types (RFC 9110 15.5.16).
func buildContentTypes(types []string, env Env) (Func, error) {
	if len(types) == 0 {
		return nil, nil
	}
	for _, t := range types {
		if err := CheckContentType(t); err != nil {
			return nil, err
		}
	}
	list := []string{strings.Join(types, ", ")}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if typeListed(types, r.Header["Content-Type"]) {
				next.ServeHTTP(w, r)
				return
			}
			switch has, ok := hasBody(w, r); {
			case has:
				unsupportedType(w, r, "content_types", list)
			case ok:
				next.ServeHTTP(w, r)
			}
		})
	}, nil
}

// unsupportedType refuses a request because of its Content-Type, and tells the types
// that are taken: in Accept, and in the field that there is for the method.
func unsupportedType(w http.ResponseWriter, r *http.Request, by string, list []string) {
	h := http.Header{"Accept": list}
	switch r.Method {
	case http.MethodPost:
		h["Accept-Post"] = list
	case http.MethodPatch:
		h["Accept-Patch"] = list // RFC 5789 2.2
	}
	Deny(w, r, http.StatusUnsupportedMediaType, Denial{By: by, Reason: "unsupported_media_type", Header: h})
}

// typeListed reports whether the one Content-Type of a body is among types.
// Parameters don't matter.
func typeListed(types, field []string) bool {
	if len(field) != 1 {
		return false
	}
	media, _, _ := strings.Cut(field[0], ";")
	media = strings.ToLower(strings.Trim(media, " \t"))
	kind, _, ok := strings.Cut(media, "/")
	if !ok || strings.ContainsAny(media, ", ") {
		return false
	}
	for _, t := range types {
		if t == media || t == kind+"/*" {
			return true
		}
	}
	return false
}
