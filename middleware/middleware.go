// Package middleware owns the policies that a request passes between routing
// and the upstream, the Record that they write to, and Deny, the only way to
// refuse a request. It does not own the engines behind the policies (limit,
// waf, audit) and knows nothing of listeners or upstreams.
package middleware

import (
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware/addresses"
)

// Func wraps a handler in one policy.
type Func = func(http.Handler) http.Handler

// Chain is the policies of one route, in the order in which a request passes
// them. The order is a property of the product, not of a configuration.
// A field that was not set is nil or zero and adds no handler.
type Chain struct {
	// DenyFrom lists the networks whose requests are refused with 403 denied_network: names of address_sets, addresses and networks. It wins over allow_from. What a service or route writes replaces what defaults and profiles say; [] denies nobody.
	DenyFrom unit.List `yaml:"deny_from"`
	// AllowFrom lists the only networks whose requests are let in, likewise; all others get 403 denied_network. Default: every network.
	AllowFrom unit.List `yaml:"allow_from"`
	// Allow lists the organizations that may call; it implies a client certificate. "*" stands for every configured organization.
	Allow unit.List `yaml:"allow"`
	// RequirePQ refuses requests over connections without a post-quantum key exchange (a hybrid with ML-KEM), with 403 pq_required; default: false.
	RequirePQ bool `yaml:"require_pq"`
	// Methods lists the HTTP methods that are let through; others get 405. Default: GET, HEAD, POST, PUT, PATCH, DELETE and OPTIONS.
	Methods unit.List `yaml:"methods"`
	// CORS answers preflight requests and sets the cross-origin headers.
	CORS *CORS `yaml:"cors"`
	// RateLimit bounds how often each client, organization or the whole service may be called: one limit, or a list of several that hold at once.
	RateLimit RateLimits `yaml:"rate_limit"`
	// Quota bounds how many requests a calendar day and month admit.
	Quota *Quota `yaml:"quota"`
	// Costs lists the requests that count more than 1 in every rate limit and quota, such as those that make the service work hard. Of several that fit a request the highest counts; one that is more than a whole burst takes the burst.
	Costs []Cost `yaml:"costs"`
	// Bandwidth slows responses and uploads down to a rate.
	Bandwidth *Bandwidth `yaml:"bandwidth"`
	// Concurrency bounds how many requests may be under way at once; more get 503. A number stands for the service or route as a whole; a mapping, or a list, bounds each organization, address or what a client sends. Default: no bound.
	Concurrency Concurrencies `yaml:"concurrency"`
	// Priority says who is refused first while the process is overloaded: low before normal before high, and within normal anonymous callers before organizations; default: normal.
	Priority string `yaml:"priority"`
	// MaxBody is the largest request body; more gets 413. Default: 10MiB.
	MaxBody unit.Size `yaml:"max_body"`
	// ContentTypes lists the only media types that request bodies may have, such as application/json or image/*; others, and bodies without a Content-Type, get 415 unsupported_media_type with the list in Accept and Accept-Post. Rule 920420 of the Core Rule Set, which has a list of its own, is left out then. Default: any.
	ContentTypes unit.List `yaml:"content_types"`
	// Files holds uploaded files to types, a size and a number.
	Files *Files `yaml:"files"`
	// Operations lists the only operations that requests may ask for: WMS:GetMap for one of an OGC service (by the parameters service and request of the query or of a form, or by the XML document), SOAP:GetPerson for what a SOAP envelope holds, or the name alone for both. Letter case does not matter. Any other one, and a request or body that shows none in its first 64KiB, gets 403 operation_not_allowed. Default: any.
	Operations unit.List `yaml:"operations"`
	// OpenAPI is an OpenAPI 3 document, in YAML or JSON, that requests are held to: paths below those of its servers (others get 404), methods (405), path, query, header and cookie parameters, types of bodies (415), and what JSON bodies and forms of up to 8MiB and the fields and files of multipart bodies hold. What does not fit gets 400 openapi_invalid, which names the place. It may refer to further files below the folder of the configuration.
	OpenAPI string `yaml:"openapi"`
	// OpenAPIText is what OpenAPI holds, and OpenAPIFiles what it refers to, by path, for Build reads no files.
	OpenAPIText  string            `yaml:"-"`
	OpenAPIFiles map[string]string `yaml:"-"`
	// WAF inspects requests with the OWASP Core Rule Set.
	WAF *WAF `yaml:"waf"`
	// Scan has a virus scanner look at request bodies before the upstream gets them.
	Scan *Scan `yaml:"scan"`
	// Leaks looks for personal and account numbers, card numbers and stack traces in responses.
	Leaks *Leaks `yaml:"leaks"`
	// Cache keeps public responses in memory, and answers from them while the upstream fails.
	Cache *Cache `yaml:"cache"`
	// Compress lists the content codings, in order of preference, in which responses of compressible types are sent: zstd, br, gzip.
	Compress unit.List `yaml:"compress"`
	// Headers sets and removes header fields of requests and responses.
	Headers *Headers `yaml:"headers"`
	// SecurityHeaders tells browsers what they must not do with a response.
	SecurityHeaders *SecurityHeaders `yaml:"security_headers"`
	// Maintenance answers 503 instead of forwarding.
	Maintenance *Maintenance `yaml:"maintenance"`
	// Errors is the form of refusals: auto (a problem document, or a page where the client prefers HTML), problem, html, ogc (an exception report, for WMS and its like) or soap (a SOAP fault). The status is the same in every form. Default: auto.
	Errors string `yaml:"errors"`
	// SLO is what the service has promised: a profile, such as inspire-view, or numbers of its own. It counts, and refuses nothing. Default: none.
	SLO *SLO `yaml:"slo"`
	// Audit says which requests leave an audit record: full (each one), refusals, or off. Default: off.
	Audit string `yaml:"audit"`
}

// Caller is an organization as the policies see it.
type Caller struct {
	Key         string        // configured key
	Name        string        // for people
	RateLimit   RateLimits    // its own ceilings over all services
	Quota       *Quota        // likewise
	Concurrency Concurrencies // likewise
	Contact     string        // whom to call, for operators
	RequirePQ   bool          // whatever the service asks for
}

// Env is what the process lends to the policies of one route.
type Env struct {
	Service, Route   string            // configured names, for labels and messages
	Backend          string            // digest of all that decides what the upstream is asked, and which one
	RateLimitScope   string            // service or route that the rate limit was written for
	QuotaScope       string            // likewise of the quota
	BandwidthScope   string            // likewise of the bandwidth
	ConcurrencyScope string            // service or route that the bound on concurrency was written for
	Callers          map[string]Caller // every configured organization
	Ceilings         *Ceilings         // of these; nil has each Build make its own
	Limits           *LimitList        // where organizations' limits are noted; nil where nobody is identified
	WriteTimeout     time.Duration     // limits.write_timeout
	Log              *zap.Logger
	Metrics          *Metrics
	Engines          *Engines
	Addresses        *addresses.Book // the address sets of the configuration

	typesListed bool // content_types says which bodies are taken
}
