package config

import (
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/vazel-gateway/vazel/certs"
	"github.com/vazel-gateway/vazel/middleware"
)

// checkRequestLog checks one of the logs of requests.
func (t *tree) checkRequestLog(key string, l *middleware.RequestLog) {
	_, n := get(t.main.root, key)
	if _, f := get(n, "format"); f != nil {
		t.oneOf(f, key+".format", middleware.FormatJSON, middleware.FormatECS, middleware.FormatOCSF, middleware.FormatCEF)
	}
	if _, a := get(n, "addresses"); a != nil {
		t.oneOf(a, key+".addresses", middleware.AddressesTruncated, middleware.AddressesFull)
	}
	before := len(t.errs.Problems)
	_, tls := get(n, "tls")
	t.checkClientTLS(tls, l.TLS)
	if len(t.errs.Problems) > before {
		return
	}
	if err := l.Problem(); err != nil {
		_, o := get(n, "output")
		t.problem(orNode(o, n), "%s: %v", key, err)
		return
	}
	if !l.Remote() {
		t.checkLogFile(n, &l.Output)
	}
}

// checkClientTLS makes paths absolute and reads the secret.
func (t *tree) checkClientTLS(n *yaml.Node, c *certs.ClientTLS) {
	if c == nil {
		return
	}
	if _, ca := get(n, "ca"); c.CA != "" {
		t.file1(ca, &c.CA)
	}
	if _, cert := get(n, "cert"); c.Cert != "" {
		t.file1(cert, &c.Cert)
	}
	if _, key := get(n, "key"); !c.Key.IsZero() {
		t.secret(key, &c.Key)
	}
}

// checkLogFile makes the path of a log absolute.
func (t *tree) checkLogFile(n *yaml.Node, output *string) {
	switch *output {
	case "stdout", "stderr", "off", "":
		return
	}
	*output = t.abs(*output)
	_, o := get(n, "output")
	if info, err := os.Stat(filepath.Dir(*output)); err != nil || !info.IsDir() {
		t.problem(orNode(o, n), "the folder %s does not exist", filepath.Dir(*output))
	} else if info, err := os.Stat(*output); err == nil && info.IsDir() {
		t.problem(orNode(o, n), "%s is a folder; write a file in it", *output)
	}
}

// checkOneLog makes sure that no two logs share a file: each is written in
// batches, and moved away for itself.
func (t *tree) checkOneLog(root *yaml.Node) {
	c := t.config
	of := map[string]string{}
	for _, l := range []struct{ key, output string }{{"access_log", c.AccessLog.Output}, {"security_log", c.SecurityLog.Output}, {"audit_log", c.AuditLog.Output}} {
		if !filepath.IsAbs(l.output) {
			continue
		}
		if former := of[l.output]; former != "" {
			_, n := get(root, l.key)
			_, o := get(n, "output")
			t.problem(orNode(o, n), "%s.output is the file of %s; each log needs a file of its own", l.key, former)
		}
		of[l.output] = l.key
	}
}

// checkTracing checks where spans go.
func (t *tree) checkTracing(root *yaml.Node) {
	s := t.config.Tracing
	if s == nil {
		return
	}
	_, n := get(root, "tracing")
	before := len(t.errs.Problems)
	_, tls := get(n, "tls")
	t.checkClientTLS(tls, s.TLS)
	_, headers := get(n, "headers")
	for name, value := range s.Headers {
		_, at := get(headers, name)
		t.secret(at, &value)
		s.Headers[name] = value
	}
	if len(t.errs.Problems) > before {
		return
	}
	if err := s.Problem(); err != nil {
		_, o := get(n, "otlp")
		t.problem(orNode(o, n), "tracing: %v", err)
		return
	}
	if host, ok := strings.CutPrefix(s.OTLP, "http://"); ok && remote(host) {
		t.warn(n, "tracing.otlp is http; what it says of requests goes over the network in the clear")
	}
}
