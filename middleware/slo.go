package middleware

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// SLO is what a service has promised: how soon most of its responses begin, and
// how few of its requests fail. Requests are counted by whether they kept it; none
// is refused for it.
type SLO struct {
	// Profile is the promise of a kind of service: inspire-discovery, inspire-view, inspire-download (the network services of INSPIRE, Regulation (EC) 976/2009: responses begin within 3 s for discovery, 5 s for maps, 10 s for metadata and descriptions and 30 s for data of a download, for 90 % of requests, and 99 % of requests do not fail) or registry (1 s for 95 %, and 99.5 %). The other settings replace its numbers.
	Profile string `yaml:"profile"`
	// FirstByte is how soon a response must begin; default: as the profile has it.
	FirstByte unit.Duration `yaml:"first_byte"`
	// Share is the share of requests whose responses must begin in time; default: as the profile has it, else 95%.
	Share unit.Percent `yaml:"share"`
	// Availability is the share of requests that must not fail with 5xx, announced maintenance not counted; default: as the profile has it, else 99.5%.
	Availability unit.Percent `yaml:"availability"`
	// Capacity is how many requests must be served so, such as 30/s; it is shown beside the highest rate that was measured, and limits nothing. Default: as the profile has it.
	Capacity unit.Rate `yaml:"capacity"`
	// MinRate is the least rate at which large responses must be sent once they have begun; default: as the profile has it (0.5 MB/s for data of inspire-download), else none.
	MinRate unit.Bandwidth `yaml:"min_rate"`
}

// ShortForm lets "slo: inspire-view" stand for "slo: {profile: inspire-view}".
func (SLO) ShortForm() string { return "profile" }

// Objective is what is promised for some operations of a service.
type Objective struct {
	Service, Profile, Operation string

	FirstByte    time.Duration // 0 if only failures count
	Share        float64
	Availability float64
	Capacity     float64 // requests a second; 0 if none is promised
	minRate      float64 // bytes a second; 0 if none is promised
}

// Operations are told apart as far as their objectives are. sloOther has no
// objective but not to fail.
const (
	sloAll      = "all"
	sloMap      = "map"
	sloMetadata = "metadata"
	sloData     = "data"
	sloOther    = "other"
)

// sloProfiles are the numbers of the profiles by operation: those of Regulation
// (EC) 976/2009, annexes I, II and IV, which is on its way to repeal, and ours.
var sloProfiles = map[string]map[string]Objective{
	"inspire-discovery": {sloAll: {FirstByte: 3 * time.Second, Share: .9, Availability: .99, Capacity: 30}},
	"inspire-view":      {sloMap: {FirstByte: 5 * time.Second, Share: .9, Availability: .99, Capacity: 20}, sloOther: {Share: .9, Availability: .99}},
	"inspire-download": {
		sloMetadata: {FirstByte: 10 * time.Second, Share: .9, Availability: .99, Capacity: 10},
		sloData:     {FirstByte: 30 * time.Second, Share: .9, Availability: .99, Capacity: 10, minRate: 0.5e6},
		sloOther:    {Share: .9, Availability: .99},
	},
	"registry": {sloAll: {FirstByte: time.Second, Share: .95, Availability: .995}},
}

// sloLarge is a response of which the rate is measured: the time of smaller ones
// tells nothing.
const sloLarge = 1 << 20

// SLOProfiles lists the names of profiles.
func SLOProfiles() []string { return slices.Sorted(maps.Keys(sloProfiles)) }

// Objectives are what the settings promise for a service.
func (s *SLO) Objectives(service string) (l []Objective, err error) {
	if s == nil {
		return nil, nil
	}
	name, profile := s.Profile, sloProfiles[s.Profile]
	switch {
	case name == "" && s.FirstByte == 0:
		return nil, errors.New("names neither a profile nor first_byte")
	case name == "":
		name, profile = "own", map[string]Objective{sloAll: {Share: .95, Availability: .995}}
	case profile == nil:
		return nil, fmt.Errorf("profile %q is not known; write %s", name, strings.Join(SLOProfiles(), ", "))
	}
	for _, operation := range slices.Sorted(maps.Keys(profile)) {
		o := profile[operation]
		o.Service, o.Profile, o.Operation = service, name, operation
		if s.Availability > 0 {
			o.Availability = float64(s.Availability)
		}
		if operation != sloOther {
			if s.FirstByte > 0 {
				o.FirstByte = s.FirstByte.Std()
			}
			if s.Share > 0 {
				o.Share = float64(s.Share)
			}
			if s.Capacity.Count > 0 {
				o.Capacity = s.Capacity.PerSecond()
			}
			if s.MinRate > 0 {
				o.minRate = float64(s.MinRate)
			}
		}
		l = append(l, o)
	}
	return l, nil
}

// slo judges the requests of a route.
type slo struct {
	profile    string
	objectives map[string]*Objective
	metrics    *Metrics
}

func newSLO(s *SLO, env Env) (*slo, error) {
	l, err := s.Objectives(env.Service)
	if err != nil || len(l) == 0 {
		return nil, err
	}
	j := &slo{objectives: map[string]*Objective{}, metrics: env.Metrics}
	for i := range l {
		j.profile, j.objectives[l[i].Operation] = l[i].Profile, &l[i]
	}
	return j, nil
}

// buildSLO makes the outermost part: it sees refusals of every policy.
func buildSLO(s *SLO, env Env) (Func, error) {
	j, err := newSLO(s, env)
	if j == nil {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if rec := RecordOf(r.Context()); rec != nil {
				rec.Timed = true
				query := r.URL.RawQuery
				rec.AfterRequest(func(rec *Record) { j.judge(rec, query) })
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// buildOperation makes the innermost part: it reads what the body of a request
// that is passed on asks for. It is needed only where operations are told apart.
func buildOperation(s *SLO, env Env) (Func, error) {
	j, err := newSLO(s, env)
	if j == nil || len(j.objectives) == 1 {
		return nil, err
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if rec := RecordOf(r.Context()); rec != nil && r.Method == http.MethodPost {
				// An error of the body comes again to whoever reads it.
				if op, err := readOperation(r); err == nil {
					rec.Operation = op.name
					if rec.Operation == "" {
						rec.Operation = op.form.first("request")
					}
				}
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

// judge counts a finished request. Refusals for what the client did (4xx) are not
// counted: they promise nothing, and cost nothing.
func (j *slo) judge(rec *Record, query string) {
	operation := sloAll
	if len(j.objectives) > 1 {
		name := rec.Operation
		if name == "" {
			q := Query{Raw: query}
			name = q.first("request")
		}
		if operation = operationKind(name, rec.Operation == "" && name == ""); j.objectives[operation] == nil {
			operation = sloOther
		}
	}
	o := j.objectives[operation]
	result := o.result(rec)
	if result == "" {
		return
	}
	j.metrics.bySLO.get(sloKey{rec.Service, j.profile, operation, result}).Inc()
	if o.FirstByte == 0 || result != "ok" && result != "slow" {
		return
	}
	times := j.metrics.bySLOTimes.get(sloTimesKey{rec.Service, j.profile, operation, o.minRate > 0})
	if rec.Status == statusClientGone {
		times.first.Observe(rec.Duration.Seconds()) // it would have been later still
		return
	}
	times.first.Observe(rec.FirstByte.Seconds())
	if times.bytes != nil && rec.BytesOut >= sloLarge {
		times.bytes.Add(float64(rec.BytesOut))
		times.sending.Add((rec.Duration - rec.FirstByte).Seconds())
	}
}

// result is ok, slow, error, maintenance, or "" for what does not count.
func (o *Objective) result(rec *Record) string {
	first := rec.FirstByte
	switch {
	case rec.Denial != nil && rec.Denial.By == "maintenance":
		return "maintenance"
	case rec.Status == statusClientGone:
		if o.FirstByte > 0 && rec.Duration > o.FirstByte {
			return "slow" // the client waited for longer than was promised
		}
		return ""
	case rec.Status >= 500, rec.Aborted == "gateway":
		return "error"
	case rec.Status >= 400:
		return ""
	case o.FirstByte > 0 && first > o.FirstByte:
		return "slow"
	case o.minRate > 0 && rec.BytesOut >= sloLarge && float64(rec.BytesOut) < o.minRate*(rec.Duration-first).Seconds():
		return "slow"
	}
	return "ok"
}

// operationKind says what kind of operation of an OGC service a name is. A
// request without one (plain) is a file of a download.
func operationKind(name string, plain bool) string {
	switch strings.ToLower(name) {
	case "getmap", "gettile":
		return sloMap
	case "getcapabilities", "describefeaturetype", "describecoverage", "liststoredqueries", "describestoredqueries", "getrecords", "getrecordbyid", "describerecord", "describelayer":
		return sloMetadata
	case "getfeature", "getpropertyvalue", "getcoverage", "getfeaturewithlock", "getobservation", "getspatialdataset":
		return sloData
	}
	if plain {
		return sloData
	}
	return sloOther
}
