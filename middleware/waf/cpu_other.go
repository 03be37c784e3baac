//go:build !linux

package waf

import "time"

// cpuTime measures time as the wall has it.
func cpuTime() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
