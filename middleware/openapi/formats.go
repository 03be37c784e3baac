package openapi

import (
	"errors"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// formats are those that are checked besides the library's own (date, date-time,
// byte, int32, int64). Others say nothing that a gateway could hold callers to.
// It is never changed.
var formats = map[string]openapi3.StringFormatValidator{
	"uuid":     openapi3.NewRegexpFormatValidator(`\A[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\z`),
	"email":    openapi3.NewRegexpFormatValidator(`\A[^@\s<>",;]{1,64}@[^@\s<>",;]{1,253}\z`),
	"hostname": openapi3.NewRegexpFormatValidator(`\A([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\z`),
	"time":     openapi3.NewRegexpFormatValidator(`\A([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])\z`),
	"ipv4":     openapi3.NewCallbackValidator(addressFormat(netip.Addr.Is4)),
	"ipv6":     openapi3.NewCallbackValidator(addressFormat(netip.Addr.Is6)),
	"uri":      openapi3.NewCallbackValidator(uriFormat),
}

var (
	errFormat = errors.New("not of the format")
	scheme    = regexp.MustCompile(`\A[A-Za-z][A-Za-z0-9+.-]*:`)
)

func addressFormat(is func(netip.Addr) bool) func(string) error {
	return func(s string) error {
		if a, err := netip.ParseAddr(s); err != nil || !is(a) || a.Zone() != "" {
			return errFormat
		}
		return nil
	}
}

func uriFormat(s string) error {
	if _, err := url.Parse(s); err != nil || !scheme.MatchString(s) || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return errFormat
	}
	return nil
}
