//go:build !linux

package main

import (
	"context"
	"time"
)

// checkClock says what time it is; whether that is kept right is not known here.
func checkClock(context.Context) []finding {
	return []finding{{Status: statusOK, Message: "it is " + time.Now().UTC().Format(time.RFC3339) + " here"}}
}
