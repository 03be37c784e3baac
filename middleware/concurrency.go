package middleware

import (
	"net/http"
	"time"
)

// buildConcurrency bounds how many requests of a scope are under way. Waiting
// would only move the queue: what does not fit is told to come back.
func buildConcurrency(most int, env Env) (Func, error) {
	if most <= 0 {
		return nil, nil
	}
	n := env.Engines.underWay(env.Service)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer n.Add(-1)
			if n.Add(1) > int64(most) {
				Deny(w, r, http.StatusServiceUnavailable, Denial{By: "concurrency", Reason: "overload", RetryAfter: time.Second})
				return
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}
