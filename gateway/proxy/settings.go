// Package proxy forwards a request to one of the servers of an upstream and
// the response back. It owns connections to upstreams, discovery, health,
// balancing and retries; it does not decide whether a request may be
// forwarded.
package proxy

import (
	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
)

// Settings say how a service's servers are found, chosen and spoken to. Those of
// a service make its Pool; Timeout, Retries and Websocket may differ by route.
type Settings struct {
	// Timeout is how long the upstream may take until its response begins, and how long a body may then stand still; default: 30s.
	Timeout unit.Duration `yaml:"timeout"`
	// ConnectTimeout is how long a connection to a server may take, TLS included; default: 5s.
	ConnectTimeout unit.Duration `yaml:"connect_timeout"`
	// Retries says how often an idempotent request that got no answer is sent again.
	Retries *Retries `yaml:"retries"`
	// Websocket lets connections be upgraded to WebSocket; default: false, and the upgrade is refused.
	Websocket bool `yaml:"websocket"`
	// Balance chooses among healthy servers: round_robin or least_connections; default: round_robin.
	Balance string `yaml:"balance"`
	// Health checks each server at an interval.
	Health *Health `yaml:"health"`
	// Ejection takes servers that keep failing out for a while.
	Ejection *Ejection `yaml:"ejection"`
	// UpstreamTLS is how https upstreams are verified and which certificate is shown to them.
	UpstreamTLS *UpstreamTLS `yaml:"upstream_tls"`
	// UpstreamProtocol is what is spoken to the upstream: h1, h2 (https upstreams), or h2c for gRPC without TLS; default: h1.
	UpstreamProtocol string `yaml:"upstream_protocol"`
	// MaxConnections is the largest number of connections to each server; default: 1024.
	MaxConnections int `yaml:"max_connections"`
}

// Retries bounds how often a request is sent again.
type Retries struct {
	// Attempts is the largest number of attempts, the first included; default: 2.
	Attempts int `yaml:"attempts"`
	// Budget is the largest share of requests that may be retries, over the last ten seconds; default: 20%.
	Budget unit.Percent `yaml:"budget"`
}

// Health is an active health check.
type Health struct {
	// Path is requested with GET; any status from 200 to 399 is healthy.
	Path string `yaml:"path"`
	// Every is the interval between checks of one server; default: 5s.
	Every unit.Duration `yaml:"every"`
	// Timeout is how long one check may take; default: 2s.
	Timeout unit.Duration `yaml:"timeout"`
	// Unhealthy is the number of failures in a row that take a server out; default: 2.
	Unhealthy int `yaml:"unhealthy"`
	// Healthy is the number of successes in a row that bring it back; default: 2.
	Healthy int `yaml:"healthy"`
	// Host is the Host header of the check; default: the first host of the service.
	Host string `yaml:"host"`
}

// Ejection is passive: it watches real requests.
type Ejection struct {
	// Failures is the number of failed exchanges in a row that eject a server; default: 5.
	Failures int `yaml:"failures"`
	// Duration is how long a server stays out, times the number of its ejections; default: 10s.
	Duration unit.Duration `yaml:"duration"`
	// MaxEjected is the largest share of servers that may be out at once; default: 50%. One server may always be.
	MaxEjected unit.Percent `yaml:"max_ejected"`
}

// UpstreamTLS is the client's side of TLS to upstreams.
type UpstreamTLS struct {
	// CA is the PEM file of the authorities that the upstream's certificate must chain to; default: the system's roots.
	CA string `yaml:"ca"`
	// ServerName is the name that the certificate must carry; default: the name or address in the upstream's URL.
	ServerName string `yaml:"server_name"`
	// KeyPair is the certificate that the gateway shows to upstreams that ask for one.
	certs.KeyPair `yaml:",inline"`
}
