package middleware

import (
	"math"
	"testing"
	"time"
)

// TestLive: rates are those of the last minute, and a route that is new or quiet
// has right ones too.
func TestLive(t *testing.T) {
	t.Parallel()
	start := time.Unix(1_800_000_000, 0)
	var l Live
	ok, bad := l.of("r"), l.of("r")
	l.Sample(start)
	for second := 5; second <= 400; second += 5 {
		now := start.Add(time.Duration(second) * time.Second)
		for range 50 { // ten a second, of which the newest half fails
			ok.note(&Record{Start: now, Status: 200, Duration: 2 * time.Millisecond})
			if second > 300 {
				bad.note(&Record{Start: now, Status: 502, Duration: 4 * time.Millisecond})
			}
		}
		l.Sample(now)
	}
	end := start.Add(400 * time.Second)
	r := l.Routes(end)["r"]
	if math.Abs(r.PerSecond-20) > 1 || math.Abs(r.Failed-0.5) > 0.01 || r.Refused != 0 || r.Mean != 3*time.Millisecond || !r.Last.Equal(end) {
		t.Errorf("got %+v", r)
	}
	if len(r.History) != liveKept || r.History[0] != 10 || r.History[liveKept-1] != 20 {
		t.Errorf("the history has %d points: %v", len(r.History), r.History)
	}
	// Nothing for five minutes: no rate, but the last hit is known.
	for second := 405; second <= 800; second += 5 {
		l.Sample(start.Add(time.Duration(second) * time.Second))
	}
	if r := l.Routes(start.Add(800 * time.Second))["r"]; r.PerSecond != 0 || !r.Last.Equal(end) || r.Total != 5000 {
		t.Errorf("got %+v", r)
	}
	// Refused ones are no failures.
	l.of("new").note(&Record{Start: end, Status: 403, Denial: &Denial{By: "allow"}})
	if r := l.Routes(end)["new"]; r.Refused != 1 || r.Failed != 0 || r.PerSecond == 0 {
		t.Errorf("got %+v", r)
	}
}
