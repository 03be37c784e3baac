package addresses

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

const (
	lookEvery   = 200 * time.Millisecond // at a file
	fetchAtMost = 2 * time.Minute        // however slowly it drips
	// prepareAtMost is how long a reload waits for lists that it never had.
	prepareAtMost = 5 * time.Second
	defaultEvery  = time.Hour
)

// follow looks at the source of a set again and again.
func (m *Manager) follow(ctx context.Context, s *Set) {
	if s.source.File != "" {
		m.followFile(ctx, s)
		return
	}
	wait := fetch.Jitter(s.every())
	if st := s.state.Load(); st == nil {
		wait = fetch.Backoff(s.tries)
	} else if s.tries > 0 {
		wait = fetch.Jitter(fetch.Backoff(s.tries))
	} else {
		wait -= time.Since(st.got) // a restart does not put it off
	}
	for {
		if !s.pause(ctx, wait) {
			return
		}
		m.refresh(ctx, s, fetchAtMost)
		wait = fetch.Jitter(s.every())
		if s.tries > 0 {
			wait = min(wait, fetch.Jitter(fetch.Backoff(s.tries)))
		}
	}
}

func (s *Set) every() time.Duration {
	if s.source.Every != 0 {
		return s.source.Every.Std()
	}
	return defaultEvery
}

// pause waits, and notices when the list grows too old. It reports whether ctx lasts.
func (s *Set) pause(ctx context.Context, d time.Duration) bool {
	until := time.Now().Add(d)
	for {
		s.ageNow()
		next := until
		if at := s.staleAt(); time.Now().Before(at) && at.Before(next) {
			next = at
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			t.Stop()
			return false
		case <-t.C:
		}
		if !time.Now().Before(until) {
			return true
		}
	}
}

// ageNow notes whether the list is too old.
func (s *Set) ageNow() {
	at := s.staleAt()
	s.stale.Store(!at.IsZero() && !time.Now().Before(at))
}

// followFile reads a file whenever it changes and has then been left alone for a
// look: whoever writes it in place must not be read halfway.
func (m *Manager) followFile(ctx context.Context, s *Set) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	m.keepFile(s)
	var last os.FileInfo
	var since time.Time // the file has been changing
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		s.ageNow()
		info, err := os.Stat(s.source.File)
		gone := err != nil && s.seen == nil && s.fault != "" // and told of
		// Two writes within the grain of the file system's clock look alike.
		if gone || err == nil && same(info, s.seen) && s.read.Sub(info.ModTime()).Abs() > 2*time.Second {
			last, since = nil, time.Time{}
			continue
		}
		if since.IsZero() {
			since = time.Now()
		}
		if settled := err != nil || same(info, last) || time.Since(since) > 2*time.Second; !settled {
			last = info
			continue
		}
		last, since = nil, time.Time{}
		m.readAgain(s)
	}
}

// same reports whether two looks at a file found the same.
func same(a, b os.FileInfo) bool {
	return a != nil && b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readAgain reads a file that may have changed.
func (m *Manager) readAgain(s *Set) {
	start := time.Now()
	st, b, info, err := readFile(s.source)
	if err == nil {
		if now, err2 := os.Stat(s.source.File); err2 != nil || !same(now, info) {
			return // while it was read; the next look sees more
		}
		if former := s.state.Load(); former != nil {
			if st.sum == former.sum {
				s.seen, s.read = info, start
				s.succeeded(m, "", st)
				return
			}
			err = s.source.fits(st.table, former.table.entries)
		}
	}
	s.seen, s.read = info, start
	if err != nil {
		s.failure(m, err)
		return
	}
	m.keep(s, st, b) // first: whoever hears of the change may write the next list
	s.succeeded(m, "success", st)
}

// keepFile keeps a copy of a list from a file, for a start while the file can't
// be used.
func (m *Manager) keepFile(s *Set) {
	st := s.state.Load()
	if s.keep == "" || st.sum == s.kept {
		return
	}
	b, err := os.ReadFile(s.source.File)
	switch {
	case err != nil:
		m.Log.Warn("an address list could not be kept on disk", zap.String("set", s.name), zap.Error(err))
	case sha256.Sum256(b) == st.sum: // or else the next look sees more
		m.keep(s, st, b)
	}
}

// keep writes the list st, as it was read, to disk.
func (m *Manager) keep(s *Set, st *state, b []byte) {
	if s.keep == "" || st.sum == s.kept {
		return
	}
	if err := s.writeKept(b, st); err != nil {
		m.Log.Warn("an address list could not be kept on disk", zap.String("set", s.name), zap.Error(err))
	}
}

// refresh fetches the list of a URL.
func (m *Manager) refresh(ctx context.Context, s *Set, atMost time.Duration) {
	bounded, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	select {
	case m.fetching <- struct{}{}:
		defer func() { <-m.fetching }()
	case <-bounded.Done():
		if ctx.Err() == nil {
			s.failure(m, errors.New("other lists took too long"))
		}
		return
	}
	former := s.state.Load()
	var had fetch.Version
	if former != nil {
		had = former.version
	}
	b, version, changed, err := m.client.GetChanged(bounded, s.source.URL, maxList, had)
	now := time.Now()
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
	case !changed:
		st := *former
		st.got = now
		if err := os.Chtimes(s.keep, now, now); err != nil {
			m.Log.Warn("the kept copy of an address list could not be dated", zap.String("set", s.name), zap.Error(err))
		}
		s.succeeded(m, "unchanged", &st)
		return
	default:
		var st *state
		if st, err = s.source.judge(b, s.entries()); err != nil {
			err = fmt.Errorf("%s: %w", s.source.URL, err)
			break
		}
		st.got, st.version = now, version
		if err := s.writeKept(b, st); err != nil {
			m.Log.Warn("an address list could not be kept on disk", zap.String("set", s.name), zap.Error(err))
		}
		s.succeeded(m, "success", st)
		return
	}
	s.failure(m, err)
}

// failure notes that the source can't be used. What was in force stays.
func (s *Set) failure(m *Manager, err error) {
	s.failed.Store(true)
	s.tries++
	if err.Error() == s.fault && s.source.File != "" {
		return // said already
	}
	result := "failure"
	var bad *BadList
	switch {
	case errors.Is(err, errShrunk):
		result = "shrunk"
	case errors.As(err, &bad), errors.Is(err, errEmpty), errors.Is(err, errTooMany):
		result = "invalid"
	}
	m.fetches.WithLabelValues(s.name, result).Inc()
	s.fault = err.Error()
	inForce := "none"
	if n := s.entries(); n >= 0 {
		inForce = fmt.Sprintf("%d entries", n)
	}
	m.Log.Error("an address list could not be renewed", zap.String("set", s.name), zap.Error(err), zap.String("in_force", inForce))
}

// succeeded makes st the list in force.
func (s *Set) succeeded(m *Manager, result string, st *state) {
	former := s.state.Swap(st)
	recovered := s.failed.Swap(false)
	s.tries, s.fault = 0, ""
	s.ageNow()
	if result != "" {
		m.fetches.WithLabelValues(s.name, result).Inc()
	}
	if former != nil && former.sum == st.sum {
		if recovered {
			m.Log.Info("an address list can be renewed again", zap.String("set", s.name))
		}
		return
	}
	m.Log.Info("address list in force", zap.String("set", s.name), zap.Int("entries", st.table.entries))
	if m.Changed != nil {
		m.Changed()
	}
}
