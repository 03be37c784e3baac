package gateway

import (
	"net/netip"
	"strings"
)

// canonicalHost is the host of a Host field or :authority: lower case, without
// port and trailing dot. ok is false for anything that is not a plain name or
// address with an optional port.
func canonicalHost(s string) (host string, ok bool) {
	if s == "" || len(s) > 262 {
		return "", false
	}
	if s[0] == '[' {
		end := strings.IndexByte(s, ']')
		if end < 0 || !validPort(s[end+1:]) {
			return "", false
		}
		a, err := netip.ParseAddr(s[1:end])
		if err != nil || !a.Is6() || a.Zone() != "" {
			return "", false
		}
		return a.String(), true
	}
	name := s
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !validPort(s[i:]) {
			return "", false
		}
		name = s[:i]
	}
	return canonicalName(name)
}

// canonicalName is a DNS name or IPv4 address in lower case without trailing dot.
func canonicalName(name string) (string, bool) {
	name = strings.TrimSuffix(name, ".")
	if name == "" || len(name) > 253 {
		return "", false
	}
	upper := false
	label := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return "", false
			}
			label = 0
			continue
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return "", false
		}
		if label++; label > 63 {
			return "", false
		}
	}
	if label == 0 {
		return "", false
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, true
}

// serverName is the canonical name that a handshake was made for; "" if none was
// named. An address is none (RFC 6066, 3), though some clients send it.
func serverName(sni string) string {
	if _, err := netip.ParseAddr(sni); err == nil {
		return ""
	}
	name, _ := canonicalName(sni)
	return name
}

// validPort reports whether s is empty or a colon with a port number.
func validPort(s string) bool {
	if s == "" {
		return true
	}
	if s[0] != ':' || len(s) > 6 || len(s) == 1 {
		return false
	}
	n := 0
	for _, c := range []byte(s[1:]) {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n > 0 && n <= 65535
}
