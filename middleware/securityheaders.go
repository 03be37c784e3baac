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
	// Frame says whose pages may show the response in a frame: sameorigin, deny, or off for everybody; default: sameorigin, unless the upstream's own policy names others (frame-ancestors).
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
	hsts      []string
	maxAge    int64
	below     bool
	nosniff   []string
	frame     []string
	framers   int // the least that an upstream may say of it, where the configuration says so in words
	ancestors []string
	referrer  []string
	rank      int
	csp       []string // beside the upstream's
	fallback  []string // where the upstream has none
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
		s.frame, ancestors = []string{"SAMEORIGIN"}, "frame-ancestors 'self'"
	case "deny":
		s.frame, ancestors = []string{"DENY"}, "frame-ancestors 'none'"
	case "off":
	default:
		return nil, fmt.Errorf("frame: %q is not sameorigin, deny or off", p.Frame)
	}
	switch p.Frame {
	case "sameorigin":
		s.framers, s.ancestors = framersSelf, []string{ancestors}
	case "deny":
		s.framers, s.ancestors = framersNone, []string{ancestors}
	}
	if ancestors != "" {
		ancestors += "; "
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
	if s.hsts != nil {
		h["Strict-Transport-Security"] = s.strictTransport(h["Strict-Transport-Security"])
	}
	if s.nosniff != nil {
		h["X-Content-Type-Options"] = s.nosniff
	}
	own := h["Content-Security-Policy"]
	said := framers(own)
	if s.frame != nil && said == framersUnsaid && !framesDenied(h["X-Frame-Options"]) {
		h["X-Frame-Options"] = s.frame
	}
	if s.referrer != nil && !s.strictReferrer(h["Referrer-Policy"]) {
		h["Referrer-Policy"] = s.referrer
	}
	switch {
	case s.csp != nil: // both hold
		own = append(own[:len(own):len(own)], s.csp...)
	case s.fallback != nil && empty(own):
		own = s.fallback
	}
	if said != framersUnsaid && said < s.framers { // browsers hold to all policies
		own = append(own[:len(own):len(own)], s.ancestors...)
	}
	if own != nil {
		h["Content-Security-Policy"] = own
	}
}

func empty(fields []string) bool {
	for _, v := range fields {
		if strings.Trim(v, " \t,;") != "" {
			return false
		}
	}
	return true
}

// framesDenied reports whether the upstream lets nobody frame the response. Browsers
// take several values that differ for that as well, if one of them is known.
func framesDenied(options []string) bool {
	for _, v := range options {
		for o := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(o), "DENY") {
				return true
			}
		}
	}
	return false
}

// transport is what a Strict-Transport-Security field asks for.
type transport struct {
	age            int64
	below, preload bool
}

// readTransport reads the field as browsers do (RFC 6797 6.1, 8.1): only the first
// one counts, and one with a directive twice or a malformed age not at all.
func readTransport(fields []string) (t transport, ok bool) {
	if len(fields) == 0 {
		return t, false
	}
	seen := map[string]bool{}
	for d := range strings.SplitSeq(fields[0], ";") {
		name, value, _ := strings.Cut(d, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if seen[name] && name != "" {
			return t, false
		}
		seen[name] = true
		switch name {
		case "max-age":
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			n, err := strconv.ParseUint(value, 10, 63)
			if err != nil {
				return t, false
			}
			t.age = int64(n)
		case "includesubdomains":
			t.below = true
		case "preload":
			t.preload = true
		}
	}
	return t, seen["max-age"]
}

// strictTransport is the field that asks for whatever either side asks for; the
// upstream's own, if that is it.
func (s *security) strictTransport(own []string) []string {
	t, ok := readTransport(own)
	if !ok {
		return s.hsts
	}
	if t.age >= s.maxAge && (t.below || !s.below) {
		return own[:1]
	}
	if !t.below && !t.preload {
		return s.hsts
	}
	v := "max-age=" + strconv.FormatInt(max(t.age, s.maxAge), 10)
	if t.below || s.below {
		v += "; includeSubDomains"
	}
	if t.preload {
		v += "; preload"
	}
	return []string{v}
}

// Who may frame a response, by a policy: its directive frame-ancestors.
const (
	framersUnsaid = iota
	framersOthers
	framersSelf
	framersNone
)

// framers is the strictest of what policies say of who may frame the response.
// Where they say anything, browsers look at nothing else.
func framers(csp []string) int {
	strictest := framersUnsaid
	for _, v := range csp {
		for policy := range strings.SplitSeq(v, ",") {
			for d := range strings.SplitSeq(policy, ";") {
				words := strings.Fields(d)
				if len(words) == 0 || !strings.EqualFold(words[0], "frame-ancestors") {
					continue
				}
				who := framersOthers
				switch sources := words[1:]; {
				case len(sources) == 0 || len(sources) == 1 && strings.EqualFold(sources[0], "'none'"):
					who = framersNone
				case len(sources) == 1 && strings.EqualFold(sources[0], "'self'"):
					who = framersSelf
				}
				strictest = max(strictest, who)
				break // of several directives of a policy the first counts
			}
		}
	}
	return strictest
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
