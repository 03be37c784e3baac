package waf

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// TestEngineFails: a panic in the engine and inspection that takes too long are
// errors, never a verdict, and what they used is told when it is known.
func TestEngineFails(t *testing.T) {
	t.Parallel()
	m := NewManager(Options{Log: zap.NewNop(), Registerer: prometheus.NewRegistry()})
	request := func(size int) *Request {
		return &Request{
			Client: netip.MustParseAddr("2001:db8::1"), Method: "POST", URI: "/", Path: "/", Proto: "HTTP/1.1", Host: "a.example",
			Header: map[string][]string{"Content-Type": {"text/plain"}}, Body: []byte(strings.Repeat("x ", size/2)),
		}
	}
	broken := &Ruleset{manager: m} // without an engine
	for _, size := range []int{100, 4 * quick} {
		done := make(chan time.Duration, 1)
		v, err := broken.Inspect(request(size), func(used time.Duration) { done <- used })
		if err == nil || !strings.Contains(err.Error(), "panic") || v.Block {
			t.Errorf("%d bytes: %+v, %v", size, v, err)
		}
		<-done
	}
	rules, err := m.Ruleset(Settings{Paranoia: 1, Threshold: 5})
	if err != nil {
		t.Fatal(err)
	}
	m.timeout = time.Nanosecond
	done := make(chan time.Duration, 1)
	if _, err := rules.Inspect(request(4*quick), func(used time.Duration) { done <- used }); !errors.Is(err, ErrTimeout) {
		t.Errorf("too slow: %v", err)
	}
	<-done
}
