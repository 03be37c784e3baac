package middleware

import "github.com/vazel-gateway/vazel/config/unit"

// RateLimit admits at most burst + rate x t requests in any time t.
type RateLimit struct {
	// Rate is the sustained rate, such as 50/s or 1000/h.
	Rate unit.Rate `yaml:"rate"`
	// Burst is how many requests may come at once; default: one second's worth, at least 1.
	Burst int `yaml:"burst"`
	// Per says who shares the limit: client_ip (IPv6 by /64), organization (anonymous callers by address) or service.
	Per string `yaml:"per"`
}

// WAF says how requests are inspected.
type WAF struct {
	// Mode is block, detect (log what would be blocked) or off.
	Mode string `yaml:"mode"`
	// Paranoia is the Core Rule Set's paranoia level, 1 to 4; default: 1.
	Paranoia int `yaml:"paranoia"`
	// Threshold is the anomaly score from which a request is blocked; default: 5.
	Threshold int `yaml:"threshold"`
	// Exclude lists the ids of rules that do not apply.
	Exclude []int `yaml:"exclude"`
}

// CORS is the cross-origin policy of browsers (Fetch standard).
type CORS struct {
	// Origins lists the origins that may read responses, such as https://portal.example; "*" is every origin.
	Origins []string `yaml:"origins"`
	// Methods lists the methods that other origins may use; default: the route's methods.
	Methods []string `yaml:"methods"`
	// Headers lists the request header fields that other origins may send; default: Content-Type.
	Headers []string `yaml:"headers"`
	// MaxAge is how long a browser may keep the answer to a preflight request; default: 10m.
	MaxAge unit.Duration `yaml:"max_age"`
}

// Headers sets and removes header fields on the way to the upstream and back.
type Headers struct {
	// Request changes the header that the upstream gets.
	Request HeaderChange `yaml:"request"`
	// Response changes the header that the client gets.
	Response HeaderChange `yaml:"response"`
}

// HeaderChange first removes fields, then sets others.
type HeaderChange struct {
	// Remove lists names of fields to remove.
	Remove []string `yaml:"remove"`
	// Set maps names of fields to their new value.
	Set map[string]string `yaml:"set"`
}
