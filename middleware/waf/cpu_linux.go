package waf

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime starts to measure the CPU time of the goroutine, which keeps its
// thread until the function that it returns is called. Wall time would
// charge a client for what others make it wait.
func CPUTime() func() time.Duration {
	runtime.LockOSThread()
	start := threadTime()
	return func() time.Duration {
		used := threadTime() - start
		runtime.UnlockOSThread()
		return used
	}
}

func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
