package proxy

import (
	"sync"
	"time"
)

// freeRetries is how many retries a window has in any case: a share of few
// requests would be none.
const freeRetries = 10

// budget bounds retries to a share of the requests of the last ten seconds, so
// that retries don't multiply the load on servers that are failing already.
// It counts in seconds.
type budget struct {
	mu       sync.Mutex
	second   int64
	requests [10]int32
	retries  [10]int32
}

// request counts a request.
func (b *budget) request(at int64) {
	b.mu.Lock()
	b.advanceLocked(at)
	b.requests[b.second%10]++
	b.mu.Unlock()
}

// retry takes a retry out of the budget, or reports that it is used up.
func (b *budget) retry(at int64, share float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.advanceLocked(at)
	var requests, retries int32
	for i := range b.requests {
		requests += b.requests[i]
		retries += b.retries[i]
	}
	if float64(retries) >= max(freeRetries, share*float64(requests)) {
		return false
	}
	b.retries[b.second%10]++
	return true
}

func (b *budget) advanceLocked(at int64) {
	now := at / int64(time.Second)
	if now-b.second >= 10 {
		b.second = now
		b.requests, b.retries = [10]int32{}, [10]int32{}
		return
	}
	for b.second < now {
		b.second++
		b.requests[b.second%10], b.retries[b.second%10] = 0, 0
	}
}
