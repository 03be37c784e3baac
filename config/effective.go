package config

import (
	"encoding"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config/unit"
	"github.com/vazel-gateway/vazel/middleware"
)

var policyType = reflect.TypeFor[Policy]()

// Effective is what is in force, under the keys of the configuration language:
// defaults and profiles are applied, routes are under their names, and secrets
// are references. Files in the configuration's folder are relative to it.
func (c *Config) Effective() map[string]any {
	e := encoder{dir: c.Dir}
	file := c.File
	file.Include, file.Profiles, file.Organizations, file.Services, file.Defaults = nil, nil, nil, nil, Policy{}
	out := e.object(reflect.ValueOf(file))
	organizations := map[string]any{}
	for key, o := range c.Trust {
		organizations[key] = e.object(reflect.ValueOf(Organization{Organization: o, RateLimit: c.Callers[key].RateLimit, Quota: c.Callers[key].Quota, Concurrency: c.Callers[key].Concurrency, RequirePQ: c.Callers[key].RequirePQ}))
	}
	out["organizations"] = organizations
	services := map[string]any{}
	for _, s := range c.Services {
		m := e.object(reflect.ValueOf(ServiceEntry{Owner: s.Owner, Hosts: s.Hosts, Upstreams: s.Upstreams, Policy: s.Policy}))
		routes := map[string]any{}
		for _, r := range s.Routes {
			routes[r.Name] = e.object(reflect.ValueOf(RouteEntry{
				Paths: r.Paths, Match: r.Match, Deny: r.Deny, Redirect: r.Redirect, Rewrite: r.Rewrite, Policy: r.Policy,
			}))
		}
		m["routes"] = routes
		services[s.Name] = m
	}
	out["services"] = services
	return out
}

// encoder writes settings under their keys.
type encoder struct{ dir string }

func (e encoder) object(v reflect.Value) map[string]any {
	out := map[string]any{}
	for _, f := range fieldsOf(v.Type()) {
		if x := v.FieldByIndex(f.index); !x.IsZero() {
			out[f.name] = e.value(x)
		}
	}
	return out
}

func (e encoder) value(v reflect.Value) any {
	if v.Kind() == reflect.Pointer {
		return e.value(v.Elem())
	}
	switch x := v.Interface().(type) {
	case certs.MTLS:
		return string(x)
	case unit.Prefix:
		return x.String()
	case namedList:
		return e.limits(v, x)
	case fmt.Stringer:
		if reflect.PointerTo(v.Type()).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return x.String()
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		o := e.object(v)
		// A policy stands under its keys, so that a comparison finds them.
		if f := shortForm(v.Type()); f != nil && v.Type() != reflect.TypeFor[middleware.WAF]() && len(o) == 1 && o[f.name] != nil {
			return o[f.name]
		}
		return o
	case reflect.Map:
		out := map[string]any{}
		for it := v.MapRange(); it.Next(); {
			out[it.Key().String()] = e.value(it.Value())
		}
		return out
	case reflect.Slice:
		out := make([]any, v.Len())
		for i := range out {
			out[i] = e.value(v.Index(i))
		}
		return out
	case reflect.String:
		if rest, ok := strings.CutPrefix(v.String(), e.dir+string(filepath.Separator)); ok && e.dir != "" {
			return rest
		}
		return v.String()
	case reflect.Bool:
		return v.Bool()
	}
	return v.Int()
}

// namedList is a list whose elements have names.
type namedList interface{ Names() ([]string, error) }

// limits writes one limit as itself, and several under their names: so a
// comparison sees which of them changed.
func (e encoder) limits(v reflect.Value, l namedList) any {
	if v.Len() == 1 {
		return e.value(v.Index(0))
	}
	out := map[string]any{}
	names, _ := l.Names()
	for i, name := range names {
		out[name] = e.value(v.Index(i))
	}
	return out
}
