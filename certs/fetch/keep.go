package fetch

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// Backoff is how long to wait after so many failures: 2 s, 4 s, up to 5 minutes.
func Backoff(tries int) time.Duration {
	if tries == 0 {
		return 0
	}
	return min(time.Duration(1<<min(tries, 9))*time.Second, 5*time.Minute)
}

// Jitter spreads a tenth around d, so that many nodes don't ask at once.
func Jitter(d time.Duration) time.Duration { return d*9/10 + rand.N(d/5+1) }

// WriteWhole writes a file so that no reader ever sees half of it.
func WriteWhole(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err2 := f.Close(); err == nil {
		err = err2
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
