package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/vazel-gateway/vazel/config"
	"github.com/vazel-gateway/vazel/config/unit"
)

func systemChecks(t trust) []check {
	l := []check{
		{"state folder", func(context.Context) []finding { return []finding{checkState(t.state)} }},
		{"file descriptors", func(context.Context) []finding { return []finding{checkDescriptors(t.config.Limits.MaxConnections)} }},
		{"memory", func(context.Context) []finding { return []finding{checkMemory()} }},
		{"rights", func(context.Context) []finding { return checkRights(t) }},
		{"admin listener", func(ctx context.Context) []finding { return checkAdmin(ctx, t.config.Admin) }},
	}
	for _, a := range t.config.Listen {
		l = append(l, check{"listener", func(ctx context.Context) []finding { return checkListener(ctx, t.config, a) }})
	}
	return l
}

// checkState tries to write where the gateway has to.
func checkState(dir string) finding {
	f := finding{Subject: dir, Status: statusFail, Mend: "the folder must belong to the user that the gateway runs as (systemd: StateDirectory=vazel)"}
	probe := dir
	for {
		info, err := os.Stat(probe)
		if err == nil && !info.IsDir() {
			f.Message = probe + " is not a folder"
			return f
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) || filepath.Dir(probe) == probe {
			f.Message = err.Error()
			return f
		}
		probe = filepath.Dir(probe)
	}
	w, err := os.CreateTemp(probe, ".vazel-doctor-*")
	if err != nil {
		f.Message = "can't be written: " + err.Error()
		return f
	}
	w.Close()
	if err := os.Remove(w.Name()); err != nil {
		f.Message = err.Error()
		return f
	}
	if info, err := os.Stat(dir); err == nil && info.Mode().Perm()&0o007 != 0 {
		return finding{Subject: dir, Status: statusWarn, Message: fmt.Sprintf("everybody on the machine may look into it (%s)", info.Mode().Perm()), Mend: "chmod 700 " + dir}
	}
	return finding{Subject: dir, Status: statusOK, Message: "can be written"}
}

// checkDescriptors compares with what the connections need: one for the client
// and one for the upstream each.
func checkDescriptors(connections int) finding {
	var r syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r); err != nil {
		return finding{Status: statusWarn, Message: err.Error()}
	}
	need := uint64(2*connections + 256)
	text := fmt.Sprintf("%d may be open here; limits.max_connections of %d may need %d", r.Max, connections, need)
	if uint64(r.Max) < need { // Go raises the soft limit to the hard one
		return finding{Status: statusWarn, Message: text, Mend: fmt.Sprintf("LimitNOFILE=%d in the systemd unit, or lower limits.max_connections", need)}
	}
	return finding{Status: statusOK, Message: text}
}

// checkMemory holds GOMEMLIMIT against the limit of the control group, from which
// the gateway takes its own if it is not set.
func checkMemory() finding {
	group, err := memlimit.FromCgroup()
	bounded := err == nil && group > 0 && group < math.MaxInt64
	set, limit := os.Getenv("GOMEMLIMIT"), uint64(debug.SetMemoryLimit(-1)) // changes nothing
	mend := fmt.Sprintf("leave GOMEMLIMIT out: the gateway takes %.0f %% of the control group's limit", memoryShare*100)
	switch {
	case !bounded && set == "":
		return finding{Status: statusOK, Message: "neither the control group nor GOMEMLIMIT bounds it"}
	case !bounded:
		return finding{Status: statusOK, Message: "GOMEMLIMIT is " + set}
	case set != "" && limit > group/100*95:
		return finding{Status: statusWarn, Message: fmt.Sprintf("GOMEMLIMIT (%d MiB) leaves no room below the limit of the control group (%d MiB)", limit>>20, group>>20), Mend: mend}
	case group < 128<<20:
		return finding{Status: statusWarn, Message: fmt.Sprintf("the control group allows only %d MiB", group>>20), Mend: "MemoryMax= of at least 128M; inspection needs more"}
	}
	return finding{Status: statusOK, Message: fmt.Sprintf("the control group allows %d MiB", group>>20)}
}

// checkRights looks at who else can read keys, or write what trust is made of.
func checkRights(t trust) []finding {
	var l []finding
	good := 0
	secret := func(what string, s unit.Secret) {
		kind, name := s.Source()
		if kind != "file" {
			return
		}
		path := secretPath(t.config, name)
		info, err := os.Stat(path)
		switch {
		case err != nil:
			l = append(l, finding{Subject: path, Status: statusFail, Message: err.Error()})
		case info.Mode().Perm()&0o077 != 0:
			l = append(l, finding{Subject: path, Status: statusFail, Message: fmt.Sprintf("%s can be read or changed by others than its owner (%s)", what, info.Mode().Perm()), Mend: "chmod 600 " + path})
		default:
			good++
		}
	}
	for _, k := range t.config.TLS.Certificates {
		secret("the key of "+filepath.Base(k.Cert), k.Key)
	}
	if a := t.config.TLS.ACME; a != nil {
		secret("the key of the ACME account binding", a.EAB.HMACKey)
	}
	open := t.config.Sources()
	for _, s := range t.config.Services {
		if u := s.Policy.UpstreamTLS; u != nil {
			secret("the key for the upstreams of "+s.Name, u.Key)
			open = append(open, u.CA)
		}
	}
	for _, o := range t.config.Trust {
		open = append(open, o.CA...)
		for _, c := range o.CRL {
			open = append(open, c.File, c.Issuer)
		}
	}
	seen := map[string]bool{"": true}
	for _, path := range open {
		if seen[path] {
			continue
		}
		seen[path] = true
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
			l = append(l, finding{Subject: path, Status: statusFail, Message: fmt.Sprintf("everybody on the machine can change it (%s), and with it who is let in", info.Mode().Perm()), Mend: "chmod o-w " + path})
		} else {
			good++
		}
	}
	return append([]finding{{Status: statusOK, Message: fmt.Sprintf("%d files can be read and changed only by whom they should be", good)}}, l...)
}

// secretPath is where the configuration found a secret.
func secretPath(c *config.Config, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" {
		if p := filepath.Join(dir, name); exists(p) {
			return p
		}
	}
	return filepath.Join(c.Dir, name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// running reports whether a gateway answers on the admin listener.
func running(ctx context.Context, address string) bool {
	client, base := adminClient(address)
	client.Timeout = checkTime
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/-/healthy", nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	return err == nil && resp.StatusCode == http.StatusOK && strings.TrimSpace(string(b)) == "healthy"
}

func checkAdmin(ctx context.Context, a config.Admin) []finding {
	address := a.Listen
	if a.TLS != nil {
		f := finding{Subject: address, Status: statusOK, Message: "it asks for operators' certificates; nothing listens there now"}
		if c, err := (&net.Dialer{Timeout: checkTime}).DialContext(ctx, "tcp", address); err == nil {
			c.Close()
			f.Message = "it asks for operators' certificates; something listens there"
		}
		return []finding{f}
	}
	f := finding{Subject: address, Status: statusOK, Message: "no gateway runs now; the address is free"}
	if host, _, err := net.SplitHostPort(address); err == nil {
		if a, err := netip.ParseAddr(host); err == nil && !a.IsLoopback() {
			f = finding{Subject: address, Status: statusWarn, Message: "whoever reaches this address sees metrics and organizations, and can reload", Mend: "bind it to 127.0.0.1 or unix:, or keep the network out by a firewall"}
			return []finding{f}
		}
	}
	if running(ctx, address) {
		f.Message = "a gateway answers"
		return []finding{f}
	}
	network, at := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, at = "unix", path
		if !exists(path) {
			return []finding{f}
		}
	}
	if c, err := net.DialTimeout(network, at, time.Second); err == nil {
		c.Close()
		return []finding{{Subject: address, Status: statusFail, Message: "another program answers there", Mend: "end it, or change admin.listen"}}
	}
	return []finding{f}
}

// checkListener tries to open the address as the gateway would.
func checkListener(ctx context.Context, c *config.Config, l config.Listen) []finding {
	var found []finding
	for _, network := range networksOf(l) {
		f := finding{Subject: l.Address + "/" + network, Status: statusOK, Message: "is free"}
		var err error
		var open interface{ Close() error }
		if network == "udp" {
			open, err = net.ListenPacket("udp", l.Address)
		} else {
			open, err = net.Listen("tcp", l.Address)
		}
		switch {
		case err == nil:
			open.Close()
		case errors.Is(err, syscall.EADDRINUSE) && running(ctx, c.Admin.Listen):
			f.Message = "a gateway runs and is likely to be the one that listens there"
		case errors.Is(err, syscall.EADDRINUSE):
			f.Status, f.Message, f.Mend = statusFail, "another program listens there", "ss -ltnup shows which"
		case errors.Is(err, syscall.EACCES):
			f.Status, f.Message, f.Mend = statusWarn, "this user may not listen there", "AmbientCapabilities=CAP_NET_BIND_SERVICE or a socket unit of systemd"
		default:
			f.Status, f.Message = statusFail, err.Error()
		}
		found = append(found, f)
	}
	return found
}

func networksOf(l config.Listen) (networks []string) {
	if l.Redirect != "" {
		return []string{"tcp"}
	}
	for _, p := range l.Protocols {
		switch {
		case p == "h3":
			networks = append(networks, "udp")
		case len(networks) == 0 || networks[0] != "tcp":
			networks = append([]string{"tcp"}, networks...)
		}
	}
	return networks
}
