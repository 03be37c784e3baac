package addresses

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/config/unit"
)

// TestCA: the server of a list is proven by the authorities of its set alone, as
// they are on the disk at each attempt.
func TestCA(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "192.0.2.1\n") }))
	t.Cleanup(server.Close)
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))

	ca := filepath.Join(t.TempDir(), "ca.pem")
	write(t, ca, own)
	source := Source{URL: server.URL, CA: ca, Every: unit.Duration(20 * time.Millisecond)}
	p := start(t, t.TempDir())
	if got := p.rules(source, true).Judge(addr("192.0.2.1")).Verdict; got != Denied {
		t.Errorf("with the server's authority: got %v", got)
	}
	write(t, ca, "nothing")
	p.await("a failure", func() bool { return p.fetched("failure") >= 1 })
	write(t, ca, own)
	before := p.fetched("success") + p.fetched("unchanged")
	p.await("a success", func() bool { return p.fetched("success")+p.fetched("unchanged") > before })

	p = start(t, t.TempDir())
	if got := p.rules(Source{URL: server.URL}, true).Judge(addr("192.0.2.1")).Verdict; got != Unknown || p.fetched("failure") == 0 {
		t.Errorf("with the authorities of the system: got %v, %v failures", got, p.fetched("failure"))
	}
	write(t, ca, "nothing")
	if _, err := p.use(map[string]Source{"set": source}); err == nil {
		t.Error("a file without certificates is no error")
	}
}

// TestPrune: copies that nobody names any more are removed after a while, and no
// others.
func TestPrune(t *testing.T) {
	state, server := t.TempDir(), publish(t, "192.0.2.1\n")
	used, unused := Source{URL: server.URL + "/used"}, Source{URL: server.URL + "/unused"}
	p := start(t, state)
	if _, err := p.use(map[string]Source{"used": used, "unused": unused}); err != nil {
		t.Fatal(err)
	}
	there := func(s Source) bool {
		_, err := os.Stat(keptName(state, s))
		return err == nil
	}
	rest := filepath.Join(state, keptFolder, ".new-1")
	write(t, rest, "cut short")
	p.rules(used, true)
	if !there(used) || !there(unused) {
		t.Error("a fresh copy was removed")
	}
	old := time.Now().Add(-forgotten - time.Hour)
	for _, path := range []string{keptName(state, used), keptName(state, unused), rest} {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	p.rules(used, true)
	if _, err := os.Stat(rest); !there(used) || there(unused) || err == nil {
		t.Errorf("used there: %v, unused there: %v, what was cut short: %v", there(used), there(unused), err)
	}
}
