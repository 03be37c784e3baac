package middleware

import (
	"crypto/tls"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the request and connection metrics of the process. Labels come
// from the configuration or from short fixed lists, never from a client.
type Metrics struct {
	requests      *prometheus.CounterVec
	duration      *prometheus.HistogramVec
	requestBytes  *prometheus.CounterVec
	responseBytes *prometheus.CounterVec
	responseSize  *prometheus.HistogramVec
	inFlight      *prometheus.GaugeVec
	rejected      *prometheus.CounterVec

	orgRequests *prometheus.CounterVec
	orgBytes    *prometheus.CounterVec
	orgLast     *prometheus.GaugeVec
	orgShakes   *prometheus.CounterVec

	connOpen     *prometheus.GaugeVec
	connTotal    *prometheus.CounterVec
	connRejected *prometheus.CounterVec

	handshakes        *prometheus.CounterVec
	handshakeErrors   *prometheus.CounterVec
	handshakeDuration *prometheus.HistogramVec
	mtlsRejections    *prometheus.CounterVec
	quicEvents        *prometheus.CounterVec

	limitDecisions *prometheus.CounterVec
	limited        *prometheus.CounterVec
	nearLimit      *prometheus.CounterVec
	paced          *prometheus.CounterVec
	paceWaited     *prometheus.CounterVec

	slo        *prometheus.CounterVec
	sloFirst   *prometheus.HistogramVec
	sloBytes   *prometheus.CounterVec
	sloSending *prometheus.CounterVec
	objectives *objectives

	panics     *prometheus.CounterVec
	overflow   *prometheus.CounterVec
	logDropped *prometheus.CounterVec
	logUp      *prometheus.GaugeVec

	Live Live // of the routes

	room         room
	byRequest    *handles[requestKey, prometheus.Counter]
	byRoute      *handles[routeKey, *routeHandles]
	byOrg        *handles[orgKey, *orgHandles]
	byRejection  *handles[rejectionKey, prometheus.Counter]
	byShake      *handles[shakeKey, prometheus.Counter]
	bySLO        *handles[sloKey, prometheus.Counter]
	bySLOTimes   *handles[sloTimesKey, *sloTimes]
	flights      *handles[string, prometheus.Gauge]
	byRefusal    *handles[pair, prometheus.Counter] // before routing: listener, reason
	byLimited    *handles[pair, prometheus.Counter] // policy, organization
	byHandshake  *handles[handshakeKey, prometheus.Counter]
	byTurnedAway *handles[pair, prometheus.Counter] // listener, reason
	byFailure    *handles[pair, prometheus.Counter] // listener, reason
	byListener   *handles[pair, *connHandles]       // listener, transport
}

// Unknown is the value of a label where nothing configured fits.
const Unknown = "_unknown"

// Values of labels for what has no configured name.
const (
	anonymous  = "_anonymous" // no organization was proven
	unknown    = Unknown      // nothing configured fits
	other      = "_other"     // outside the fixed list
	overflowed = "_overflow"  // the metric has too many series
)

// NewMetrics makes the metrics and registers them. It is called once per
// process: metrics survive reloads.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	// Classic buckets are few, since each is a series of every route: the bounds of
	// objectives (1 s, and 3, 5, 10 and 30 s of INSPIRE), and what is fast. Native
	// histograms have the rest.
	durations := []float64{.005, .025, .1, .25, .5, 1, 3, 5, 10, 30}
	perRoute := len(durations) + 3 + 1 // with +Inf, sum and count; a share of the route's other metrics

	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		reg.MustRegister(v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: buckets,
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, labels)
		reg.MustRegister(v)
		return v
	}
	m := &Metrics{
		requests:      counter("vazel_http_requests_total", "Completed requests. Code 499: the client left before its answer.", "listener", "route", "method", "code", "protocol"),
		duration:      histogram("vazel_http_request_duration_seconds", "Time from the head of a request to the last byte of its response.", durations, "route", "code_class"),
		requestBytes:  counter("vazel_http_request_bytes_total", "Bytes of request bodies.", "route"),
		responseBytes: counter("vazel_http_response_bytes_total", "Bytes of response bodies.", "route"),
		responseSize:  histogram("vazel_http_response_size_bytes", "Sizes of response bodies.", nil, "route"),
		inFlight:      gauge("vazel_http_requests_in_flight", "Requests that are being handled.", "listener"),
		rejected:      counter("vazel_http_requests_rejected_total", "Requests refused before a route was found.", "listener", "reason"),

		orgRequests: counter("vazel_organization_requests_total", "Requests by organization; _anonymous proved none. Outcome: ok, client_error, server_error, unauthorized, limited, blocked.", "organization", "route", "outcome"),
		orgBytes:    counter("vazel_organization_response_bytes_total", "Bytes of response bodies by organization.", "organization", "route"),
		orgLast:     gauge("vazel_organization_last_request_timestamp_seconds", "Last successful request of the organization.", "organization"),
		orgShakes:   counter("vazel_organization_handshakes_total", "TLS handshakes of connections on which an organization was proven, by key exchange; none for resumed ones of TLS 1.2.", "organization", "group"),

		connOpen:     gauge("vazel_connections_open", "Open client connections.", "listener", "transport"),
		connTotal:    counter("vazel_connections_total", "Accepted client connections.", "listener", "transport"),
		connRejected: counter("vazel_connections_rejected_total", "Client connections closed at once. Reason: per_ip_limit, global_limit, denied_network, network_list_unavailable, descriptors (the process may open no more), memory (in short supply).", "listener", "reason"),

		handshakes:        counter("vazel_tls_handshakes_total", "Completed TLS handshakes.", "listener", "version", "group", "resumed"),
		handshakeErrors:   counter("vazel_tls_handshake_errors_total", "Failed TLS handshakes. Reason: client_alert (it refused the gateway's certificate, mostly), client_closed, timeout, unsupported_version, no_shared_cipher, bad_signature, no_certificate (none to serve yet), not_tls, proxy_header, other. A bad client certificate is no such error: see vazel_mtls_rejections_total.", "listener", "reason"),
		handshakeDuration: histogram("vazel_tls_handshake_duration_seconds", "Duration of TLS handshakes; over QUIC from the first packet.", durations, "listener"),
		mtlsRejections:    counter("vazel_mtls_rejections_total", "Requests refused for their client certificate. Organization: the one that the certificate names if it is configured, else _unknown.", "listener", "organization", "reason"),

		quicEvents: counter("vazel_quic_events_total", "Packets outside of QUIC connections: retry_sent (an address has to prove itself), version_negotiation, zero_rtt_rejected.", "listener", "event"),

		limitDecisions: counter("vazel_ratelimit_decisions_total", "Decisions of rate limits, quotas, bounds on concurrency and bandwidths: allowed, limited, shadow_limited (detect), error.", "policy", "decision"),
		limited:        counter("vazel_ratelimit_limited_total", "Requests refused by rate limits, quotas and bounds on concurrency, by organization.", "policy", "organization"),
		nearLimit:      counter("vazel_ratelimit_near_limit_total", "Requests that a rate limit or quota allowed when less than a tenth of it was left.", "policy"),
		paced:          counter("vazel_bandwidth_bytes_total", "Bytes of bodies that passed under a bandwidth. Direction: down (responses), up (requests).", "policy", "direction"),
		paceWaited:     counter("vazel_bandwidth_waited_seconds_total", "Time that transfers were held back by a bandwidth.", "policy", "direction"),

		slo:        counter("vazel_slo_requests_total", "Requests of services with slo, by whether they kept what it promises: ok, slow, error, maintenance (announced). Refusals for what the client did are not counted.", "service", "profile", "operation", "result"),
		sloFirst:   histogram("vazel_slo_first_byte_seconds", "Time until responses of services with slo begin, where that is promised; of those that did not fail.", sloBuckets, "service", "profile", "operation"),
		sloBytes:   counter("vazel_slo_large_response_bytes_total", "Bytes of large responses (from 1 MiB on) for which a rate is promised.", "service", "profile", "operation"),
		sloSending: counter("vazel_slo_large_response_seconds_total", "Time that these took once they had begun.", "service", "profile", "operation"),
		objectives: newObjectives(),

		panics:     counter("vazel_panics_total", "Panics that were caught.", "component"),
		overflow:   counter("vazel_metric_overflow_total", "Observations counted under _overflow because a metric has too many series.", "metric"),
		logDropped: counter("vazel_log_records_dropped_total", "Log lines lost because a sink was too slow or failed.", "sink"),
		logUp:      gauge("vazel_log_sink_up", "1 if there is a connection to the syslog receiver of a log.", "sink"),
	}
	m.byRequest = newHandles(m, "vazel_http_requests_total", 1, requestKey{overflowed, overflowed, overflowed, overflowed, -1}, func(k requestKey) prometheus.Counter {
		return m.requests.WithLabelValues(k.listener, k.route, k.method, codeLabel(k.code), k.protocol)
	})
	m.byRoute = newHandles(m, "vazel_http_request_duration_seconds", perRoute, routeKey{overflowed, -1}, m.newRoute)
	m.byOrg = newHandles(m, "vazel_organization_requests_total", 2, orgKey{overflowed, overflowed, overflowed}, m.newOrg)
	m.byRejection = newHandles(m, "vazel_mtls_rejections_total", 1, rejectionKey{overflowed, overflowed, overflowed}, func(k rejectionKey) prometheus.Counter {
		return m.mtlsRejections.WithLabelValues(k.listener, k.organization, k.reason)
	})
	m.byShake = newHandles(m, "vazel_organization_handshakes_total", 1, shakeKey{overflowed, overflowed}, func(k shakeKey) prometheus.Counter {
		return m.orgShakes.WithLabelValues(k.organization, k.group)
	})
	m.byRefusal = newPairs(m, "vazel_http_requests_rejected_total", m.rejected)
	m.byLimited = newPairs(m, "vazel_ratelimit_limited_total", m.limited)
	m.byTurnedAway = newPairs(m, "vazel_connections_rejected_total", m.connRejected)
	m.byFailure = newPairs(m, "vazel_tls_handshake_errors_total", m.handshakeErrors)
	m.byHandshake = newHandles(m, "vazel_tls_handshakes_total", 1, handshakeKey{overflowed, 0, 0, false}, func(k handshakeKey) prometheus.Counter {
		return m.handshakes.WithLabelValues(k.listener, tls.VersionName(k.version), groupName(k.group), strconv.FormatBool(k.resumed))
	})
	m.byListener = newHandles(m, "vazel_connections_total", perRoute, pair{overflowed, overflowed}, func(k pair) *connHandles {
		return &connHandles{m.connTotal.WithLabelValues(k[0], k[1]), m.connOpen.WithLabelValues(k[0], k[1]), m.handshakeDuration.WithLabelValues(k[0])}
	})
	m.flights = newHandles(m, "vazel_http_requests_in_flight", 1, overflowed, func(listener string) prometheus.Gauge { return m.inFlight.WithLabelValues(listener) })
	m.bySLO = newHandles(m, "vazel_slo_requests_total", 1, sloKey{overflowed, overflowed, overflowed, overflowed}, func(k sloKey) prometheus.Counter {
		return m.slo.WithLabelValues(k.service, k.profile, k.operation, k.result)
	})
	m.bySLOTimes = newHandles(m, "vazel_slo_first_byte_seconds", len(sloBuckets)+5, sloTimesKey{overflowed, overflowed, overflowed, false}, m.newSLOTimes)
	reg.MustRegister(m.objectives)
	m.panics.WithLabelValues("request")
	return m
}

// Fit makes room for the series of a configuration. Clients get no more.
func (m *Metrics) Fit(routes, organizations int) { m.room.fit(routes, organizations) }

type requestKey struct {
	listener, route, method, protocol string
	code                              int // -1 for overflow
}

type routeKey struct {
	route string
	class int // status / 100; -1 for overflow
}

type routeHandles struct {
	duration, size    prometheus.Observer
	exemplar          atomic.Int64 // second of the last one
	bytesIn, bytesOut prometheus.Counter
	live              *routeLive
	usual             usual
}

type orgKey struct{ organization, route, outcome string }

type orgHandles struct {
	requests, bytes prometheus.Counter
	last            prometheus.Gauge // nil where no organization stands behind the label, or no success
}

// pair is the values of two labels, in their order.
type pair [2]string

func newPairs(m *Metrics, metric string, v *prometheus.CounterVec) *handles[pair, prometheus.Counter] {
	return newHandles(m, metric, 1, pair{overflowed, overflowed}, func(k pair) prometheus.Counter { return v.WithLabelValues(k[0], k[1]) })
}

type rejectionKey struct{ listener, organization, reason string }

func (m *Metrics) newRoute(k routeKey) *routeHandles {
	class := other
	switch {
	case k.class == -1:
		class = overflowed
	case k.class >= 1 && k.class <= 5:
		class = strconv.Itoa(k.class) + "xx"
	}
	return &routeHandles{
		duration: m.duration.WithLabelValues(k.route, class), size: m.responseSize.WithLabelValues(k.route),
		bytesIn: m.requestBytes.WithLabelValues(k.route), bytesOut: m.responseBytes.WithLabelValues(k.route),
		live: m.Live.of(k.route), usual: usual{off: k.class == -1},
	}
}

// observe notes how long a request took; once a second with its trace, if it has
// one, so that a slow request can be found.
func (h *routeHandles) observe(rec *Record) {
	took := rec.Duration.Seconds()
	if now := rec.Start.Unix(); rec.TraceFlags&1 != 0 && h.exemplar.Load() < now {
		if o, ok := h.duration.(prometheus.ExemplarObserver); ok && h.exemplar.Swap(now) < now {
			o.ObserveWithExemplar(took, prometheus.Labels{"trace_id": rec.TraceID})
			return
		}
	}
	h.duration.Observe(took)
}

func (m *Metrics) newOrg(k orgKey) *orgHandles {
	h := &orgHandles{
		requests: m.orgRequests.WithLabelValues(k.organization, k.route, k.outcome),
		bytes:    m.orgBytes.WithLabelValues(k.organization, k.route),
	}
	if k.outcome == "ok" && k.organization != anonymous && k.organization != overflowed {
		h.last = m.orgLast.WithLabelValues(k.organization)
	}
	return h
}

// begin counts a request as under way; the gauge is for counting it off.
func (m *Metrics) begin(listener string) prometheus.Gauge {
	g := m.flights.get(listener)
	g.Inc()
	return g
}

// done counts a finished request.
func (m *Metrics) done(rec *Record) {
	route := rec.Route
	if route == "" {
		route = unknown
	}
	h := m.byRoute.get(routeKey{route, rec.Status / 100})
	h.live.note(rec)
	h.observe(rec)
	h.size.Observe(float64(rec.BytesOut))
	if rec.BytesIn > 0 {
		h.bytesIn.Add(float64(rec.BytesIn))
	}
	h.bytesOut.Add(float64(rec.BytesOut))
	requests, o := h.usual.of(m, rec, route)
	requests.Inc()
	o.requests.Inc()
	o.bytes.Add(float64(rec.BytesOut))
	if o.last != nil {
		o.last.Set(float64(rec.Start.Unix()))
	}
}

// Outcome is how a request ended, as organizations' metrics tell it: ok,
// client_error, server_error, unauthorized, limited or blocked.
func (rec *Record) Outcome() string {
	if d := rec.Denial; d != nil {
		switch {
		case rec.Status == http.StatusTooManyRequests:
			return "limited"
		case d.By == "waf":
			return "blocked"
		}
	}
	switch {
	case rec.Status == http.StatusUnauthorized, rec.Status == http.StatusForbidden:
		return "unauthorized"
	case rec.Status >= 500, rec.Aborted == "gateway":
		return "server_error"
	case rec.Status >= 400:
		return "client_error"
	}
	return "ok"
}

// MethodLabel is a method that is known, or "_other".
func MethodLabel(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return other
}

func codeLabel(code int) string {
	switch {
	case code == -1:
		return overflowed
	case code < 100 || code > 599:
		return other
	}
	return strconv.Itoa(code)
}

// Rejected counts a request that was refused before its route was known.
func (m *Metrics) Rejected(listener, reason string) {
	m.byRefusal.get(pair{listener, reason}).Inc()
}

// MTLSRejected counts a request that was refused for its certificate.
// organization is the configured one that the certificate names, or "".
func (m *Metrics) MTLSRejected(listener, organization, reason string) {
	if organization == "" {
		organization = unknown
	}
	m.byRejection.get(rejectionKey{listener, organization, reason}).Inc()
}

// Panicked counts a panic that was caught.
func (m *Metrics) Panicked(component string) { m.panics.WithLabelValues(component).Inc() }
