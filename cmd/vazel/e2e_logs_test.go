//go:build e2e

package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestE2ELogs sends the security log to rsyslog, which asks for a certificate and
// is stopped and started again, and reports a promise from a real Prometheus.
func TestE2ELogs(t *testing.T) {
	t.Parallel()
	rsyslogd := need(t, "rsyslogd", "rsyslog-gnutls")
	vazel, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir, receiver, https, admin := t.TempDir(), port(t), port(t), port(t)
	if out, err := exec.Command(vazel, "certs", "dev", "-dir", filepath.Join(dir, "pki"), "-hosts", "localhost", "-organization", "nra=NTRBG-100000003").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "ok") }))
	defer upstream.Close()
	got := filepath.Join(dir, "received.log")
	for name, text := range map[string]string{
		"rsyslog.conf": fmt.Sprintf(`global(workDirectory=%[1]q maxMessageSize="64k" defaultNetstreamDriverCAFile="%[1]s/pki/dev-ca.pem"
 defaultNetstreamDriverCertFile="%[1]s/pki/server.pem" defaultNetstreamDriverKeyFile="%[1]s/pki/server.key")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/certvalid")
input(type="imtcp" address="127.0.0.1" port="%[2]d")
template(name="line" type="string" string="%%pri%% %%app-name%% %%msgid%%%%msg%%\n")
action(type="omfile" file=%[3]q template="line")
`, dir, receiver, got),
		"vazel.yaml": fmt.Sprintf(`version: 1
listen: [{address: "127.0.0.1:%d"}]
admin: {listen: "127.0.0.1:%d"}
tls: {certificates: [{cert: pki/server.pem, key: "${file:pki/server.key}"}]}
access_log: {output: access.log, format: ocsf}
security_log: {output: "syslog+tls://localhost:%d", tls: {ca: pki/dev-ca.pem, cert: pki/nra.pem, key: "${file:pki/nra.key}"}}
audit_log: {output: "off"}
organizations: {nra: {id: NTRBG-100000003, ca: pki/dev-ca.pem}}
services: {registry: {owner: nra, hosts: [localhost], upstreams: [%q], slo: registry, methods: [GET]}}
`, https, admin, receiver, upstream.URL),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	syslog := func() *program {
		p := start(t, dir, rsyslogd, "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "rsyslog.pid"))
		t.Cleanup(func() { p.cmd.Process.Kill() }) // it does not always heed SIGTERM while a peer is connected
		return p
	}
	first := syslog()
	start(t, dir, vazel, "run", "-config", dir, "-watch=false")
	ask := func(method, path string) {
		if out, err := exec.Command("curl", "-s", "-o", os.DevNull, "-X", method, "--cacert", filepath.Join(dir, "pki", "dev-ca.pem"), fmt.Sprintf("https://localhost:%d%s", https, path)).CombinedOutput(); err != nil {
			t.Logf("%v %s", err, out)
		}
	}
	received := func(path string) bool {
		ask("DELETE", path)
		b, _ := os.ReadFile(got)
		for line := range strings.Lines(string(b)) {
			text, ok := strings.CutPrefix(line, "84 vazel security")
			var fields map[string]any
			if !ok || json.Unmarshal([]byte(text), &fields) != nil {
				t.Fatalf("line %q", line)
			}
			if fields["url.path"] == path && fields["client.address"] == "127.0.0.1" && fields["vazel.reason"] == "method_not_allowed" {
				return true
			}
		}
		return false
	}
	until(t, "a refusal at the receiver", func() bool { return received("/first") })
	first.cmd.Process.Kill()
	<-first.done
	for range 20 {
		ask("DELETE", "/between")
	}
	syslog()
	until(t, "a refusal at the receiver that came again", func() bool { return received("/second") })

	month := time.Now().UTC().Format("2006-01")
	reports := func(prometheus *monitor) bool {
		ask("GET", "/7523169263")
		out, err := exec.Command(vazel, "report", "qos", "-zone", "UTC", "--month", month, "-prometheus", prometheus.url, "-json").Output()
		if err != nil {
			t.Fatal(err)
		}
		var q quality
		if err := json.Unmarshal(out, &q); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if len(q.Services) != 1 || q.Services[0].OK < 3 {
			return false
		}
		s := q.Services[0]
		if s.Kept == nil || !*s.Kept || s.Promised.FirstByte != 1 || s.FirstByte["p90"] <= 0 || s.FirstByte["p95"] < s.FirstByte["p90"] || s.FirstByte["p99"] > 1 || s.Year == nil || *s.Year != 1 {
			t.Fatalf("reported: %s", out)
		}
		return true
	}
	classic := newPrometheus(t, admin)
	until(t, "a report of what was promised", func() bool { return reports(classic) })
	native := newPrometheus(t, admin, "--enable-feature=native-histograms")
	until(t, "a report from native histograms", func() bool { return reports(native) })
	if b, err := os.ReadFile(filepath.Join(dir, "access.log")); err != nil || !strings.Contains(string(b), `"class_uid":4002`) || strings.Contains(string(b), "7523169263") {
		t.Errorf("access log: %v %.500s", err, b)
	}
}
