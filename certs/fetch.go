package certs

import (
	"bytes"
	"context"
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

// fetcher gets what authorities publish, within bounds of size and time. What
// the configuration names may be anywhere; where somebody else sends us has to
// be public, or it would be a way to make the gateway call into its own network.
type fetcher struct{ configured, public *http.Client }

func newFetcher() *fetcher {
	client := func(control func(string, string, syscall.RawConn) error, proxy func(*http.Request) (*url.URL, error)) *http.Client {
		d := &net.Dialer{Timeout: 10 * time.Second, Control: control}
		return &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				DialContext: d.DialContext, Proxy: proxy, DisableKeepAlives: true, DisableCompression: true,
				MaxResponseHeaderBytes: 64 << 10, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 20 * time.Second,
			},
		}
	}
	return &fetcher{configured: client(nil, http.ProxyFromEnvironment), public: client(onlyPublic, nil)}
}

// get fetches address, and follows redirects.
func (f *fetcher) get(ctx context.Context, address string, limit int64) ([]byte, error) {
	first, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	for at, n := first, 0; ; n++ {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return nil, err
		}
		b, to, err := f.do(req, limit, at.Hostname() == first.Hostname())
		if err != nil || to == "" {
			return b, err
		}
		if n == maxRedirects {
			return nil, fmt.Errorf("%s sends us on more than %d times", address, maxRedirects)
		}
		if at, err = at.Parse(to); err != nil {
			return nil, err
		}
		if at.Scheme != "http" && at.Scheme != "https" {
			return nil, fmt.Errorf("%s sends us to an address that is neither http nor https", address)
		}
	}
}

// post asks address; configured says that the configuration names it. It does
// not follow redirects.
func (f *fetcher) post(ctx context.Context, address, kind string, body []byte, limit int64, configured bool) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", kind)
	b, to, err := f.do(req, limit, configured)
	if err == nil && to != "" {
		return nil, fmt.Errorf("%s sends us elsewhere", address)
	}
	return b, err
}

// do gets one answer: its body, or where it sends us.
func (f *fetcher) do(req *http.Request, limit int64, configured bool) (body []byte, to string, err error) {
	c := f.configured
	if !configured {
		if proxy, err := http.ProxyFromEnvironment(req); err == nil && proxy == nil {
			c = f.public
		} else if err := publicName(req.URL.Hostname()); err != nil { // the proxy looks the name up
			return nil, "", err
		}
	}
	req.Header.Set("User-Agent", "vazel")
	resp, err := c.Do(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		if to = resp.Header.Get("Location"); to != "" {
			return nil, to, nil
		}
		fallthrough
	default:
		return nil, "", fmt.Errorf("%s answered %s", req.URL.Redacted(), resp.Status)
	}
	if e := resp.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, "", fmt.Errorf("%s answered in an encoding that was not asked for", req.URL.Redacted())
	}
	tooLarge := fmt.Errorf("%s is larger than %d bytes", req.URL.Redacted(), limit)
	if resp.ContentLength > limit {
		return nil, "", tooLarge
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", req.URL.Redacted(), err)
	}
	if int64(len(b)) > limit {
		return nil, "", tooLarge
	}
	return b, "", nil
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
