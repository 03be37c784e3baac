package middleware

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// Bounds of what a client wrote, in a line.
const (
	logLongest    = 8 << 10 // of a path; max_uri bounds it as well
	syslogLongest = 2 << 10 // so that a message stays below the 8 KiB that receivers must take (RFC 5425 4.3.1)
	logText       = 512     // of other texts
)

// logFormat writes one line.
type logFormat func(e *logEntry, l *jsonLine)

// formatOf is the encoder of a name.
func formatOf(name string) logFormat {
	switch name {
	case FormatECS:
		return (*logEntry).ecs
	case FormatOCSF:
		return (*logEntry).ocsf
	case FormatCEF:
		return (*logEntry).cef
	}
	return (*logEntry).native
}

// logEntry is what a line says of a request, bounded and masked. Encoders take
// what a client sent only from here.
type logEntry struct {
	rec      *Record
	version  string // of the program
	security bool

	method, host, path   string
	client, peer         string // peer only in the security log
	tlsVersion, tlsCurve string
	certHash             string // hexadecimal
	certSerial           string // likewise
	certIssuer           string // only in the security log
	certSubject          string // likewise
	detail               string
	outcome, decision    string
}

// fill makes the entry ready for a log.
func (e *logEntry) fill(state *tls.ConnectionState, security, whole bool, most int) {
	rec := e.rec
	*e = logEntry{rec: rec, version: e.version, security: security}
	e.method = masked(logMethod(rec.Method), logText)
	e.host, e.path = masked(rec.Host, logText), masked(rec.Path, most)
	e.outcome, e.decision = "success", "allow"
	if rec.Denial != nil || rec.Status >= 400 || rec.Aborted == "gateway" {
		e.outcome = "failure"
	}
	if rec.Denial != nil {
		e.decision, e.detail = "deny", masked(rec.Denial.Detail, logText)
	}
	e.client = truncated(rec.Client)
	if whole && rec.Client.IsValid() {
		e.client = rec.Client.String()
	}
	if security {
		if e.peer = truncated(rec.Peer.Addr()); whole && rec.Peer.IsValid() {
			e.peer = rec.Peer.Addr().String()
		}
	}
	if state != nil {
		e.tlsVersion = tlsVersion(state.Version)
		if state.CurveID != 0 {
			e.tlsCurve = state.CurveID.String()
		}
	}
}

// certificate makes the entry tell of the client's certificate.
func (e *logEntry) certificate() {
	if leaf := e.rec.Identity.Leaf; leaf != nil {
		sum := sha256.Sum256(leaf.Raw)
		e.certHash = hex.EncodeToString(sum[:])
		if e.security {
			e.certSubject, e.certIssuer = masked(leaf.Subject.String(), logText), masked(leaf.Issuer.String(), logText)
			if leaf.SerialNumber != nil {
				e.certSerial = Mask(leaf.SerialNumber.Text(16))
			}
		}
	}
}

// obscure reports whether a character is a control character and ends no line.
func obscure(r rune) bool { return r < ' ' && r != '\n' && r != '\r' || r == 0x7f }

func (e *logEntry) dataset() string {
	if e.security {
		return "vazel.security"
	}
	return "vazel.access"
}

// authentication reports whether the request was refused for its certificate.
func (e *logEntry) authentication() bool {
	d := e.rec.Denial
	return d != nil && (d.By == "require_pq" || d.By == "allow" && e.rec.Organization == "")
}

// inspection reports whether inspection refused the request for an attack or a
// virus.
func (e *logEntry) inspection() bool {
	d := e.rec.Denial
	return d != nil && (d.By == "waf" || d.By == "scan")
}

// scheme is that of the URL. Plain HTTP is spoken only where it is sent on to
// https.
func (e *logEntry) scheme() string {
	if e.tlsVersion == "" && e.rec.Protocol == "h1" {
		return "http"
	}
	return "https"
}

// summary is a line for people.
func (e *logEntry) summary() string {
	s := e.method + " " + e.host
	if !strings.HasPrefix(e.path, "/") {
		s += " " // what stands on both sides must not become one number
	}
	s += e.path + " " + strconv.Itoa(e.rec.Status)
	if d := e.rec.Denial; d != nil {
		s += " refused by " + d.By + ": " + d.Reason
	}
	return s
}

// masked bounds a text and masks it: before it is cut, so that no part of an
// identifier is left, and after, for a cut makes new numbers of longer ones.
// Control characters other than line endings become spaces: an encoder writes
// them in digits, and those of the text may follow.
func masked(s string, most int) string {
	if strings.ContainsFunc(s, obscure) {
		s = strings.Map(func(r rune) rune {
			if obscure(r) {
				return ' '
			}
			return r
		}, s)
	}
	if s = Mask(s); len(s) <= most {
		return s
	}
	return Mask(s[:most])
}

// logMethod bounds what a client can write into the log.
func logMethod(m string) string {
	if MethodLabel(m) != "_other" || len(m) <= 16 {
		return m
	}
	return m[:16]
}

func protocolVersion(p string) string {
	switch p {
	case "h2":
		return "2"
	case "h3":
		return "3"
	}
	return "1.1"
}

func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS13:
		return "1.3"
	case tls.VersionTLS12:
		return "1.2"
	}
	return "unknown"
}

// truncated is an address without what tells one household from another: /24
// and /48.
func truncated(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	a = a.Unmap()
	bits := 24
	if a.Is6() {
		bits = 48
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return ""
	}
	return p.Addr().String()
}
