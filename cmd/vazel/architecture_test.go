package main

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/vazel-gateway/vazel/"

// layers lists the packages from the top to the bottom. A package imports only
// from lines below its own.
var layers = [][]string{
	{"cmd/vazel"},
	{"gateway/admin", "gateway/console"},
	{"gateway"},
	{"gateway/h1", "gateway/h2"},
	{"config"},
	{"gateway/proxy"},
	{"middleware"},
	{"middleware/limit", "middleware/waf", "middleware/audit", "middleware/cache", "middleware/addresses", "middleware/scan", "middleware/openapi", "middleware/tracing"},
	{"middleware/waf/screen"},
	{"certs", "dashboards"},
	{"certs/fetch", "gateway/store"},
	{"config/unit", "gateway/freeport"},
}

// doors lists who may import a large library.
var doors = map[string][]string{
	"github.com/caddyserver/certmagic":                        {"certs"},
	"github.com/mholt/acmez":                                  {"certs"},
	"golang.org/x/crypto/ocsp":                                {"certs"},
	"github.com/quic-go/quic-go":                              {"gateway"},
	"golang.org/x/net/http2":                                  {"gateway/h2", "gateway"},
	"github.com/corazawaf/coraza/v3":                          {"middleware/waf"},
	"github.com/corazawaf/coraza-coreruleset":                 {"middleware/waf"},
	"github.com/corazawaf/libinjection-go":                    {"middleware/waf"},
	"github.com/getkin/kin-openapi":                           {"middleware/openapi"},
	"github.com/redis/go-redis":                               {"gateway/store"},
	"github.com/miekg/dns":                                    {"certs"},
	"go.opentelemetry.io":                                     {"middleware/tracing"},
	"go.yaml.in/yaml":                                         {"config"},
	"github.com/andybalholm/brotli":                           {"middleware"},
	"github.com/klauspost/compress":                           {"middleware"},
	"github.com/KimMachineGun/automemlimit":                   {"cmd/vazel"},
	"github.com/prometheus/client_golang/prometheus/promhttp": {"gateway/admin", "gateway/console"},
}

func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, pkg) })
}

// TestArchitecture holds the import rules of ARCHITECTURE.md.
func TestArchitecture(t *testing.T) {
	root := "../.."
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == ".dev" || d.Name() == "testdata" || d.Name() == ".ci" || d.Name() == "dist") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		rel, _ := filepath.Rel(root, file)
		pkg := path.Dir(filepath.ToSlash(rel))
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		if f.Name.Name == "main" && pkg != "cmd/vazel" {
			return nil // generators, run by go run
		}
		from := layerOf(pkg)
		if from < 0 {
			t.Errorf("%s: package %s has no place in the layers", rel, pkg)
		}
		for _, im := range f.Imports {
			p, _ := strconv.Unquote(im.Path.Value)
			if inner, ok := strings.CutPrefix(p, module); ok {
				if to := layerOf(inner); to <= from && !strings.HasPrefix(inner, pkg+"/") {
					t.Errorf("%s: %s must not import %s, which is not below it", rel, pkg, inner)
				}
			}
			for lib, who := range doors {
				if (p == lib || strings.HasPrefix(p, lib+"/")) && !slices.Contains(who, pkg) {
					t.Errorf("%s: only %v may import %s", rel, who, lib)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestNoHiddenState holds the rule against init and process-wide defaults.
func TestNoHiddenState(t *testing.T) {
	for _, dir := range []string{"..", "../../gateway", "../../middleware", "../../config", "../../certs"} {
		err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			b, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			for _, bad := range []string{"\nfunc init()", "http.DefaultClient", "http.DefaultTransport", "http.DefaultServeMux", "prometheus.DefaultRegisterer", "zap.L()", "zap.S()"} {
				if strings.Contains(string(b), bad) {
					t.Errorf("%s uses %s", file, strings.TrimSpace(bad))
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
