package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// node writes a main file and drop-ins into a folder with a PKI.
func node(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	pki(t, dir)
	files["vazel.yaml"] = `version: 1
listen: [{address: "127.0.0.1:8443"}]
tls: {certificates: [{cert: pki/server.pem, key: "${file:server.key}"}]}
include: conf.d/*.yaml
organizations:
  nra: {id: NTRBG-100000003, ca: pki/qualified-cas.pem}
` + files["vazel.yaml"]
	write(t, dir, files)
	return dir
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func service(name, host string) string {
	return "services:\n  " + name + ": {owner: nra, hosts: [" + host + "], upstreams: [http://127.0.0.1:9000]}\n"
}

// status lists the services and the files that are not valid.
func status(c *Config) string {
	var l []string
	for _, s := range c.Services {
		l = append(l, s.Name+" "+strings.Join(s.Hosts, " "))
	}
	for _, f := range c.Files {
		if !f.Valid {
			l = append(l, "not valid: "+f.Path)
		}
	}
	return strings.Join(l, "; ")
}

func TestReload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change map[string]string
		want   string // an error if it begins with "error: "
	}{
		{"a new file with a mistake is left out", map[string]string{"conf.d/30.yaml": "services: {c: {}}\n"},
			"a a.egov.example; b b.egov.example; not valid: conf.d/30.yaml"},
		{"a new file that is not YAML is left out", map[string]string{"conf.d/30.yaml": "services: [\n"},
			"a a.egov.example; b b.egov.example; not valid: conf.d/30.yaml"},
		{"a new file can't take a host", map[string]string{"conf.d/05.yaml": service("aa", "b.egov.example")},
			"a a.egov.example; b b.egov.example; not valid: conf.d/05.yaml"},
		{"a new file can't take a service's name", map[string]string{"conf.d/05.yaml": service("b", "c.egov.example")},
			"a a.egov.example; b b.egov.example; not valid: conf.d/05.yaml"},
		{"a new file can't take a route's name", map[string]string{"conf.d/05.yaml": strings.Replace(service("aa", "c.egov.example"), "]}\n", "], routes: [{name: b}]}\n", 1)},
			"a a.egov.example; b b.egov.example; not valid: conf.d/05.yaml"},
		{"a changed file can't take a host", map[string]string{"conf.d/10.yaml": service("a", "b.egov.example")},
			"a a.egov.example; b b.egov.example; not valid: conf.d/10.yaml"},
		{"the rest goes live", map[string]string{"conf.d/10.yaml": service("a", "c.egov.example"), "conf.d/20.yaml": "services: {b: {hots: []}}\n"},
			"a c.egov.example; b b.egov.example; not valid: conf.d/20.yaml"},
		{"the main file must be right", map[string]string{"vazel.yaml": "version: 1\n"}, "error: \"listen\" is missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := node(t, map[string]string{"conf.d/10.yaml": service("a", "a.egov.example"), "conf.d/20.yaml": service("b", "b.egov.example")})
			first, err := Load(dir)
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, c.change)
			next, err := LoadWith(first, dir)
			if want, bad := strings.CutPrefix(c.want, "error: "); bad {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("got error %v, want %q", err, want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := status(next); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestAbsoluteInclude: files outside of the folder keep their last good version
// too.
func TestAbsoluteInclude(t *testing.T) {
	t.Parallel()
	other := t.TempDir()
	write(t, other, map[string]string{"a.yaml": service("a", "a.egov.example")})
	dir := node(t, map[string]string{})
	main := filepath.Join(dir, "vazel.yaml")
	b, err := os.ReadFile(main)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{"vazel.yaml": strings.Replace(string(b), "conf.d/*.yaml", "[conf.d/*.yaml, \"*.yaml\", "+other+"/*.yaml]", 1)})
	first, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	write(t, other, map[string]string{"a.yaml": "services: {a: {}}\n"})
	next, err := LoadWith(first, dir)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := status(next), "a a.egov.example; not valid: "+other+"/a.yaml"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestWarnings are those that no error can stand beside.
func TestWarnings(t *testing.T) {
	t.Parallel()
	for want, main := range map[string]string{
		`include "conf.d/*.yaml" matches no file`: "",
		"no service is configured":                "",
		"every listener only redirects":           "limits: {max_streams: 10}\n",
	} {
		dir := node(t, map[string]string{"vazel.yaml": main})
		if main != "" {
			b, err := os.ReadFile(filepath.Join(dir, "vazel.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir, map[string]string{"vazel.yaml": strings.Replace(string(b), `8443"}`, `8443", redirect: https}`, 1)})
		}
		c, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		text := (&Errors{Problems: c.Warnings}).Error()
		if !strings.Contains(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// TestUnreadable: what can't be read is an error that names it, never nothing.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	dir := node(t, map[string]string{"conf.d/10.yaml": service("a", "a.egov.example")})
	if err := os.Symlink("20.yaml", filepath.Join(dir, "conf.d/20.yaml")); err != nil { // a circle
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "conf.d/30.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf.d/40.yaml"), make([]byte, maxFile+1), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(dir)
	if err == nil {
		t.Fatal("files that can't be read were passed over")
	}
	for _, want := range []string{
		"conf.d/20.yaml: error: " + dir + "/conf.d/20.yaml can't be read: too many levels of symbolic links",
		"conf.d/30.yaml can't be read: not a regular file",
		"conf.d/40.yaml can't be read: larger than 2 MiB",
		"3 errors in 3 of 5 files; the other 2 are valid",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q", err, want)
		}
	}
	if _, err := Load(filepath.Join(dir, "nowhere")); err == nil || !strings.Contains(err.Error(), "nowhere can't be read: no such file") {
		t.Errorf("got %v", err)
	}
}

// TestManyMistakes: a report stays readable, and quick, whatever a file holds.
func TestManyMistakes(t *testing.T) {
	t.Parallel()
	dir := node(t, map[string]string{"vazel.yaml": "aaaaa: 1\n"})
	var b strings.Builder
	b.WriteString("services:\n")
	for range maxWrong + 500 {
		b.WriteString("  a: {}\n")
	}
	write(t, dir, map[string]string{"conf.d/10.yaml": b.String()})
	_, err := Load(dir)
	if err == nil {
		t.Fatal("the file loads")
	}
	for _, want := range []string{"conf.d/10.yaml: error: only the first 1000 mistakes of the file are told", "1002 errors in 2 of 2 files"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the report does not say %q", want)
		}
	}
}

// TestAdminAddress: commands find the gateway also while the file is broken.
func TestAdminAddress(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"version: 1\n": defaultAdmin,
		"admin: {listen: \"unix:/run/vazel/admin.sock\"}\n":                          "unix:/run/vazel/admin.sock",
		"admin: {listen: \"unix:/run/vazel/admin.sock\"}\nservices: [\n":             "unix:/run/vazel/admin.sock",
		"listen: [{address: :443}]\nadmin:\n  listen: 127.0.0.1:9999\nservices: [\n": "127.0.0.1:9999",
		"admin:\n  hosts: [a]\n  listen: '[::1]:9999' # here\nservices: [\n":         "[::1]:9999",
		"listen: [{address: :443}]\nservices: [\n":                                   defaultAdmin,
	} {
		dir := t.TempDir()
		write(t, dir, map[string]string{"vazel.yaml": text})
		if got, err := AdminAddress(dir); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", text, got, err, want)
		}
	}
}
