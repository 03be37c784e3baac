package main

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"go.uber.org/zap"
)

const (
	// gcPercent trades memory for CPU: garbage collection is a tenth of what a
	// request costs at Go's default of 100, and half of that at 200. GOGC overrides it.
	gcPercent = 200
	// memoryShare of what the control group allows is the soft limit, above which
	// Go collects garbage ever harder. GOMEMLIMIT overrides it.
	memoryShare = 0.85

	quietEvery  = 500 * time.Millisecond
	quietBytes  = 512 << 10 // allocated in that time, by a process that has little to do
	returnAbove = 8 << 20   // held for nothing, so that giving it back is worth a collection
	returnEvery = 10 * time.Second
)

// tuneMemory sets the bounds of the garbage collector.
func tuneMemory(log *zap.Logger) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	limit, err := memlimit.Set(memlimit.WithRatio(memoryShare))
	switch {
	case err != nil:
		log.Warn("the control group's memory limit can't be read; set GOMEMLIMIT", zap.Error(err))
	case limit != math.MaxInt64:
		log.Info("memory limit", zap.Int64("bytes", limit))
	}
}

// returnMemory gives memory back to the system in quiet moments: what a burst of
// handshakes and requests needed, the connections that stay open do not.
func returnMemory(ctx context.Context) {
	samples := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"},
		{Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
		{Name: "/gc/cycles/total:gc-cycles"},
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"},
	}
	tick := time.NewTicker(quietEvery)
	defer tick.Stop()
	var allocated, cycles uint64
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(samples)
		quiet := samples[0].Value.Uint64()-allocated < quietBytes
		allocated = samples[0].Value.Uint64()
		idle := samples[1].Value.Uint64() + samples[2].Value.Uint64()
		garbage := samples[4].Value.Uint64() - min(samples[4].Value.Uint64(), samples[5].Value.Uint64())
		worth := garbage >= returnAbove || idle >= returnAbove && samples[3].Value.Uint64() != cycles
		if !quiet || !worth || time.Since(last) < returnEvery {
			continue
		}
		debug.FreeOSMemory()
		metrics.Read(samples)
		cycles, last = samples[3].Value.Uint64(), time.Now()
	}
}
