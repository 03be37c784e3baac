//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// redisOn starts a server that is reached over TCP, as those that fail over have
// to be, with a user of the access list that may do no more than is needed.
func redisOn(t *testing.T, port int, commands string, args ...string) *redisServer {
	t.Helper()
	acl := filepath.Join(t.TempDir(), "users.acl")
	if err := os.WriteFile(acl, []byte("user default on nopass ~* &* +@all\nuser vazel on >ropotamo ~vazel:* resetchannels "+commands+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return newRedis(t, append([]string{"--port", fmt.Sprint(port), "--bind", "127.0.0.1", "--aclfile", acl}, args...)...)
}

// failoverUser is that user, as the configuration names it.
func failoverUser(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte("ropotamo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "username: vazel, password: \"${file:" + path + "}\""
}

// follow says what requests saw while a server was killed: none failed, and the
// limit held within what the mode promises.
func follow(t *testing.T, nodes []*e2eNode, kill func()) {
	t.Helper()
	for _, n := range nodes {
		n.storeUp(t, "1")
	}
	done := make(chan *tally)
	go func() { done <- pour(t, nodes, 6*time.Second, 240, 60) }()
	<-time.After(time.Second)
	at := time.Now()
	kill()
	for _, n := range nodes {
		n.storeUp(t, "0")
	}
	lost := time.Since(at)
	for _, n := range nodes {
		n.storeUp(t, "1")
	}
	back := time.Since(at)
	c := <-done
	most, got := 50+100*c.duration.Seconds(), float64(c.codes[200])
	if len(c.codes) != 2 || len(c.failed) > 0 {
		t.Errorf("got %v %v, want only 200 and 429", c.codes, c.failed)
	}
	if got > most*1.03 || got < most*.7 {
		t.Errorf("%v were admitted in %v, want at most %v and hardly less", got, c.duration, most)
	}
	for i, n := range nodes { // not once for each probe of a server that still answers
		if got := strings.Count(n.gateway.log.String(), "limits go by on_store_failure"); got > 4 {
			t.Errorf("node %d lost the store %d times", i, got)
		}
	}
	t.Logf("lost after %v, back after %v; %v of at most %v admitted; 99 of 100 requests within %v", lost, back, got, most, c.quantile(.99))
}

const failoverLimit = "{rate: 100/s, burst: 50, per: service}"

// TestE2EStoreSentinel: the sentinels make another server the master, and the
// nodes go on with it.
func TestE2EStoreSentinel(t *testing.T) {
	t.Parallel()
	master, replica := port(t), port(t)
	first := redisOn(t, master, storeCommands(t))
	second := redisOn(t, replica, storeCommands(t), "--replicaof", fmt.Sprintf("127.0.0.1 %d", master))
	var sentinels []string
	for range 3 {
		dir, at := t.TempDir(), port(t)
		conf := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor vazel 127.0.0.1 %d 2\nsentinel down-after-milliseconds vazel 700\nsentinel failover-timeout vazel 3000\n", at, master)
		if err := os.WriteFile(filepath.Join(dir, "sentinel.conf"), []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		p := start(t, dir, need(t, "redis-server", "redis-server"), "sentinel.conf", "--sentinel")
		until(t, "a sentinel", func() bool { return strings.Contains(p.log.String(), "+monitor master") })
		sentinels = append(sentinels, fmt.Sprintf("\"127.0.0.1:%d\"", at))
	}
	until(t, "that the sentinels know each other and the replica", func() bool {
		_, at, _ := strings.Cut(strings.Trim(sentinels[0], `"`), ":")
		out, _ := exec.Command(need(t, "redis-cli", "redis-tools"), "-p", at, "sentinel", "master", "vazel").CombinedOutput()
		return fieldOf(string(out), "num-other-sentinels") == "2" && fieldOf(string(out), "num-slaves") == "1"
	})
	until(t, "that the replica is in step", func() bool { return strings.Contains(second.cli(t, "info", "replication"), "master_link_status:up") })
	nodes := storeNodes(t, 2, failoverLimit, fmt.Sprintf("  nodes: 2\n  redis: {master: vazel, %s, addresses: [%s]}\n", failoverUser(t), strings.Join(sentinels, ", ")))
	follow(t, nodes, first.kill)
	if got := second.cli(t, "get", "vazel:limit:s:service:_all"); !strings.Contains(got, " ") {
		t.Errorf("the new master knows nothing of the limit: %q", got)
	}
}

// fieldOf is the line after a name in what redis-cli prints.
func fieldOf(out, name string) string {
	_, rest, _ := strings.Cut(out, name+"\n")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// clusterCommands are those that docs/operations.md adds for a cluster.
func clusterCommands(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "`+select` with `db`, `")
	commands, _, ok := strings.Cut(rest, "` with a cluster")
	if !ok {
		t.Fatal("docs/operations.md does not say what a cluster needs")
	}
	return commands
}

// TestE2EStoreCluster: another server takes over the keys of one that was killed,
// and the nodes go on with it.
func TestE2EStoreCluster(t *testing.T) {
	t.Parallel()
	var servers []*redisServer
	var addresses []string
	for range 6 {
		at := port(t)
		r := redisOn(t, at, storeCommands(t)+" "+clusterCommands(t), "--cluster-enabled", "yes", "--cluster-port", fmt.Sprint(port(t)), "--cluster-node-timeout", "1000", "--cluster-config-file", "nodes.conf")
		servers, addresses = append(servers, r), append(addresses, fmt.Sprintf("127.0.0.1:%d", at))
	}
	cli := need(t, "redis-cli", "redis-tools")
	args := append(append([]string{"--cluster", "create"}, addresses...), "--cluster-replicas", "1", "--cluster-yes")
	if out, err := exec.Command(cli, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, r := range servers {
		until(t, "that the cluster is whole", func() bool {
			info := r.cli(t, "cluster", "info")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:6") && strings.Contains(info, "cluster_size:3")
		})
		until(t, "that replicas are in step", func() bool {
			info := r.cli(t, "info", "replication")
			return strings.Contains(info, "role:master") && strings.Contains(info, "connected_slaves:1") || strings.Contains(info, "master_link_status:up")
		})
	}
	nodes := storeNodes(t, 2, failoverLimit, fmt.Sprintf("  nodes: 2\n  redis: {cluster: true, %s, addresses: [%q, %q]}\n", failoverUser(t), addresses[0], addresses[4]))
	const key = "vazel:limit:s:service:_all"
	var dead *redisServer
	follow(t, nodes, func() {
		for _, r := range servers {
			if strings.Contains(r.cli(t, "info", "replication"), "role:master") && !strings.Contains(r.cli(t, "get", key), "MOVED") {
				r.kill()
				dead = r
				return
			}
		}
		t.Error("no server has the key of the limit")
	})
	var has []string
	for _, r := range servers {
		if r != dead {
			has = append(has, r.cli(t, "get", key))
		}
	}
	if !slices.ContainsFunc(has, func(s string) bool { return strings.Contains(s, ".") && !strings.Contains(s, "MOVED") }) {
		t.Errorf("no server knows the limit: %q", has)
	}
}
