package middleware

import (
	"context"
	"hash/maphash"
	"net/http"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/vazel-gateway/vazel/middleware/limit"
)

// Inspection is hundreds of times dearer than to pass a request on, and its cost
// is the client's choice. So what is used is charged to the client, and only so
// many requests are inspected at once. What is over budget is refused: always, if
// the configuration says how much one client may use; otherwise only where others
// want to be inspected too, and there is no turn for all.
const (
	budgetUnit  = 100 * time.Microsecond // that the budgets count by
	budgetBurst = 10 * time.Second       // of a client's share that may be used at once
	budgetWait  = time.Second            // for a turn
	budgetMixed = 5 * time.Second        // for so long after another client's request a client is not alone
)

// inspectionBudget is that of the process.
type inspectionBudget struct {
	store  *limit.Store
	hash   *hasher
	policy *limit.Policy
	rate   atomic.Pointer[limit.Rate]
	turns  atomic.Pointer[chan struct{}]
	strict atomic.Bool // the rate is the configuration's own
	seed   maphash.Seed
	last   atomic.Uint64 // the client of the latest request, as a hash
	mixed  atomic.Int64  // when another client's came after it, in Unix nanoseconds
	used   prometheus.Counter
	over   *prometheus.CounterVec // by why there was no time
}

func newInspectionBudget(store *limit.Store, hash *hasher, reg prometheus.Registerer) *inspectionBudget {
	b := &inspectionBudget{
		store: store, hash: hash, policy: store.Policy("inspection"), seed: maphash.MakeSeed(),
		used: prometheus.NewCounter(prometheus.CounterOpts{Name: "vazel_inspection_cpu_seconds_total", Help: "CPU time that inspection used."}),
	}
	b.over = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vazel_inspection_over_budget_total", Help: "Requests for whose inspection there was no time: caller (it used up its own share), node (too many requests were being inspected).",
	}, []string{"budget"})
	b.over.WithLabelValues("caller")
	b.over.WithLabelValues("node")
	reg.MustRegister(b.used, b.over)
	b.Set(0, 0)
	return b
}

// Set sets how much CPU time a client may use in a second, and how many requests
// are inspected at once; 0 is the default for the CPUs that there are.
func (b *inspectionBudget) Set(perClient time.Duration, atOnce int) {
	b.strict.Store(perClient > 0)
	if perClient <= 0 {
		perClient = time.Duration(runtime.GOMAXPROCS(0)) * time.Second / 4
	}
	if atOnce <= 0 {
		atOnce = 2 * runtime.GOMAXPROCS(0)
	}
	n := max(1, int64(perClient/budgetUnit))
	if r, err := b.policy.Rate(n, time.Second, n*int64(budgetBurst/time.Second)); err == nil {
		b.rate.Store(&r)
	}
	if c := b.turns.Load(); c == nil || cap(*c) != atOnce {
		turns := make(chan struct{}, atOnce)
		b.turns.Store(&turns)
	}
}

// account is what one request is charged to.
type account struct {
	b     *inspectionBudget
	key   limit.Key
	rate  limit.Rate
	turns chan struct{}
	over  *BodyRefusal // the client has used up its share; nil if not
}

// account finds that of a request's client, or the reason why it may not have
// anything inspected now. CPU time is the node's own: it is never shared with
// other nodes.
func (b *inspectionBudget) account(ctx context.Context, rec *Record) (*account, *BodyRefusal) {
	a := &account{b: b, rate: *b.rate.Load()}
	var client uint64
	if rec.Organization != "" {
		a.key = b.policy.Hashed(b.hash.hash(rec.Organization))
		client = maphash.String(b.seed, rec.Organization)
	} else {
		a.key = b.policy.Network(rec.Client)
		client = maphash.Comparable(b.seed, rec.Client)
	}
	if b.last.Swap(client) != client {
		b.mixed.Store(time.Now().UnixNano())
	}
	// What a request will cost is not known: less than a second's worth is nothing.
	if d, err := b.store.Peek(ctx, a.key, a.rate); err == nil && d.Remaining < a.rate.Count {
		a.over = &BodyRefusal{http.StatusTooManyRequests, Denial{
			By: "waf", Reason: "inspection_budget", RetryAfter: time.Second, Detail: "the caller's requests took more time to inspect than one caller may use",
		}}
		if b.strict.Load() {
			return nil, b.refuse("caller", a.over)
		}
	}
	return a, nil
}

func (b *inspectionBudget) refuse(budget string, r *BodyRefusal) *BodyRefusal {
	b.over.WithLabelValues(budget).Inc()
	return r
}

// turn waits until the request may be inspected. Who has used up its share does
// not wait in the way of others.
func (a *account) turn(ctx context.Context) *BodyRefusal {
	a.turns = *a.b.turns.Load()
	select {
	case a.turns <- struct{}{}:
		return nil
	default:
	}
	if a.over != nil && time.Now().UnixNano()-a.b.mixed.Load() < int64(budgetMixed) {
		return a.b.refuse("caller", a.over)
	}
	t := time.NewTimer(budgetWait)
	defer t.Stop()
	select {
	case a.turns <- struct{}{}:
		return nil
	case <-t.C:
	case <-ctx.Done():
	}
	a.b.over.WithLabelValues("node").Inc()
	return &BodyRefusal{http.StatusServiceUnavailable, Denial{By: "waf", Reason: "inspection_busy", RetryAfter: time.Second, Detail: "too many requests are being inspected"}}
}

// close charges what was used, and ends the turn. Who has less left than was used
// has nothing left: a charge that did not fit must not be lost.
func (a *account) close(used time.Duration) {
	<-a.turns
	a.b.used.Add(used.Seconds())
	cost := max(1, int64(used/budgetUnit))
	for range 8 {
		uses := []limit.Use{{Key: a.key, Rate: a.rate, Cost: cost}}
		if ok, err := a.b.store.TakeAll(context.Background(), uses); ok || err != nil {
			return
		}
		if cost = min(cost, uses[0].Decision.Remaining); cost == 0 {
			return
		}
	}
}
