package middleware

import (
	"fmt"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// Quota admits so many requests in each calendar day and month, in UTC. What was
// used is kept in the state folder: a process that is killed forgets the last
// moment of it, a machine that fails the last second.
type Quota struct {
	// Day is how many requests each day admits, from midnight to midnight UTC: 1 to 1000000000; default: no bound.
	Day int `yaml:"day"`
	// Month is how many requests each calendar month admits, in UTC: 1 to 1000000000; default: no bound.
	Month int `yaml:"month"`
	// Per says who shares the quota: organization (callers without one share one quota), service or route.
	Per string `yaml:"per"`
	// Mode is enforce, or detect: the quota counts what it would refuse and changes no answer; default: enforce.
	Mode string `yaml:"mode"`
}

// QuotaPers lists the values of per of a quota.
func QuotaPers() []string { return []string{perOrganization, perService, perRoute} }

// newQuotas makes the limiters of a quota, one for each period.
func newQuotas(name string, q *Quota, env Env) (l []*limiter, err error) {
	for _, p := range []struct {
		n      int
		period limit.Period
	}{{q.Day, limit.Day}, {q.Month, limit.Month}} {
		if p.n == 0 {
			continue
		}
		one, err := newQuota(fmt.Sprintf("%s:%s", name, p.period), p.n, p.period, q, env)
		if err != nil {
			return nil, err
		}
		l = append(l, one)
	}
	return l, nil
}
