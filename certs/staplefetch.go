package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// answer reads an answer and checks that it is about this certificate, from its
// issuer or one that the issuer lets answer (RFC 6960, 4.2.2.2), and in time.
func (c *stapled) answer(raw []byte, now time.Time) (*ocsp.Response, error) {
	a, err := ocsp.ParseResponseForCert(raw, c.pair.Leaf, c.issuer)
	if err != nil {
		return nil, err
	}
	if by := a.Certificate; by != nil && !by.Equal(c.issuer) {
		if !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
			return nil, fmt.Errorf("the answer is signed by %s, which may not sign answers", by.Subject)
		}
		if now.After(by.NotAfter) {
			return nil, fmt.Errorf("the certificate of the responder %s expired", by.Subject)
		}
	}
	switch {
	case a.NextUpdate.IsZero():
		return nil, errors.New("the answer has no nextUpdate, so nobody could know how long it holds")
	case !now.Before(a.NextUpdate):
		return nil, fmt.Errorf("the answer held until %s", a.NextUpdate.UTC().Format(time.RFC3339))
	case a.ThisUpdate.After(now.Add(5 * time.Minute)):
		return nil, fmt.Errorf("the answer is from the future: %s", a.ThisUpdate.UTC().Format(time.RFC3339))
	}
	return a, nil
}

func (ss *staples) ask(ctx context.Context, c *stapled) ([]byte, *ocsp.Response, error) {
	if c.issuer == nil {
		issuer, err := ss.fetchIssuer(ctx, c.pair.Leaf)
		if err != nil {
			return nil, nil, fmt.Errorf("the issuer's certificate is not in the file: %w", err)
		}
		c.issuer = issuer
	}
	question, err := ocsp.CreateRequest(c.pair.Leaf, c.issuer, nil)
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.responder, bytes.NewReader(question))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	raw, err := ss.get(req)
	if err != nil {
		return nil, nil, err
	}
	a, err := c.answer(raw, time.Now())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.responder, err)
	}
	return raw, a, nil
}

// fetchIssuer gets the certificate that the leaf says it was issued with.
func (ss *staples) fetchIssuer(ctx context.Context, leaf *x509.Certificate) (*x509.Certificate, error) {
	if len(leaf.IssuingCertificateURL) == 0 {
		return nil, errors.New("it says not where that is; add it to the file")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, leaf.IssuingCertificateURL[0], nil)
	if err != nil {
		return nil, err
	}
	b, err := ss.get(req)
	if err != nil {
		return nil, err
	}
	issuer, err := x509.ParseCertificate(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", leaf.IssuingCertificateURL[0], err)
	}
	if !issued(issuer, leaf) {
		return nil, fmt.Errorf("%s is not the issuer", leaf.IssuingCertificateURL[0])
	}
	return issuer, nil
}

func (ss *staples) get(req *http.Request) ([]byte, error) {
	resp, err := ss.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", req.URL, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxStaple+1))
	if err == nil && len(b) > maxStaple {
		err = fmt.Errorf("%s answered more than %d KiB", req.URL, maxStaple>>10)
	}
	return b, err
}
