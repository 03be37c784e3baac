//go:build e2e

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// eicar is the file that every scanner takes for a virus, put together here so that
// none takes this one for it.
const eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$` + `EICAR-STANDARD-ANTIVIRUS-TEST-FILE!` + `$H+H*`

// newClamd is a real clamd with a database of its own, on a socket. It knows EICAR
// and nothing else.
func newClamd(t *testing.T) (socket string, p *program) {
	t.Helper()
	bin := need(t, "clamd", "clamav-daemon")
	dir, err := os.MkdirTemp("", "vazel-clamd-") // the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(dir, "s")
	for name, text := range map[string]string{
		// Name, any type of file, at its beginning, the bytes.
		"db/test.ndb": fmt.Sprintf("Vazel.Test.EICAR:0:0:%x\n", eicar),
		"clamd.conf": "LocalSocket " + socket + "\nDatabaseDirectory " + dir + "/db\nForeground yes\nUser root\nPidFile " + dir +
			"/pid\nTemporaryDirectory " + dir + "\nStreamMaxLength 2M\nLogVerbose yes\n",
	} {
		if name == "clamd.conf" && os.Getuid() != 0 {
			text = strings.Replace(text, "User root\n", "", 1)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p = start(t, dir, bin, "--config-file="+filepath.Join(dir, "clamd.conf"))
	until(t, "clamd", func() bool { return strings.Contains(p.log.String(), "Self checking") })
	return socket, p
}

// newICAP is a real c-icap in front of that clamd.
func newICAP(t *testing.T, clamd string) (url string, p *program) {
	t.Helper()
	bin := need(t, "c-icap", "c-icap")
	modules, _ := filepath.Glob("/usr/lib/*/c_icap/clamd_mod.so")
	if len(modules) == 0 {
		need(t, "clamd_mod.so of c-icap", "libc-icap-mod-virus-scan")
	}
	dir, at := t.TempDir(), fmt.Sprintf("127.0.0.1:%d", port(t))
	lib := filepath.Dir(modules[0])
	conf := filepath.Join(dir, "c-icap.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, `PidFile %[1]s/pid
CommandsSocket %[1]s/ctl
Port %[2]s
StartServers 1
MaxServers 2
TmpDir %[1]s
ModulesDir %[3]s
ServicesDir %[3]s
LoadMagicFile /etc/c-icap/c-icap.magic
ServerLog %[1]s/server.log
Module common clamd_mod.so
clamd_mod.ClamdSocket %[4]s
Service antivirus_module virus_scan.so
ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple
virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE
virus_scan.DefaultEngine clamd
`, dir, at, lib, clamd), 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, dir, bin, "-N", "-f", conf)
	until(t, "c-icap", func() bool {
		c, err := net.Dial("tcp", at)
		if err != nil {
			return false
		}
		c.Close()
		return true
	})
	return "icap://" + at + "/avscan", p
}

// form is a multipart body with one file.
func form(t *testing.T, name string, content []byte) (kind string, body []byte) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if err := w.WriteField("title", "Заявление"); err != nil {
		t.Fatal(err)
	}
	f, err := w.CreateFormFile("file", name)
	if err != nil {
		t.Fatal(err)
	}
	f.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.Bytes()
}

// TestE2EScan: the EICAR file does not pass a real clamd or c-icap, in whatever kind
// of body, and without them nothing does, or all, as configured.
func TestE2EScan(t *testing.T) {
	t.Parallel()
	socket, clamd := newClamd(t)
	icap, icapServer := newICAP(t, socket)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	}))
	t.Cleanup(upstream.Close)
	n := newE2ENode(t, map[string]string{"s": upstream.URL}, "    mtls: \"off\"\n    waf: {mode: block}\n    scan: {clamd: \"unix:"+socket+
		"\", timeout: 20s}\n    routes:\n      - {paths: [/lax], scan: {on_scanner_failure: allow}}\n      - {paths: [/raw], waf: {mode: \"off\"}}\n      - {paths: [/]}\n"+
		"      - {paths: [/icap], waf: off, scan: {icap: \""+icap+"\"}}\n      - {paths: [/icap-lax], waf: off, scan: {icap: \""+icap+"\", on_scanner_failure: allow}}\n")
	c := n.client
	large := make([]byte, 1<<20)
	rand.Read(large)
	post := func(path, kind string, body []byte) (int, string, string) {
		t.Helper()
		resp, err := c.Post("https://s.e2e.example"+path, kind, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct {
			Reason string `json:"reason"`
		}
		json.Unmarshal(b, &problem)
		return resp.StatusCode, problem.Reason, string(b)
	}
	virusForm, virusFormBody := form(t, "invoice.pdf", []byte(eicar))
	cleanForm, cleanFormBody := form(t, "photo.jpeg", large)
	hugeForm, hugeFormBody := form(t, "photo.jpeg", bytes.Repeat(large, 3))
	check := func(name, path, kind string, body []byte, status int, reason string) {
		t.Helper()
		got, why, answer := post(path, kind, body)
		if got != status || why != reason {
			t.Errorf("%s: %d %s, want %d %s", name, got, why, status, reason)
		}
		if got == http.StatusOK && answer != fmt.Sprint(len(body)) {
			t.Errorf("%s: the upstream got %s bytes of %d", name, answer, len(body))
		}
		if strings.Contains(answer, "EICAR") {
			t.Errorf("%s: the client is told what was found: %s", name, answer)
		}
	}
	check("a clean file", "/", cleanForm, cleanFormBody, 200, "")
	check("EICAR in a form", "/", virusForm, virusFormBody, 403, "malware_found")
	check("EICAR as the body", "/raw", "application/octet-stream", []byte(eicar), 403, "malware_found")
	check("EICAR in JSON", "/raw", "application/json", fmt.Appendf(nil, `{"file":"%s"}`, base64.StdEncoding.EncodeToString([]byte(eicar))), 403, "malware_found")
	check("EICAR where failures pass", "/lax", virusForm, virusFormBody, 403, "malware_found")
	check("more than clamd takes", "/lax", hugeForm, hugeFormBody, 413, "scan_too_large")
	for _, path := range []string{"/icap", "/icap-lax"} {
		check("a clean file", path, cleanForm, cleanFormBody, 200, "")
		check("EICAR in a form", path, virusForm, virusFormBody, 403, "malware_found")
		check("EICAR as the body", path, "application/octet-stream", []byte(eicar), 403, "malware_found")
	}
	until(t, "the log names what was found", func() bool {
		b, err := os.ReadFile(filepath.Join(n.dir, "access.log"))
		return err == nil && strings.Contains(string(b), `"vazel.detail":"malware: Vazel.Test.EICAR`)
	})
	if v := n.metric(t, `vazel_scan_requests_total{result="infected"}`); v != "8" {
		t.Errorf("%s infected", v)
	}
	clamd.cmd.Process.Kill()
	<-clamd.done
	check("without clamd", "/", cleanForm, cleanFormBody, 503, "scan_failed")
	check("without clamd, where that passes", "/lax", cleanForm, cleanFormBody, 200, "")
	check("c-icap without clamd", "/icap", cleanForm, cleanFormBody, 503, "scan_failed")
	icapServer.cmd.Process.Signal(syscall.SIGTERM)
	<-icapServer.done
	check("without c-icap", "/icap", cleanForm, cleanFormBody, 503, "scan_failed")
	check("without c-icap, where that passes", "/icap-lax", cleanForm, cleanFormBody, 200, "")
}
