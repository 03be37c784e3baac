package middleware

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestInspectionBudget: who has used up the CPU time that one caller may have is
// refused, and nobody else.
func TestInspectionBudget(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"block", "detect"} {
		i, env := newInspectedIn(t, &WAF{Mode: mode})
		env.Engines.Inspection(budgetUnit, 0) // a millisecond, once
		send := func(organization string) (int, string) {
			r := get("/?q=" + strings.Repeat("x+", 500))
			r.Header.Set("Test-Organization", organization)
			return i.send(r)
		}
		var status int
		var reason string
		sent := 0
		for ; sent < 200 && reason == "" && status != 429; sent++ {
			status, reason = send("nra")
		}
		switch {
		case mode == "detect" && (reason != "" || status != 299):
			t.Errorf("detect: %d %s", status, reason)
		case mode == "block" && (status != 429 || reason != "inspection_budget" || i.rec.Denial.RetryAfter < time.Second):
			t.Errorf("block, after %d requests: %d %s", sent, status, reason)
		}
		for _, other := range []string{"gccc", ""} {
			if status, reason := send(other); status != 299 {
				t.Errorf("%s, %q: %d %s", mode, other, status, reason)
			}
		}
	}
}

// TestInspectionCharge: nothing of what is used is lost, also where requests at
// the same time use more together than there is.
func TestInspectionCharge(t *testing.T) {
	t.Parallel()
	env := testEnv(t)
	b := env.Engines.inspection
	b.Set(100*time.Millisecond, 4)
	rec := &Record{Client: netip.MustParseAddr("192.0.2.1")}
	var wg sync.WaitGroup
	for range 4 {
		a, refusal := b.account(context.Background(), rec)
		if refusal != nil || a.turn(context.Background()) != nil {
			t.Fatal(refusal)
		}
		wg.Go(func() { a.close(400 * time.Millisecond) })
	}
	wg.Wait()
	if _, refusal := b.account(context.Background(), rec); refusal == nil {
		t.Error("1.6 s were used of 1 s, and there is something left")
	}
	// A turn is waited for, but not for ever, nor for who has gone.
	other := &Record{Client: netip.MustParseAddr("192.0.2.2")}
	b.Set(0, 1)
	a, _ := b.account(context.Background(), other)
	if a == nil || a.turn(context.Background()) != nil {
		t.Fatal("no turn")
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	second, _ := b.account(context.Background(), other)
	if refusal := second.turn(gone); refusal == nil || refusal.Denial.Reason != "inspection_busy" {
		t.Errorf("two turns of one: %+v", refusal)
	}
	a.close(0)
	if refusal := second.turn(context.Background()); refusal != nil {
		t.Errorf("no turn is free: %+v", refusal)
	}
}

// TestInspectionShare: without a configured bound, who has used up a share is
// refused only while others wait for a turn too.
func TestInspectionShare(t *testing.T) {
	t.Parallel()
	b := testEnv(t).Engines.inspection
	b.Set(0, 1)
	greedy := &Record{Organization: "nra"}
	first, refusal := b.account(t.Context(), greedy)
	if refusal != nil || first.turn(t.Context()) != nil {
		t.Fatal(refusal)
	}
	first.close(time.Hour) // all of its share, and more
	b.mixed.Store(0)       // nobody else was there for a long time
	alone, refusal := b.account(t.Context(), greedy)
	if refusal != nil || alone.turn(t.Context()) != nil {
		t.Fatalf("alone: %+v", refusal)
	}
	waiting, _ := b.account(t.Context(), greedy)
	freed := make(chan *BodyRefusal)
	go func() { freed <- waiting.turn(t.Context()) }()
	alone.close(0)
	if refusal := <-freed; refusal != nil {
		t.Fatalf("alone, and in its own way: %+v", refusal)
	}
	other, refusal := b.account(t.Context(), &Record{Organization: "gccc"})
	if refusal != nil {
		t.Fatal(refusal)
	}
	again, refusal := b.account(t.Context(), greedy)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if refusal := again.turn(t.Context()); refusal == nil || refusal.Denial.Reason != "inspection_budget" {
		t.Errorf("in the way of another: %+v", refusal)
	}
	waiting.close(0)
	if refusal := other.turn(t.Context()); refusal != nil {
		t.Errorf("the other: %+v", refusal)
	}
}
