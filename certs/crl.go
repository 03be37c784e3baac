package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// maxCRL bounds a revocation list: about a million entries.
const maxCRL = 64 << 20

// lists are the revocation lists of the process.
type lists struct {
	manager *Manager
	client  *http.Client
	fetches *prometheus.CounterVec

	mu     sync.Mutex
	all    map[string]*list
	active map[*list]bool
	wake   chan struct{}
}

func newLists(m *Manager) *lists {
	return &lists{
		manager: m, all: map[string]*list{}, active: map[*list]bool{}, wake: make(chan struct{}, 1),
		client: &http.Client{
			Timeout:   30 * time.Second,
			Transport: &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, Proxy: http.ProxyFromEnvironment},
		},
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_revocation_list_fetches_total", Help: "Attempts to get a revocation list, by result."}, []string{"ca", "result"}),
	}
}

// list is one revocation list. It outlives configurations.
type list struct {
	name   string // organization, for metrics
	config CRL
	cas    []*x509.Certificate
	state  atomic.Pointer[listState]
	cache  string // file that keeps the list of a URL across restarts
	next   time.Time
	tries  int
}

// listState is what was read last.
type listState struct {
	issuer  []byte // raw subject
	keyID   []byte
	revoked map[string]struct{} // serial numbers
	number  []byte
	next    time.Time // nextUpdate
	fetched time.Time
}

// find is the list that c asks for, read from its file or its last copy on disk.
func (ls *lists) find(name string, c CRL, cas []*x509.Certificate) (*list, error) {
	if (c.URL == "") == (c.File == "") {
		return nil, errors.New("write either url or file")
	}
	key := [][]byte{[]byte(c.URL), []byte(c.File)}
	for _, ca := range cas {
		key = append(key, ca.Raw)
	}
	id := digest(key...)
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.all[id]
	if l == nil || l.config != c {
		l = &list{name: name, config: c, cas: cas}
		if c.URL != "" {
			l.cache = filepath.Join(ls.manager.stateDir, "crl", id+".crl")
			if b, fetched, err := readDated(l.cache); err == nil {
				if s, err := l.parse(b, fetched); err == nil {
					l.state.Store(s)
				}
			}
		}
		ls.all[id] = l
	}
	if c.File != "" {
		b, fetched, err := readDated(c.File)
		if err != nil {
			return nil, err
		}
		s, err := l.parse(b, fetched)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.File, err)
		}
		l.state.Store(s)
	}
	return l, nil
}

func readDated(path string) ([]byte, time.Time, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	if info.Size() > maxCRL {
		return nil, time.Time{}, fmt.Errorf("%s is larger than %d MiB", path, maxCRL>>20)
	}
	b, err := os.ReadFile(path)
	return b, info.ModTime(), err
}

// parse reads a list and checks that one of the authorities signed it.
func (l *list) parse(b []byte, fetched time.Time) (*listState, error) {
	if block, _ := pem.Decode(b); block != nil && block.Type == "X509 CRL" {
		b = block.Bytes
	}
	crl, err := x509.ParseRevocationList(b)
	if err != nil {
		return nil, fmt.Errorf("not a revocation list: %w", err)
	}
	var issuer *x509.Certificate
	for _, ca := range l.cas {
		if bytes.Equal(ca.RawSubject, crl.RawIssuer) && crl.CheckSignatureFrom(ca) == nil {
			issuer = ca
			break
		}
	}
	if issuer == nil {
		return nil, errors.New("the list is not signed by an authority of the organization")
	}
	if crl.ThisUpdate.After(time.Now().Add(5 * time.Minute)) {
		return nil, fmt.Errorf("the list is from the future: %s", crl.ThisUpdate.UTC().Format(time.RFC3339))
	}
	s := &listState{issuer: issuer.RawSubject, keyID: issuer.SubjectKeyId, next: crl.NextUpdate, fetched: fetched, revoked: make(map[string]struct{}, len(crl.RevokedCertificateEntries))}
	if crl.Number != nil {
		s.number = crl.Number.Bytes()
	}
	if former := l.state.Load(); former != nil && bytes.Equal(former.issuer, s.issuer) && older(s.number, former.number) {
		return nil, errors.New("the list is older than the one in force")
	}
	for _, e := range crl.RevokedCertificateEntries {
		if e.ReasonCode != 8 { // removeFromCRL
			s.revoked[string(e.SerialNumber.Bytes())] = struct{}{}
		}
	}
	return s, nil
}

// older compares CRL numbers, big-endian without leading zeros.
func older(a, b []byte) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return bytes.Compare(a, b) < 0
}

// check says whether the leaf of a chain is revoked. What is not known is a
// refusal.
func (l *list) check(chain []*x509.Certificate, now time.Time) (Reason, string) {
	s := l.state.Load()
	switch {
	case s == nil:
		return RevocationUnknown, "the revocation list has not been fetched yet"
	case !s.next.IsZero() && now.After(s.next):
		return RevocationUnknown, "the revocation list is past its nextUpdate"
	case l.config.MaxAge > 0 && now.Sub(s.fetched) > l.config.MaxAge.Std():
		return RevocationUnknown, "the revocation list is older than max_age"
	case !bytes.Equal(chain[0].RawIssuer, s.issuer):
		return RevocationUnknown, "the revocation list is not of the certificate's issuer"
	}
	if _, ok := s.revoked[string(chain[0].SerialNumber.Bytes())]; ok {
		return Revoked, ""
	}
	return "", ""
}

// use makes the lists of s the ones that are fetched.
func (ls *lists) use(s *Set) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	active := map[*list]bool{}
	for _, o := range s.organizations {
		if o.list != nil {
			active[o.list] = true
		}
	}
	ls.active = active
	for id, l := range ls.all {
		if !active[l] {
			delete(ls.all, id)
		}
	}
	select {
	case ls.wake <- struct{}{}:
	default:
	}
}

func (ls *lists) run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	busy := sync.Map{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-ls.wake:
		}
		ls.mu.Lock()
		var due []*list
		for l := range ls.active {
			if _, b := busy.Load(l); !b && !time.Now().Before(l.next) {
				due = append(due, l)
			}
		}
		ls.mu.Unlock()
		for _, l := range due {
			busy.Store(l, true)
			wg.Go(func() {
				defer busy.Delete(l)
				ls.refresh(ctx, l)
			})
		}
	}
}

// refresh gets a list again and plans the next time.
func (ls *lists) refresh(ctx context.Context, l *list) {
	former := l.state.Load()
	s, raw, err := ls.get(ctx, l, former)
	wait := 10 * time.Second
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		ls.fetches.WithLabelValues(l.name, "failure").Inc()
		ls.manager.log.Warn("revocation list could not be renewed", zap.String("organization", l.name), zap.Error(err))
		l.tries++
		wait = min(time.Duration(1<<min(l.tries, 8))*time.Second, 5*time.Minute)
	case s != nil:
		ls.fetches.WithLabelValues(l.name, "success").Inc()
		l.tries = 0
		l.state.Store(s)
		if l.cache != "" {
			if err := writeWhole(l.cache, raw); err != nil {
				ls.manager.log.Warn("revocation list could not be kept on disk", zap.String("organization", l.name), zap.Error(err))
			}
			wait = time.Hour
			if !s.next.IsZero() {
				wait = min(wait, time.Until(s.next)/2)
			}
			if m := l.config.MaxAge.Std(); m > 0 {
				wait = min(wait, m/4)
			}
			wait = max(wait, 10*time.Second)
		}
		if former == nil || !sameSet(former.revoked, s.revoked) {
			ls.manager.trustChanged()
		}
	}
	l.next = time.Now().Add(wait*9/10 + rand.N(wait/5+1))
}

// get reads the file, if it changed, or fetches the URL.
func (ls *lists) get(ctx context.Context, l *list, former *listState) (*listState, []byte, error) {
	if l.config.File != "" {
		info, err := os.Stat(l.config.File)
		if err != nil || former != nil && info.ModTime().Equal(former.fetched) {
			return nil, nil, err
		}
		b, fetched, err := readDated(l.config.File)
		if err != nil {
			return nil, nil, err
		}
		s, err := l.parse(b, fetched)
		return s, b, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.config.URL, nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := ls.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s answered %s", l.config.URL, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxCRL+1))
	if err != nil {
		return nil, nil, err
	}
	if len(b) > maxCRL {
		return nil, nil, fmt.Errorf("%s is larger than %d MiB", l.config.URL, maxCRL>>20)
	}
	s, err := l.parse(b, time.Now())
	return s, b, err
}

func sameSet(a, b map[string]struct{}) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if _, ok := b[k]; !ok {
			return false
		}
	}
	return true
}

// writeWhole writes a file so that no reader ever sees half of it.
func writeWhole(path string, b []byte) error {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
