package middleware

import (
	"fmt"
	"net/http"
	"slices"
)

// Build makes the handlers of the chain's policies, in their order, as one Func.
// It is pure: no goroutine, no metric, no state beyond what env lends.
//
// The order: nobody is told anything about a service that he may not call, so
// access comes first, and before that the network, which costs least to look up. What is cheap to refuse comes before what is dear:
// methods and limits before inspection. A preflight request carries no
// credentials by design (Fetch 4.8), so CORS answers it before access is asked.
func (c *Chain) Build(env Env) (Func, error) {
	var policies []Func
	env.typesListed = len(c.ContentTypes) > 0
	for _, p := range []struct {
		key   string
		build func() (Func, error)
	}{
		{"slo", func() (Func, error) { return buildSLO(c.SLO, env) }},
		{"audit", func() (Func, error) { return buildAudit(c.Audit, env) }},
		{"security_headers", func() (Func, error) { return c.SecurityHeaders.Build(env) }},
		{"networks", func() (Func, error) { return buildNetworks(c.DenyFrom, c.AllowFrom, env) }},
		{"cors", func() (Func, error) { return c.CORS.Build(c.Methods, env) }},
		{"allow", func() (Func, error) { return buildAllow(c.Allow, env) }},
		{"require_pq", func() (Func, error) { return buildRequirePQ(c.RequirePQ, env) }},
		{"maintenance", func() (Func, error) { return c.Maintenance.Build(env) }},
		{"priority", func() (Func, error) { return buildShed(c.Priority, env) }},
		{"methods", func() (Func, error) { return buildMethods(c.Methods, env) }},
		{"rate_limit", func() (Func, error) { return buildRateLimit(c, env) }},
		{"concurrency", func() (Func, error) { return buildConcurrency(c.Concurrency, env) }},
		{"bandwidth", func() (Func, error) { return c.Bandwidth.Build(env) }},
		{"max_body", func() (Func, error) { return buildMaxBody(int64(c.MaxBody), env) }},
		{"content_types", func() (Func, error) { return buildContentTypes(c.ContentTypes, env) }},
		{"operations", func() (Func, error) { return buildOperations(c.Operations, env) }},
		{"files", func() (Func, error) { return c.Files.Build(env) }},
		{"openapi", func() (Func, error) { return buildOpenAPI(c, env) }},
		{"waf", func() (Func, error) { return c.WAF.Build(env) }},
		{"slo", func() (Func, error) { return buildOperation(c.SLO, env) }},
		{"scan", func() (Func, error) { return c.Scan.Build(env) }},
		{"headers", func() (Func, error) { return c.Headers.Build(env) }},
		{"compress", func() (Func, error) { return buildCompress(c.Compress, env) }},
		{"waf.responses", func() (Func, error) { return c.WAF.BuildResponses(env) }},
		{"leaks", func() (Func, error) { return c.Leaks.Build(env) }},
		{"cache", func() (Func, error) { return c.Cache.Build(env) }},
	} {
		f, err := p.build()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.key, err)
		}
		if f != nil {
			policies = append(policies, f)
		}
	}
	return joined(policies), nil
}

// BuildRefusals makes what refusals without a route have in common with those of
// routes: they leave audit records, and have the headers.
func (c *Chain) BuildRefusals(env Env) (Func, error) {
	record, err := buildAudit(c.Audit, env)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	header, err := c.SecurityHeaders.Build(env)
	if err != nil {
		return nil, fmt.Errorf("security_headers: %w", err)
	}
	return joined(slices.DeleteFunc([]Func{record, header}, func(f Func) bool { return f == nil })), nil
}

// joined is policies in their order as one.
func joined(policies []Func) Func {
	return func(h http.Handler) http.Handler {
		for i := len(policies) - 1; i >= 0; i-- {
			h = policies[i](h)
		}
		return h
	}
}
