package middleware

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/middleware/audit"
	"github.com/vazel-gateway/vazel/middleware/limit"
	"github.com/vazel-gateway/vazel/middleware/waf"
)

// EnginesOptions is what the engines need from the process.
type EnginesOptions struct {
	Log        *zap.Logger
	Registerer prometheus.Registerer
	Metrics    *Metrics
}

// Engines are the state behind the policies. They live as long as the process
// and are lent to each configuration's handlers.
type Engines struct {
	Limits *limit.Store
	WAF    *waf.Manager
	Audit  *audit.Log
	Load   *Load

	mu     sync.Mutex
	places map[string]*atomic.Int64 // requests under way, by concurrency scope
}

// NewEngines makes the engines.
func NewEngines(o EnginesOptions) (*Engines, error) {
	e := &Engines{
		Limits: limit.New(limit.Options{}),
		WAF:    waf.NewManager(waf.Options{Log: o.Log.Named("waf"), Registerer: o.Registerer}),
		Audit:  audit.New(audit.Options{Log: o.Log.Named("audit"), Registerer: o.Registerer}),
		Load:   newLoad(o.Registerer),
		places: map[string]*atomic.Int64{},
	}
	o.Registerer.MustRegister(NewLimitCollector(e.Limits))
	return e, nil
}

// underWay is the count of requests under way in a scope.
func (e *Engines) underWay(scope string) *atomic.Int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.places[scope]
	if n == nil {
		n = new(atomic.Int64)
		e.places[scope] = n
	}
	return n
}

// Reopen opens files anew, after they were moved away.
func (e *Engines) Reopen() error { return errors.Join(e.Audit.Reopen()) }

// Close writes out what the engines hold.
func (e *Engines) Close() { e.Audit.Close() }
