package console

import (
	"cmp"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/gateway"
	"github.com/vazel-gateway/vazel/gateway/proxy"
	"github.com/vazel-gateway/vazel/middleware"
	"github.com/vazel-gateway/vazel/middleware/limit"
)

// servicesPage is the first one: what needs attention, and every route.
type servicesPage struct {
	Attention              []notice
	PerSecond              float64
	Refused, Failed        float64 // shares of the last minute
	Services, Routes       int
	Organizations, Healthy int
	Servers                int
}

// notice is something that an operator should look at.
type notice struct {
	Level string // bad or warn
	Text  string
	Name  string
	URL   string
}

func (c *Console) services(v *view) any {
	p := servicesPage{Services: len(v.Status.Services)}
	for _, s := range v.Status.Services {
		for _, r := range s.Routes {
			p.Routes++
			p.PerSecond += r.PerSecond
			p.Refused += r.Refused * r.PerSecond
			p.Failed += r.Failed * r.PerSecond
		}
	}
	if p.PerSecond > 0 {
		p.Refused, p.Failed = p.Refused/p.PerSecond, p.Failed/p.PerSecond
	}
	for _, u := range c.source.Upstreams() {
		up := 0
		for _, s := range u.Servers {
			p.Servers++
			if s.State == "up" || s.State == "warming" {
				up++
			}
		}
		p.Healthy += up
		switch {
		case up == 0:
			p.Attention = append(p.Attention, notice{"bad", "No server of this service answers", u.Name, "/upstreams"})
		case up < len(u.Servers):
			p.Attention = append(p.Attention, notice{"warn", "A server of this service is out", u.Name, "/upstreams"})
		}
	}
	if !v.Status.Refused.IsZero() {
		p.Attention = append(p.Attention, notice{"bad", "The last configuration was refused; the former one is in force", "", ""})
	}
	for _, f := range v.Status.Files {
		p.Attention = append(p.Attention, notice{"warn", "The last good version of this file is in force", f, ""})
	}
	if s := v.Status.Store; s != nil && !s.Up {
		p.Attention = append(p.Attention, notice{"bad", "The store that nodes share can't be used", "", ""})
	}
	for _, d := range c.source.Calendar(v.Now) {
		switch level := urgency(d, v.Now); level {
		case "bad":
			p.Attention = append(p.Attention, notice{"bad", "Ended, missing or stale: " + d.Kind, d.Name, "/calendar"})
		case "warn":
			p.Attention = append(p.Attention, notice{"warn", "Ends soon: " + d.Kind, d.Name, "/calendar"})
		}
	}
	used, _ := c.source.LimitsInUse()
	for _, l := range used {
		if l.Ratio >= 0.9 {
			p.Attention = append(p.Attention, notice{"warn", "A limit is nearly used up", l.Policy, "/limits"})
		}
	}
	p.Attention = slices.Compact(p.Attention)
	slices.SortStableFunc(p.Attention, func(a, b notice) int { return cmp.Compare(a.Level, b.Level) })
	if o, err := c.source.Organizations(); err == nil {
		p.Organizations = len(o.Organizations)
	}
	return p
}

// urgency is bad for what has ended or is missing, warn for what ends within its
// kind's time, or "".
func urgency(d certs.Due, now time.Time) string {
	soon := 30 * 24 * time.Hour
	switch d.Kind {
	case "crl", "ocsp":
		soon = 0 // renewed all the time; what is stale is bad
	case "client":
		soon = 14 * 24 * time.Hour
	}
	switch {
	case d.Bad, !d.Ends.After(now):
		return "bad"
	case d.Ends.Sub(now) < soon:
		return "warn"
	}
	return ""
}

// organizationsPage lists the callers.
type organizationsPage struct {
	*gateway.Organizations
	Error string
}

func (c *Console) organizations(v *view) any {
	all, err := c.source.Organizations()
	if err != nil {
		v.status = http.StatusServiceUnavailable
		return organizationsPage{Organizations: &gateway.Organizations{}, Error: err.Error()}
	}
	return organizationsPage{Organizations: all}
}

// calendarPage is what ends, in the order in which it does.
type calendarPage struct {
	Organization string
	Groups       []calendarGroup
}

type calendarGroup struct {
	Title string
	Dues  []due
}

type due struct {
	certs.Due
	Level string
}

func (c *Console) calendar(v *view) any {
	p := calendarPage{Organization: v.query.Get("organization")}
	groups := []struct {
		title string
		until time.Duration
	}{{"Within a week", 7 * 24 * time.Hour}, {"Within a month", 30 * 24 * time.Hour}, {"Within three months", 90 * 24 * time.Hour}, {"Later", 1 << 62}}
	byGroup := make([]calendarGroup, len(groups)+1)
	byGroup[0].Title = "Ended, missing or stale"
	for i, g := range groups {
		byGroup[i+1].Title = g.title
	}
	for _, d := range c.source.Calendar(v.Now) {
		if p.Organization != "" && d.Name != p.Organization {
			continue
		}
		level := urgency(d, v.Now)
		i := 0
		if level != "bad" {
			i = 1 + slices.IndexFunc(groups, func(g struct {
				title string
				until time.Duration
			}) bool {
				return d.Ends.Sub(v.Now) < g.until
			})
		}
		byGroup[i].Dues = append(byGroup[i].Dues, due{d, level})
	}
	p.Groups = slices.DeleteFunc(byGroup, func(g calendarGroup) bool { return len(g.Dues) == 0 })
	return p
}

// limitsPage is who has how much of what in use.
type limitsPage struct {
	Used     []gateway.LimitStatus
	Networks []limit.PolicyStats
	More     int
}

// maxRows bounds what a page lists.
const maxRows = 200

func (c *Console) limits(v *view) any {
	used, networks := c.source.LimitsInUse()
	p := limitsPage{Used: used[:min(len(used), maxRows)], Networks: networks[:min(len(networks), maxRows)]}
	p.More = len(used) - len(p.Used)
	return p
}

func (c *Console) upstreams(v *view) any {
	return struct{ Pools []proxy.PoolStatus }{c.source.Upstreams()}
}

// refusalsPage is what was refused of late.
type refusalsPage struct {
	Filter                           gateway.RefusalFilter
	Organizations, Services, Reasons []string
	Refusals                         []*middleware.Incident
	Most                             int
}

func (c *Console) refusals(v *view) any {
	p := refusalsPage{Filter: gateway.RefusalFilter{Organization: v.query.Get("organization"), Service: v.query.Get("service"), Reason: v.query.Get("reason"), Detected: v.query.Get("mode") == "detect"}, Most: 50}
	organizations, services, reasons := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, i := range c.source.Refusals(gateway.RefusalFilter{Detected: p.Filter.Detected}, 1<<30) {
		if i.Organization != "" {
			organizations[i.Organization] = true
		}
		if i.Service != "" {
			services[i.Service] = true
		}
		reasons[i.Reason] = true
	}
	p.Organizations, p.Services, p.Reasons = slices.Sorted(maps.Keys(organizations)), slices.Sorted(maps.Keys(services)), slices.Sorted(maps.Keys(reasons))
	p.Refusals = c.source.Refusals(p.Filter, p.Most)
	return p
}

// incidentPage is one refusal, found by the number that its caller sends.
type incidentPage struct {
	Asked    string // what was pasted
	NoNumber bool   // it holds none
	ID       string
	Report   *gateway.IncidentReport
}

var incidentPattern = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

func (c *Console) incident(v *view) any {
	p := incidentPage{Asked: strings.TrimSpace(v.query.Get("id"))}
	if p.Asked == "" {
		return p
	}
	if p.ID = incidentPattern.FindString(strings.ToLower(p.Asked)); p.ID == "" {
		p.NoNumber = true
		v.status = http.StatusBadRequest
		return p
	}
	p.Asked = p.ID
	if p.Report = c.source.Incident(p.ID); p.Report == nil {
		v.status = http.StatusNotFound
	}
	return p
}
