// Package store owns the connections to the Redis or Valkey server that the
// nodes of one installation share, and its settings. It does not know what is
// kept there: middleware/limit keeps counts, certs keeps certificates.
package store

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/vazel-gateway/vazel/config/unit"
)

// Bounds on what a call may take. Nobody who serves a request waits for one.
const (
	dialTimeout = time.Second
	callTimeout = time.Second
	poolSize    = 16
)

// ErrNone means that no store is configured.
var ErrNone = errors.New("no store is configured")

// Store lives as long as the process; configurations say where it connects to.
type Store struct {
	current atomic.Pointer[Client]
	mu      sync.Mutex // serializes Use and Close
	closed  bool
}

// New makes a Store without a server.
func New() *Store { return &Store{} }

// Client is one way to reach the server. It connects when it is first used.
type Client struct {
	settings Settings
	read     []byte // from files
	redis    redis.UniversalClient
}

// Build makes a client for s, nil for none. It opens nothing, and finds the
// present client again if nothing changed.
func (s *Store) Build(set *Settings) (*Client, error) {
	if set == nil {
		return nil, nil
	}
	c := &Client{settings: *set}
	if c.settings.Prefix == "" {
		c.settings.Prefix = "vazel"
	}
	if c.settings.OnStoreFailure == "" {
		c.settings.OnStoreFailure = FailLocal
	}
	t, read, err := set.Redis.TLS.config()
	if err != nil {
		return nil, err
	}
	c.read = read
	if now := s.current.Load(); now != nil && bytes.Equal(now.read, c.read) && reflect.DeepEqual(now.settings.Redis, c.settings.Redis) {
		c.redis = now.redis
		return c, nil
	}
	r := &set.Redis
	logging.Disable() // what fails is told by whoever called
	c.redis = redis.NewUniversalClient(&redis.UniversalOptions{
		Addrs: r.Addresses, ClientName: "vazel", DB: r.DB, Username: r.Username, Password: line(r.Password),
		MasterName: r.Master, SentinelPassword: line(r.SentinelPassword), IsClusterMode: r.Cluster, TLSConfig: t,
		Protocol: 2, DisableIdentity: true,
		DialTimeout: dialTimeout, ReadTimeout: callTimeout, WriteTimeout: callTimeout, PoolTimeout: callTimeout, ContextTimeoutEnabled: true,
		DialerRetries: 1, MaxRetries: -1, // what was not answered may have been done, and must not be done twice
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		PoolSize:                 poolSize, ConnMaxIdleTime: 5 * time.Minute,
	})
	if cluster, ok := c.redis.(*redis.ClusterClient); ok {
		cluster.AddHook(atFailure{cluster})
	}
	return c, nil
}

// atFailure asks a cluster who has which keys as soon as a call fails. The client
// alone does so once a minute, and when a server says that keys have moved, which
// one that is dead does not.
type atFailure struct{ cluster *redis.ClusterClient }

// ProcessHook is around each call.
func (h atFailure) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		var answer redis.Error
		if err != nil && !errors.As(err, &answer) {
			h.cluster.ReloadState(ctx)
		}
		return err
	}
}

// DialHook changes nothing.
func (atFailure) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook changes nothing.
func (atFailure) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// Check reports whether the server of set can be used: reached, proven, and
// written.
func Check(ctx context.Context, set *Settings) error {
	c, err := New().Build(set)
	if err != nil {
		return err
	}
	defer c.close()
	return c.Set(ctx, c.Key("limit:probe"), 1, time.Minute)
}

// line is a secret without the end of its line in a file.
func line(s unit.Secret) string { return strings.TrimRight(s.Reveal(), "\r\n") }

// Use makes c, nil for none, the client in force. Calls under way over another
// one fail.
func (s *Store) Use(c *Client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.close()
		return
	}
	if former := s.current.Swap(c); former != nil && (c == nil || former.redis != c.redis) {
		former.close()
	}
}

// Close ends every connection, for good.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.current.Swap(nil).close()
}

func (c *Client) close() {
	if c != nil {
		c.redis.Close()
	}
}

// Client is the client in force, nil without one.
func (s *Store) Client() *Client { return s.current.Load() }

// Same reports whether two clients talk to the same server, over the same
// connections.
func (c *Client) Same(other *Client) bool { return c.redis == other.redis }

// Settings are what the client was made from, with their defaults.
func (c *Client) Settings() *Settings { return &c.settings }

// Key is the full name of a key. All keys of a call must begin with the same
// part in braces, if the server is a cluster.
func (c *Client) Key(name string) string { return c.settings.Prefix + ":" + name }

// Script is a program that the server runs without anything else in between.
type Script struct{ script *redis.Script }

// NewScript makes a script from its source in Lua.
func NewScript(source string) *Script { return &Script{redis.NewScript(source)} }

// Run runs a script over a key.
func (c *Client) Run(ctx context.Context, s *Script, key string, args ...any) (any, error) {
	v, err := s.script.Run(ctx, c.redis, []string{key}, args...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return v, err
}

// Set writes a value; after a while it is gone, unless that is 0.
func (c *Client) Set(ctx context.Context, key string, value any, d time.Duration) error {
	return c.redis.Set(ctx, key, value, d).Err()
}

// SetNew writes a value unless there is one, and reports whether it did.
func (c *Client) SetNew(ctx context.Context, key string, value any, d time.Duration) (bool, error) {
	err := c.redis.SetArgs(ctx, key, value, redis.SetArgs{Mode: "NX", TTL: d}).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil, err
}

// SetField writes a field of a hash.
func (c *Client) SetField(ctx context.Context, key, field string, value []byte) error {
	return c.redis.HSet(ctx, key, field, value).Err()
}

// Field reads a field of a hash; nil without an error means that there is none.
func (c *Client) Field(ctx context.Context, key, field string) ([]byte, error) {
	b, err := c.redis.HGet(ctx, key, field).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return b, err
}

// DeleteFields removes fields of a hash.
func (c *Client) DeleteFields(ctx context.Context, key string, fields ...string) error {
	return c.redis.HDel(ctx, key, fields...).Err()
}

// Fields lists the names of a hash's fields.
func (c *Client) Fields(ctx context.Context, key string) ([]string, error) {
	return c.redis.HKeys(ctx, key).Result()
}
