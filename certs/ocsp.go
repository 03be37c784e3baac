package certs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

const (
	maxOCSP     = 64 << 10        // bytes of an answer
	ocspTimeout = 5 * time.Second // for one question
	ocspFirst   = 2 * time.Second // that a request waits for the first answer about its certificate
	ocspSlots   = 16              // questions to one responder at a time
	maxAnswers  = 10_000          // certificates of one organization
	ocspUnused  = 24 * time.Hour  // until a certificate that no longer comes is forgotten
	ocspTick    = 250 * time.Millisecond
)

// responders are the OCSP responders of the process.
type responders struct {
	manager  *Manager
	fetcher  *fetch.Client
	requests *prometheus.CounterVec
	crew     *fetch.Crew[*responder]

	mu  sync.Mutex
	all map[string]*responder
}

func newResponders(m *Manager) *responders {
	return &responders{
		manager: m, fetcher: m.lists.fetcher, crew: fetch.NewCrew[*responder](), all: map[string]*responder{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vazel_ocsp_requests_total", Help: "Questions to OCSP responders for the status of client certificates, by result (good, revoked, unknown, invalid, failure)."}, []string{"ca", "result"}),
	}
}

// responder answers for the certificates of one organization. It outlives
// configurations, as long as it is configured alike.
type responder struct {
	name   string // organization
	config OCSP
	policy revocationPolicy
	dir    string // keeps answers across restarts

	wake chan struct{}
	mu   sync.Mutex
	held map[[sha256.Size]byte]*ocspEntry
}

// ocspEntry is what is known of one certificate. Its fields are guarded by the
// responder's mu, but for the first line.
type ocspEntry struct {
	cert, issuer *x509.Certificate
	answer       *ocspAnswer   // nil without any
	why          string        // the last question failed
	first        chan struct{} // closed when the first question is settled
	usable       bool          // as it was told last
	asking       bool
	tries        int
	used, next   time.Time
}

// check finds mistakes.
func (c OCSP) check() error {
	if (c.URL == "") != c.FromCertificate {
		return errors.New("write either url or from_certificate: true")
	}
	return checkURL(c.URL)
}

// Check finds mistakes of the setting.
func (c OCSP) Check() error { return c.check() }

func (rs *responders) find(name string, c OCSP, p revocationPolicy) (*responder, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	source := digest([]byte(name), []byte(c.URL))
	id := digest([]byte(source), []byte(c.MaxAge.String()), []byte(p.mode), []byte(p.grace.String()))
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.all[id]
	if r == nil {
		r = &responder{
			name: name, config: c, policy: p, dir: filepath.Join(rs.manager.stateDir, "ocsp", source),
			wake: make(chan struct{}, 1), held: map[[sha256.Size]byte]*ocspEntry{},
		}
		rs.all[id] = r
	}
	return r, nil
}

// use makes the responders of s the ones that are asked.
func (rs *responders) use(s *Set) {
	active := map[*responder]bool{}
	for _, o := range s.organizations {
		if o.responder != nil {
			active[o.responder] = true
		}
	}
	rs.mu.Lock()
	for id, r := range rs.all {
		if !active[r] {
			delete(rs.all, id)
		}
	}
	rs.mu.Unlock()
	rs.crew.Use(active)
}

// status is what is known of a certificate, whose chain to the issuer has been
// verified. A certificate that is new is asked about in the background;
// pending is closed when that is settled, and nil if it is.
func (r *responder) status(cert, issuer *x509.Certificate, now time.Time) (a *ocspAnswer, why string, pending <-chan struct{}) {
	key := ocspKey(cert, issuer)
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.held[key]
	if e == nil {
		if len(r.held) >= maxAnswers && !r.makeRoomLocked() {
			return nil, "too many certificates of the organization are revoked to ask about more", nil
		}
		e = &ocspEntry{cert: cert, issuer: issuer, first: make(chan struct{})}
		r.held[key] = e
		fetch.Nudge(r.wake)
	}
	if e.used.Before(now) {
		e.used = now
	}
	select {
	case <-e.first:
		return e.answer, e.why, nil
	default:
		return e.answer, "the OCSP responder has not answered yet", e.first
	}
}

func ocspKey(cert, issuer *x509.Certificate) [sha256.Size]byte {
	h := sha256.New()
	for _, b := range [][]byte{issuer.RawSubject, issuer.RawSubjectPublicKeyInfo, cert.Raw} {
		fmt.Fprintf(h, "%d:", len(b))
		h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// makeRoomLocked forgets the certificate that did not come for the longest time.
// One that is revoked stays.
func (r *responder) makeRoomLocked() bool {
	var oldest [sha256.Size]byte
	var found *ocspEntry
	for k, e := range r.held {
		if !e.asking && (e.answer == nil || e.answer.status != ocsp.Revoked) && (found == nil || e.used.Before(found.used)) {
			oldest, found = k, e
		}
	}
	if found != nil {
		delete(r.held, oldest)
		found.settle()
	}
	return found != nil
}

// settle lets those go who wait for the first answer.
func (e *ocspEntry) settle() {
	select {
	case <-e.first:
	default:
		close(e.first)
	}
}

// staleFrom is the first moment at which an answer is no longer fresh.
func (r *responder) staleFrom(a *ocspAnswer) time.Time {
	from := a.next
	if m := r.config.MaxAge.Std(); m > 0 && a.fetched.Add(m).Before(from) {
		from = a.fetched.Add(m)
	}
	return from
}

// follow asks about the certificates of an organization until ctx ends.
func (rs *responders) follow(ctx context.Context, r *responder) {
	tick := time.NewTicker(ocspTick)
	defer tick.Stop()
	slots := make(chan struct{}, ocspSlots)
	var wg sync.WaitGroup
	defer wg.Wait()
	r.forgetFiles()
	sweep := time.Now().Add(ocspUnused / 2)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-r.wake:
		}
		now := time.Now()
		if r.expired(now) {
			rs.manager.log.Warn("OCSP answers about an organization's certificates became stale", zap.String("organization", r.name))
			rs.manager.trustChanged(rs.manager.judgedBy(nil, r)...)
		}
		for _, e := range r.due(now, ocspSlots-len(slots)) {
			slots <- struct{}{} // there is room, and only this loop takes it
			wg.Go(func() {
				defer func() { <-slots; fetch.Nudge(r.wake) }()
				rs.ask(ctx, r, e)
			})
		}
		if now.After(sweep) {
			sweep = now.Add(ocspUnused / 2)
			rs.sweep(r, now)
		}
	}
}

// expired reports whether answers stopped to count by time alone.
func (r *responder) expired(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := false
	for _, e := range r.held {
		if e.usable && !now.Before(r.staleFrom(e.answer).Add(r.policy.grace)) {
			e.usable, changed = false, true
		}
	}
	return changed
}

// due takes up to n certificates that are to be asked about; new ones first, for
// somebody waits for them.
func (r *responder) due(now time.Time, n int) (l []*ocspEntry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, renewals := range []bool{false, true} {
		for _, e := range r.held {
			if len(l) >= n {
				return l
			}
			if !e.asking && renewals != e.next.IsZero() && !now.Before(e.next) {
				e.asking = true
				l = append(l, e)
			}
		}
	}
	return l
}

// ask settles one question and plans the next.
func (rs *responders) ask(ctx context.Context, r *responder, e *ocspEntry) {
	key := ocspKey(e.cert, e.issuer)
	file := filepath.Join(r.dir, hex.EncodeToString(key[:])+".der")
	if e.next.IsZero() { // the answer of a former process may still count
		if b, written, err := readDated(file); err == nil && len(b) <= maxOCSP {
			if a, err := parseOCSP(b, e.cert, e.issuer, time.Now()); err == nil {
				if written.Before(a.fetched) {
					a.fetched = written
				}
				if now := time.Now(); now.Before(r.staleFrom(a)) {
					rs.settle(r, e, a, "", now)
					return
				}
				r.mu.Lock() // better than none, and not to be rolled back behind
				e.answer = a
				r.mu.Unlock()
			}
		}
	}
	b, result, err := rs.fetch(ctx, r, e)
	if ctx.Err() != nil {
		return
	}
	now := time.Now()
	var a *ocspAnswer
	if err == nil {
		result = "invalid"
		if a, err = parseOCSP(b, e.cert, e.issuer, now); err == nil && !now.Before(a.next) {
			err = fmt.Errorf("the answer is past its nextUpdate of %s", a.next.UTC().Format(time.RFC3339))
		}
	}
	if err != nil {
		rs.requests.WithLabelValues(r.name, result).Inc()
		rs.settle(r, e, nil, err.Error(), now)
		return
	}
	rs.requests.WithLabelValues(r.name, map[int]string{ocsp.Good: "good", ocsp.Revoked: "revoked", ocsp.Unknown: "unknown"}[a.status]).Inc()
	if rs.settle(r, e, a, "", now) {
		if err := fetch.WriteWhole(file, b); err != nil {
			rs.manager.log.Warn("OCSP answer could not be kept on disk", zap.String("organization", r.name), zap.Error(err))
		}
	}
}

func (rs *responders) fetch(ctx context.Context, r *responder, e *ocspEntry) (b []byte, result string, err error) {
	address := r.config.URL
	if address == "" {
		if len(e.cert.OCSPServer) == 0 {
			return nil, "failure", errors.New("the certificate names no OCSP responder")
		}
		address = e.cert.OCSPServer[0]
		if err := checkURL(address); err != nil {
			return nil, "failure", errors.New("the certificate names an OCSP responder that is neither http nor https")
		}
	}
	q, err := ocspRequest(e.cert, e.issuer)
	if err != nil {
		return nil, "failure", err
	}
	bounded, cancel := context.WithTimeout(ctx, ocspTimeout)
	defer cancel()
	b, err = rs.fetcher.Post(bounded, address, "application/ocsp-request", q, maxOCSP, r.config.URL != "")
	return b, "failure", err
}

// settle notes an answer, or why there is none, and reports whether it took the
// answer. It tells whoever has to know.
func (rs *responders) settle(r *responder, e *ocspEntry, a *ocspAnswer, why string, now time.Time) bool {
	r.mu.Lock()
	former := e.answer
	if a != nil && former != nil && (a.this.Before(former.this) || former.status == ocsp.Revoked && a.status != ocsp.Revoked && !a.this.After(former.this)) {
		a, why = nil, "the answer is older than the one in force"
	}
	e.asking = false
	news := e.why != why
	e.why = why
	worse := false // somebody may have been let in who is not any more
	switch {
	case a != nil:
		worse = a.status != ocsp.Good && (former == nil || former.status != a.status)
		news = news || worse
		e.answer, e.tries = a, 0
		e.usable = a.status == ocsp.Good && now.Before(r.staleFrom(a).Add(r.policy.grace))
		wait := min(time.Hour, a.next.Sub(now)/2)
		if m := r.config.MaxAge.Std(); m > 0 {
			wait = min(wait, m/4)
		}
		e.next = now.Add(fetch.Jitter(max(wait, 10*time.Second)))
	default:
		e.tries++
		e.next = now.Add(fetch.Jitter(fetch.Backoff(e.tries)))
	}
	e.settle()
	r.mu.Unlock()
	if news {
		serial := zap.String("serial", e.cert.SerialNumber.Text(16))
		switch {
		case a == nil:
			rs.manager.log.Warn("OCSP responder gave no answer that counts", zap.String("organization", r.name), serial, zap.String("reason", why))
		case a.status == ocsp.Revoked:
			rs.manager.log.Warn("certificate is revoked, says its OCSP responder", zap.String("organization", r.name), serial)
		case a.status == ocsp.Unknown:
			rs.manager.log.Warn("OCSP responder does not know the certificate", zap.String("organization", r.name), serial)
		default:
			rs.manager.log.Info("OCSP responder answers", zap.String("organization", r.name), serial, zap.Time("next_update", a.next))
		}
	}
	if worse {
		rs.manager.trustChanged(rs.manager.judgedBy(nil, r)...)
	}
	return a != nil
}

// sweep forgets certificates that no longer come. Connections may be open for
// longer than that without a request, so these are proven anew first.
func (rs *responders) sweep(r *responder, now time.Time) {
	unused := func(e *ocspEntry) bool { return !e.asking && now.Sub(e.used) > ocspUnused }
	r.mu.Lock()
	some := false
	for _, e := range r.held {
		some = some || unused(e)
	}
	r.mu.Unlock()
	if !some {
		return
	}
	rs.manager.proveAnew(rs.manager.judgedBy(nil, r)...)
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, e := range r.held {
		if unused(e) {
			delete(r.held, k)
			e.settle()
			os.Remove(filepath.Join(r.dir, hex.EncodeToString(k[:])+".der"))
		}
	}
}

// forgetFiles removes the answers of former processes that count no longer.
func (r *responder) forgetFiles() {
	files, err := os.ReadDir(r.dir)
	if err != nil {
		return
	}
	for _, f := range files {
		if info, err := f.Info(); err == nil && time.Since(info.ModTime()) > 30*24*time.Hour {
			os.Remove(filepath.Join(r.dir, f.Name()))
		}
	}
}

// count is the number of certificates by what is known of them.
func (r *responder) count() (good, revoked, unknown int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.held {
		switch {
		case e.answer == nil || e.answer.status == ocsp.Unknown:
			unknown++
		case e.answer.status == ocsp.Revoked:
			revoked++
		default:
			good++
		}
	}
	return good, revoked, unknown
}
