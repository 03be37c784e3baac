//go:build !linux

package h1

// unread is not known here.
func unread(uintptr) int { return 0 }
