//go:build unix

package proxy

import "syscall"

// peekSocket looks for a byte without taking it or waiting: -1 and EAGAIN mean
// that the connection is open and silent.
func peekSocket(fd uintptr) (int, error) {
	var b [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			if err != nil {
				n = -1
			}
			return n, err
		}
	}
}
