package middleware

import (
	"net/netip"
	"strings"
)

// maxForwardedFor bounds how many addresses of X-Forwarded-For are read: no
// sensible chain of trusted proxies is longer.
const maxForwardedFor = 32

// clientAddr settles whose request it is. Only what trusted proxies wrote is
// believed: X-Forwarded-For is read from its end, and the first address that is
// not a trusted proxy's is the client's. Where it can't be read on, the last good
// address stands. What the client itself wrote stands further left and is never
// reached, however long it is.
func clientAddr(c *Conn, fields []string, trusted []netip.Prefix) netip.Addr {
	client := c.Peer.Addr().Unmap().WithZone("")
	if !c.Trusted {
		return client
	}
	hops := 0
	for i := len(fields) - 1; i >= 0; i-- {
		for rest, more := fields[i], true; more; {
			var last string
			if j := strings.LastIndexByte(rest, ','); j >= 0 {
				rest, last = rest[:j], rest[j+1:]
			} else {
				last, more = rest, false
			}
			a, ok := forwardedAddr(strings.Trim(last, " \t"))
			if !ok {
				return client
			}
			client = a
			if hops++; hops == maxForwardedFor || !contains(trusted, a) {
				return client
			}
		}
	}
	return client
}

// forwardedAddr reads an address as proxies write it: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1] or [2001:db8::1]:80.
func forwardedAddr(s string) (netip.Addr, bool) {
	const longest = len("[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535")
	if len(s) == 0 || len(s) > longest {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		if in, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(in, "]") {
			if a, err = netip.ParseAddr(in[:len(in)-1]); err == nil && a.Is4() {
				return netip.Addr{}, false
			}
		} else {
			var p netip.AddrPort
			p, err = netip.ParseAddrPort(s)
			a = p.Addr()
		}
	}
	// A zone names an interface of another machine, and the unspecified address
	// no machine at all.
	if err != nil || a.Zone() != "" || a.IsUnspecified() {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

func contains(l []netip.Prefix, a netip.Addr) bool {
	for _, p := range l {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
