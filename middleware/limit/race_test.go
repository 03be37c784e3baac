//go:build race

package limit

// underRace says that the race detector watches, which makes everything slower
// by an order of magnitude.
const underRace = true
