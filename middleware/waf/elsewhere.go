package waf

import (
	"net/url"
	"strings"

	"github.com/corazawaf/coraza/v3/collection"
)

// Applications take values from more than parameters: from segments of the path,
// as addresses of resources have them, and from fields of the header that are
// their own. Most rules look at neither. What is not plain words there is shown to
// them as a parameter of that name.
const (
	pathName   = "url.path"
	headerName = "header."
)

// elsewhere adds such values.
func elsewhere(r *Request, c collection.Map) error {
	n := 0
	var d decoder // a word may be Base64
	add := func(name, v string) {
		if _, plain := words(v); plain {
			d.value(name, v, 0)
		} else if n++; n <= MaxArguments {
			c.Add(apart(name), v)
		}
	}
	path, _, _ := strings.Cut(r.URI, "?")
	if _, rest, ok := strings.Cut(path, "://"); ok { // in absolute form
		_, path, _ = strings.Cut(rest, "/")
	}
	for segment := range strings.SplitSeq(path, "/") {
		if len(segment) < minBase64 && !strings.ContainsAny(segment, "%;'\"<>()|&$`{}=*!\\") {
			continue
		}
		if s, err := url.PathUnescape(segment); err == nil {
			segment = s
		}
		add(pathName, segment)
		if name, value, ok := strings.Cut(segment, "="); ok && strings.Contains(name, ";") { // ;jsessionid=...
			add(pathName, value)
		}
	}
	for name, values := range r.Header {
		if !ownField(name) {
			continue
		}
		for _, v := range values {
			add(headerName+strings.ToLower(name), v)
		}
	}
	if n > MaxArguments {
		return tooManyArguments(n)
	}
	for _, a := range d.out {
		c.Add(apart(a.key), a.value)
	}
	return d.err()
}

// ownField reports whether a field of the header is none of those that browsers,
// programs and proxies send of themselves.
func ownField(name string) bool {
	for _, p := range []string{"Sec-", "Accept", "Content-", "If-", "Access-Control-", "X-Forwarded-", "X-B3-", "X-Amz"} {
		if strings.HasPrefix(name, p) {
			return false
		}
	}
	return !commonFields[strings.ToLower(name)]
}

var commonFields = set1("host user-agent referer origin cookie authorization proxy-authorization connection keep-alive upgrade upgrade-insecure-requests cache-control pragma date via te trailer transfer-encoding range priority dnt expect max-forwards from warning soapaction traceparent tracestate baggage sentry-trace x-requested-with vsdebuggercausalitydata activityid client-cert client-cert-chain forwarded early-data save-data device-memory downlink ect rtt viewport-width width dpr http2-settings x-real-ip x-request-id x-correlation-id x-http-method-override odata-version odata-maxversion maxdataserviceversion dataserviceversion")
