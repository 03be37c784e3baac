package certs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

const (
	maxCRL     = 64 << 20               // about two million entries
	crlTimeout = time.Minute            // to fetch one, however slowly it drips
	crlPoll    = 250 * time.Millisecond // between looks at a file
)

// lists are the revocation lists of the process.
type lists struct {
	manager  *Manager
	fetcher  *fetch.Client
	fetches  *prometheus.CounterVec
	unknown  *prometheus.CounterVec
	crew     *fetch.Crew[*list]
	fetching chan struct{} // each may hold a list of maxCRL

	mu  sync.Mutex
	all map[string]*list
}

func newLists(m *Manager) *lists {
	return &lists{
		manager: m, fetcher: fetch.NewClient(), all: map[string]*list{}, crew: fetch.NewCrew[*list](), fetching: make(chan struct{}, 4),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_revocation_list_fetches_total", Help: "Attempts to get a revocation list, by result."}, []string{"ca", "result"}),
		unknown: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_revocation_status_unknown_total", Help: "Certificates of an organization that were judged without fresh revocation information, by outcome (admitted, refused)."}, []string{"ca", "outcome"}),
	}
}

// list is one source of a revocation list. It outlives configurations.
type list struct {
	name    string // for metrics: of the first organization that asked for it
	config  CRL
	issuers []*x509.Certificate // who may sign it
	state   atomic.Pointer[listState]
	keep    func(issuer *x509.Certificate) string // file that keeps its last copy across restarts

	again chan struct{} // look at the source now

	// Of the goroutine that follows the source.
	seen  fileState
	tries int
	fault string // logged last
	next  time.Time
}

// fileState is a file as it was read last.
type fileState struct {
	info os.FileInfo // nil if it was not there
	read time.Time
	sum  [sha256.Size]byte
}

var errOlder = errors.New("the list is older than the one in force")

// find is the list that c asks for, read from its file or its last copy on disk.
// cas are the authorities of the organization. A list that is in use already
// changes only by what is read in the background.
func (ls *lists) find(name string, c CRL, cas []*x509.Certificate) (*list, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	issuers, err := c.issuers(cas)
	if err != nil {
		return nil, err
	}
	key := [][]byte{[]byte(c.URL), []byte(c.File), []byte(c.MaxAge.String())}
	for _, ca := range issuers {
		key = append(key, ca.Raw)
	}
	id := digest(key...)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if l := ls.all[id]; l != nil {
		return l, nil
	}
	l := &list{name: name, config: c, issuers: issuers, again: make(chan struct{}, 1)}
	l.keep = func(issuer *x509.Certificate) string {
		return filepath.Join(ls.manager.stateDir, "crl", digest([]byte(c.URL), []byte(c.File), issuer.RawSubject, issuer.RawSubjectPublicKeyInfo)+".crl")
	}
	for _, ca := range issuers {
		b, written, err := readDated(l.keep(ca))
		if err != nil {
			continue
		}
		s, err := l.parse(b, written)
		if errors.Is(err, errOlder) {
			continue
		}
		if err != nil {
			ls.manager.log.Warn("the kept copy of a revocation list can't be used", zap.String("organization", name), zap.Error(err))
		} else {
			l.state.Store(s)
		}
	}
	if c.File != "" {
		s, err := l.read()
		switch {
		case errors.Is(err, errOlder):
			ls.manager.log.Error("the file of a revocation list is older than the list that was in force before; that one stays", zap.String("organization", name), zap.String("file", c.File))
		case err != nil:
			return nil, err
		default:
			l.state.Store(s)
		}
	}
	ls.all[id] = l
	return l, nil
}

// check finds mistakes that need no file.
func (c CRL) check() error {
	if (c.URL == "") == (c.File == "") {
		return errors.New("write either url or file")
	}
	return checkURL(c.URL)
}

func checkURL(s string) error {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil
	case err == nil && u.User != nil:
		return errors.New("url must not hold a name or password: it stands in logs")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Errorf("url %q is not an http or https address", s)
	}
	return nil
}

// issuers are the authorities that may sign the list: those of the organization,
// and intermediate ones that are written with it and prove to be below them.
func (c CRL) issuers(cas []*x509.Certificate) ([]*x509.Certificate, error) {
	if c.Issuer == "" {
		return cas, nil
	}
	more, err := LoadCAs(c.Issuer)
	if err != nil {
		return nil, fmt.Errorf("issuer: %w", err)
	}
	for _, ca := range more {
		at := time.Now() // an expired authority proves nobody, but keeps no gateway from starting
		if at.After(ca.NotAfter) {
			at = ca.NotAfter
		}
		_, err := ca.Verify(x509.VerifyOptions{Roots: poolOf(cas), Intermediates: poolOf(more), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		if err != nil {
			return nil, fmt.Errorf("issuer: %s: %s is not below an authority of the organization: %w", c.Issuer, plain(ca.Subject.String()), err)
		}
	}
	return append(append([]*x509.Certificate{}, cas...), more...), nil
}

// Check reads the list of a file as a configuration would, with the
// authorities in the files of ca. The warning is about a list that is good but
// of no use now. A list at a URL is not fetched.
func (c CRL) Check(ca []string, now time.Time) (warning string, err error) {
	if err := c.check(); err != nil {
		return "", err
	}
	var cas []*x509.Certificate
	for _, path := range ca {
		l, err := LoadCAs(path)
		if err != nil {
			return "", nil // a mistake of ca, and told as such
		}
		cas = append(cas, l...)
	}
	l := &list{config: c}
	if l.issuers, err = c.issuers(cas); err != nil || c.File == "" {
		return "", err
	}
	s, err := l.read()
	if err != nil {
		return "", err
	}
	return l.stale(s, now), nil
}

func (l *list) read() (*listState, error) {
	b, written, err := readDated(l.config.File)
	if err != nil {
		return nil, err
	}
	s, err := l.parse(b, written)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.config.File, err)
	}
	return s, nil
}

// parse reads a list and makes sure that it takes nothing back.
func (l *list) parse(b []byte, fetched time.Time) (*listState, error) {
	now := time.Now()
	s, err := parseList(b, l.issuers, now)
	if err != nil {
		return nil, err
	}
	if s.fetched = fetched; fetched.After(now) {
		s.fetched = now // a file from the future would never grow old
	}
	if former := l.state.Load(); former != nil && s.olderThan(former) {
		return nil, errOlder
	}
	return s, nil
}

func readDated(path string) ([]byte, time.Time, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, time.Time{}, err
	case !info.Mode().IsRegular():
		return nil, time.Time{}, fmt.Errorf("%s is not a regular file", path)
	case info.Size() > maxCRL:
		return nil, time.Time{}, fmt.Errorf("%s is larger than %d MiB", path, maxCRL>>20)
	case info.Size() == 0:
		return nil, time.Time{}, fmt.Errorf("%s is empty", path)
	}
	b, err := os.ReadFile(path)
	return b, info.ModTime(), err
}

// use makes the lists of s the ones that are followed.
func (ls *lists) use(s *Set) {
	active := map[*list]bool{}
	for _, o := range s.organizations {
		for _, l := range o.lists {
			active[l] = true
		}
	}
	ls.mu.Lock()
	for id, l := range ls.all {
		if !active[l] {
			delete(ls.all, id)
			continue
		}
		if l.config.File != "" || l.state.Load() == nil {
			fetch.Nudge(l.again)
		}
	}
	ls.mu.Unlock()
	ls.crew.Use(active)
}

// follow looks at the source of a list again and again.
func (ls *lists) follow(ctx context.Context, l *list) {
	var poll <-chan time.Time
	if l.config.File != "" {
		t := time.NewTicker(crlPoll)
		defer t.Stop()
		poll = t.C
	}
	for {
		select {
		case <-l.again: // is done now
		default:
		}
		ls.refresh(ctx, l)
		due := time.NewTimer(time.Until(l.next))
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				due.Stop()
				return
			case <-due.C:
				waiting = false
			case <-l.again:
				waiting = false
			case <-poll:
				waiting = !l.touched()
			}
		}
		due.Stop()
	}
}

// touched reports whether the file may have changed since it was read. Two
// writes within the grain of the file system's clock look alike, so what was
// written just before it was read is read again.
func (l *list) touched() bool {
	info, err := os.Stat(l.config.File)
	was := l.seen.info
	if err != nil || was == nil {
		return (err == nil) != (was != nil)
	}
	return !os.SameFile(info, was) || info.Size() != was.Size() || !info.ModTime().Equal(was.ModTime()) || l.seen.read.Sub(was.ModTime()).Abs() < 2*time.Second
}

// refresh gets a list again and plans the next time.
func (ls *lists) refresh(ctx context.Context, l *list) {
	former := l.state.Load()
	s, raw, err := ls.get(ctx, l)
	now := time.Now()
	wait := 10 * time.Second
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		ls.fetches.WithLabelValues(l.name, "failure").Inc()
		if l.config.URL != "" || err.Error() != l.fault {
			ls.manager.log.Warn("revocation list could not be renewed", zap.String("organization", l.name), zap.Error(err), zap.String("in_force", l.inForce(former, now)))
		}
		l.fault = err.Error()
		l.tries++
		if l.config.URL != "" {
			wait = fetch.Backoff(l.tries)
		}
	case s == nil: // the file did not change
		l.fault, l.tries = "", 0
	default:
		ls.fetches.WithLabelValues(l.name, "success").Inc()
		l.state.Store(s)
		if err := fetch.WriteWhole(l.keep(s.issuer), raw); err != nil {
			ls.manager.log.Warn("revocation list could not be kept on disk", zap.String("organization", l.name), zap.Error(err))
		}
		l.fault = ""
		if l.tries++; l.stale(s, now) == "" {
			l.tries = 0
		}
		if l.config.URL != "" {
			wait = min(time.Hour, s.next.Sub(now)/2)
			if m := l.config.MaxAge.Std(); m > 0 {
				wait = min(wait, m/4)
			}
			wait = max(wait, 10*time.Second, fetch.Backoff(l.tries))
		}
		if former == nil || (l.stale(former, now) == "") != (l.stale(s, now) == "") || !s.same(former) {
			ls.manager.log.Info("revocation list in force", zap.String("organization", l.name), zap.String("issuer", plain(s.issuer.Subject.String())), zap.Int("entries", s.revoked.len()), zap.Time("next_update", s.next), zap.String("stale", l.stale(s, now)))
			ls.manager.trustChanged(ls.manager.judgedBy(l, nil)...)
		}
	}
	l.next = now.Add(fetch.Jitter(wait))
}

// inForce says what counts while a list can't be renewed.
func (l *list) inForce(s *listState, now time.Time) string {
	if s == nil {
		return "none"
	}
	if why := l.stale(s, now); why != "" {
		return why
	}
	return "fresh until " + l.staleFrom(s).UTC().Format(time.RFC3339)
}

// get reads the file, if it changed, or fetches the URL.
func (ls *lists) get(ctx context.Context, l *list) (*listState, []byte, error) {
	if l.config.File != "" {
		info, _ := os.Stat(l.config.File)
		was := l.seen
		l.seen = fileState{info: info, read: time.Now()}
		b, written, err := readDated(l.config.File)
		if err != nil {
			return nil, nil, err
		}
		if l.seen.sum = sha256.Sum256(b); l.seen.sum == was.sum && l.fault == "" && info != nil && was.info != nil && info.ModTime().Equal(was.info.ModTime()) {
			return nil, nil, nil
		}
		s, err := l.parse(b, written)
		return s, b, err
	}
	select {
	case ls.fetching <- struct{}{}:
		defer func() { <-ls.fetching }()
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	bounded, cancel := context.WithTimeout(ctx, crlTimeout)
	defer cancel()
	b, err := ls.fetcher.Get(bounded, l.config.URL, maxCRL)
	if err != nil {
		return nil, nil, err
	}
	s, err := l.parse(b, time.Now())
	return s, b, err
}
