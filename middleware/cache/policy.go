package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Directives are those of Cache-Control (RFC 9111 5.2). A number is -1 where the
// directive is missing; one that can't be read is 0, which is the safe reading.
type Directives struct {
	NoStore, NoCache, Private, Public, MustRevalidate, MustUnderstand, OnlyIfCached bool

	MaxAge, SMaxAge, StaleIfError, MinFresh time.Duration
	MaxStale                                time.Duration // without a value: the longest
}

const forever = time.Duration(1<<63 - 1)

// DirectivesOf reads the Cache-Control fields of a message. A directive with an
// argument that narrows it, such as private="Set-Cookie", counts as the whole one.
func DirectivesOf(h http.Header) Directives {
	d := Directives{MaxAge: -1, SMaxAge: -1, StaleIfError: -1, MinFresh: -1, MaxStale: -1}
	for _, v := range h["Cache-Control"] {
		for _, item := range split(v) {
			name, value, has := strings.Cut(item, "=")
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store":
				d.NoStore = true
			case "no-cache":
				d.NoCache = true
			case "private":
				d.Private = true
			case "public":
				d.Public = true
			case "must-revalidate", "proxy-revalidate":
				d.MustRevalidate = true
			case "only-if-cached":
				d.OnlyIfCached = true
			case "must-understand":
				d.MustUnderstand = true
			case "max-age":
				d.MaxAge = least(d.MaxAge, seconds(value))
			case "s-maxage":
				d.SMaxAge = least(d.SMaxAge, seconds(value))
			case "stale-if-error":
				d.StaleIfError = least(d.StaleIfError, seconds(value))
			case "min-fresh":
				d.MinFresh = seconds(value)
			case "max-stale":
				if d.MaxStale = forever; has {
					d.MaxStale = seconds(value)
				}
			}
		}
	}
	return d
}

// least is the smaller of two values of a directive that occurs twice.
func least(a, b time.Duration) time.Duration {
	if a >= 0 && a < b {
		return a
	}
	return b
}

// split separates the items of a list, in which commas inside quotes are text.
func split(s string) []string {
	var l []string
	from, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case quoted && s[i] == '\\':
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			l = append(l, s[from:i])
			from = i + 1
		}
	}
	return append(l, s[from:])
}

// seconds reads delta-seconds (RFC 9111 1.2.2).
func seconds(s string) time.Duration {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || s[0] == '+' {
		if len(s) > 18 && strings.Trim(s, "0123456789") == "" {
			return 1 << 31 * time.Second
		}
		return 0
	}
	return time.Duration(min(n, 1<<31)) * time.Second
}

// Policy is what the header of a response says of keeping it.
type Policy struct {
	Directives
	Lifetime time.Duration // from its Date on
	Explicit bool          // said, not guessed
	Date     time.Time
	Age      time.Duration // at the time when it came
}

// maxHeuristic bounds a lifetime that was guessed.
const maxHeuristic = 24 * time.Hour

// PolicyOf judges a response that came at the time received to a request that
// was sent at the time requested.
func PolicyOf(status int, h http.Header, requested, received time.Time) Policy {
	p := Policy{Directives: DirectivesOf(h), Date: received}
	if t, err := http.ParseTime(h.Get("Date")); err == nil {
		p.Date = t
	}
	apparent := max(received.Sub(p.Date), 0)
	age := time.Duration(0)
	if v := h["Age"]; len(v) > 0 {
		first, _, _ := strings.Cut(v[0], ",")
		age = seconds(strings.TrimSpace(first))
	}
	p.Age = max(apparent, age+received.Sub(requested)) // RFC 9111 4.2.3
	switch expires, has := h["Expires"]; {
	case p.SMaxAge >= 0:
		p.Lifetime, p.Explicit = p.SMaxAge, true
		p.MustRevalidate = true // 5.2.2.10
	case p.MaxAge >= 0:
		p.Lifetime, p.Explicit = p.MaxAge, true
	case has:
		p.Explicit = true
		if t, err := http.ParseTime(expires[0]); err == nil && len(expires) == 1 {
			p.Lifetime = max(t.Sub(p.Date), 0)
		}
	case heuristic[status] || p.Public:
		if t, err := http.ParseTime(h.Get("Last-Modified")); err == nil && t.Before(p.Date) {
			p.Lifetime = min(p.Date.Sub(t)/10, maxHeuristic)
		}
	}
	return p
}

// heuristic lists the statuses that may be kept without being told to (RFC 9110 15.1).
var heuristic = map[int]bool{200: true, 203: true, 204: true, 300: true, 301: true, 308: true, 404: true, 405: true, 410: true, 414: true, 501: true}

// understood lists the statuses whose rules of keeping are known here (RFC 9111
// 5.2.2.3).
var understood = map[int]bool{
	200: true, 203: true, 204: true, 300: true, 301: true, 302: true, 303: true, 307: true, 308: true, 403: true, 404: true,
	405: true, 410: true, 414: true, 500: true, 501: true, 502: true, 503: true, 504: true,
}

// unkeyed lists the statuses that are the answer to something of the request that
// no key holds: its preconditions, its size, its form, its sender. Whoever could
// have them kept could keep everybody else from a resource.
var unkeyed = map[int]bool{
	400: true, 401: true, 402: true, 406: true, 407: true, 408: true, 409: true, 411: true, 412: true, 413: true, 415: true, 416: true,
	417: true, 421: true, 422: true, 425: true, 426: true, 428: true, 429: true, 431: true, 505: true, 511: true,
}

// SameTag reports whether two responses can be of one representation by their
// entity tags, as far as they have any (RFC 9110 8.8.3.2).
func SameTag(a, b []string) bool {
	return len(a) != 1 || len(b) != 1 || strings.TrimPrefix(a[0], "W/") == strings.TrimPrefix(b[0], "W/")
}

// Storable reports whether a response may be kept at all, to a request that said
// nothing of who sent it. personal says that it did.
func (p *Policy) Storable(status int, h http.Header, personal bool) bool {
	switch {
	case status < 200 || status == http.StatusPartialContent || status == http.StatusNotModified:
		return false
	case unkeyed[status]:
		return false
	case p.MustUnderstand && !understood[status]:
		return false
	case p.NoStore && !p.MustUnderstand || p.Private || personal && !p.Public:
		return false
	case h["Set-Cookie"] != nil: // meant for one client, whatever else it says
		return false
	}
	for _, v := range h["Vary"] {
		if strings.Contains(v, "*") {
			return false
		}
	}
	if !p.Explicit && !p.Public && !heuristic[status] {
		return false
	}
	// What is never fresh and can't be asked for again is of no use.
	return p.Lifetime > 0 && !p.NoCache || Validators(h)
}

// Validators reports whether a response can be asked for again by its ETag or
// Last-Modified.
func Validators(h http.Header) bool {
	return h["Etag"] != nil || h["Last-Modified"] != nil
}

// AgeAt is the age of a response (RFC 9111 4.2.3).
func (r *Response) AgeAt(now time.Time) time.Duration {
	return r.Policy.Age + max(now.Sub(r.Received), 0)
}

// FreshFor is how long a response stays fresh; negative is how long ago it
// became stale.
func (r *Response) FreshFor(now time.Time) time.Duration {
	return r.Policy.Lifetime - r.AgeAt(now)
}

// Fresh reports whether a response answers a request without asking the
// upstream.
func (r *Response) Fresh(now time.Time, request Directives) bool {
	if r.Policy.NoCache || request.NoCache {
		return false
	}
	left := r.FreshFor(now)
	if request.MaxAge >= 0 && r.AgeAt(now) > request.MaxAge {
		return false
	}
	if left < max(request.MinFresh, 0) {
		return !r.Policy.MustRevalidate && request.MaxStale >= 0 && request.MinFresh <= 0 && -left <= request.MaxStale
	}
	return left > 0
}

// StaleOnError reports whether a stale response is better than the failure of
// the upstream. most is what the configuration allows where the response says
// nothing.
func (r *Response) StaleOnError(now time.Time, most time.Duration) bool {
	if r.Policy.MustRevalidate || r.Policy.NoCache {
		return false
	}
	if r.Policy.StaleIfError >= 0 {
		most = r.Policy.StaleIfError
	}
	return -r.FreshFor(now) <= most
}

// Renewed is r after the upstream has said that it did not change (RFC 9111 4.3.4).
func (r *Response) Renewed(h http.Header, requested, received time.Time) Response {
	n := *r
	n.Header = make(http.Header, len(r.Header))
	for k, v := range r.Header {
		n.Header[k] = v
	}
	for k, v := range h {
		switch k {
		case "Content-Length", "Content-Encoding", "Content-Type", "Content-Range", "Set-Cookie", "Trailer", "Transfer-Encoding":
		default:
			n.Header[k] = v
		}
	}
	if h["Age"] == nil {
		delete(n.Header, "Age")
	}
	n.Requested, n.Received = requested, received
	n.Policy = PolicyOf(n.Status, n.Header, requested, received)
	return n
}
