package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vazel-gateway/vazel/certs"
)

func certsCommand(ctx context.Context, args []string, out, errs io.Writer) error {
	if len(args) > 0 && args[0] == "inspect" {
		return inspectCommand(ctx, args[1:], out, errs)
	}
	if len(args) == 0 || args[0] != "dev" {
		fmt.Fprintln(errs, "usage: vazel certs dev [-dir DIR] [-hosts NAME,...] [-organization KEY=ID,...]\n       vazel certs inspect [-config PATH] [-json] FILE...")
		return errUsage
	}
	f := flag.NewFlagSet("certs dev", flag.ContinueOnError)
	dir := f.String("dir", "pki", "folder to write to")
	hosts := f.String("hosts", "localhost", "names of the server certificate, separated by commas")
	organizations := f.String("organization", "", "client certificates to make, as KEY=ORGANIZATION-IDENTIFIER, separated by commas")
	if err := parse(f, args[1:], errs); err != nil {
		return err
	}
	ca, err := devCA(*dir)
	if err != nil {
		return err
	}
	cert, key, err := ca.Server(strings.Split(*hosts, ",")...)
	if err != nil {
		return err
	}
	if err := writePair(*dir, "server", cert, key); err != nil {
		return err
	}
	for _, o := range strings.FieldsFunc(*organizations, func(r rune) bool { return r == ',' }) {
		name, id, ok := strings.Cut(o, "=")
		if !ok {
			return fmt.Errorf("%q is not KEY=ORGANIZATION-IDENTIFIER", o)
		}
		cert, key, err := ca.Client(certs.ClientSpec{CN: name, O: name, OrganizationID: id})
		if err != nil {
			return err
		}
		if err := writePair(*dir, name, cert, key); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "written to %s; for development only, for the authority's key lies beside its certificate\n", *dir)
	return nil
}

// devCA is the development authority of a folder, made if there is none.
func devCA(dir string) (*certs.DevCA, error) {
	certFile, keyFile := filepath.Join(dir, "dev-ca.pem"), filepath.Join(dir, "dev-ca.key")
	cert, err := os.ReadFile(certFile)
	if err == nil {
		key, err := os.ReadFile(keyFile)
		if err != nil {
			return nil, err
		}
		return certs.LoadDevCA(cert, key)
	}
	ca, err := certs.NewDevCA("Vazel development authority")
	if err != nil {
		return nil, err
	}
	return ca, writePair(dir, "dev-ca", ca.CertPEM(), ca.KeyPEM())
}

// writePair writes name.pem and name.key.
func writePair(dir, name string, cert, key []byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, name+".pem"), cert, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".key"), key, 0o600)
}
