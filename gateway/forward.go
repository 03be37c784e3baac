package gateway

import (
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/middleware"
)

// outbound adds to what goes to the upstream what only the gateway may say: who
// calls, from where, and under which id. Whatever a client wrote under one of
// these names, in any spelling, goes first. The fields stay out of the map, which
// would have to grow for them.
func outbound(r *http.Request, h http.Header, own []proxy.Field) []proxy.Field {
	for name := range h {
		if middleware.Reserved(name) {
			delete(h, name)
		}
	}
	rec := middleware.RecordOf(r.Context())
	if rec == nil {
		return own
	}
	set := func(name, value string) { own = append(own, proxy.Field{Name: name, Value: value}) }
	addr := rec.Client.String()
	set("X-Forwarded-For", addr)
	set("X-Forwarded-Proto", "https")
	set("X-Forwarded-Host", r.Host)
	set("Forwarded", forwarded(rec.Client, addr, r.Host))
	set(middleware.HeaderRequestID, rec.ID)
	set("Traceparent", traceparent(rec))
	if rec.TraceState != "" {
		set("Tracestate", rec.TraceState)
	}
	if rec.Organization != "" {
		set(middleware.HeaderOrganization, rec.Organization)
		set(middleware.HeaderOrganizationID, rec.Identity.ID)
		if ex := exchangeOf(r.Context()); ex != nil {
			set(middleware.HeaderClientCert, ex.clientCert)
		}
	}
	return own
}

// forwarded is the field of RFC 7239.
func forwarded(client netip.Addr, addr, host string) string {
	var b strings.Builder
	b.Grow(len(addr) + len(host) + 32)
	b.WriteString("for=")
	if client.Is6() {
		b.WriteString(`"[`)
		b.WriteString(addr)
		b.WriteString(`]"`)
	} else {
		b.WriteString(addr)
	}
	b.WriteString(`;host="`)
	b.WriteString(host) // checked by canonicalHost: no quotes
	b.WriteString(`";proto=https`)
	return b.String()
}

func traceparent(rec *middleware.Record) string {
	const hex = "0123456789abcdef"
	span := rec.SpanID
	if rec.UpstreamSpanID != "" {
		span = rec.UpstreamSpanID
	}
	return "00-" + rec.TraceID + "-" + span + "-" + string([]byte{hex[rec.TraceFlags>>4], hex[rec.TraceFlags&15]})
}

// clientCert is the leaf as RFC 9440 wants it: a byte sequence of RFC 8941.
func clientCert(id certs.Identity) string {
	if id.Leaf == nil {
		return ""
	}
	return ":" + base64.StdEncoding.EncodeToString(id.Leaf.Raw) + ":"
}
