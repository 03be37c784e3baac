package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Of adjtimex(2).
const (
	clockError   = 5    // TIME_ERROR
	unsyncStatus = 0x40 // STA_UNSYNC
)

// checkClock asks the kernel whether something keeps the clock right.
func checkClock(context.Context) []finding {
	var x syscall.Timex
	state, err := syscall.Adjtimex(&x)
	now := time.Now().UTC().Format(time.RFC3339)
	switch {
	case err != nil:
		return []finding{{Status: statusWarn, Message: fmt.Sprintf("it is %s here; whether that is kept right can't be known: %v", now, err)}}
	case state == clockError || x.Status&unsyncStatus != 0:
		return []finding{{Status: statusWarn, Message: fmt.Sprintf("it is %s here; the kernel does not know of anything that keeps the clock right", now), Mend: "run chrony or systemd-timesyncd; validity of certificates is a matter of the clock"}}
	}
	return []finding{{Status: statusOK, Message: fmt.Sprintf("it is %s here, kept to within %s", now, (time.Duration(x.Maxerror) * time.Microsecond).Round(time.Millisecond))}}
}
