package gateway

import (
	"strings"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// Incidents are the refusals of late.
func (g *Gateway) Incidents() *middleware.Incidents { return g.refused }

// decided notes which lines of the configuration refused a request: first the one
// that did, then those that bear on it.
func (g *Gateway) decided(i *middleware.Incident) {
	snap := g.snapshot.Load()
	if snap == nil {
		return
	}
	i.Hash = snap.config.Hash
	d := deciders{c: snap.config, out: &i.Decided}
	for _, s := range snap.config.Services {
		if s.Name != i.Service {
			continue
		}
		d.service = s
		for _, r := range s.Routes {
			if r.Name == i.Route {
				d.route = r
			}
		}
	}
	d.of(i)
	switch {
	case d.route != nil:
		d.add(config.Setting{Key: "route", Value: d.route.Name, From: "service " + d.service.Name, Position: d.route.At})
	case d.service != nil:
		d.add(config.Setting{Key: "service", Value: d.service.Name, Position: d.service.At})
	}
}

// deciders collects lines of the configuration.
type deciders struct {
	c       *config.Config
	service *config.Service // nil before it was known
	route   *config.Route
	out     *[]middleware.Deciding
}

func (d *deciders) add(s config.Setting) {
	*d.out = append(*d.out, middleware.Deciding{Key: s.Key, Value: clip(s.Value, 200), From: s.From, File: s.File, Line: s.Line})
}

// setting adds settings of the route, with all that is below each key.
func (d *deciders) setting(keys ...string) (found bool) {
	if d.route == nil {
		return false
	}
	for _, key := range keys {
		for _, s := range d.route.Settings {
			if s.Key == key || strings.HasPrefix(s.Key, key+".") {
				d.add(s)
				found = true
			}
		}
	}
	return found
}

// place adds a setting outside of routes; without one, what is built in decided.
func (d *deciders) place(path string) {
	s := d.c.Place(path)
	if s.Line == 0 {
		s.From = "built in"
	}
	d.add(s)
}

// organization adds a part of the definition of an organization, if it is there.
func (d *deciders) organization(key, part string) bool {
	path := "organizations." + key
	if part != "" {
		path += "." + part
	}
	s := d.c.Place(path)
	if key == "" || s.Line == 0 {
		return false
	}
	d.add(s)
	return true
}

// of adds what refused i.
func (d *deciders) of(i *middleware.Incident) {
	caller := i.Organization
	if caller == "" {
		caller = i.Claimed
	}
	switch i.By {
	case "waf":
		d.inspection(i)
	case "allow":
		if i.Reason != "not_allowed" {
			d.setting("mtls")
		}
		d.setting("allow")
		if i.Reason == "unknown_ca" {
			d.organization(caller, "ca")
		} else if i.Reason == "agreement_expired" && d.organization(caller, "valid_until") {
			return
		}
		d.organization(caller, "")
	case "rate_limit", "quota":
		// The ceilings of an organization are named after it.
		own := strings.HasPrefix(i.Policy, i.Organization+":") && d.organization(i.Organization, i.By)
		if !own {
			d.setting(i.By)
		}
		if i.Reason == "limits_unavailable" {
			d.place("store")
		}
	case "require_pq":
		if !d.setting(i.By) {
			d.organization(i.Organization, i.By)
		}
	case "deny_from", "allow_from":
		if !d.setting(i.By) {
			d.place(i.By)
		}
	case "priority":
		d.setting(i.By)
		d.place("limits.max_in_flight")
	case "deny":
		if d.route != nil {
			d.add(config.Setting{Key: "deny", Value: "true", From: "route " + d.route.Name, Position: d.route.At})
		}
	case "upstream":
		if i.Reason == "upstream_timeout" {
			d.setting("timeout")
		}
		d.place("services." + i.Service + ".upstreams")
	case "http", "routing":
		if key := httpLimits[i.Reason]; key != "" {
			d.place("limits." + key)
		} else if i.Reason == "upgrade_not_allowed" {
			d.setting("websocket")
		}
	default:
		d.setting(i.By)
	}
}

// inspection adds what has a request inspected, beginning with what refused it.
func (d *deciders) inspection(i *middleware.Incident) {
	switch i.Reason {
	case "inspection_budget":
		d.place("limits.inspection_time")
	case "inspection_busy":
		d.place("limits.inspection_at_once")
	case "overload":
		d.place("limits.buffer_memory")
	}
	keys := []string{"waf.mode", "waf.threshold", "waf.paranoia", "waf.accept", "waf.exclude", "waf.rules"}
	for _, m := range i.Inspection.Matches {
		if waf.Own(m.Rule) {
			keys = []string{"waf.rules", "waf.mode", "waf.threshold"}
			break
		}
	}
	d.setting(keys...)
}

// httpLimits are the limits behind refusals of heads and bodies.
var httpLimits = map[string]string{
	"uri_too_long": "max_uri", "header_too_large": "max_header", "body_timeout": "body_timeout", "header_timeout": "header_timeout",
}

// clip bounds what is shown of a value that the configuration gives.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// IncidentReport is an incident with what it means and what can be done.
type IncidentReport struct {
	*middleware.Incident
	Told      Bilingual   `json:"told"`   // the caller, in short
	Advice    Bilingual   `json:"advice"` // for the operator
	Rules     []RuleWords `json:"rules,omitempty"`
	Exclusion string      `json:"exclusion,omitempty"` // YAML to paste into the service or route
}

// Bilingual is a text in both languages.
type Bilingual struct {
	English   string `json:"en"`
	Bulgarian string `json:"bg"`
}

// RuleWords say what a rule that matched looks for.
type RuleWords struct {
	Rule int `json:"rule"`
	Bilingual
}

// Incident reports on a refused request; nil if it is not known, or no longer.
func (g *Gateway) Incident(id string) *IncidentReport {
	i := g.refused.Find(id)
	if i == nil {
		return nil
	}
	told := i.Told()
	r := &IncidentReport{Incident: i, Told: Bilingual{told.English.Title, told.Bulgarian.Title}, Exclusion: i.ExclusionYAML()}
	r.Advice.English, r.Advice.Bulgarian = i.Advice()
	if i.Inspection != nil {
		for _, m := range i.Inspection.Matches {
			w := waf.RuleWords(m.Rule)
			r.Rules = append(r.Rules, RuleWords{m.Rule, Bilingual{w.English, w.Bulgarian}})
		}
	}
	return r
}

// RefusalFilter narrows refusals; what is empty does not.
type RefusalFilter struct {
	Organization, Service, Reason string
	Detected                      bool // what would have been refused, instead of what was
}

// Anonymous is what a filter calls callers without a proven organization.
const Anonymous = "_anonymous"

// Refusals are the newest refusals, most of them at most, or what mode detect let
// through.
func (g *Gateway) Refusals(f RefusalFilter, most int) []*middleware.Incident {
	return g.refused.List(func(i *middleware.Incident) bool {
		return f.Detected == i.Detected && (f.Organization == "" || f.Organization == i.Organization || f.Organization == Anonymous && i.Organization == "") &&
			(f.Service == "" || f.Service == i.Service) && (f.Reason == "" || f.Reason == i.Reason)
	}, most)
}
