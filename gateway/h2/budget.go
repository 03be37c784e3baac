package h2

import "time"

// A client pays for what costs the server more than the client, and useful
// work earns it back: ordinary use, of whatever amount, never runs out.
//
//	resets   a stream that ended in an error that the client made, by its own
//	         RST_STREAM or by what it sent (CVE-2023-44487, CVE-2025-8671).
//	         A browser that leaves a page cancels at most all its streams.
//	frames   frames that carry nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE,
//	         unknown ones, DATA without data. Receiving and sending data earns
//	         them: gRPC's streams come with a PING and WINDOW_UPDATEs for each.
const (
	resetsAtOnce, resetsPerSecond = 200, 20
	framesAtOnce, framesPerSecond = 2000, 200

	costSettings = 20 // each is applied to all streams and acknowledged
	earnResponse = 4  // frames, for a complete response
	earnSent     = 2  // frames, for each DATA frame with data that the server sent
	earnReceived = 1  // frames, for each that the client sent
)

// Budget is a bucket of tokens. The clock is asked only when it is empty. It
// must not be used by several goroutines at once.
type Budget struct {
	tokens, most int
	perSecond    int
	since        time.Time // what came before is in tokens
}

func newBudget(most, perSecond int, now time.Time) Budget {
	return Budget{tokens: most, most: most, perSecond: perSecond, since: now}
}

// ResetBudget is the budget of a connection's resets.
func ResetBudget() Budget { return newBudget(resetsAtOnce, resetsPerSecond, time.Now()) }

// Take reports whether n tokens were there.
func (b *Budget) Take(n int) bool {
	if b.tokens < n {
		now := time.Now()
		// In floating point, for a connection may be open for years.
		if fresh := now.Sub(b.since).Seconds() * float64(b.perSecond); fresh >= 1 {
			b.tokens = int(min(float64(b.most), float64(b.tokens)+fresh))
			b.since = now
		}
	}
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// Earn gives n tokens back.
func (b *Budget) Earn(n int) { b.tokens = min(b.most, b.tokens+n) }
