package middleware

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// SecurityHeaders tells browsers what they must not do with a response. What the
// upstream says of it stays wherever it is as strict or stricter.
type SecurityHeaders struct {
	// HSTS is how long browsers shall ask the host over https only (Strict-Transport-Security), or off; default: 365d.
	HSTS string `yaml:"hsts"`
	// HSTSSubdomains extends that to all names below the host; default: false.
	HSTSSubdomains bool `yaml:"hsts_subdomains"`
	// ContentType is nosniff (browsers must not guess another type than Content-Type says) or off; default: nosniff.
	ContentType string `yaml:"content_type"`
	// Frame says whose pages may show the response in a frame: sameorigin, deny, or off for everybody; default: sameorigin.
	Frame string `yaml:"frame"`
	// Referrer is what browsers tell other sites about the page that a link was on (Referrer-Policy), or off; default: strict-origin-when-cross-origin.
	Referrer string `yaml:"referrer"`
	// CSP is a Content-Security-Policy that holds beside the upstream's own, or off. Default: where the upstream has none, only what frame says, and base-uri 'self'.
	CSP string `yaml:"csp"`
}

// referrerPolicies are those of the Referrer Policy standard, the strictest first.
var referrerPolicies = []string{
	"no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin", "origin", "origin-when-cross-origin",
	"no-referrer-when-downgrade", "unsafe-url",
}

// ReferrerPolicies lists the values of referrer.
func ReferrerPolicies() []string { return append(slices.Clone(referrerPolicies), "off") }

// security is SecurityHeaders, resolved; nil values are not sent.
type security struct {
	hsts     []string
	maxAge   int64
	below    bool
	nosniff  []string
	frame    []string
	referrer []string
	rank     int
	csp      []string // beside the upstream's
	fallback []string // where the upstream has none
}

// Build makes the handler. A nil p makes none.
func (p *SecurityHeaders) Build(Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	s, err := p.resolve()
	if err != nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&headWriter{ResponseWriter: w, edit: s.edit}, r)
		})
	}, nil
}

// Check says what is wrong with p.
func (p *SecurityHeaders) Check() error {
	_, err := p.resolve()
	return err
}

func (p *SecurityHeaders) resolve() (*security, error) {
	s := &security{}
	switch p.HSTS {
	case "off":
	default:
		age := unit.Duration(365 * 24 * time.Hour)
		if p.HSTS != "" {
			if err := age.UnmarshalText([]byte(p.HSTS)); err != nil {
				return nil, fmt.Errorf("hsts: %w, or off", err)
			}
		}
		s.maxAge, s.below = int64(age.Std()/time.Second), p.HSTSSubdomains
		v := "max-age=" + strconv.FormatInt(s.maxAge, 10)
		if s.below {
			v += "; includeSubDomains"
		}
		s.hsts = []string{v}
	}
	switch p.ContentType {
	case "", "nosniff":
		s.nosniff = []string{"nosniff"}
	case "off":
	default:
		return nil, fmt.Errorf("content_type: %q is not nosniff or off", p.ContentType)
	}
	ancestors := ""
	switch p.Frame {
	case "", "sameorigin":
		s.frame, ancestors = []string{"SAMEORIGIN"}, "frame-ancestors 'self'; "
	case "deny":
		s.frame, ancestors = []string{"DENY"}, "frame-ancestors 'none'; "
	case "off":
	default:
		return nil, fmt.Errorf("frame: %q is not sameorigin, deny or off", p.Frame)
	}
	referrer := p.Referrer
	if referrer == "" {
		referrer = "strict-origin-when-cross-origin"
	}
	if referrer != "off" {
		if s.rank = slices.Index(referrerPolicies, referrer); s.rank < 0 {
			return nil, fmt.Errorf("referrer: %q is not a policy; write %s or off", referrer, strings.Join(referrerPolicies, ", "))
		}
		s.referrer = []string{referrer}
	}
	switch {
	case p.CSP == "off":
	case p.CSP == "":
		s.fallback = []string{ancestors + "base-uri 'self'"}
	case strings.ContainsFunc(p.CSP, func(r rune) bool { return r < ' ' || r >= 0x7f || r == ',' }):
		return nil, fmt.Errorf("csp holds a comma or a character other than printable ASCII")
	default:
		s.csp = []string{p.CSP}
	}
	return s, nil
}

// edit adds to the head of a response what is missing or not strict enough.
func (s *security) edit(status int, h http.Header) {
	if status < 200 {
		return
	}
	if s.hsts != nil && !s.strictTransport(h["Strict-Transport-Security"]) {
		h["Strict-Transport-Security"] = s.hsts
	}
	if s.nosniff != nil {
		h["X-Content-Type-Options"] = s.nosniff
	}
	own := h["Content-Security-Policy"]
	if s.frame != nil && !framesSaid(own) {
		if v := h["X-Frame-Options"]; len(v) != 1 || !strings.EqualFold(v[0], "DENY") {
			h["X-Frame-Options"] = s.frame
		}
	}
	if s.referrer != nil && !s.strictReferrer(h["Referrer-Policy"]) {
		h["Referrer-Policy"] = s.referrer
	}
	switch {
	case s.csp != nil: // both hold
		h["Content-Security-Policy"] = append(own[:len(own):len(own)], s.csp...)
	case s.fallback != nil && own == nil:
		h["Content-Security-Policy"] = s.fallback
	}
}

// strictTransport reports whether the upstream's own field asks for at least as
// much.
func (s *security) strictTransport(v []string) bool {
	if len(v) != 1 {
		return false // of several fields only the first counts (RFC 6797 8.1)
	}
	age, below := int64(-1), false
	for d := range strings.SplitSeq(v[0], ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(d), "=")
		switch {
		case strings.EqualFold(name, "max-age"):
			n, err := strconv.ParseInt(strings.Trim(value, `"`), 10, 64)
			if err != nil {
				return false
			}
			age = n
		case strings.EqualFold(name, "includeSubDomains"):
			below = true
		}
	}
	return age >= s.maxAge && (below || !s.below)
}

// framesSaid reports whether a policy already says who may frame the response;
// browsers then look at nothing else.
func framesSaid(csp []string) bool {
	for _, v := range csp {
		for d := range strings.SplitSeq(v, ";") {
			if d = strings.TrimSpace(d); len(d) >= len("frame-ancestors") && strings.EqualFold(d[:len("frame-ancestors")], "frame-ancestors") {
				return true
			}
		}
	}
	return false
}

// strictReferrer reports whether the upstream's own policy tells no more. The
// last value that a browser knows counts.
func (s *security) strictReferrer(v []string) bool {
	rank := -1
	for _, f := range v {
		for t := range strings.SplitSeq(f, ",") {
			if i := slices.Index(referrerPolicies, strings.ToLower(strings.TrimSpace(t))); i >= 0 {
				rank = i
			}
		}
	}
	return rank >= 0 && rank <= s.rank
}
