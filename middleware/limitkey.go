package middleware

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// What a limit may count by.
const (
	perClientIP     = "client_ip"
	perOrganization = "organization"
	perService      = "service"
	perRoute        = "route"
	perHeader       = "header:" // and the name of a request field
	perJSON         = "json:"   // and a pointer into the body (RFC 6901)
)

// Pers lists the words that per may hold; header:NAME and json:/POINTER come to
// them where a limit counts by what a client sends.
func Pers() []string { return []string{perClientIP, perOrganization, perService, perRoute} }

// PerPattern is the regular expression of the values of per that are no words.
const PerPattern = `^(header:[A-Za-z0-9-]{1,64}|json:(/[^/]{1,64}){1,8})$`

// CheckPer says what is wrong with a value that counts by what a client sends;
// ok is false if it does not mean to.
func CheckPer(per string) (ok bool, err error) {
	if name, ok := strings.CutPrefix(per, perHeader); ok {
		if name == "" || len(name) > 64 || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return true, fmt.Errorf("%q is not the name of a header field", name)
		}
		if Reserved(name) {
			return true, fmt.Errorf("%s is a field that the gateway writes or believes from nobody", name)
		}
		return true, nil
	}
	if pointer, ok := strings.CutPrefix(per, perJSON); ok {
		_, err := parsePointer(pointer)
		return true, err
	}
	return false, nil
}

// parsePointer reads a JSON Pointer (RFC 6901 3).
func parsePointer(s string) ([]string, error) {
	parts := strings.Split(s, "/")
	if s == "" || parts[0] != "" || len(parts) > 9 {
		return nil, fmt.Errorf("%q is not a pointer into a JSON document; write for example json:/client/id", s)
	}
	for i, p := range parts[1:] {
		if rest := strings.ReplaceAll(strings.ReplaceAll(p, "~0", ""), "~1", ""); p == "" || len(p) > 64 || strings.Contains(rest, "~") {
			return nil, fmt.Errorf("%q is not a pointer into a JSON document; write for example json:/client/id", s)
		}
		parts[i+1] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
	}
	return parts[1:], nil
}

// hasher keeps what clients send out of the process's memory: only a keyed hash
// of it is counted by. The key is made anew by each process.
type hasher struct{ key [32]byte }

// hash is SHA-256 over the key and the value, cut in half. Without the key, which
// has a fixed length and comes first, nobody can tell or choose what it gives.
func (h *hasher) hash(value string) (sum [16]byte) {
	var buf [160]byte
	b := append(append(buf[:0], h.key[:]...), value...)
	full := sha256.Sum256(b)
	copy(sum[:], full[:])
	return sum
}

// keyOf is what one limit of a plan counts a request by. What is missing, or said
// twice, falls to the client's address.
func (s *slot) keyOf(r *http.Request, rec *Record, h *hasher, body *peekedBody) limit.Key {
	if s.by == byFixed {
		return s.key
	}
	if value := sentValue(r, s.l.header, s.l.pointer, body); value != "" {
		return s.l.policy.Hashed(h.hash(value))
	}
	return s.l.policy.Network(rec.Client)
}

// sentValue is what a client sent for a limit that counts by a header field or by
// a place in the body; "" where it is missing, and for other limits.
func sentValue(r *http.Request, header string, pointer []string, body *peekedBody) string {
	switch {
	case header != "":
		if v := r.Header[header]; len(v) == 1 {
			return v[0]
		}
	case pointer != nil:
		return body.find(pointer)
	}
	return ""
}

// maxJSON is the largest body in which a key is looked for.
const maxJSON = 64 << 10

// peekedBody is the beginning of a body that limits read before it is passed on.
type peekedBody struct{ document []byte } // empty: no JSON, or too large

// peekJSON reads a small JSON body and puts it back. It is false if the request
// was answered, for its body can't be read.
func peekJSON(w http.ResponseWriter, r *http.Request) (*peekedBody, bool) {
	none := &peekedBody{}
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > maxJSON || !isJSON(r.Header["Content-Type"]) || len(r.Header["Content-Encoding"]) > 0 {
		return none, true
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxJSON+1))
	switch {
	case err != nil:
		denyBody(w, r, err)
		return nil, false
	case len(b) > maxJSON:
		r.Body = replay{io.MultiReader(bytes.NewReader(b), r.Body), r.Body}
		return none, true
	}
	r.Body = replay{bytes.NewReader(b), r.Body} // r is Observe's copy
	return &peekedBody{b}, true
}

// denyBody answers a request whose body could not be read.
func denyBody(w http.ResponseWriter, r *http.Request, err error) {
	refusal := &BodyRefusal{http.StatusBadRequest, Denial{By: "http", Reason: "bad_request", Detail: "the request body broke off", Close: true}}
	errors.As(err, &refusal)
	Deny(w, r, refusal.Status, refusal.Denial)
}

func isJSON(contentType []string) bool {
	if len(contentType) != 1 {
		return false
	}
	kind, _, _ := strings.Cut(contentType[0], ";")
	kind = strings.ToLower(textproto.TrimString(kind))
	return kind == "application/json" || strings.HasPrefix(kind, "application/") && strings.HasSuffix(kind, "+json")
}

// find is the text or whole number at a pointer, marked by its kind; "" if it is
// not there, or not in one way only: of a name that stands twice in an object
// programs take one or the other (RFC 8259 4).
func (p *peekedBody) find(pointer []string) string {
	if p == nil || len(p.document) == 0 {
		return ""
	}
	d := json.NewDecoder(bytes.NewReader(p.document))
	d.UseNumber()
	value, ok := findIn(d, pointer)
	if !ok {
		return ""
	}
	if _, err := d.Token(); err != io.EOF {
		return "" // a second document
	}
	return value
}

func findIn(d *json.Decoder, pointer []string) (value string, ok bool) {
	t, err := d.Token()
	if err != nil {
		return "", false
	}
	if len(pointer) == 0 {
		switch v := t.(type) {
		case string:
			return "s" + v, v != ""
		case json.Number:
			if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil && v.String() != "-0" { // 1.0 and 1e0 would be the same
				return "n" + v.String(), true
			}
		}
		return "", false
	}
	found := false
	switch t {
	case json.Delim('{'):
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return "", false
			}
			if name != pointer[0] {
				if skip(d) != nil {
					return "", false
				}
				continue
			}
			if found {
				return "", false
			}
			if value, found = findIn(d, pointer[1:]); !found {
				return "", false
			}
		}
	case json.Delim('['):
		for i := 0; d.More(); i++ {
			if strconv.Itoa(i) != pointer[0] {
				if skip(d) != nil {
					return "", false
				}
				continue
			}
			if value, found = findIn(d, pointer[1:]); !found {
				return "", false
			}
		}
	default:
		return "", false
	}
	if _, err := d.Token(); err != nil { // the end of the object or list
		return "", false
	}
	return value, found
}

// skip passes over one value.
func skip(d *json.Decoder) error {
	depth := 0
	for {
		t, err := d.Token()
		if err != nil {
			return err
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}
