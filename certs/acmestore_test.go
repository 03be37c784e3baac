package certs

import (
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/zap"

	"github.com/vazel-gateway/vazel/gateway/store"
)

func storageKey(b byte) string {
	return base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(b), 32))) + "\n"
}

func newShared(t *testing.T, server, key string) *sharedStorage {
	t.Helper()
	st := store.New()
	t.Cleanup(st.Close)
	c, err := st.Build(&store.Settings{Redis: store.Redis{Addresses: []string{server}}, Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	st.Use(c)
	s, err := newSharedStorage(st, key, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSharedStorage(t *testing.T) {
	t.Parallel()
	server, ctx := miniredis.RunT(t), context.Background()
	one, two := newShared(t, server.Addr(), storageKey('a')), newShared(t, server.Addr(), storageKey('a'))
	files := map[string]string{"certificates/ca/h/h.crt": "chain", "certificates/ca/h/h.key": "secret", "acme/ca/users/u/u.json": "{}", "certificates/ca/h2/h2.crt": ""}
	for name, value := range files {
		if err := one.Store(ctx, name, []byte(value)); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range files {
		if b, err := two.Load(ctx, name); err != nil || string(b) != value {
			t.Errorf("%s: got %q, %v", name, b, err)
		}
		if i, err := two.Stat(ctx, name); err != nil || i.Size != int64(len(value)) || !i.IsTerminal || time.Since(i.Modified) > time.Minute {
			t.Errorf("%s: got %+v, %v", name, i, err)
		}
		if sealed := server.HGet("vazel:acme", name); value != "" && strings.Contains(sealed, value) || len(sealed) < 40 {
			t.Errorf("%s lies there as %q", name, sealed)
		}
	}
	for _, c := range []struct {
		dir       string
		recursive bool
		want      []string
	}{
		{"certificates/ca", false, []string{"certificates/ca/h", "certificates/ca/h2"}},
		{"certificates/ca/h", false, []string{"certificates/ca/h/h.crt", "certificates/ca/h/h.key"}},
		{"certificates", true, []string{"certificates/ca", "certificates/ca/h", "certificates/ca/h/h.crt", "certificates/ca/h/h.key", "certificates/ca/h2", "certificates/ca/h2/h2.crt"}},
	} {
		got, err := two.List(ctx, c.dir, c.recursive)
		slices.Sort(got)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v", c.dir, got, err)
		}
	}
	if i, err := two.Stat(ctx, "certificates/ca"); err != nil || i.IsTerminal {
		t.Errorf("a folder: got %+v, %v", i, err)
	}
	if err := two.Delete(ctx, "certificates/ca/h"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"certificates/ca/h/h.key": false, "certificates/ca/h": false, "certificates/ca/h2": true} {
		if got := one.Exists(ctx, name); got != want {
			t.Errorf("%s exists: got %v", name, got)
		}
	}
	for what, f := range map[string]func() error{
		"load": func() error { _, err := one.Load(ctx, "certificates/ca/h/h.key"); return err },
		"stat": func() error { _, err := one.Stat(ctx, "certificates/ca/h"); return err },
		"list": func() error { _, err := one.List(ctx, "certificates/ca/h", true); return err },
	} {
		if err := f(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of what was deleted: got %v", what, err)
		}
	}
	if err := one.Delete(ctx, "/"); err == nil {
		t.Error("everything was deleted at once")
	}
}

// TestSharedStorageSealed: whoever has the server but not the key reads nothing,
// and can neither change nor exchange values unnoticed.
func TestSharedStorageSealed(t *testing.T) {
	t.Parallel()
	server, ctx := miniredis.RunT(t), context.Background()
	s := newShared(t, server.Addr(), storageKey('a'))
	for _, name := range []string{"a.key", "b.key"} {
		if err := s.Store(ctx, name, []byte("key of "+name)); err != nil {
			t.Fatal(err)
		}
	}
	sealed := server.HGet("vazel:acme", "a.key")
	for what, c := range map[string]struct{ value, want string }{
		"changed":   {sealed[:len(sealed)-1] + string(sealed[len(sealed)-1]^1), "was changed"},
		"exchanged": {server.HGet("vazel:acme", "b.key"), "was changed"},
		"cut":       {sealed[:12], "cut short"},
		"in clear":  {"key of someone else", "not sealed"},
		"empty":     {"", "not sealed"},
	} {
		server.HSet("vazel:acme", "a.key", c.value)
		if b, err := s.Load(ctx, "a.key"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v", what, b, err)
		}
	}
	server.HSet("vazel:acme", "a.key", sealed)
	other := newShared(t, server.Addr(), storageKey('b'))
	if _, err := other.Load(ctx, "a.key"); err == nil || !strings.Contains(err.Error(), "does not hold") {
		t.Errorf("another key: got %v", err)
	}
	both := newShared(t, server.Addr(), storageKey('b')+storageKey('a'))
	if b, err := both.Load(ctx, "a.key"); err != nil || string(b) != "key of a.key" {
		t.Errorf("a new key before the former one: got %q, %v", b, err)
	}
	if err := both.Store(ctx, "a.key", []byte("new")); err != nil {
		t.Fatal(err)
	}
	if b, err := other.Load(ctx, "a.key"); err != nil || string(b) != "new" {
		t.Errorf("sealed with the new key: got %q, %v", b, err)
	}
	server.Close()
	if _, err := s.Load(ctx, "a.key"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the server: got %v, want an error that does not say that nothing is there", err)
	}
}

func TestSharedLocks(t *testing.T) {
	t.Parallel()
	server, ctx := miniredis.RunT(t), context.Background()
	one, two := newShared(t, server.Addr(), storageKey('a')), newShared(t, server.Addr(), storageKey('a'))
	if ok, err := one.TryLock(ctx, "issue h"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if ok, err := two.TryLock(ctx, "issue h"); ok || err != nil {
		t.Errorf("a lock that is held: got %v, %v", ok, err)
	}
	if ok, err := two.TryLock(ctx, "issue h2"); !ok || err != nil {
		t.Errorf("another lock: got %v, %v", ok, err)
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := two.Lock(short, "issue h"); err == nil {
		t.Error("a lock that is held was taken by who no longer waits")
	}
	if err := one.Unlock(ctx, "issue h"); err != nil {
		t.Fatal(err)
	}
	if err := two.Lock(ctx, "issue h"); err != nil {
		t.Fatal(err)
	}
	if err := one.Unlock(ctx, "issue h"); err == nil {
		t.Error("a lock of another node was given back")
	}
	server.FastForward(lockLife) // its holder is gone
	if ok, err := one.TryLock(ctx, "issue h"); !ok || err != nil {
		t.Errorf("a lock without its holder: got %v, %v", ok, err)
	}
	if err := two.Unlock(ctx, "issue h"); err != nil {
		t.Fatal(err)
	}
	if !server.Exists("vazel:acme-lock:issue h") {
		t.Error("a lost lock took that of its new holder with it")
	}
	for _, s := range []*sharedStorage{one, two} {
		for name := range s.locks {
			if err := s.Unlock(ctx, name); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestSealKeys(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		storageKey('a'): true, "\n" + storageKey('a') + "\n" + storageKey('b'): true,
		"": false, "\n": false, "c2hvcnQ=": false, "not base64": false, storageKey('a') + "x": false,
	} {
		if _, err := sealKeys(text); (err == nil) != ok {
			t.Errorf("%q: got %v", text, err)
		}
	}
}
