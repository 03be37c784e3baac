package certs

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway/store"
)

// StorageRedis is the value of ACME.Storage for the store that nodes share.
const StorageRedis = "redis"

const (
	lockLife  = 30 * time.Second // of a lock whose holder is gone
	lockRenew = 10 * time.Second
	lockRetry = 500 * time.Millisecond
	lockWrite = 5 * time.Second // how long giving a lock back may take
)

// sharedStorage keeps accounts and certificates in the store that nodes share,
// as certmagic wants it. They lie in one hash, sealed; only their names, which
// hold the names of hosts, can be read there.
type sharedStorage struct {
	store *store.Store
	keys  []sealKey // the first seals
	log   *zap.Logger

	mu    sync.Mutex
	locks map[string]*heldLock
}

// heldLock is a lock of this node, which is renewed until it is given back.
type heldLock struct {
	token  string
	cancel context.CancelFunc
	done   chan struct{}
}

// sealKey is an AES-256-GCM key and what it is told by.
type sealKey struct {
	id   [8]byte
	aead cipher.AEAD
}

// sealKeys reads one key a line. The first seals, all open: a new key is put in
// front of the former one.
func sealKeys(text string) (keys []sealKey, err error) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(raw) != 32 {
			return nil, errors.New("a line is not a key of 32 bytes in base64; make one with: openssl rand -base64 32")
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, err
		}
		k := sealKey{}
		if k.aead, err = cipher.NewGCM(block); err != nil {
			return nil, err
		}
		sum := sha256.Sum256(append([]byte("vazel acme storage key id\x00"), raw...))
		copy(k.id[:], sum[:])
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key in it; make one with: openssl rand -base64 32")
	}
	return keys, nil
}

const sealVersion = 1

func newSharedStorage(s *store.Store, key string, log *zap.Logger) (*sharedStorage, error) {
	keys, err := sealKeys(key)
	if err != nil {
		return nil, fmt.Errorf("tls.acme.storage_key: %w", err)
	}
	return &sharedStorage{store: s, keys: keys, log: log, locks: map[string]*heldLock{}}, nil
}

// seal encrypts a value: version, key id, nonce, and what only the key opens and
// only under this name.
func (s *sharedStorage) seal(name string, modified time.Time, value []byte) []byte {
	k := &s.keys[0]
	out := append([]byte{sealVersion}, k.id[:]...)
	nonce := make([]byte, k.aead.NonceSize())
	rand.Read(nonce)
	out = append(out, nonce...)
	plain := binary.BigEndian.AppendUint64(nil, uint64(modified.UnixNano()))
	return k.aead.Seal(out, nonce, append(plain, value...), additional(name))
}

func additional(name string) []byte { return []byte("vazel acme\x00" + name) }

func (s *sharedStorage) open(name string, sealed []byte) (modified time.Time, value []byte, err error) {
	if len(sealed) < 9 || sealed[0] != sealVersion {
		return modified, nil, fmt.Errorf("%s in the store was not sealed by this program", name)
	}
	i := slices.IndexFunc(s.keys, func(k sealKey) bool { return string(k.id[:]) == string(sealed[1:9]) })
	if i < 0 {
		return modified, nil, fmt.Errorf("%s in the store was sealed with a key that tls.acme.storage_key does not hold", name)
	}
	k, rest := &s.keys[i], sealed[9:]
	if len(rest) < k.aead.NonceSize() {
		return modified, nil, fmt.Errorf("%s in the store is cut short", name)
	}
	plain, err := k.aead.Open(nil, rest[:k.aead.NonceSize()], rest[k.aead.NonceSize():], additional(name))
	if err != nil || len(plain) < 8 {
		return modified, nil, fmt.Errorf("%s in the store was changed by someone without the key", name)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(plain))), plain[8:], nil
}

func (s *sharedStorage) client() (*store.Client, string, error) {
	c := s.store.Client()
	if c == nil {
		return nil, "", store.ErrNone
	}
	return c, c.Key("acme"), nil
}

// Store implements certmagic.Storage.
func (s *sharedStorage) Store(ctx context.Context, name string, value []byte) error {
	c, hash, err := s.client()
	if err != nil {
		return err
	}
	return c.SetField(ctx, hash, name, s.seal(name, time.Now(), value))
}

// Load implements certmagic.Storage.
func (s *sharedStorage) Load(ctx context.Context, name string) ([]byte, error) {
	_, value, err := s.read(ctx, name)
	return value, err
}

func (s *sharedStorage) read(ctx context.Context, name string) (modified time.Time, value []byte, err error) {
	c, hash, err := s.client()
	if err != nil {
		return modified, nil, err
	}
	sealed, err := c.Field(ctx, hash, name)
	if err != nil {
		return modified, nil, err
	}
	if sealed == nil {
		return modified, nil, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return s.open(name, sealed)
}

// under lists the names at and below a path.
func (s *sharedStorage) under(ctx context.Context, dir string) (names []string, err error) {
	c, hash, err := s.client()
	if err != nil {
		return nil, err
	}
	all, err := c.Fields(ctx, hash)
	if err != nil {
		return nil, err
	}
	dir = strings.Trim(dir, "/")
	for _, name := range all {
		if dir == "" || name == dir || strings.HasPrefix(name, dir+"/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Delete implements certmagic.Storage.
func (s *sharedStorage) Delete(ctx context.Context, name string) error {
	if strings.Trim(name, "/") == "" {
		return errors.New("everything is not deleted at once")
	}
	names, err := s.under(ctx, name)
	if err != nil || len(names) == 0 {
		return err
	}
	c, hash, err := s.client()
	if err != nil {
		return err
	}
	return c.DeleteFields(ctx, hash, names...)
}

// Exists implements certmagic.Storage.
func (s *sharedStorage) Exists(ctx context.Context, name string) bool {
	names, err := s.under(ctx, name)
	return err == nil && len(names) > 0
}

// List implements certmagic.Storage: files and folders below a path.
func (s *sharedStorage) List(ctx context.Context, dir string, recursive bool) ([]string, error) {
	names, err := s.under(ctx, dir)
	if err != nil {
		return nil, err
	}
	dir = strings.Trim(dir, "/")
	var list []string
	for _, name := range names {
		rest := strings.TrimPrefix(strings.TrimPrefix(name, dir), "/")
		if rest == "" {
			continue // the path itself is a file
		}
		at := dir
		for part := range strings.SplitSeq(rest, "/") {
			at = path.Join(at, part)
			if !slices.Contains(list, at) {
				list = append(list, at)
			}
			if !recursive {
				break
			}
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s: %w", dir, fs.ErrNotExist)
	}
	return list, nil
}

// Stat implements certmagic.Storage.
func (s *sharedStorage) Stat(ctx context.Context, name string) (certmagic.KeyInfo, error) {
	modified, value, err := s.read(ctx, name)
	if err == nil {
		return certmagic.KeyInfo{Key: name, Modified: modified, Size: int64(len(value)), IsTerminal: true}, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return certmagic.KeyInfo{}, err
	}
	names, below := s.under(ctx, name)
	if below != nil {
		return certmagic.KeyInfo{}, below
	}
	if len(names) == 0 {
		return certmagic.KeyInfo{}, err
	}
	return certmagic.KeyInfo{Key: name}, nil
}
