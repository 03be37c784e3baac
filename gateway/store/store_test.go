package store

import (
	"context"
	"strings"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/vazel-gateway/vazel/config/unit"
)

func secret(value string) unit.Secret {
	s := unit.Secret{Ref: "${file:x}"}
	s.Resolve(value)
	return s
}

// TestPassword: a password from a file ends with a line, which is no part of it;
// a wrong one is not repeated in the error.
func TestPassword(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	server.RequireUserAuth("vazel", "right")
	set := func(password string) *Settings {
		return &Settings{Nodes: 2, Redis: Redis{Addresses: []string{server.Addr()}, Username: "vazel", Password: secret(password)}}
	}
	if err := Check(context.Background(), set("right\n")); err != nil {
		t.Error(err)
	}
	if err := Check(context.Background(), set("wrong-0815\n")); err == nil || strings.Contains(err.Error(), "0815") {
		t.Errorf("a wrong password: got %v", err)
	}
}

// TestUse: connections outlive a reload that does not change them, and no other.
func TestUse(t *testing.T) {
	t.Parallel()
	server, ctx := miniredis.RunT(t), context.Background()
	s := New()
	if c, err := s.Build(nil); c != nil || err != nil || s.Client() != nil {
		t.Errorf("without settings: got %v, %v", c, err)
	}
	build := func(set Settings) *Client {
		t.Helper()
		set.Redis.Addresses = []string{server.Addr()}
		c, err := s.Build(&set)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := build(Settings{Nodes: 2})
	s.Use(first)
	if got := first.Settings(); got.Prefix != "vazel" || got.OnStoreFailure != FailLocal || first.Key("a") != "vazel:a" {
		t.Errorf("defaults: got %+v", got)
	}
	same := build(Settings{Nodes: 3, Prefix: "other"})
	s.Use(same)
	if !same.Same(first) || same.Key("a") != "other:a" {
		t.Error("a change beside the server opened other connections, or did not take effect")
	}
	if err := first.Set(ctx, "k", 1, 0); err != nil {
		t.Error(err)
	}
	other := build(Settings{Nodes: 2, Redis: Redis{DB: 1}})
	if other.Same(same) {
		t.Error("another database has the same connections")
	}
	s.Use(other)
	if err := first.Set(ctx, "k", 1, 0); err == nil {
		t.Error("the former connections are still open")
	}
	s.Use(nil)
	if err := other.Set(ctx, "k", 1, 0); err == nil || s.Client() != nil {
		t.Error("without a store its connections are still open")
	}
	s.Close()
	late := build(Settings{Nodes: 2})
	s.Use(late)
	if err := late.Set(ctx, "k", 1, 0); err == nil || s.Client() != nil {
		t.Error("a store that was closed came back")
	}
}
