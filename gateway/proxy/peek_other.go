//go:build !unix

package proxy

import "syscall"

// peekSocket can't look here; a dead connection is noticed when it is used.
func peekSocket(uintptr) (int, error) { return -1, syscall.EAGAIN }
