package middleware

import (
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime/metrics"
	"strconv"
	"sync"
	"testing"
)

// TestShed: under pressure the classes go one after the other.
func TestShed(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	load := env.Engines.Load
	refused := func(pressure float64, priority, organization string) int {
		f, err := buildShed(priority, env)
		if err != nil {
			t.Fatal(err)
		}
		load.measured.Store(math.Float64bits(pressure))
		h := f(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		n := 0
		for range 200 {
			r := httptest.NewRequest("GET", "/", nil)
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r.WithContext(WithRecord(r.Context(), &Record{Organization: organization})))
			if w.Code == http.StatusServiceUnavailable {
				n++
				var p struct {
					Type, Policy, Partition string
					Reset                   int
				}
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Type != quotaExceeded || p.Policy != "priority" || p.Partition == "" || w.Header().Get("Retry-After") != strconv.Itoa(p.Reset) {
					t.Errorf("%v, Retry-After %s: %s", err, w.Header().Get("Retry-After"), w.Body)
				}
			}
		}
		return n
	}
	for _, c := range []struct {
		pressure                           float64
		low, anonymous, organization, high int // least share of refused, in percent; -1 for some
	}{
		{0.69, 0, 0, 0, 0},
		{0.75, -1, 0, 0, 0},
		{0.8, 100, 0, 0, 0},
		{0.85, 100, -1, 0, 0},
		{0.9, 100, 100, 0, 0},
		{0.95, 100, 100, -1, 0},
		{1.0, 100, 100, 100, 0},
		{1.05, 100, 100, 100, -1},
		{1.2, 100, 100, 100, 100},
	} {
		for _, who := range []struct {
			name, priority, organization string
			want                         int
		}{
			{"low", "low", "nra", c.low}, {"anonymous", "", "", c.anonymous}, {"organization", "normal", "nra", c.organization}, {"high", "high", "", c.high},
		} {
			got := refused(c.pressure, who.priority, who.organization)
			if who.want >= 0 && got != who.want*2 || who.want < 0 && (got < 50 || got > 150) {
				t.Errorf("at %v, %s: %d of 200 refused, want %d %% (-1: about half)", c.pressure, who.name, got, who.want)
			}
		}
	}
	if _, err := buildShed("highest", env); err == nil {
		t.Error("an unknown priority: no error")
	}
}

// TestShedUnderWay: the bound on requests under way holds, and none is forgotten.
func TestShedUnderWay(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	env.Engines.Load.SetMost(10)
	f, err := buildShed("high", env)
	if err != nil {
		t.Fatal(err)
	}
	entered, leave := make(chan struct{}, 64), make(chan struct{})
	h := f(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { entered <- struct{}{}; <-leave }))
	ask := func() int {
		r := httptest.NewRequest("GET", "/", nil)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(WithRecord(r.Context(), &Record{})))
		return w.Code
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() { ask() })
	}
	for range 10 {
		<-entered
	}
	env.Engines.Load.SetMost(9) // far more than it can bear: even the highest class is refused
	if code := ask(); code != http.StatusServiceUnavailable {
		t.Errorf("one too many: %d, want 503", code)
	}
	close(leave)
	wg.Wait()
	if n := env.Engines.Load.underWay.Load(); n != 0 {
		t.Errorf("%d requests are under way after all have ended", n)
	}
}

func TestSlowTenth(t *testing.T) {
	t.Parallel()
	buckets := []float64{0, 0.001, 0.01, 0.1, 1, math.Inf(1)}
	for _, c := range []struct {
		name           string
		counts, former []uint64
		want           float64
	}{
		{"nothing happens", []uint64{50, 0, 0, 0, 0}, nil, 0},
		{"fast", []uint64{1000, 0, 0, 50, 0}, nil, 0},
		{"slow", []uint64{1000, 0, 0, 200, 0}, nil, 0.1},
		{"slow, but before", []uint64{2000, 0, 0, 210, 0}, []uint64{1000, 0, 0, 200, 0}, 0},
		{"slow, now", []uint64{1100, 0, 0, 300, 0}, []uint64{1000, 0, 0, 200, 0}, 0.1},
	} {
		if got := slowTenth(&metrics.Float64Histogram{Counts: c.counts, Buckets: buckets}, c.former); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
