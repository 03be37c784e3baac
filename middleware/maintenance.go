package middleware

import (
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vazel-gateway/vazel/config/unit"
)

// Maintenance answers 503 instead of forwarding, so that a service can be taken
// down on purpose and says so.
type Maintenance struct {
	// Active answers every request with 503; default: false.
	Active bool `yaml:"active"`
	// RetryAfter is when clients are told to come back; default: 5m.
	RetryAfter unit.Duration `yaml:"retry_after"`
	// Except lists organizations that are let through all the same, to try the service.
	Except unit.List `yaml:"except"`
	// English is a sentence for people, in place of the general one.
	English string `yaml:"en"`
	// Bulgarian is the same sentence in Bulgarian.
	Bulgarian string `yaml:"bg"`
}

// maxSentence bounds the sentences of Maintenance, in characters.
const maxSentence = 500

// Check says what is wrong with p.
func (p *Maintenance) Check() error {
	for _, s := range []string{p.English, p.Bulgarian} {
		if utf8.RuneCountInString(s) > maxSentence || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("write one line of at most %d characters", maxSentence)
		}
	}
	return nil
}

// Build makes the handler. A nil p makes none.
func (p *Maintenance) Build(env Env) (Func, error) {
	if p == nil {
		return nil, nil
	}
	if err := p.Check(); err != nil {
		return nil, err
	}
	if !p.Active {
		return nil, nil
	}
	except := map[string]bool{}
	for _, o := range p.Except {
		if _, ok := env.Callers[o]; !ok {
			return nil, fmt.Errorf("except: organization %q is not defined", o)
		}
		except[o] = true
	}
	text := textOf("maintenance", http.StatusServiceUnavailable)
	if p.English != "" {
		text.English.Explanation = p.English
	}
	if p.Bulgarian != "" {
		text.Bulgarian.Explanation = p.Bulgarian
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if o := RecordOf(r.Context()).Organization; o != "" && except[o] {
				next.ServeHTTP(w, r)
				return
			}
			Deny(w, r, http.StatusServiceUnavailable, Denial{By: "maintenance", Reason: "maintenance", RetryAfter: p.RetryAfter.Or(5 * time.Minute), Text: &text})
		})
	}, nil
}
