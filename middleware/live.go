package middleware

import (
	"sync"
	"sync/atomic"
	"time"
)

// routeLive counts a route's requests of one class for the operator console.
// Rates are made of it by looking from time to time: a request pays four additions.
type routeLive struct {
	requests, refused, failed, nanos atomic.Uint64
	last                             atomic.Int64 // begin of the last request, in seconds
}

func (l *routeLive) note(rec *Record) {
	l.requests.Add(1)
	l.nanos.Add(uint64(max(0, rec.Duration)))
	l.last.Store(rec.Start.Unix())
	switch {
	case rec.Status >= 500 || rec.Aborted == "gateway":
		l.failed.Add(1)
	case rec.Denial != nil:
		l.refused.Add(1)
	}
}

const (
	liveEvery = 5 * time.Second
	liveKept  = 60 // points: five minutes
)

// Live is what is going on at each route now.
type Live struct {
	mu     sync.Mutex
	routes map[string]*liveRoute
}

// liveRoute is a route with its classes and what it counted lately.
type liveRoute struct {
	classes []*routeLive
	points  []livePoint // the oldest first
}

// livePoint is what was counted until a time.
type livePoint struct {
	at                               time.Time
	requests, refused, failed, nanos uint64
}

// of makes the counter of one class of a route.
func (l *Live) of(route string) *routeLive {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.routes == nil {
		l.routes = map[string]*liveRoute{}
	}
	r := l.routes[route]
	if r == nil {
		r = &liveRoute{}
		l.routes[route] = r
	}
	c := &routeLive{}
	r.classes = append(r.classes, c)
	return c
}

// Sample notes where the counters stand. It is for every five seconds.
func (l *Live) Sample(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.routes {
		if len(r.points) > liveKept {
			r.points = append(r.points[:0], r.points[1:]...)
		}
		r.points = append(r.points, r.now(now))
	}
}

// SampleEvery is the time between two calls of Sample.
func (l *Live) SampleEvery() time.Duration { return liveEvery }

func (r *liveRoute) now(at time.Time) livePoint {
	p := livePoint{at: at}
	for _, c := range r.classes {
		p.requests += c.requests.Load()
		p.refused += c.refused.Load()
		p.failed += c.failed.Load()
		p.nanos += c.nanos.Load()
	}
	return p
}

// RouteRate is what happened at a route in the last minute, or since it was first
// called if that is later.
type RouteRate struct {
	PerSecond       float64       `json:"per_second"`
	Refused, Failed float64       // shares, from 0 to 1
	Mean            time.Duration // of a request
	Total           uint64        // since the start of the process
	Last            time.Time     // last request; zero for none
	History         []float64     // requests a second, every five seconds, the newest last
}

// Routes are the rates of all routes that were called since the process began.
func (l *Live) Routes(now time.Time) map[string]RouteRate {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]RouteRate{}
	for name, r := range l.routes {
		end := r.now(now)
		rate := RouteRate{Total: end.requests}
		for _, c := range r.classes {
			if last := time.Unix(c.last.Load(), 0).UTC(); last.Unix() > 0 && last.After(rate.Last) {
				rate.Last = last
			}
		}
		var begin livePoint // of the minute; a route that is new began with nothing
		minute := now.Add(-time.Minute)
		for _, p := range r.points {
			if begin.at.IsZero() || !p.at.After(minute) {
				begin = p
			}
		}
		if n := end.requests - begin.requests; n > 0 {
			over := time.Minute
			if !begin.at.IsZero() {
				over = max(time.Second, now.Sub(begin.at))
			}
			rate.PerSecond = float64(n) / over.Seconds()
			rate.Refused, rate.Failed = float64(end.refused-begin.refused)/float64(n), float64(end.failed-begin.failed)/float64(n)
			rate.Mean = time.Duration((end.nanos - begin.nanos) / n)
		}
		for i := 1; i < len(r.points); i++ {
			a, b := r.points[i-1], r.points[i]
			rate.History = append(rate.History, float64(b.requests-a.requests)/max(1, b.at.Sub(a.at).Seconds()))
		}
		all[name] = rate
	}
	return all
}
