package middleware

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/vazel-gateway/vazel/config/unit"
)

// Cost says what some requests count in every rate limit and quota.
type Cost struct {
	// Methods lists the methods that cost so much; default: any.
	Methods unit.List `yaml:"methods"`
	// Match narrows the cost to requests with these header fields and query parameters.
	Match *CostMatch `yaml:"match"`
	// Cost is how many requests each of them counts as: 1 to 1000000.
	Cost int `yaml:"cost"`
}

// CostMatch holds values that must all be there: exact values, or "*" for any.
type CostMatch struct {
	// Headers maps names of header fields to the value that one of their fields must have.
	Headers map[string]string `yaml:"headers"`
	// Query maps names of query parameters to the value that they must have; letter case does not matter.
	Query map[string]string `yaml:"query"`
}

// MaxCost is the largest cost.
const MaxCost = 1_000_000

type costs struct{ list []Cost }

func newCosts(list []Cost) (*costs, error) {
	c := &costs{}
	for _, e := range list {
		if e.Cost < 1 || e.Cost > MaxCost {
			return nil, fmt.Errorf("cost must be between 1 and %d", MaxCost)
		}
		if e.Match != nil {
			m := CostMatch{Headers: map[string]string{}, Query: e.Match.Query}
			for name, want := range e.Match.Headers {
				m.Headers[http.CanonicalHeaderKey(name)] = want
			}
			e.Match = &m
		}
		c.list = append(c.list, e)
	}
	return c, nil
}

// of is what a request costs: the most of what fits it, so that nobody makes a
// dear request cheap by adding to it what makes another one cheap.
func (c *costs) of(r *http.Request) int64 {
	cost := 1
	q := Query{Raw: r.URL.RawQuery}
	for i := range c.list {
		if e := &c.list[i]; e.Cost > cost && e.fits(r, &q) {
			cost = e.Cost
		}
	}
	return int64(cost)
}

func (e *Cost) fits(r *http.Request, q *Query) bool {
	if len(e.Methods) > 0 && !slices.Contains(e.Methods, r.Method) {
		return false
	}
	if e.Match == nil {
		return true
	}
	for name, want := range e.Match.Headers {
		values := r.Header[name]
		if !(want == "*" && len(values) > 0 || slices.Contains(values, want)) {
			return false
		}
	}
	for name, want := range e.Match.Query {
		if !q.Has(name, want) {
			return false
		}
	}
	return true
}
