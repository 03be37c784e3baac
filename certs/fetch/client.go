// Package fetch gets what others publish again and again, and keeps it: over HTTP
// within bounds of size, time and redirects, into files that nobody sees half
// written, with one goroutine for each source. It does not know what it gets.
package fetch

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// maxRedirects is how often one answer may send us elsewhere.
const maxRedirects = 3

// Client gets what others publish, within bounds of size and time. What the
// configuration names may be anywhere; where somebody else sends us has to be
// public, or it would be a way to make the gateway call into its own network.
type Client struct{ configured, public *http.Client }

// NewClient makes a Client that believes the authorities of the system.
func NewClient() *Client { return NewClientOf(nil) }

// NewClientOf makes a Client that believes roots alone; nil stands for the
// authorities of the system.
func NewClientOf(roots *x509.CertPool) *Client {
	client := func(control func(string, string, syscall.RawConn) error, proxy func(*http.Request) (*url.URL, error)) *http.Client {
		d := &net.Dialer{Timeout: 10 * time.Second, Control: control}
		return &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
				DialContext:     d.DialContext, Proxy: proxy, DisableKeepAlives: true, DisableCompression: true,
				MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 20 * time.Second,
			},
		}
	}
	return &Client{configured: client(nil, http.ProxyFromEnvironment), public: client(onlyPublic, nil)}
}

// Get fetches address, and follows redirects.
func (f *Client) Get(ctx context.Context, address string, limit int64) ([]byte, error) {
	a, err := f.follow(ctx, address, limit, nil, false)
	return a.body, err
}

// Version is what a server calls what it sent: its entity tag and its date, as
// sent (RFC 9110 8.8). The zero Version is none.
type Version struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// GetChanged is Get for what may still be what was got before: then changed is
// false and there is no body. What begins with https never goes on without it.
func (f *Client) GetChanged(ctx context.Context, address string, limit int64, had Version) (body []byte, is Version, changed bool, err error) {
	ask := http.Header{}
	if had.ETag != "" {
		ask.Set("If-None-Match", had.ETag)
	}
	if had.LastModified != "" {
		ask.Set("If-Modified-Since", had.LastModified)
	}
	a, err := f.follow(ctx, address, limit, ask, true)
	switch {
	case err != nil:
		return nil, had, false, err
	case a.unchanged:
		return nil, had, false, nil
	}
	for _, v := range []*string{&a.version.ETag, &a.version.LastModified} {
		if len(*v) > maxVersion {
			*v = ""
		}
	}
	return a.body, a.version, true, nil
}

// maxVersion bounds what is sent back to a server.
const maxVersion = 256

// follow asks address, and those that it sends us to.
func (f *Client) follow(ctx context.Context, address string, limit int64, ask http.Header, secure bool) (answer, error) {
	first, err := url.Parse(address)
	if err != nil {
		return answer{}, err
	}
	for at, n := first, 0; ; n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return answer{}, err
		}
		for name, values := range ask {
			req.Header[name] = values
		}
		a, err := f.do(req, limit, at.Hostname() == first.Hostname())
		if err != nil || a.to == "" {
			return a, err
		}
		if n == maxRedirects {
			return answer{}, fmt.Errorf("%s sends us on more than %d times", address, maxRedirects)
		}
		if at, err = at.Parse(a.to); err != nil {
			return answer{}, err
		}
		switch {
		case at.Scheme != "http" && at.Scheme != "https":
			return answer{}, fmt.Errorf("%s sends us to an address that is neither http nor https", address)
		case secure && first.Scheme == "https" && at.Scheme != "https":
			return answer{}, fmt.Errorf("%s sends us to an address without https", address)
		}
	}
}

// Post asks address; configured says that the configuration names it. It does
// not follow redirects.
func (f *Client) Post(ctx context.Context, address, kind string, body []byte, limit int64, configured bool) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	a, err := f.do(req, limit, configured)
	if err == nil && a.to != "" {
		return nil, fmt.Errorf("%s sends us elsewhere", address)
	}
	return a.body, err
}

// answer is a body, or where the server sends us, or that nothing has changed.
type answer struct {
	body      []byte
	to        string
	unchanged bool
	version   Version
}

// do gets one answer.
func (f *Client) do(req *http.Request, limit int64, configured bool) (answer, error) {
	c := f.configured
	if !configured {
		if proxy, err := http.ProxyFromEnvironment(req); err == nil && proxy == nil {
			c = f.public
		} else if err := publicName(req.URL.Hostname()); err != nil { // the proxy looks the name up
			return answer{}, err
		}
	}
	req.Header.Set("User-Agent", "vazel")
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if to := resp.Header.Get("Location"); to != "" {
			return answer{to: to}, nil
		}
		return answer{}, fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	case http.StatusNotModified:
		if req.Header["If-None-Match"] != nil || req.Header["If-Modified-Since"] != nil {
			return answer{unchanged: true}, nil
		}
		return answer{}, fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	default:
		return answer{}, fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return answer{}, fmt.Errorf("%s answered in an encoding that was not asked for", req.URL.Redacted())
	}
	tooLarge := fmt.Errorf("%s is larger than %d bytes", req.URL.Redacted(), limit)
	if resp.ContentLength > limit {
		return answer{}, tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", req.URL.Redacted(), err)
	}
	if int64(len(b)) > limit {
		return answer{}, tooLarge
	}
	return answer{body: b, version: Version{resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}}, nil
}

var errNotPublic = errors.New("the address is not public; only what the configuration names may be in a private network")

// onlyPublic sees the address that is really dialed, after the name was looked up.
func onlyPublic(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || !public(a.Addr()) {
		return errNotPublic
	}
	return nil
}

func publicName(host string) error {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if a, err := netip.ParseAddr(host); err == nil && !public(a) || host == "localhost" || strings.HasSuffix(host, ".localhost") || !strings.ContainsAny(host, ".:") {
		return errNotPublic
	}
	return nil
}

// private lists networks that netip does not call private, and those that stand
// for an IPv4 address inside.
var private = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if !a.IsGlobalUnicast() || a.IsPrivate() {
		return false
	}
	for _, p := range private {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
