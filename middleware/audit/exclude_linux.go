package audit

import (
	"os"

	"golang.org/x/sys/unix"
)

// exclude keeps other processes from writing for the moment of one batch. The
// lock is one of the open file, so it ends with a process that dies.
func exclude(f *os.File) (release func()) {
	set := func(kind int16) { unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: kind}) }
	set(unix.F_WRLCK)
	return func() { set(unix.F_UNLCK) }
}
