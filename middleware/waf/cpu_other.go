//go:build !linux

package waf

import "time"

// CPUTime measures time as the wall has it.
func CPUTime() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
