package middleware

// Header fields by which an upstream learns who calls and how. Only the gateway
// writes them.
const (
	HeaderClientCert     = "Client-Cert" // RFC 9440
	HeaderOrganization   = "X-Organization"
	HeaderOrganizationID = "X-Organization-Id"
	HeaderRequestID      = "X-Request-Id"
)

// reserved holds, folded, every request field that the gateway writes, and
// fields that upstreams are known to believe although any client can write
// them: other proxies' identity fields, and fields that change the method or
// path that was decided on.
var reserved = map[string]bool{
	"clientcert": true, "clientcertchain": true,
	"xorganization": true, "xorganizationid": true, "xorganizationname": true,
	"forwarded": true, "xforwarded": true, "xrealip": true, "xclientip": true, "xclusterclientip": true, "trueclientip": true,
	"cfconnectingip": true, "cfconnectingipv6": true, "fastlyclientip": true, "xazureclientip": true, "xazuresocketip": true, "xenvoyexternaladdress": true,
	"xoriginalforwardedfor": true, "xoriginalhost": true, "xhost": true, "xproxyuserip": true,
	"xrequestid": true, "traceparent": true, "tracestate": true,
	"xclientcert": true, "xclientdn": true, "xclientverify": true, "xarrclientcert": true,
	"xoriginalurl": true, "xrewriteurl": true, "xoriginaluri": true, "xaccelredirect": true,
	"xhttpmethodoverride": true, "xhttpmethod": true, "xmethodoverride": true,
	"xremoteuser": true, "remoteuser": true, "xauthenticateduser": true,
	"proxy": true, // becomes the environment variable HTTP_PROXY of CGI programs
}

// reservedPrefixes are the beginnings, folded, of reserved families.
var reservedPrefixes = []string{"xforwarded", "sslclient", "xsslclient", "xorganization", "xvazel", "proxyssl", "xssl"}

// Reserved reports whether a request field of this name is the gateway's to
// write, in whatever case and with whatever "-", "_" or "." between its words:
// CGI and its successors read X_Organization and x-organization alike.
func Reserved(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	switch name[0] | 0x20 { // most fields are told apart by their first letter
	case 'c', 'x', 'f', 't', 's', 'p', 'r', '_' | 0x20, '-' | 0x20, '.' | 0x20:
	default:
		return false
	}
	var buf [64]byte
	n := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c == '-' || c == '_' || c == '.':
		case c >= 'A' && c <= 'Z':
			buf[n] = c | 0x20
			n++
		default:
			buf[n] = c
			n++
		}
	}
	if reserved[string(buf[:n])] {
		return true
	}
	for _, p := range reservedPrefixes {
		if n >= len(p) && string(buf[:len(p)]) == p {
			return true
		}
	}
	return false
}
