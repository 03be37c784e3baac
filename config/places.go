package config

import "go.yaml.in/yaml/v4"

// Place is where a setting outside of policies was written: deny_from,
// limits.max_uri, organizations.nra, organizations.nra.quota, services.x.hosts.
// It is empty for what was not written.
func (c *Config) Place(path string) Setting {
	s := c.places[path]
	s.Key = path
	return s
}

// notePlaces remembers where the settings stand that can refuse a request.
func (t *tree) notePlaces() {
	places := map[string]Setting{}
	note := func(path string, v *yaml.Node) {
		places[path] = Setting{Value: flow(v), From: "main file", Position: t.position(v)}
	}
	pairs(t.main.root, func(k, v *yaml.Node) {
		switch k.Value {
		case "deny_from", "store":
			note(k.Value, v)
		case "limits":
			pairs(v, func(k, v *yaml.Node) { note("limits."+k.Value, v) })
		}
	})
	for _, kind := range []struct {
		name, one string
		in        map[string]*yaml.Node
		keys      []string
	}{
		{"organizations", "organization ", t.organizations, []string{"id", "ca", "rate_limit", "quota", "require_pq", "valid_until"}},
		{"services", "service ", t.services, []string{"hosts", "upstreams"}},
	} {
		for name, n := range kind.in {
			path := kind.name + "." + name
			places[path] = Setting{From: kind.one + name, Position: t.position(t.keys[n])}
			for _, key := range kind.keys {
				if _, v := get(n, key); v != nil {
					places[path+"."+key] = Setting{Value: flow(v), From: kind.one + name, Position: t.position(v)}
				}
			}
		}
	}
	t.config.places = places
}
