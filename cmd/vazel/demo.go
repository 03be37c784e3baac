package main

import (
	"context"
	"embed"
	"flag"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"text/template"
	"time"

	"github.com/vazel-gateway/vazel/certs"
)

//go:embed demo
var demoFiles embed.FS

// demoNode is what the files of the example node are filled with.
type demoNode struct {
	Dir                         string
	HTTPS, HTTP, Admin          int
	OpenData, Spatial, Registry string // addresses of the example services
}

// demoOrganizations are those of the example. Their identifiers are made up.
var demoOrganizations = []struct{ key, name, id, ca string }{
	{"meu", "Ministry of e-Governance", "NTRBG-100000001", "meu"},
	{"agkk", "Geodesy, Cartography and Cadastre Agency", "NTRBG-100000002", "agkk"},
	{"nra", "National Revenue Agency", "NTRBG-100000003", "qualified-cas"},
	{"sofia", "Sofia Municipality", "NTRBG-100000004", "qualified-cas"},
}

func demoCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	var n demoNode
	f.StringVar(&n.Dir, "dir", ".dev", "folder of the example node; made anew")
	f.IntVar(&n.HTTPS, "https", 8443, "port for HTTPS and HTTP/3")
	f.IntVar(&n.HTTP, "http", 8080, "port that redirects to https")
	f.IntVar(&n.Admin, "admin", 9180, "port for metrics and health")
	log := f.String("log", "", "file for the gateway's log; default: gateway.log in the folder")
	if err := parse(f, args, errs); err != nil {
		return err
	}
	var err error
	if n.Dir, err = filepath.Abs(n.Dir); err != nil {
		return err
	}

	// The example services, each on a free port of its own.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, s := range []struct {
		at      *string
		handler http.Handler
	}{{&n.OpenData, openData()}, {&n.Spatial, spatial()}, {&n.Registry, registry()}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			cancel()
			return err
		}
		*s.at = l.Addr().String()
		server := &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
		wg.Go(func() { server.Serve(l) })
		wg.Go(func() { <-ctx.Done(); server.Close() })
	}
	defer cancel()

	if err := n.write(); err != nil {
		return err
	}
	if *log == "" {
		*log = filepath.Join(n.Dir, "gateway.log")
	}
	logFile, err := os.Create(*log)
	if err != nil {
		return err
	}
	defer logFile.Close()
	err = runGateway(ctx, runOptions{
		Config: n.Dir, Level: "info", StateDir: filepath.Join(n.Dir, "state"), Watch: true, Errors: io.MultiWriter(logFile, &onlyProblems{errs}),
		Ready: func(ready) { n.explain(out, *log) },
	})
	cancel()
	return err
}

// onlyProblems passes on what is not a line of the log.
type onlyProblems struct{ to io.Writer }

func (o *onlyProblems) Write(p []byte) (int, error) {
	if len(p) > 0 && p[0] == '{' {
		return len(p), nil
	}
	return o.to.Write(p)
}

// write makes the node's folder: authorities, certificates, configuration.
func (n *demoNode) write() error {
	pki := filepath.Join(n.Dir, "pki")
	if err := os.RemoveAll(pki); err != nil {
		return err
	}
	server, err := certs.NewDevCA("Example server authority")
	if err != nil {
		return err
	}
	if err := writePair(pki, "server-ca", server.CertPEM(), server.KeyPEM()); err != nil {
		return err
	}
	cert, key, err := server.Server("data.egov.example", "*.data.egov.example", "gis.egov.example", "*.gis.egov.example", "registries.egov.example")
	if err != nil {
		return err
	}
	if err := writePair(pki, "server", cert, key); err != nil {
		return err
	}
	authorities := map[string]*certs.DevCA{}
	for _, name := range []string{"meu", "agkk", "qualified-cas", "stranger"} {
		ca, err := certs.NewDevCA("Example authority " + name)
		if err != nil {
			return err
		}
		authorities[name] = ca
		if err := writePair(pki, name, ca.CertPEM(), ca.KeyPEM()); err != nil {
			return err
		}
		if err := ca.Revoke(filepath.Join(pki, name+".crl")); err != nil {
			return err
		}
	}
	client := func(file, ca string, s certs.ClientSpec) error {
		cert, key, err := authorities[ca].Client(s)
		if err != nil {
			return err
		}
		return writePair(filepath.Join(pki, "clients"), file, cert, key)
	}
	for _, o := range demoOrganizations {
		if err := client(o.key, o.ca, certs.ClientSpec{CN: "system." + o.key + ".example", O: o.name, OrganizationID: o.id}); err != nil {
			return err
		}
	}
	past := time.Now().Add(-24 * time.Hour)
	if err := client("nra-expired", "qualified-cas", certs.ClientSpec{CN: "old.nra.example", OrganizationID: "NTRBG-100000003", NotBefore: past.AddDate(0, -1, 0), NotAfter: past}); err != nil {
		return err
	}
	if err := client("stranger", "stranger", certs.ClientSpec{CN: "stranger.example", OrganizationID: "NTRBG-100000003"}); err != nil {
		return err
	}
	for _, name := range []string{"vazel.yaml", "conf.d/10-organizations.yaml", "conf.d/20-open-data.yaml", "conf.d/30-spatial-data.yaml", "conf.d/40-registries.yaml"} {
		if err := n.fill(name, filepath.Join(n.Dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// fill writes a file from its template.
func (n *demoNode) fill(name, to string) error {
	t, err := template.ParseFS(demoFiles, "demo/"+name)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if err := t.Execute(f, n); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// explain prints requests to try. Each line can be pasted into a shell.
func (n *demoNode) explain(out io.Writer, log string) {
	t := template.Must(template.ParseFS(demoFiles, "demo/requests.txt"))
	program, err := os.Executable()
	if err != nil {
		program = "vazel"
	}
	t.Execute(out, struct {
		*demoNode
		Log, Program string
	}{n, log, program})
}
