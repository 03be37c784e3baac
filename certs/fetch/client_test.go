package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestFetch holds the bounds of what is fetched from others.
func TestFetch(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	elsewhere := strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
	mux.HandleFunc("/good", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Error("an encoding was asked for")
		}
		w.Write([]byte("list"))
	})
	send := func(path, to string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
	}
	send("/moved", "/good")
	send("/loop", "/loop")
	send("/file", "file:///etc/passwd")
	send("/inside", elsewhere+"/good")
	send("/metadata", "http://169.254.169.254/latest")
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/announced", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100000")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	mux.HandleFunc("/silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/gzip", func(w http.ResponseWriter, r *http.Request) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(make([]byte, 1<<20))
		z.Close()
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(b.Bytes())
	})
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for path, want := range map[string]string{
		"/good": "", "/moved": "", "/loop": "sends us on", "/file": "neither http nor https", "/inside": "not public", "/metadata": "not public",
		"/endless": "larger than", "/announced": "larger than", "/drip": "deadline", "/silent": "deadline", "/gzip": "encoding", "/empty": "204", "/missing": "404",
	} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			b, err := NewClient().Get(ctx, srv.URL+path, 10_000)
			if want == "" && (err != nil || string(b) != "list") || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("got %q, %v, want %q", b, err, want)
			}
		})
	}
	t.Run("post", func(t *testing.T) {
		t.Parallel()
		if _, err := NewClient().Post(t.Context(), srv.URL+"/moved", "text/plain", nil, 100, true); err == nil || !strings.Contains(err.Error(), "elsewhere") {
			t.Errorf("got %v", err)
		}
		if _, err := NewClient().Post(t.Context(), srv.URL+"/good", "text/plain", nil, 100, false); !errors.Is(err, errNotPublic) {
			t.Errorf("got %v", err)
		}
	})
}

// TestPublic holds which addresses may be reached where the configuration does
// not name them.
func TestPublic(t *testing.T) {
	t.Parallel()
	for a, want := range map[string]bool{
		"8.8.8.8": true, "2001:4860:4860::8888": true, "127.0.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false,
		"100.64.0.1": false, "169.254.169.254": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false, "fe80::1": false, "fd00::1": false,
		"::ffff:10.0.0.1": false, "::ffff:8.8.8.8": true, "64:ff9b::a00:1": false, "2002:a00:1::": false,
	} {
		if got := public(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: got %v, want %v", a, got, want)
		}
	}
	for name, want := range map[string]bool{"ocsp.example": true, "localhost": false, "LOCALHOST.": false, "a.localhost": false, "intranet": false, "10.0.0.1": false, "8.8.8.8": true, "::1": false} {
		if got := publicName(name) == nil; got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

// TestBackoff holds how failures are spread: never at once, never out of bounds,
// and not for all nodes at the same moment.
func TestBackoff(t *testing.T) {
	t.Parallel()
	for tries, want := range map[int]time.Duration{0: 0, 1: 2 * time.Second, 2: 4 * time.Second, 8: 256 * time.Second, 9: 5 * time.Minute, 1000: 5 * time.Minute} {
		if got := Backoff(tries); got != want {
			t.Errorf("after %d failures: got %s, want %s", tries, got, want)
		}
	}
	seen := map[time.Duration]bool{}
	for range 100 {
		d := Jitter(time.Hour)
		if d < 54*time.Minute || d > 66*time.Minute {
			t.Errorf("got %s for an hour", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("got only %d different times", len(seen))
	}
}
