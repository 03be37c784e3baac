package middleware

// Build makes the handlers of the chain's policies, in their order, as one Func.
// It is pure: no goroutine, no metric, no state beyond what env lends.
func (c *Chain) Build(env Env) (Func, error) { return nil, nil }
