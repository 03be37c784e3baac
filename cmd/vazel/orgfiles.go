package main

import (
	"bytes"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/config"
)

var (
	//go:embed bundle/csr.cnf
	csrTemplate string
	//go:embed bundle/organization.yaml
	organizationTemplate string
	//go:embed bundle/test.sh
	testTemplate string
	//go:embed bundle/README.md
	readmeTemplate string
	//go:embed bundle/README.bg.md
	readmeBulgarian string
)

// describe finds out what the organization has to be told of the gateway.
func (n *newcomer) describe(t trust, serverCA string) error {
	n.Include = "conf.d"
	if len(t.config.Include) > 0 {
		n.Include = path.Dir(t.config.Include[0])
	}
	port := ""
	for _, l := range t.config.Listen {
		if _, p, err := net.SplitHostPort(l.Address); l.Redirect == "" && err == nil && p != "443" {
			port = ":" + p
			break
		}
	}
	owners := map[string]bool{}
	for _, s := range t.config.Services {
		if s.Policy.MTLS == certs.MTLSOff || s.Policy.MTLS == "" {
			continue
		}
		for _, h := range s.Hosts {
			n.URLs = append(n.URLs, "https://"+strings.Replace(h, "*", "example", 1)+port+"/")
		}
		owners[s.Owner] = true
	}
	for _, o := range slices.Sorted(maps.Keys(owners)) {
		if c := t.config.Callers[o]; n.Support == "" && c.Contact != "" {
			n.Support = c.Name + ", " + c.Contact
		}
	}
	if serverCA != "" {
		b, err := os.ReadFile(serverCA)
		if err != nil {
			return fmt.Errorf("server-ca: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(b) {
			return fmt.Errorf("server-ca: %s holds no certificate", serverCA)
		}
		n.ServerCA = b
		return nil
	}
	n.ServerCA, n.Public = serverAuthority(t.config)
	return nil
}

// serverAuthority looks for what the gateway's first certificate chains to: in
// its own file, in the system's roots, and among the authorities of the
// configuration.
func serverAuthority(c *config.Config) (authorities []byte, public bool) {
	if len(c.TLS.Certificates) == 0 {
		if c.TLS.ACME == nil || c.TLS.ACME.CA == "" {
			return nil, c.TLS.ACME != nil
		}
		b, err := os.ReadFile(c.TLS.ACME.CA) // a private authority: most have one root for both
		if err != nil {
			return nil, false
		}
		return b, false
	}
	pair, _, err := certs.LoadKeyPair(c.TLS.Certificates[0])
	if err != nil {
		return nil, false
	}
	var chain []*x509.Certificate
	for _, der := range pair.Certificate {
		if x, err := x509.ParseCertificate(der); err == nil {
			chain = append(chain, x)
		}
	}
	between := x509.NewCertPool()
	for _, x := range chain[1:] {
		between.AddCert(x)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Intermediates: between, CurrentTime: time.Now()}); err == nil {
		return nil, true
	}
	candidates := chain[1:]
	for _, key := range slices.Sorted(maps.Keys(c.Trust)) {
		for _, file := range c.Trust[key].CA {
			candidates = append(candidates, readCertificates(file)...)
		}
	}
	if c.TLS.ACME != nil && c.TLS.ACME.CA != "" {
		candidates = append(candidates, readCertificates(c.TLS.ACME.CA)...)
	}
	var b bytes.Buffer
	top := chain[len(chain)-1]
	for _, x := range candidates {
		if x.IsCA && bytes.Equal(x.RawSubject, x.RawIssuer) && (x.Equal(top) || top.CheckSignatureFrom(x) == nil) {
			pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})
			break
		}
	}
	return b.Bytes(), false
}

// readCertificates reads what certificates a PEM file holds.
func readCertificates(file string) (l []*x509.Certificate) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return l
		}
		if x, err := x509.ParseCertificate(block.Bytes); err == nil {
			l = append(l, x)
		}
	}
}

// files are those of the bundle.
func (n *newcomer) files() []newFile {
	l := []newFile{
		{path.Join("gateway", n.Include, n.Key+".yaml"), 0o644, n.fill(organizationTemplate)},
		{"organization/README.md", 0o644, n.fill(readmeTemplate)},
		{"organization/README.bg.md", 0o644, n.fill(readmeBulgarian)},
		{"organization/csr.cnf", 0o644, n.fill(csrTemplate)},
		{"organization/test.sh", 0o755, n.fill(testTemplate)},
	}
	if n.CA != nil {
		l = append(l, newFile{"gateway/pki/" + n.Key + "-ca.pem", 0o644, n.CA})
	}
	if len(n.ServerCA) > 0 {
		l = append(l, newFile{"organization/gateway-ca.pem", 0o644, n.ServerCA})
	}
	return l
}

func (n *newcomer) fill(text string) []byte {
	t := template.Must(template.New("").Funcs(template.FuncMap{
		"yaml": func(s string) string { // JSON is YAML
			var b bytes.Buffer
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.Encode(s)
			return strings.TrimSpace(b.String())
		},
		"cnf": func(s string) string { // openssl's config(5)
			return strings.NewReplacer(`\`, `\\`, `$`, `\$`, `#`, `\#`, `"`, `\"`, `'`, `\'`, ";", `\;`).Replace(s)
		},
		"short": func(s string) string { // X.520 allows 64 characters
			if r := []rune(s); len(r) > 64 {
				return string(r[:64])
			}
			return s
		},
		"country": func(id string) string { // of the register; XG stands for the whole world
			if c := id[3:5]; c != "XG" {
				return c
			}
			return ""
		},
		"markdown": func(s string) string {
			return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`, "`", "\\`", "[", `\[`).Replace(s)
		},
	}).Parse(text))
	var b bytes.Buffer
	if err := t.Execute(&b, n); err != nil {
		panic(err) // the templates are part of the program
	}
	return b.Bytes()
}
