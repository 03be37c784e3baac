package middleware

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestCrowds: however many come at once, no bound lets in more than it says,
// handlers that panic leave their places, and nothing is kept of who has left.
func TestCrowds(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	f, err := buildConcurrency(Concurrencies{{Max: 5}, {Max: 2, Per: "client_ip"}}, env)
	if err != nil {
		t.Fatal(err)
	}
	const clients = 8
	var all, let, refused atomic.Int64
	var each [clients]atomic.Int64
	h := f(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := RecordOf(r.Context()).Client.As4()[3]
		defer all.Add(-1)
		defer each[client].Add(-1)
		if n, own := all.Add(1), each[client].Add(1); n > 5 || own > 2 {
			t.Errorf("%d are under way, %d of one client", n, own)
		}
		runtime.Gosched() // others come meanwhile
		if let.Add(1)%3 == 0 {
			panic(http.ErrAbortHandler)
		}
	}))
	ask := func(client byte) {
		defer func() { recover() }()
		rec := &Record{Path: "/", Client: netip.AddrFrom4([4]byte{198, 51, 100, client})}
		r := httptest.NewRequest("GET", "https://a.example/", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(&response{ResponseWriter: w, rec: rec}, r.WithContext(WithRecord(r.Context(), rec)))
		if w.Code == http.StatusServiceUnavailable {
			refused.Add(1)
		}
	}
	var wg sync.WaitGroup
	for n := range 32 {
		wg.Go(func() {
			for range 200 {
				ask(byte(n % clients))
			}
		})
	}
	wg.Wait()
	if let.Load()+refused.Load() != 32*200 || let.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d were let in and %d refused, of %d", let.Load(), refused.Load(), 32*200)
	}
	for name, c := range env.Engines.crowds.byName {
		if len(c.n) != 0 {
			t.Errorf("%s still counts %v", name, c.n)
		}
	}
}
