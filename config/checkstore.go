package config

import (
	"net"
	"net/netip"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/gateway/store"
)

// checkStore makes paths absolute, reads secrets, and reports what store says.
func (t *tree) checkStore(n *yaml.Node, s *store.Settings) {
	before := len(t.errs.Problems)
	_, redis := get(n, "redis")
	_, tls := get(redis, "tls")
	secrets := []struct {
		in  *yaml.Node
		key string
		at  *unit.Secret
	}{{redis, "password", &s.Redis.Password}, {redis, "sentinel_password", &s.Redis.SentinelPassword}}
	if c := s.Redis.TLS; c != nil {
		secrets = append(secrets, struct {
			in  *yaml.Node
			key string
			at  *unit.Secret
		}{tls, "key", &c.Key})
		if _, ca := get(tls, "ca"); c.CA != "" {
			t.file1(ca, &c.CA)
		}
		if _, cert := get(tls, "cert"); c.Cert != "" {
			t.file1(cert, &c.Cert)
		}
	}
	for _, secret := range secrets {
		if _, key := get(secret.in, secret.key); !secret.at.IsZero() {
			t.secret(key, secret.at)
		}
	}
	if len(t.errs.Problems) > before {
		return
	}
	for _, p := range s.Problems() {
		at := n
		for _, key := range p.Key {
			if _, below := get(at, key); below != nil {
				at = below
			}
		}
		t.problem(at, "%v", p.Err)
	}
	if s.Redis.TLS == nil && !s.Redis.Password.IsZero() && slices.ContainsFunc(s.Redis.Addresses, remote) {
		t.warn(redis, "store.redis has no tls; the password and all counts go over the network in the clear")
	}
}

// remote reports whether what is sent to a server leaves this machine.
func remote(server string) bool {
	host, _, err := net.SplitHostPort(server)
	if err != nil {
		return false // a socket
	}
	a, err := netip.ParseAddr(host)
	return host != "localhost" && (err != nil || !a.IsLoopback())
}
