package proxy

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestTunnelIdle: a tunnel in which nothing moves either way ends; one way is
// enough to keep it, and who does not read what comes is not waited for.
func TestTunnelIdle(t *testing.T) {
	for _, tt := range []struct {
		name      string
		every     time.Duration // the client sends; 0 for never
		deaf      bool          // the upstream reads nothing
		from, to  time.Duration // when the tunnel ends
		stopAfter time.Duration // of the client's sending
	}{
		{name: "silent", from: tunnelIdle, to: tunnelIdle + time.Second},
		{name: "one way", every: 4 * time.Minute, stopAfter: time.Hour, from: time.Hour, to: time.Hour + tunnelIdle + time.Second},
		{name: "deaf", every: time.Minute, stopAfter: time.Hour, deaf: true, from: time.Minute, to: 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, nc := net.Pipe()
				upstream, uc := net.Pipe()
				tn := &tunnel{client: nc, upstream: uc, pool: &Pool{born: time.Now()}, limit: 10 * time.Second}
				tn.moved.Store(tn.pool.now())
				start := time.Now()
				var both sync.WaitGroup
				both.Go(func() { tn.copy(uc, nc, nil) })
				both.Go(func() { tn.copy(nc, uc, nil) })
				if !tt.deaf {
					go io.Copy(io.Discard, upstream)
				}
				var sending sync.WaitGroup
				sending.Go(func() {
					for tt.every > 0 && time.Since(start) < tt.stopAfter {
						<-time.After(tt.every)
						if _, err := client.Write([]byte("ping")); err != nil {
							return
						}
					}
				})
				both.Wait()
				if took := time.Since(start); took < tt.from || took > tt.to {
					t.Errorf("it ended after %v", took)
				}
				client.Close()
				upstream.Close()
				sending.Wait()
			})
		})
	}
}
