package h1

import "golang.org/x/sys/unix"

// unread is how many bytes have arrived on a socket and were not read.
func unread(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
