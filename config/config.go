// Package config owns the configuration language: it reads the YAML files of a
// node, applies defaults and profiles, checks everything that can be checked
// without running, and says what is wrong with line, column and suggestion.
//
// The settings themselves are declared by the packages that act on them; what
// stands here is the frame that holds them together.
package config

import (
	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/gateway/store"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/addresses"
	"github.com/vazel-gateway/vazel/middleware/tracing"
)

// File is what one YAML file may hold. Only the main file may hold the keys
// other than organizations, profiles and services.
type File struct {
	// Version is the version of the configuration language: 1. Required in the main file.
	Version int `yaml:"version"`
	// Include lists patterns of further files, relative to this one, read in the order of their names.
	Include unit.List `yaml:"include"`
	// Listen lists the addresses on which clients are served.
	Listen []Listen `yaml:"listen"`
	// TrustedProxies lists the networks whose PROXY protocol and X-Forwarded-For headers are believed; default: none.
	TrustedProxies []unit.Prefix `yaml:"trusted_proxies"`
	// AddressSets are named lists of networks, from files and URLs, for deny_from and allow_from.
	AddressSets map[string]addresses.Source `yaml:"address_sets"`
	// DenyFrom lists the networks (names of address_sets, addresses and networks) whose connections are refused on every listener before the TLS handshake; those that are open end within a second. Clients behind trusted proxies are refused by their own address: by the PROXY header likewise, by X-Forwarded-For with 403 denied_network.
	DenyFrom unit.List `yaml:"deny_from"`
	// TLS is what the listeners offer.
	TLS certs.TLS `yaml:"tls"`
	// Limits are the bounds on what one client or connection may take.
	Limits Limits `yaml:"limits"`
	// Store is the Redis or Valkey server over which several gateways share the limits of organizations and services, and certificates from ACME; default: none, each gateway counts for itself.
	Store *store.Settings `yaml:"store"`
	// Admin is the listener for metrics, health and status. A change needs a restart.
	Admin Admin `yaml:"admin"`
	// AccessLog is where every request is logged.
	AccessLog middleware.RequestLog `yaml:"access_log"`
	// SecurityLog is where requests are logged once more that were refused for who sent them, where they went or how they were made, inspection and client certificates included.
	SecurityLog middleware.RequestLog `yaml:"security_log"`
	// AuditLog is where audit records are written.
	AuditLog Log `yaml:"audit_log"`
	// Tracing sends OpenTelemetry spans of some requests to a collector; default: none. Requests carry a W3C trace context (traceparent) to services either way.
	Tracing *tracing.Settings `yaml:"tracing"`
	// Delegate lets drop-in files of a pattern define only some services.
	Delegate map[string]Delegation `yaml:"delegate"`
	// Defaults is what every service gets unless it says otherwise.
	Defaults Policy `yaml:"defaults"`
	// Profiles are named sets of settings that services use.
	Profiles map[string]Policy `yaml:"profiles"`
	// Organizations are the callers that the gateway can recognize.
	Organizations map[string]Organization `yaml:"organizations"`
	// Services are what is called.
	Services map[string]ServiceEntry `yaml:"services"`
}

// Policy holds the settings that have the same name and shape at every level:
// defaults, profiles, services and routes.
type Policy struct {
	// MTLS says whether clients are asked for a certificate: off, optional or required. A host belongs to one service, so routes can't set it; they narrow with allow.
	MTLS             certs.MTLS `yaml:"mtls"`
	middleware.Chain `yaml:",inline"`
	proxy.Settings   `yaml:",inline"`
}

// Organization is a caller: how it is recognized and what it may use in all.
type Organization struct {
	certs.Organization `yaml:",inline"`
	// RateLimit is the organization's own ceiling over all services: one limit, or a list of several that hold at once.
	RateLimit middleware.RateLimits `yaml:"rate_limit"`
	// Quota bounds how many requests the organization may send to all services in a calendar day and month.
	Quota *middleware.Quota `yaml:"quota"`
	// Concurrency bounds how many requests of the organization may be under way at once, over all services.
	Concurrency middleware.Concurrencies `yaml:"concurrency"`
	// RequirePQ refuses requests of the organization over connections without a post-quantum key exchange (a hybrid with ML-KEM) at every service, with 403 pq_required; default: false.
	RequirePQ bool `yaml:"require_pq"`
	// Contact is whom to call when the organization's traffic is refused: a mail address or telephone number.
	Contact string `yaml:"contact"`
}

// ServiceEntry is what is called: hosts in front, servers behind, and policy between.
type ServiceEntry struct {
	// Owner is the organization that answers for the service. Required.
	Owner string `yaml:"owner"`
	// Hosts lists the names under which the service is called: exact, or *.example for one label. A host belongs to one service.
	Hosts []string `yaml:"hosts"`
	// Upstreams lists the servers: http:// or https:// with host and port, or srv+http:// and srv+https:// with the name of an SRV record. A name with several addresses is several servers.
	Upstreams []string `yaml:"upstreams"`
	// Use is the profile or profiles that the service takes its settings from; the last one wins.
	Use    unit.List `yaml:"use"`
	Policy `yaml:",inline"`
	// Routes are exceptions for some paths. A service without routes is one route.
	Routes []RouteEntry `yaml:"routes"`
}

// RouteEntry is an exception inside a service.
type RouteEntry struct {
	// Name is the route's name in metrics and logs; default: the service's name followed by the first path.
	Name string `yaml:"name"`
	// Paths lists path prefixes, matched by whole segments (/bulk also covers /bulk/2026); =/bulk matches only exactly that.
	Paths []string `yaml:"paths"`
	// Match narrows the route to requests with these header fields and query parameters.
	Match *Match `yaml:"match"`
	// Deny refuses every request of the route, in any letter case of the path.
	Deny bool `yaml:"deny"`
	// Redirect answers with another location instead of forwarding.
	Redirect *Redirect `yaml:"redirect"`
	// Rewrite changes the path that the upstream gets.
	Rewrite *Rewrite `yaml:"rewrite"`
	Policy  `yaml:",inline"`
}

// Match holds values that must all be there: exact values, or "*" for any.
type Match struct {
	// Headers maps names of header fields to the value that one of their fields must have.
	Headers map[string]string `yaml:"headers"`
	// Query maps names of query parameters to the value that they must have.
	Query map[string]string `yaml:"query"`
}

// Redirect is an answer that sends the client elsewhere.
type Redirect struct {
	// To is the new location: an absolute URL, or a path on the same host. The request's path below the route and its query are kept unless this contains a query.
	To string `yaml:"to"`
	// Status is 301, 302, 303, 307 or 308; default: 308.
	Status int `yaml:"status"`
	// Exact sends every request to that location itself, without the rest of its path and query.
	Exact bool `yaml:"exact"`
}

// Rewrite changes the path prefix; exactly one of the two is set.
type Rewrite struct {
	// StripPrefix is removed from the start of the path.
	StripPrefix string `yaml:"strip_prefix"`
	// ReplacePrefix takes the place of the route's path prefix.
	ReplacePrefix string `yaml:"replace_prefix"`
}

// Listen is one address on which clients are served.
type Listen struct {
	// Address is host:port; "[::]:443" serves IPv6 and IPv4.
	Address string `yaml:"address"`
	// Protocols lists what is spoken: h1, h2, h3; default: [h1, h2].
	Protocols []string `yaml:"protocols"`
	// Redirect makes this a plain HTTP listener that only sends clients to https (and answers ACME HTTP-01): https.
	Redirect string `yaml:"redirect"`
	// RedirectPort is the port named in redirects; default: 443.
	RedirectPort int `yaml:"redirect_port"`
}

// The values of Limits.Withdrawal.
const (
	WithdrawalFinish = "finish"
	WithdrawalCut    = "cut"
)

// Limits bound what a client or connection may take. The defaults are safe.
type Limits struct {
	// HeaderTimeout is how long the TLS handshake and, after it, a request head may each take; default: 10s.
	HeaderTimeout unit.Duration `yaml:"header_timeout"`
	// BodyTimeout is how long a request body may stand still; default: 30s.
	BodyTimeout unit.Duration `yaml:"body_timeout"`
	// WriteTimeout is how long a response may stand still because the client does not read; default: 30s.
	WriteTimeout unit.Duration `yaml:"write_timeout"`
	// MinRate is the least rate at which a request body must come and a response must be taken, on average over the time that the gateway had to wait for the client, beyond the first body_timeout or write_timeout; default: 500B/s. gRPC is free of it, for its streams may rest.
	MinRate unit.Bandwidth `yaml:"min_rate"`
	// IdleTimeout is how long a connection may wait for its next request; default: 2m.
	IdleTimeout unit.Duration `yaml:"idle_timeout"`
	// DrainTimeout is how long requests may finish after SIGTERM; default: 30s.
	DrainTimeout unit.Duration `yaml:"drain_timeout"`
	// HTTP1 is the server that speaks HTTP/1.1: strict, or standard for the one of Go's library, to compare with or to fall back to. That one does not see the raw head, and lets some pass that strict refuses; default: strict.
	HTTP1 string `yaml:"http1"`
	// Withdrawal is what happens to requests under way when their organization loses its right to them: finish (they may end within withdrawal_timeout) or cut (they end at once, as those with a revoked certificate and WebSockets always do); default: finish. Connections that wait for a request end at once either way.
	Withdrawal string `yaml:"withdrawal"`
	// WithdrawalTimeout is how long requests under way may finish after their organization lost its right to them; default: 300ms.
	WithdrawalTimeout unit.Duration `yaml:"withdrawal_timeout"`
	// MaxHeader is the largest request head; default: 32KiB.
	MaxHeader unit.Size `yaml:"max_header"`
	// MaxHeaders is the largest number of header fields; default: 100.
	MaxHeaders int `yaml:"max_headers"`
	// MaxURI is the longest request target; default: 8KiB.
	MaxURI unit.Size `yaml:"max_uri"`
	// MaxStreams is the largest number of concurrent HTTP/2 or HTTP/3 streams of a connection; default: 128.
	MaxStreams int `yaml:"max_streams"`
	// CacheSize is how much memory the responses that "cache" keeps may take in all; default: 64MiB.
	CacheSize unit.Size `yaml:"cache_size"`
	// BufferMemory is how much memory request bodies that are inspected (waf) may take in all; beyond it they get 503. A quarter is kept for bodies of up to 16KiB. At least 32MiB; default: 256MiB.
	BufferMemory unit.Size `yaml:"buffer_memory"`
	// SpoolDisk is how much disk, in the folder that TMPDIR names, request bodies may take in all while they are scanned (scan); beyond it they get 503. Default: 1GiB.
	SpoolDisk unit.Size `yaml:"spool_disk"`
	// InspectionTime is how much CPU time the inspection (waf) of one caller's requests may take in a second, on the average of ten: of an organization, or of an anonymous caller's address. Beyond it the caller gets 429. Default: a quarter of the CPUs, which counts only while other callers want to be inspected too and not all can be at once.
	InspectionTime unit.Duration `yaml:"inspection_time"`
	// InspectionAtOnce is how many requests are inspected at once; others wait for a second at most, and get 503 then. Default: twice the number of CPUs.
	InspectionAtOnce int `yaml:"inspection_at_once"`
	// MaxInFlight is how many requests may be under way in all; when it is nearly reached, requests are refused by priority; default: 10000.
	MaxInFlight int `yaml:"max_in_flight"`
	// MaxRequests is the largest number of requests of a connection, after which the client is told to open another one; default: 1000000.
	MaxRequests int `yaml:"max_requests"`
	// MaxConnections is the largest number of connections in all; default: 20000.
	MaxConnections int `yaml:"max_connections"`
	// MaxConnectionsPerIP is the largest number of connections of one address (IPv6: /64); trusted proxies do not count; default: 512.
	MaxConnectionsPerIP int `yaml:"max_connections_per_ip"`
}

// Admin is the listener for operators: metrics, health, reload, and the pages of the console; it must not be public.
type Admin struct {
	// Listen is host:port, or unix:/path for a socket; default: 127.0.0.1:9180. Anything but a loopback address or a socket needs tls and operators.
	Listen string `yaml:"listen"`
	// Hosts lists further names by which the listener may be called, against DNS rebinding; default: only its address and localhost.
	Hosts []string `yaml:"hosts"`
	// TLS has the listener speak https and ask for a certificate.
	TLS *AdminTLS `yaml:"tls"`
	// Operators lists who may use the listener, by their certificates: an e-mail address that stands in one, sha256:FINGERPRINT of one, or its common name. A reload puts a change in force at once. Required with tls.
	Operators []string `yaml:"operators"`
}

// AdminTLS is how the admin listener proves itself and whom it believes.
type AdminTLS struct {
	certs.KeyPair `yaml:",inline"`
	// CA is the PEM file with the authorities that issue operators' certificates. Required.
	CA string `yaml:"ca"`
}

// Log is where a log goes.
type Log struct {
	// Output is stdout, stderr, off or a file.
	Output string `yaml:"output"`
	// Format is json; default: json.
	Format string `yaml:"format"`
}

// Delegation is what drop-in files of a pattern may define.
type Delegation struct {
	// Owner is the owner that each of their services must have.
	Owner string `yaml:"owner"`
	// Hosts lists the hosts that they may serve: exact, or *.example for one label.
	Hosts []string `yaml:"hosts"`
}
