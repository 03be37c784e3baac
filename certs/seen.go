package certs

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/certs/fetch"
)

// What is kept of the certificates that came.
const (
	maxSeen  = 16                  // certificates of one organization
	seenFor  = 35 * 24 * time.Hour // a system that calls once a month counts
	seenSave = time.Minute
	maxFile  = 16 << 20
)

// SeenCertificate is a certificate that proved an organization.
type SeenCertificate struct {
	Subject   string    `json:"subject"`
	Issuer    string    `json:"issuer"`
	IssuerCN  string    `json:"issuer_cn"`
	Serial    string    `json:"serial"` // hexadecimal, as SHA256
	SHA256    string    `json:"sha256"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	// Replaced says that a certificate of the same subject with a later end has
	// taken its place.
	Replaced bool `json:"replaced"`
}

// seen remembers, for each organization, the certificates that proved it last.
// Strangers leave no trace here: what only claims to be of an organization is
// not kept.
type seen struct {
	log  *zap.Logger
	file string // keeps it across restarts; "" for none

	mu    sync.Mutex
	by    map[string][]SeenCertificate // by organization; the one seen last is the last one
	dirty bool
}

func newSeen(log *zap.Logger, stateDir string) *seen {
	s := &seen{log: log, by: map[string][]SeenCertificate{}}
	if stateDir == "" {
		return s
	}
	s.file = filepath.Join(stateDir, "seen.json")
	if err := s.load(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("what was seen of certificates before can't be read", zap.Error(err))
	}
	return s
}

// Keep writes to disk what another process is to begin with.
func (m *Manager) Keep() { m.seen.save() }

// Bequeath leaves what is kept on disk to another process that has begun with it.
func (m *Manager) Bequeath() {
	m.seen.mu.Lock()
	m.seen.file = ""
	m.seen.mu.Unlock()
}

func (s *seen) load() error {
	info, err := os.Stat(s.file)
	if err != nil {
		return err
	}
	if info.Size() > maxFile {
		return errors.New(s.file + " is too large")
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		return err
	}
	var by map[string][]SeenCertificate
	if err := json.Unmarshal(b, &by); err != nil {
		return err
	}
	for key, l := range by {
		if len(l) > maxSeen {
			by[key] = l[len(l)-maxSeen:]
		}
	}
	if by != nil {
		s.by = by
	}
	return nil
}

// Saw notes that a connection's certificate proved an organization. It is for
// once a connection, and again when its identity was proven anew.
func (m *Manager) Saw(id Identity, now time.Time) {
	if id.Reason == "" && id.Organization != "" && id.Leaf != nil {
		m.seen.note(id.Organization, id.Leaf, now)
	}
}

// Seen lists the certificates that proved an organization lately, the one that
// came last first.
func (m *Manager) Seen(organization string, now time.Time) []SeenCertificate {
	m.seen.mu.Lock()
	l := slices.Clone(m.seen.by[organization])
	m.seen.mu.Unlock()
	l = slices.DeleteFunc(l, func(c SeenCertificate) bool { return now.Sub(c.LastSeen) > seenFor })
	for i := range l {
		l[i].Replaced = replaced(l[i], l)
	}
	slices.Reverse(l)
	return l
}

func (s *seen) note(organization string, leaf *x509.Certificate, now time.Time) {
	sum := sha256.Sum256(leaf.Raw)
	id := hex.EncodeToString(sum[:])
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = true
	l := s.by[organization]
	i := slices.IndexFunc(l, func(c SeenCertificate) bool { return c.SHA256 == id })
	if i >= 0 {
		c := l[i]
		c.LastSeen = now.Round(0)
		s.by[organization] = append(slices.Delete(l, i, i+1), c)
		return
	}
	if len(l) >= maxSeen {
		l = slices.Delete(l, 0, 1)
	}
	s.by[organization] = append(l, SeenCertificate{
		Subject: readableText(subjectText(leaf)), Issuer: readableText(leaf.Issuer.String()), IssuerCN: readableText(leaf.Issuer.CommonName), Serial: leaf.SerialNumber.Text(16), SHA256: id,
		NotBefore: leaf.NotBefore.UTC(), NotAfter: leaf.NotAfter.UTC(), FirstSeen: now.Round(0), LastSeen: now.Round(0),
	})
}

// readableText bounds what a certificate says of itself.
func readableText(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > 512 {
		s = strings.ToValidUTF8(s[:512], "") + "..."
	}
	return s
}

// replaced reports whether another certificate has taken the place of c: it has
// the same subject and ends later, and c did not come since it came
// first, or not for a day while it did. Two systems that share a subject may
// take turns with their certificates; as long as the older one comes, it is in
// use.
func replaced(c SeenCertificate, all []SeenCertificate) bool {
	return slices.ContainsFunc(all, func(o SeenCertificate) bool {
		return o.Subject == c.Subject && o.NotAfter.After(c.NotAfter) &&
			(o.FirstSeen.After(c.LastSeen) || o.LastSeen.Sub(c.LastSeen) > 24*time.Hour)
	})
}

// soonest is the certificate of an organization that ends first, of those that
// were seen lately and were not replaced.
func soonest(l []SeenCertificate) (first SeenCertificate, ok bool) {
	for _, c := range l {
		if !c.Replaced && (!ok || c.NotAfter.Before(first.NotAfter)) {
			first, ok = c, true
		}
	}
	return first, ok
}

// keep forgets organizations that are no longer configured.
func (s *seen) keep(organizations []*organization) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.by {
		if !slices.ContainsFunc(organizations, func(o *organization) bool { return o.key == key }) {
			delete(s.by, key)
			s.dirty = true
		}
	}
}

// run writes what was seen to disk from time to time, and when ctx ends.
func (s *seen) run(ctx context.Context) {
	tick := time.NewTicker(seenSave)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.save()
		case <-ctx.Done():
			s.save()
			return
		}
	}
}

func (s *seen) save() {
	s.mu.Lock()
	if s.file == "" || !s.dirty {
		s.mu.Unlock()
		return
	}
	s.dirty = false
	b, err := json.Marshal(s.by)
	s.mu.Unlock()
	if err == nil {
		err = fetch.WriteWhole(s.file, b)
	}
	if err != nil {
		s.log.Warn("what was seen of certificates could not be kept on disk", zap.Error(err))
	}
}
