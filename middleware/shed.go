package middleware

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"
)

// class says who is refused first when not everybody can be served.
type class int

const (
	classLow          class = iota // priority: low
	classNormal                    // anonymous callers
	classOrganization              // normal, with a proven organization
	classHigh                      // priority: high
	classes
)

func (c class) String() string {
	return [...]string{"low", "normal", "organization", "high"}[c]
}

// shedFrom is the pressure from which requests of a class are refused, first a
// few of them and at the beginning of the next class's all.
var shedFrom = [classes + 1]float64{0.7, 0.8, 0.9, 1.0, 1.1}

// Priorities lists the values of priority.
func Priorities() []string { return []string{"high", "normal", "low"} }

// buildShed refuses requests while the process is overloaded, by class:
// administrations that depend on each other are served longer than anybody.
func buildShed(priority string, env Env) (Func, error) {
	switch priority {
	case "", "normal", "high", "low":
	default:
		return nil, fmt.Errorf("%q is not high, normal or low", priority)
	}
	load := env.Engines.Load
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			load.underWay.Add(1)
			defer load.underWay.Add(-1) // after a panic too
			if p := load.pressure(); p >= shedFrom[classLow] {
				c := classOf(priority, RecordOf(r.Context()))
				if p >= shedFrom[c] && (p-shedFrom[c])/(shedFrom[c+1]-shedFrom[c]) > rand.Float64() || p > shedFrom[classHigh] && c < classHigh {
					load.classes[c].Inc()
					wait := time.Second + rand.N(4*time.Second) // so that not all come back at once
					const policy = "priority"
					members := map[string]any{"violated-policies": []string{policy}, "policy": policy, "partition": c.String(), "remaining": 0, "reset": ceilSeconds(wait)}
					if most := load.most.Load(); most > 0 {
						members["limit"] = most
						tellLimit(w.Header(), sfString(policy), fmt.Sprintf(`%q;q=%d;qu="concurrent-requests"`, policy, most), 0, ceilSeconds(wait), "")
					}
					Deny(w, r, http.StatusServiceUnavailable, Denial{
						By: "priority", Reason: "overload", Type: quotaExceeded, Policy: policy, RetryAfter: wait, Members: members,
						Detail: "the process is overloaded, and requests of class " + c.String() + " are shed", Close: p > shedFrom[classHigh],
					})
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}, nil
}

func classOf(priority string, rec *Record) class {
	switch {
	case priority == "low":
		return classLow
	case priority == "high":
		return classHigh
	case rec.Organization != "":
		return classOrganization
	}
	return classNormal
}
