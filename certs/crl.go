package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
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
	unknown *prometheus.CounterVec

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
		unknown: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_revocation_status_unknown_total", Help: "Certificates of an organization that were judged without a fresh revocation list, by outcome (admitted, refused)."}, []string{"ca", "outcome"}),
	}
}

// list is one revocation list. It outlives configurations.
type list struct {
	name   string // organization, for metrics; the first one that asked for it
	config CRL
	cas    []*x509.Certificate
	state  atomic.Pointer[listState]
	cache  string // file that keeps the list of a URL across restarts

	admitted, refused prometheus.Counter // without a fresh list

	again atomic.Bool // look at the source now
	next  time.Time   // when the source is looked at again
	tries int
}

// listState is what was read last.
type listState struct {
	issuer  *x509.Certificate
	revoked map[string]struct{} // serial numbers
	number  []byte
	this    time.Time // thisUpdate
	next    time.Time // nextUpdate
	fetched time.Time
}

// find is the list that c asks for, read from its file or its last copy on disk.
func (ls *lists) find(name string, c CRL, cas []*x509.Certificate) (*list, error) {
	if (c.URL == "") == (c.File == "") {
		return nil, errors.New("write either url or file")
	}
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return nil, fmt.Errorf("url %q is not an http or https address", c.URL)
		}
	}
	key := [][]byte{[]byte(c.URL), []byte(c.File)}
	for _, ca := range cas {
		key = append(key, ca.Raw)
	}
	source := digest(key...)
	id := digest([]byte(source), []byte(c.MaxAge.String()))
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.all[id]
	if l == nil {
		l = &list{name: name, config: c, cas: cas, admitted: ls.unknown.WithLabelValues(name, "admitted"), refused: ls.unknown.WithLabelValues(name, "refused")}
		if c.URL != "" {
			l.cache = filepath.Join(ls.manager.stateDir, "crl", source+".crl")
			if b, fetched, err := readDated(l.cache); err == nil {
				if s, err := l.parse(b, fetched); err == nil {
					l.state.Store(s)
				} else {
					ls.manager.log.Warn("the kept copy of a revocation list can't be used", zap.String("organization", name), zap.Error(err))
				}
			}
		}
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
		// A list in use changes only by refresh, which tells whom it concerns.
		l.state.CompareAndSwap(nil, s)
	}
	ls.all[id] = l
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
	if crl.NextUpdate.IsZero() {
		return nil, errors.New("the list has no nextUpdate, so nobody could know when it is stale")
	}
	if err := complete(crl); err != nil {
		return nil, err
	}
	s := &listState{issuer: issuer, this: crl.ThisUpdate, next: crl.NextUpdate, fetched: fetched, revoked: make(map[string]struct{}, len(crl.RevokedCertificateEntries))}
	if crl.Number != nil {
		s.number = crl.Number.Bytes()
	}
	if former := l.state.Load(); former != nil && bytes.Equal(former.issuer.Raw, issuer.Raw) && (older(s.number, former.number) || s.this.Before(former.this)) {
		return nil, errors.New("the list is older than the one in force")
	}
	for i := range crl.RevokedCertificateEntries {
		s.revoked[string(crl.RevokedCertificateEntries[i].SerialNumber.Bytes())] = struct{}{}
	}
	return s, nil
}

var (
	oidIssuingDistributionPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidDeltaCRL                 = asn1.ObjectIdentifier{2, 5, 29, 27}
)

// complete refuses lists that say nothing of some client certificates of their
// issuer: deltas, parts by reason or kind, and indirect lists (RFC 5280, 5.2).
func complete(crl *x509.RevocationList) error {
	for _, e := range crl.Extensions {
		switch {
		case e.Id.Equal(oidDeltaCRL):
			return errors.New("a delta list alone says too little")
		case e.Id.Equal(oidIssuingDistributionPoint):
			var idp struct {
				Point          asn1.RawValue  `asn1:"optional,tag:0"`
				OnlyUsers      bool           `asn1:"optional,tag:1"`
				OnlyCAs        bool           `asn1:"optional,tag:2"`
				OnlyReasons    asn1.BitString `asn1:"optional,tag:3"`
				Indirect       bool           `asn1:"optional,tag:4"`
				OnlyAttributes bool           `asn1:"optional,tag:5"`
			}
			if rest, err := asn1.Unmarshal(e.Value, &idp); err != nil || len(rest) > 0 {
				return errors.New("its issuing distribution point can't be read")
			}
			if idp.OnlyCAs || idp.OnlyAttributes || idp.Indirect || idp.OnlyReasons.BitLength > 0 {
				return errors.New("its issuing distribution point says that it is indirect or covers only some reasons or kinds of certificates")
			}
		case e.Critical:
			return fmt.Errorf("it has the critical extension %s, which nobody here understands", e.Id)
		}
	}
	for i := range crl.RevokedCertificateEntries {
		for _, e := range crl.RevokedCertificateEntries[i].Extensions {
			if e.Critical {
				return fmt.Errorf("entry %d has the critical extension %s, which nobody here understands", i+1, e.Id)
			}
		}
	}
	return nil
}

// older compares CRL numbers, big-endian without leading zeros.
func older(a, b []byte) bool {
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return bytes.Compare(a, b) < 0
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
		if l.config.File != "" {
			l.again.Store(true)
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
	fetching := make(chan struct{}, 4) // each may hold a list of maxCRL
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
			if _, b := busy.Load(l); !b && (l.again.Swap(false) || !time.Now().Before(l.next)) {
				due = append(due, l)
			}
		}
		ls.mu.Unlock()
		for _, l := range due {
			busy.Store(l, true)
			wg.Go(func() {
				defer busy.Delete(l)
				select {
				case fetching <- struct{}{}:
					defer func() { <-fetching }()
					ls.refresh(ctx, l)
				case <-ctx.Done():
				}
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
		now := time.Now()
		if former == nil || (l.stale(former, now) == "") != (l.stale(s, now) == "") || !sameSet(former.revoked, s.revoked) || !bytes.Equal(former.issuer.Raw, s.issuer.Raw) {
			ls.manager.log.Info("revocation list in force", zap.String("organization", l.name), zap.Int("entries", len(s.revoked)), zap.Time("next_update", s.next))
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
