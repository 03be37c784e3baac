package middleware

import (
	"fmt"
	"net/http"
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
	name := concurrencyName(env)
	crowd := env.Engines.underWay(name)
	quoted := sfString(name)
	item := fmt.Sprintf(`%s;q=%d;qu="concurrent-requests"`, quoted, most)
	allowed := env.Metrics.limitDecisions.WithLabelValues(name, "allowed")
	limited := env.Metrics.limitDecisions.WithLabelValues(name, "limited")
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if crowd.most.Load() != int64(most) { // the newest configuration's, for whoever watches it fill
				crowd.most.Store(int64(most))
			}
			if !enter(&crowd.n, int64(most)) {
				delete(w.Header(), "Ratelimit") // of other limits: they let it through
				tellLimit(w.Header(), quoted, item, 0, 1)
				limited.Inc()
				env.Metrics.byLimited.get(pair{name, organizationLabel(RecordOf(r.Context()))}).Inc()
				Deny(w, r, http.StatusServiceUnavailable, Denial{
					By: "concurrency", Reason: "overload", Type: quotaExceeded, Policy: name, RetryAfter: time.Second,
					Members: map[string]any{"violated-policies": []string{name}, "policy": name, "partition": perService, "limit": most, "remaining": 0, "reset": 1},
				})
				return
			}
			allowed.Inc()
			tellLimit(w.Header(), quoted, item, int64(most)-crowd.n.Load(), 0)
			defer crowd.n.Add(-1) // after a panic too
			next.ServeHTTP(w, r)
		})
	}, nil
}

// concurrencyName is the name of a bound on concurrency: that of the service or
// route that it was written for.
func concurrencyName(env Env) string {
	scope := env.ConcurrencyScope
	if scope == "" {
		scope = env.Service
	}
	return scope + ":concurrency"
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
