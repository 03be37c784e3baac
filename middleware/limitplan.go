package middleware

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// plan is the limits of one organization on a route, or of anonymous callers.
type plan struct {
	slots     []slot
	readsBody bool
	field     []string // RateLimit-Policy; nil where only shadows count
}

// keyBy is what a limit counts a caller by.
type keyBy int

const (
	byFixed   keyBy = iota // the configured key
	byNetwork              // the address
	byHeader               // a request field
	byJSON                 // a value in the body
)

// slot is one limit as it counts for a caller.
type slot struct {
	l         *limiter
	by        keyBy
	key       limit.Key // if fixed
	partition string    // who shares it, for problem documents
	pk        string    // partition key parameter of header fields
}

// everybody is the key of what all callers share, and unnamed of what callers
// without an organization share.
const (
	everybody = "_all"
	unnamed   = anonymous
)

// newPlan puts the limits of one organization together; "" for anonymous callers.
func newPlan(limiters []*limiter, organization string) (*plan, error) {
	if len(limiters) > limit.MaxUses {
		return nil, fmt.Errorf("%d rate limits and quotas count for one request; at most %d can", len(limiters), limit.MaxUses)
	}
	p := &plan{}
	field := ""
	for _, l := range limiters {
		s := slot{l: l, partition: l.per}
		switch {
		case l.header != "":
			s.by = byHeader
		case l.pointer != nil:
			s.by = byJSON
		case l.per == perService || l.per == perRoute:
			s.key = l.policy.Configured(everybody)
		case l.per == perOrganization && organization != "":
			s.key = l.policy.Configured(organization)
			// Who it is he knows; an address is never repeated.
			s.pk = ";pk=:" + base64.StdEncoding.EncodeToString([]byte(organization)) + ":"
		case l.per == perOrganization && l.period != 0:
			s.key = l.policy.Configured(unnamed) // no address is kept on disk
		case l.per == perOrganization || l.per == perClientIP:
			s.by, s.partition = byNetwork, perClientIP
		default:
			return nil, fmt.Errorf("per: %q is not client_ip, organization, service, route, header:NAME or json:/POINTER", l.per)
		}
		p.readsBody = p.readsBody || s.by == byJSON
		p.slots = append(p.slots, s)
		if l.shadow {
			continue
		}
		if field != "" {
			field += ", "
		}
		field += fmt.Sprintf("%s;q=%d;w=%d%s", l.quotedID, l.rate.Burst, l.window, s.pk)
	}
	if field != "" {
		p.field = []string{field}
	}
	return p, nil
}

// tightest is the limit that a client comes up against first: the one that
// makes him wait longest, else the one that leaves him least. A shadow is it only
// where nothing else counts.
func (p *plan) tightest(uses []limit.Use) int {
	t := -1
	for i := range uses {
		if uses[i].Shadow {
			continue
		}
		if t < 0 {
			t = i
			continue
		}
		a, b := &uses[i].Decision, &uses[t].Decision
		if a.RetryAfter != b.RetryAfter {
			if a.RetryAfter > b.RetryAfter {
				t = i
			}
		} else if a.Remaining < b.Remaining || a.Remaining == b.Remaining && a.Reset > b.Reset {
			t = i
		}
	}
	return max(t, 0)
}

// left is the RateLimit field: of each limit what remains, and when there will be
// more (draft-ietf-httpapi-ratelimit-headers-10, 4.1). The tightest comes first,
// for clients that read one; a refusal has only those that refused, so that
// Retry-After is not before any of them.
func (p *plan) left(uses []limit.Use, allowed bool) string {
	b := make([]byte, 0, 256)
	first := p.tightest(uses)
	b = p.appendLeft(b, uses, first)
	for i := range uses {
		if i != first && !uses[i].Shadow && (allowed || !uses[i].Decision.Allowed) {
			b = p.appendLeft(append(b, ", "...), uses, i)
		}
	}
	return string(b)
}

func (p *plan) appendLeft(b []byte, uses []limit.Use, i int) []byte {
	d := &uses[i].Decision
	b = append(b, p.slots[i].l.quotedID...)
	b = append(b, ";r="...)
	b = strconv.AppendInt(b, d.Remaining, 10)
	b = append(b, ";t="...)
	b = strconv.AppendInt(b, ceilSeconds(d.Reset), 10)
	return append(b, p.slots[i].pk...)
}

// tellLimit adds one more limit to RateLimit-Policy and RateLimit: a bound that is
// not counted by the second. The policy is an item as it stands in the field, and pk
// its partition key.
func tellLimit(h http.Header, name, policy string, left, reset int64, pk string) {
	item := name + ";r=" + strconv.FormatInt(max(left, 0), 10)
	if reset > 0 {
		item += ";t=" + strconv.FormatInt(reset, 10)
	}
	item += pk
	for _, f := range [2][2]string{{"Ratelimit-Policy", policy}, {"Ratelimit", item}} {
		if v := h[f[0]]; len(v) == 1 {
			f[1] = v[0] + ", " + f[1]
		}
		h[f[0]] = []string{f[1]}
	}
}

// sfString is a String of RFC 9651 3.3.3. What it can't hold becomes a question
// mark.
func sfString(s string) string {
	b := make([]byte, 0, len(s)+2)
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
