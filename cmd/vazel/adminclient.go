package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/vazel-gateway/vazel/config"
)

// adminFlags are how a command finds the running gateway's admin listener, and
// what it shows there if that asks for a certificate.
type adminFlags struct{ config, address, cert, key, ca *string }

// newAdminFlags adds -config, -admin and the files of an operator's certificate
// to a flag set.
func newAdminFlags(f *flag.FlagSet) *adminFlags {
	file := func(name, env, what string) *string { return f.String(name, os.Getenv(env), what+"; default: $"+env) }
	return &adminFlags{
		config:  configFlag(f),
		address: f.String("admin", "", "the gateway's admin listener (host:port, unix:/path, or https://host:port); default: what the configuration says"),
		cert:    file("admin-cert", "VAZEL_ADMIN_CERT", "your certificate (PEM), where the admin listener asks for one"),
		key:     file("admin-key", "VAZEL_ADMIN_KEY", "its private key (PEM)"),
		ca:      file("admin-ca", "VAZEL_ADMIN_CA", "the authority of the admin listener's own certificate (PEM), if the system does not know it"),
	}
}

// find is the address that was given, or that the configuration says.
func (a *adminFlags) find() (string, error) {
	if *a.address != "" {
		return *a.address, nil
	}
	return config.AdminAddress(*a.config)
}

// adminError is an answer other than 200.
type adminError struct {
	status int
	text   string
}

func (e *adminError) Error() string {
	return fmt.Sprintf("it answered %d %s: %s", e.status, http.StatusText(e.status), e.text)
}

// ask sends a request to the admin listener and decodes the JSON that it answers
// with. Errors of 422 are answers too: the gateway refused what was asked.
func (a *adminFlags) ask(ctx context.Context, method, path string, answer any) error {
	address, err := a.find()
	if err != nil {
		return err
	}
	client, base, err := a.client(address)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("the gateway can't be reached on its admin listener: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnprocessableEntity {
		return &adminError{resp.StatusCode, strings.TrimSpace(string(b[:min(len(b), 500)]))}
	}
	if err := json.Unmarshal(b, answer); err != nil {
		return fmt.Errorf("unexpected answer %s from %s", resp.Status, address)
	}
	return nil
}

// client reaches an admin listener, over TCP, TLS or a unix socket.
func (a *adminFlags) client(address string) (*http.Client, string, error) {
	client, base := adminClient(address)
	if !strings.HasPrefix(base, "https://") {
		return client, base, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if *a.cert == "" || *a.key == "" {
		return nil, "", errors.New("the admin listener asks for a certificate: name yours with -admin-cert and -admin-key")
	}
	pair, err := tls.LoadX509KeyPair(*a.cert, *a.key)
	if err != nil {
		return nil, "", fmt.Errorf("-admin-cert: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	if *a.ca != "" {
		b, err := os.ReadFile(*a.ca)
		if err != nil {
			return nil, "", fmt.Errorf("-admin-ca: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(b) {
			return nil, "", fmt.Errorf("-admin-ca: %s holds no certificate", *a.ca)
		}
	}
	client.Transport = &http.Transport{TLSClientConfig: c}
	return client, base, nil
}

// adminClient reaches an admin listener that asks for no certificate.
func adminClient(address string) (*http.Client, string) {
	t := &http.Transport{}
	base := "http://" + address
	if strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://") {
		base = strings.TrimSuffix(address, "/")
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		base = "http://localhost"
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	}
	return &http.Client{Transport: t, Timeout: time.Minute}, base
}
