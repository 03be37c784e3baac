package gateway

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// TestStoreFailure: what holds for limits while the store that nodes share is
// lost, and that a reload changes it.
func TestStoreFailure(t *testing.T) {
	n := newNode(t, nil)
	nra := n.client(n.orgCA, "NTRBG-100000003")
	lost := filepath.Join(t.TempDir(), "redis.sock")
	ask := func(p string) (*http.Response, map[string]any) {
		t.Helper()
		resp, err := n.dial(p, "inner.example", nra).Get("https://inner.example/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var problem map[string]any
		json.Unmarshal(b, &problem)
		return resp, problem
	}
	state := func(want string) {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		deadline := time.After(20 * time.Second)
		for {
			if s, _ := n.gateway.StoreState().(storeState); s.State == want {
				return
			}
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatalf("the store is not %s: %+v", want, n.gateway.StoreState())
			}
		}
	}
	use := func(address, mode, settings string) {
		t.Helper()
		n.use(settings + fmt.Sprintf("\nstore: {nodes: 2, on_store_failure: %s, redis: {addresses: [%q]}}", mode, address))
	}
	const limit = "    rate_limit: {rate: 1000/s, per: organization}\n    quota: {day: 1000, per: organization}"

	use(lost, "closed", limit)
	state("down")
	for _, p := range protocols {
		resp, problem := ask(p)
		if resp.StatusCode != 503 || problem["type"] != "urn:vazel:problem:limits_unavailable" || resp.Header.Get("Retry-After") == "" {
			t.Errorf("%s, closed: got %d %v, Retry-After %q", p, resp.StatusCode, problem, resp.Header.Get("Retry-After"))
		}
	}
	for what, settings := range map[string]string{
		"without limits":       "",
		"only to be detected":  "    rate_limit: {rate: 1000/s, per: organization, mode: detect}\n    quota: {day: 1000, per: organization, mode: detect}",
		"a limit by addresses": "    rate_limit: {rate: 1000/s, per: client_ip}",
	} {
		use(lost, "closed", settings)
		if resp, problem := ask("h1"); resp.StatusCode != 200 {
			t.Errorf("closed, %s: got %d %v", what, resp.StatusCode, problem)
		}
	}
	for _, mode := range []string{"local", "open"} {
		use(lost, mode, limit)
		if resp, problem := ask("h2"); resp.StatusCode != 200 || resp.Header.Get("RateLimit") == "" {
			t.Errorf("%s: got %d %v", mode, resp.StatusCode, problem)
		}
	}
	server := miniredis.RunT(t)
	use(server.Addr(), "closed", limit)
	state("up")
	if resp, problem := ask("h2"); resp.StatusCode != 200 {
		t.Errorf("with a server: got %d %v", resp.StatusCode, problem)
	}
	server.Close()
	state("down")
	if resp, _ := ask("h2"); resp.StatusCode != 503 {
		t.Errorf("closed, and the server is lost: got %d", resp.StatusCode)
	}
	n.use(limit)
	if resp, problem := ask("h2"); resp.StatusCode != 200 || n.gateway.StoreState() != nil {
		t.Errorf("without a store any more: got %d %v", resp.StatusCode, problem)
	}
}
