package main

import (
	"context"
	"crypto/x509"
	"encoding/pem"
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
		fmt.Fprintln(errs, "usage: vazel certs dev [-dir DIR] [-hosts NAME,...] [-organization KEY=ID,...] [-revoke NAME,...]\n       vazel certs inspect [-config PATH] [-json] FILE...")
		return errUsage
	}
	f := flag.NewFlagSet("certs dev", flag.ContinueOnError)
	dir := f.String("dir", "pki", "folder to write to")
	hosts := f.String("hosts", "localhost", "names of the server certificate, separated by commas")
	organizations := f.String("organization", "", "client certificates to make, as KEY=ORGANIZATION-IDENTIFIER, separated by commas")
	revoke := f.String("revoke", "", "certificates of the folder to put on its revocation list, separated by commas; alone, it makes no certificates")
	if err := parse(f, args[1:], errs); err != nil {
		return err
	}
	for _, name := range words(*revoke) {
		list, err := revokeDev(*dir, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s is on the revocation list %s\n", name, list)
	}
	if *revoke != "" && *organizations == "" && !given(f, "hosts") {
		return nil
	}
	ca, err := devCA(*dir)
	if err != nil {
		return err
	}
	if err := ca.Revoke(filepath.Join(*dir, "dev-ca.crl")); err != nil {
		return err
	}
	cert, key, err := ca.Server(strings.Split(*hosts, ",")...)
	if err != nil {
		return err
	}
	if err := writePair(*dir, "server", cert, key); err != nil {
		return err
	}
	for _, o := range words(*organizations) {
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

// words are the parts of a value that commas separate.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' })
}

// given reports whether a flag was given.
func given(f *flag.FlagSet, name string) (yes bool) {
	f.Visit(func(g *flag.Flag) { yes = yes || g.Name == name })
	return yes
}

// revokeDev puts the certificate NAME.pem of a folder on the list of the authority
// there that issued it, and returns that list's file.
func revokeDev(dir, name string) (list string, err error) {
	path := filepath.Join(dir, name+".pem")
	cert, err := readCertificate(path)
	if err != nil {
		return "", err
	}
	keys, err := filepath.Glob(filepath.Join(dir, "*.key"))
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		base := strings.TrimSuffix(key, ".key")
		issuer, err := readCertificate(base + ".pem")
		if err != nil || !issuer.IsCA || issuer.Equal(cert) || cert.CheckSignatureFrom(issuer) != nil {
			continue
		}
		b, err := os.ReadFile(key)
		if err != nil {
			return "", err
		}
		ca, err := certs.LoadDevCA(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Raw}), b)
		if err != nil {
			return "", fmt.Errorf("%s: %w", base, err)
		}
		return base + ".crl", ca.Revoke(base+".crl", cert)
	}
	return "", fmt.Errorf("no authority in %s has issued %s", dir, path)
}

// readCertificate reads the first certificate of a PEM file.
func readCertificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
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
