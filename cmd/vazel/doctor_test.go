package main

import (
	"context"
	"crypto/x509"
	"net/http"
	"testing"
	"time"
)

func TestClockFinding(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		there        time.Duration
		status, text string
	}{
		{0, statusOK, "0s apart"},
		{-31 * time.Second, statusWarn, "this machine is 31s ahead of it"},
		{time.Hour, statusFail, "this machine is 1h0m0s behind it"},
	} {
		l := clockFinding("a.example", now.Add(tt.there).Format(http.TimeFormat), now)
		if len(l) != 1 || l[0].Status != tt.status || l[0].Message != tt.text {
			t.Errorf("%s: got %+v, want %s %q", tt.there, l, tt.status, tt.text)
		}
	}
	if l := clockFinding("a.example", "noon", now); l != nil {
		t.Errorf("without a date: got %+v", l)
	}
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	now, day := time.Now(), 24*time.Hour
	for _, tt := range []struct {
		from, to time.Duration
		want     string
	}{
		{-10 * day, 90 * day, statusOK},
		{-80 * day, 10 * day, statusWarn},
		{-day, 5 * day, statusOK}, // one of a week
		{-6 * day, day, statusWarn},
		{-90 * day, -time.Minute, statusFail},
		{time.Hour, 90 * day, statusFail},
	} {
		if got := expiry("", &x509.Certificate{NotBefore: now.Add(tt.from), NotAfter: now.Add(tt.to)}, "").Status; got != tt.want {
			t.Errorf("%s to %s: got %s, want %s", tt.from, tt.to, got, tt.want)
		}
	}
}

// TestChecksAreBounded: one check that never ends does not hold the others up.
func TestChecksAreBounded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l := runChecks(ctx, []check{
		{"hangs", func(ctx context.Context) []finding {
			<-ctx.Done()
			return []finding{{Status: statusFail, Message: ctx.Err().Error()}}
		}},
		{"answers", func(context.Context) []finding {
			return []finding{{Status: statusOK}, {Check: "other", Status: statusOK}}
		}},
	})
	if len(l) != 3 || l[0].Check != "hangs" || l[1].Check != "answers" || l[2].Check != "other" {
		t.Errorf("got %+v, want the findings in the order of the checks", l)
	}
}
