package middleware

import (
	"context"
	"net/netip"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// Record is everything that is known of one request. Observe makes it, every
// policy on the way adds what it decided, and on the way out metrics, access
// log and audit read this one Record, so that they can't disagree.
//
// It belongs to the goroutine that serves the request and must not be kept
// after the handler has returned.
type Record struct {
	ID       string    // incident and request id: 32 lower-case hex digits
	Start    time.Time // first byte of the request, as near as can be known
	Listener string    // configured address
	Protocol string    // "h1", "h2", "h3"

	Peer   netip.AddrPort // the other end of the connection, or what PROXY protocol said
	Client netip.Addr     // settled client address, behind trusted proxies too

	Method string // as sent; labels use MethodLabel
	Host   string // canonical: lower case, no port, no trailing dot
	Path   string // canonical path, what was decided on and is forwarded

	Service string // configured names; empty before routing
	Route   string
	Errors  string // form of the route's refusals

	Identity     certs.Identity // what the client certificate proved, if it was asked for
	Organization string         // proven organization, or ""
	OrgName      string         // its name for people

	Denial            *Denial       // set by Deny
	Would             *BodyRefusal  // what a policy in mode detect would have refused the request with: the first one
	Status            int           // final status that went to the client; 0 = none yet; 499 = the client left before
	Aborted           string        // who broke the response off after it had begun: "client", "gateway", or ""
	BytesIn, BytesOut int64         // of bodies; settled when the request is done
	Duration          time.Duration // until the response was written; settled when the request is done

	Timed     bool          // slo asks when the response begins
	FirstByte time.Duration // until then, if Timed
	Operation string        // what the body of a request asks an OGC service for, if slo looked

	OGCService, OGCVersion string // what an XML body says that it is for, if a policy looked

	Upstream         string        // configured upstream (service) name
	UpstreamServer   string        // address of the server that answered last
	UpstreamStart    time.Time     // when the request was passed on; zero if it was not
	UpstreamDuration time.Duration // until its response head
	UpstreamError    string        // reason of METRICS.md's upstream errors, or ""
	Attempts         int

	RateLimitPolicy   string // name of the policy that decided last
	RateLimitDecision string // "allowed", "limited", "shadow_limited", "error"

	TraceID, SpanID string // W3C trace context, always set
	ParentID        string // span of the trusted proxy that the request came from, or ""
	UpstreamSpanID  string // of the call to the upstream; only if the request is sampled and spans are exported
	TraceFlags      byte
	TraceState      string
	LinkTraceID     string // what a sender that is not trusted says in its traceparent, or ""
	LinkSpanID      string

	InspectionMode     string // "block", "detect", or "" if nothing was inspected
	InspectionScore    int
	InspectionRules    []int
	InspectionCategory string
	InspectionOutcome  string      // "block", "detect" if it would have been blocked, or "" if it passed
	InspectionGuard    string      // reason of a body that was, or in detect mode would have been, refused before the rules
	InspectionMatches  []waf.Match // what the rules found, masked

	Cache string // what the cache did: "hit", "miss", "stale" and so on, or "" without one

	Panic bool // a handler panicked

	done []func(*Record)
}

// AfterRequest has f called with the finished Record.
func (rec *Record) AfterRequest(f func(*Record)) { rec.done = append(rec.done, f) }

// would notes what a policy in mode detect would have answered.
func (rec *Record) would(status int, d Denial) {
	if rec.Would == nil {
		rec.Would = &BodyRefusal{status, d}
	}
}

type recordKey struct{}

// WithRecord returns a context that carries rec.
func WithRecord(ctx context.Context, rec *Record) context.Context {
	return context.WithValue(ctx, recordKey{}, rec)
}

// RecordOf is the Record of the request that ctx belongs to. It is nil outside
// of Observe.
func RecordOf(ctx context.Context) *Record {
	rec, _ := ctx.Value(recordKey{}).(*Record)
	return rec
}
