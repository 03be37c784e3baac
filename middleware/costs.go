package middleware

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/vazel-gateway/vazel/config/unit"
)

// Cost says what some requests count in every rate limit and quota.
type Cost struct {
	// Operations lists operations such as GetFeature that cost so much, as OGC services name them: in the parameter request of the query or of a form, or as the root of an XML document or what a SOAP envelope holds. Letter case does not matter. A body that does not show its operation in its first 64KiB costs what the dearest one does; default: any.
	Operations unit.List `yaml:"operations"`
	// Service narrows operations to one service, such as WFS: the parameter service, or the attribute of the XML document. What does not say its service is meant too; default: any.
	Service string `yaml:"service"`
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

type costs struct {
	list       []Cost
	operations bool // of some of them count
}

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
		c.operations = c.operations || len(e.Operations) > 0
		c.list = append(c.list, e)
	}
	return c, nil
}

// of is what a request costs: the most of what fits it, so that nobody makes a
// dear request cheap by adding to it what makes another one cheap. The error is
// that of the request's body.
func (c *costs) of(r *http.Request) (int64, error) {
	if len(c.list) == 0 {
		return 1, nil
	}
	cost := 1
	q := Query{Raw: r.URL.RawQuery}
	var body operation
	if c.operations {
		var err error
		if body, err = readOperation(r); err != nil {
			return 0, err
		}
	}
	for i := range c.list {
		if e := &c.list[i]; e.Cost > cost && e.fits(r, &q) && e.does(&q, &body) {
			cost = e.Cost
		}
	}
	return int64(cost), nil
}

// does reports whether a request asks for one of the operations.
func (e *Cost) does(q *Query, body *operation) bool {
	if len(e.Operations) == 0 || body.hidden {
		return true
	}
	for _, name := range e.Operations {
		if q.Has("request", name) && e.serves(q) {
			return true
		}
		if strings.EqualFold(body.name, name) && (e.Service == "" || body.service == "" || strings.EqualFold(body.service, e.Service)) {
			return true
		}
		if body.form.Has("request", name) && (e.serves(&body.form) && e.serves(q)) {
			return true
		}
	}
	return false
}

// serves reports whether the parameters name the entry's service, or none.
func (e *Cost) serves(q *Query) bool {
	return e.Service == "" || !q.Has("service", "*") || q.Has("service", e.Service)
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
