package config

import (
	"slices"

	"github.com/vazel-gateway/vazel/certs"
)

// Access is a route that an organization may call with its certificate.
type Access struct {
	Service string   `json:"service"`
	Route   string   `json:"route"`
	Hosts   []string `json:"hosts"`
	Paths   []string `json:"paths,omitempty"`
	Methods []string `json:"methods,omitempty"` // empty: what the gateway lets through at all
}

// AccessOf lists the routes that ask for a certificate and let an organization
// in. What is open to everybody is not among them.
func (c *Config) AccessOf(organization string) []Access {
	l := []Access{}
	for _, s := range c.Services {
		if s.Policy.MTLS == certs.MTLSOff || s.Policy.MTLS == "" {
			continue
		}
		for _, r := range s.Routes {
			allow := r.Policy.Allow
			if r.Deny || !slices.Contains(allow, organization) && !slices.Contains(allow, "*") {
				continue
			}
			l = append(l, Access{s.Name, r.Name, s.Hosts, r.Paths, r.Policy.Methods})
		}
	}
	return l
}
