package middleware

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// buildConcurrency bounds how many requests of a scope are under way. Waiting
// would only move the queue: what does not fit is told to come back. The count
// belongs to the process, so that a reload with another bound forgets nobody.
func buildConcurrency(most int, env Env) (Func, error) {
	if most <= 0 {
		return nil, nil
	}
	scope := env.ConcurrencyScope
	if scope == "" {
		// Routes with a bound of their own must not count what the service's other
		// routes do, so different bounds count apart.
		scope = env.Service + "\x00" + strconv.Itoa(most)
	}
	n := env.Engines.underWay(scope)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !enter(n, int64(most)) {
				Deny(w, r, http.StatusServiceUnavailable, Denial{
					By: "concurrency", Reason: "overload", RetryAfter: time.Second,
					Members: map[string]any{"limit": most},
				})
				return
			}
			defer n.Add(-1) // after a panic too
			next.ServeHTTP(w, r)
		})
	}, nil
}

// enter counts one more, unless there are as many as may be. It never counts too
// many for a moment: refusing must not make others be refused.
func enter(n *atomic.Int64, most int64) bool {
	for {
		now := n.Load()
		if now >= most {
			return false
		}
		if n.CompareAndSwap(now, now+1) {
			return true
		}
	}
}
