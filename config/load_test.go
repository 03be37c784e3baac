package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

// pki writes the files that example and tests refer to.
func pki(t testing.TB, dir string) {
	t.Helper()
	write := func(name string, b []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"meu", "agkk", "qualified-cas", "agkk-internal"} {
		ca, err := certs.NewDevCA(name)
		if err != nil {
			t.Fatal(err)
		}
		write("pki/"+name+".pem", ca.CertPEM())
		switch name {
		case "meu":
			cert, key, err := ca.Server("data.egov.example", "*.egov.example")
			if err != nil {
				t.Fatal(err)
			}
			write("pki/server.pem", cert)
			write("server.key", key)
		case "agkk-internal":
			cert, key, err := ca.Client(certs.ClientSpec{CN: "gateway"})
			if err != nil {
				t.Fatal(err)
			}
			write("pki/gw-client.pem", cert)
			write("gw-client.key", key)
		case "agkk":
			crl, err := ca.CRL(time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			write("pki/agkk.crl", crl)
			write("pki/empty.crl", nil)
		case "qualified-cas":
			crl, err := ca.CRL(time.Now().Add(time.Hour))
			if err != nil {
				t.Fatal(err)
			}
			write("pki/foreign.crl", crl)
		}
	}
}

// example copies a folder of testdata and gives it a PKI.
func example(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	pki(t, dir)
	return dir
}

func TestExample(t *testing.T) {
	c, err := Load(example(t, "testdata/example"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range c.Warnings {
		t.Errorf("warning: %s", w)
	}
	byName := map[string]*Service{}
	for _, s := range c.Services {
		byName[s.Name] = s
	}
	reg := byName["registries"]
	if reg.Policy.MTLS != certs.MTLSRequired || len(reg.Routes) != 2 || reg.Policy.Concurrency[0].Max != 200 || reg.Policy.Audit != "full" {
		t.Errorf("registries: %+v", reg)
	}
	bulk := reg.Routes[1]
	if bulk.Name != "registries/bulk" || bulk.Policy.Timeout.Std() != 5*time.Minute || bulk.Policy.RateLimit[0].Rate.Count != 5 || len(bulk.Policy.Allow) != 1 || !bulk.OwnRateLimit {
		t.Errorf("bulk: %+v", bulk)
	}
	spatial := byName["spatial-data"].Policy
	if spatial.UpstreamTLS == nil || !filepath.IsAbs(spatial.UpstreamTLS.CA) || spatial.UpstreamTLS.Key.Reveal() == "" || len(spatial.Methods) != 2 || spatial.RateLimit[0].Burst != 300 {
		t.Errorf("spatial-data: %+v", spatial)
	}
	publishing := byName["open-data-publishing"].Policy
	if publishing.WAF.Mode != "block" || publishing.WAF.Paranoia != 1 || len(publishing.WAF.Exclude) != 2 || publishing.MaxBody != 200<<20 {
		t.Errorf("open-data-publishing: waf %+v, max_body %v", publishing.WAF, publishing.MaxBody)
	}
	if nra := c.Callers["nra"]; nra.Name != "National Revenue Agency" || nra.RateLimit == nil || nra.RateLimit[0].Burst != 400 {
		t.Errorf("nra: %+v", nra)
	}
	if c.Limits.MaxHeaders != 100 || c.Admin.Listen != "127.0.0.1:9180" {
		t.Errorf("defaults: %+v, %+v", c.Limits, c.Admin)
	}
}

// TestHashIgnoresLayout: the hash tells what is in force, not in which files.
func TestHashIgnoresLayout(t *testing.T) {
	dir := example(t, "testdata/example")
	a, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "conf.d/40-registries.yaml"), filepath.Join(dir, "conf.d/41-registries.yaml")); err != nil {
		t.Fatal(err)
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if a.Hash != b.Hash {
		t.Errorf("hash changed from %s to %s", a.Hash, b.Hash)
	}
}

func TestMinimal(t *testing.T) {
	b, err := os.ReadFile("testdata/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n != 13 {
		t.Errorf("minimal.yaml has %d lines, want 13", n)
	}
	dir := t.TempDir()
	pki(t, dir)
	path := filepath.Join(dir, "vazel.yaml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err != nil {
		t.Error(err)
	}
}

// TestReloadIsolatesFiles: a drop-in with a mistake keeps its last good version,
// and only that.
func TestReloadIsolatesFiles(t *testing.T) {
	dir := example(t, "testdata/example")
	first, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	edit := func(name, old, new string) {
		t.Helper()
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), old) {
			t.Fatalf("%s does not hold %q", name, old)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(b), old, new)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	edit("conf.d/40-registries.yaml", "concurrency: 200", "concurency: 100")
	edit("conf.d/20-open-data.yaml", "5/s", "7/s")
	if _, err := Load(dir); err == nil {
		t.Fatal("a first start took a file with a mistake")
	}
	second, err := LoadWith(first, dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range second.Files {
		if want := f.Path != "conf.d/40-registries.yaml"; f.Valid != want {
			t.Errorf("%s: valid %v, want %v", f.Path, f.Valid, want)
		}
	}
	for _, s := range second.Services {
		switch s.Name {
		case "registries":
			if s.Policy.Concurrency[0].Max != 200 {
				t.Errorf("concurrency %d, want the last good 200", s.Policy.Concurrency[0].Max)
			}
		case "open-data":
			if got := s.Routes[1].Policy.RateLimit[0].Rate.Count; got != 7 {
				t.Errorf("rate %d, want the new 7", got)
			}
		}
	}
	edit("vazel.yaml", "version: 1", "version: 2")
	if _, err := LoadWith(second, dir); err == nil {
		t.Error("a mistake in the main file was taken")
	}
}

// TestBad compares the whole report on each file of testdata/bad with the one
// that its first lines want. A folder-like file in txtar form has several files.
func TestBad(t *testing.T) {
	dir := t.TempDir()
	pki(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "conf.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(os.DirFS("testdata/bad"), "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal("no files in testdata/bad", err)
	}
	t.Setenv("VAZEL_TEST_SECRET", "hunter2")
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("testdata/bad", name)
			b, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			want, in := splitWant(string(b))
			_, err = loadText(t, dir, in)
			if err == nil {
				t.Fatal("the file loads without an error")
			}
			got := strings.ReplaceAll(err.Error(), dir, "DIR")
			if strings.Contains(got, "hunter2") {
				t.Fatalf("the report shows a secret:\n%s", got)
			}
			if *update {
				if err := os.WriteFile(golden, []byte(joinWant(got, in)), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// TestReloadKeepsCertificate: files of a server certificate that don't fit
// together stop a start, but at a reload leave the rest alone.
func TestReloadKeepsCertificate(t *testing.T) {
	b, err := os.ReadFile("testdata/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pki(t, dir)
	path := filepath.Join(dir, "vazel.yaml")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	cert := first.TLS.Certificates[0].Cert
	for _, content := range []string{"", "-----BEGIN CERTIFICATE-----\n"} {
		if err := os.WriteFile(cert, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path); err == nil {
			t.Error("started with half a certificate")
		}
		next, err := LoadWith(first, path)
		if err != nil {
			t.Fatalf("the reload was refused: %v", err)
		}
		if len(next.Warnings) != 1 || !strings.HasSuffix(next.Warnings[0].Message, "; the former certificate is served") {
			t.Errorf("got the warnings %v", next.Warnings)
		}
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadWith(first, path); err != nil {
		t.Errorf("the reload was refused while the file was away: %v", err)
	}
	other := strings.Replace(string(b), filepath.Base(cert), "other.pem", 1)
	if other == string(b) {
		t.Fatalf("minimal.yaml does not name %s", cert)
	}
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadWith(first, path); err == nil {
		t.Error("a certificate that never was served may be missing")
	}
}
